"""Workers that take turns: at any moment at most one of them computes."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
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


def serve(prepare: Callable[[], Callable[[], dict[str, Any]]]) -> None:
    """Be such a process: do the work once, say so, and then do it for each line of the input.

    The answers are those of the work, with its seconds.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    work = prepare()
    print(json.dumps(work()), file=answers, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        found = work()
        found["fit_s"] = time.perf_counter() - start
        print(json.dumps(found), file=answers, flush=True)


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


def epochs_of_one(slow: str, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """Return how many epochs each of the others has had when one has had one.

    An answer has the seconds of a fit, `fit_s`, and its `epochs`. The ratios are the medians over
    the rounds.
    """
    times = {
        name: [one["fit_s"] / one["epochs"] for one in answers] for name, answers in found.items()
    }
    theirs = times.pop(slow)
    return {
        name: statistics.median(a / b for a, b in zip(theirs, own, strict=True))
        for name, own in times.items()
    }
