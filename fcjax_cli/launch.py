"""`fcjax launch`: several processes of a program on this machine."""

import collections
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from typing import IO, NamedTuple

# Seconds after SIGINT or SIGTERM before what is left is killed, in which `fit` saves a checkpoint.
# A process that waits for another does not handle SIGINT. A second signal does not wait.
TO_END = 30.0
# A terminal that is closed sends SIGHUP, which becomes SIGTERM.
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TO_TELL = 2.0  # seconds of waiting after which to say so
# The same after one has failed, when nothing is sent. The others wait for it, and learn nothing.
TO_FINISH = 0.5
# Seconds between looks at the processes.
INTERVAL = 0.01
# Seconds for which a line is held back: when a process dies, JAX lets others say so at length.
HELD = 0.2
# Lines of a quiet process that are kept, and shown if it is the first to fail.
KEPT = 100


def launch(
    command: Sequence[str],
    *,
    processes: int,
    devices_per_process: int = 1,
    heartbeat: int | None = None,
    quiet: bool = False,
) -> int:
    """Run a program in several processes; return the exit status of the first that fails, or 0.

    Args:
        command: what follows `python` on its command line: a script or `-m` and a module, and
            arguments.
        processes: how many.
        devices_per_process: GPUs, or simulated devices of a CPU, of each process.
        heartbeat: for `fcjax.distributed.initialize`.
        quiet: whether to show only the output of process 0, and that of a process that fails.
    """
    for name, count in (("processes", processes), ("devices_per_process", devices_per_process)):
        if count < 1:
            raise ValueError(f"{name} must be positive, got {count}")
    if heartbeat is not None and heartbeat < 1:
        raise ValueError(f"heartbeat must be positive, got {heartbeat}")
    _check_command(command)
    address = f"127.0.0.1:{_free_port()}"
    workers = [
        _Worker(
            command,
            _environment(process, processes, devices_per_process, heartbeat, address),
            quiet=quiet,
        )
        for process in range(processes)
    ]
    with _passed_on(workers) as signals:
        return _wait(workers, signals)


def _check_command(command: Sequence[str]) -> None:
    if not command or list(command) == ["-m"]:
        got = "-m alone" if command else "nothing"
        raise ValueError(f"command must be a script, or -m and a module, got {got}")
    script = command[0]
    if script == "-m":
        return
    if not os.path.exists(script):
        raise FileNotFoundError(f"no script {script!r} in {os.getcwd()}")
    if os.path.isdir(script) and not os.path.exists(os.path.join(script, "__main__.py")):
        raise FileNotFoundError(f"no __main__.py in the folder {script!r}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _environment(
    process: int, processes: int, devices: int, heartbeat: int | None, address: str
) -> dict[str, str]:
    own = {
        "FCJAX_PROCESS": process,
        "FCJAX_PROCESSES": processes,
        "FCJAX_LAUNCHER": os.getpid(),
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_COORDINATOR_BIND_ADDRESS": address,  # by default all interfaces
        "JAX_NUM_CPU_DEVICES": devices,
        "JAX_LOCAL_DEVICE_IDS": ",".join(
            str(process * devices + device) for device in range(devices)
        ),
        "PYTHONUNBUFFERED": 1,  # so that no line is lost when the process is killed
    }
    if heartbeat is not None:
        own["FCJAX_HEARTBEAT"] = heartbeat
    return {**os.environ, **{name: str(value) for name, value in own.items()}}


class _Line(NamedTuple):
    """A line that a process has printed, when, and where it belongs."""

    time: float
    text: bytes
    sink: IO[str] | None


class _Worker:
    """One of the processes. Process 0 has the terminal; the lines of others bear their number."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], *, quiet: bool):
        self.number = int(environment["FCJAX_PROCESS"])
        self.is_quiet = quiet
        self._lines: collections.deque[_Line] = collections.deque(maxlen=KEPT if quiet else None)
        pipe = None if self.number == 0 else subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fcjax_cli.program", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            process_group=0,  # Ctrl-C then reaches the launcher alone, which passes it on
        )
        sources = ((self.process.stdout, sys.stdout), (self.process.stderr, sys.stderr))
        self._readers = [
            threading.Thread(target=self._read, args=(source, sink), daemon=True)
            for source, sink in sources
            if source is not None
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, source: IO[bytes], sink: IO[str] | None) -> None:
        with source:
            for text in source:
                self._lines.append(_Line(time.monotonic(), text, sink))

    def show(self, until: float) -> None:
        """Show the lines that were printed before a time."""
        while not self.is_quiet and self._lines and self._lines[0].time < until:
            self._show(self._lines.popleft())

    def show_the_rest(self, until: float | None = None) -> None:
        """Show what the process printed before it ended, but only the errors before a time."""
        for reader in self._readers:
            reader.join(1)  # something that the process has started may keep the pipe open
        for line in list(self._lines):  # what the process has started may still print
            if until is None or line.time < until or line.sink is sys.stdout:
                self._show(line)

    def _show(self, line: _Line) -> None:
        if line.sink is None:  # closed by the shell: >&-
            return
        line.sink.write(f"[{self.number}] {line.text.decode(errors='replace')}")
        line.sink.flush()

    def send(self, number: int) -> None:
        """Send a signal to the process and those that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    @property
    def is_stopped(self) -> bool:
        """Whether a signal such as SIGSTOP has stopped the process."""
        with contextlib.suppress(OSError, AttributeError):  # no waitid, or no such child any more
            found = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
            return found is not None
        return False


@contextlib.contextmanager
def _passed_on(workers: Sequence[_Worker]) -> Generator[list[int]]:
    """Pass signals on to the processes; yield the list of those received."""
    received: list[int] = []

    def pass_on(number: int, _: object) -> None:
        received.append(number)
        for worker in workers:
            worker.send(signal.SIGTERM if number == signal.SIGHUP else number)

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    try:
        yield received
    finally:
        for worker in workers:
            worker.send(signal.SIGKILL)  # whatever is left, such as what they have started
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(workers: Sequence[_Worker], signals: Sequence[int]) -> int:
    """Wait until all processes have ended, or end them after the first has failed."""
    while not signals:
        ended = [worker for worker in workers if worker.process.poll() is not None]
        failed = [worker for worker in ended if worker.process.returncode]
        if failed:
            done = [worker for worker in ended if worker not in failed]
            return _end_after(_culprit(failed, workers), workers, done)
        if len(ended) == len(workers):
            _show_the_rest(workers)
            return 0
        for worker in workers:
            worker.show(time.monotonic() - HELD)
        time.sleep(INTERVAL)
    before = time.monotonic() - HELD
    _kill_after(TO_END, workers, signals)
    _show_the_rest(workers, None, before)
    print(f"fcjax launch: stopped by {signal.Signals(signals[0]).name}", file=sys.stderr)
    return 128 + signals[0]


def _culprit(failed: Sequence[_Worker], workers: Sequence[_Worker]) -> _Worker:
    """Return the process to blame: JAX aborts the others if one stops answering, or dies."""
    aborted = [worker for worker in failed if worker.process.returncode == -signal.SIGABRT]
    stopped = [worker for worker in workers if worker.is_stopped]
    if len(aborted) == len(failed) and stopped:
        return stopped[0]
    return next((worker for worker in failed if worker not in aborted), failed[0])


def _end_after(culprit: _Worker, workers: Sequence[_Worker], done: Sequence[_Worker]) -> int:
    """End the others, say why, and return the exit status.

    Processes wait for each other at their exit. So one that was done before may be the cause.
    """
    before = time.monotonic() - HELD
    status = culprit.process.returncode
    _kill_after(TO_FINISH, workers)
    _show_the_rest(workers, culprit, before)
    others = "; the others were stopped" if len(workers) > 1 else ""
    if done:
        numbers = ", ".join(str(worker.number) for worker in done)
        others = f", after process {numbers} had ended with status 0{others}"
    name = f"process {culprit.number} of {len(workers)}"
    print(f"fcjax launch: {name} {_in_words(status)}{others}", file=sys.stderr)
    return 1 if status is None else status if status > 0 else 128 - status


def _show_the_rest(
    workers: Sequence[_Worker], culprit: _Worker | None = None, before: float | None = None
) -> None:
    for worker in workers:
        if worker is culprit or not worker.is_quiet:
            worker.show_the_rest(None if worker is culprit else before)


def _in_words(status: int | None) -> str:
    if status is None:
        return "was stopped by a signal and did not answer"
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def _kill_after(seconds: float, workers: Sequence[_Worker], signals: Sequence[int] = ()) -> None:
    """Wait for the processes, but not beyond some seconds or a second signal, and kill the rest."""
    end = time.monotonic() + seconds
    told = not signals
    while time.monotonic() < end and any(w.process.poll() is None for w in workers):
        if len(signals) > 1:
            break
        if not told and end - time.monotonic() < seconds - TO_TELL:
            print(f"fcjax launch: its processes have {seconds:.0f} s to end; a second signal ends "
                  "them now", file=sys.stderr)  # fmt: skip
            told = True
        time.sleep(INTERVAL)
    for worker in workers:
        worker.send(signal.SIGKILL)
        worker.process.wait()
