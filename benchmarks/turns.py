"""Workers that take turns: at any moment at most one of them computes."""

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from .results import ROOT

# A worker that has not answered by then is ended: a start may compile for long, a turn may not.
ANSWER_SECONDS = 900


class Worker:
    """A process that follows the protocol of benchmarks/worker.py.

    `ready` is its first answer. A worker that ended takes no more turns, and `failed` says why.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]):
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by stop)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._log}
        environment = os.environ | environment
        self._process = subprocess.Popen(command, text=True, cwd=ROOT, env=environment, **pipes)
        self.failed: str | None = None
        self.ready: dict[str, Any] = self._hear() or {}
        self.failed = self.failed or self.ready.get("skipped")

    def turn(self) -> dict[str, Any] | None:
        """Let it work for one turn; None when it has failed."""
        if self.failed is not None:
            return None
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, and _hear says why
        return self._hear()

    def stop(self) -> None:
        """End the process and wait until its memory is free."""
        self._process.communicate()
        self._log.close()

    def _hear(self) -> dict[str, Any] | None:
        limit = threading.Timer(ANSWER_SECONDS, self._process.kill)
        limit.start()
        line = self._process.stdout.readline()
        limit.cancel()
        if line:
            return json.loads(line)
        code = self._process.wait()
        self._log.seek(0)
        last = (self._log.read().strip() or "no message").splitlines()[-1]
        self.failed = f"ended with exit status {code}: {last}"
        return None


def take_turns(workers: Mapping[str, Worker], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Return each worker's answers, one per round.

    Each round starts one further down the list, so that nobody always follows the same neighbour.
    """
    names = list(workers)
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            if answer := workers[name].turn():
                answers[name].append(answer)
        names = names[1:] + names[:1]
    return answers
