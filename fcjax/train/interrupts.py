"""Ctrl-C and SIGTERM during training: they end it where the state is complete and can be saved."""

import asyncio
import signal
import threading
from types import FrameType
from typing import Any

from ..distributed import largest_of_all_processes

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


class TrainingInterrupted(KeyboardInterrupt, SystemExit):
    """A signal ended `fit`. `result` is the `FitResult` so far.

    It is a `KeyboardInterrupt`, so a notebook goes on, and a `SystemExit`, so a script that does
    not catch it ends without a traceback, with the exit status that shells give to the signal: 130
    for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, number: int, message: str, result: Any):
        """Store the result; `number` is that of the signal."""
        super().__init__(message)
        self.code, self.result = 128 + number, result


class Interrupts:
    """A context in which the first signal is noted, and a second one has its usual effect.

    Signals that the caller handles are left to the caller's handler, except asyncio's: it waits
    for the event loop, which waits for training. In threads other than the main one, Python cannot
    handle signals.
    """

    def __init__(self):
        """Note nothing yet."""
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) in _DEFAULTS or _blocks_event_loop():
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def received(self) -> int:
        """Return the number of a signal that any process received, 0 if there is none.

        All processes of a job must call this together.
        """
        return largest_of_all_processes(self._received or 0, "the question for signals")

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._received is None:
            self._received = number
            return
        self.__exit__()
        signal.raise_signal(number)


def _blocks_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def name_of(number: int) -> str:
    """Return the name of a signal, such as SIGTERM."""
    return signal.Signals(number).name
