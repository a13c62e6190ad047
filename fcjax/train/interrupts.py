"""Ctrl-C and SIGTERM during training: they end it where the state is complete and can be saved."""

import os
import signal
import threading
from types import FrameType
from typing import Any

import jax

from .._errors import Portable
from ..distributed import largest_of_all_processes

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


class TrainingInterrupted(Portable, KeyboardInterrupt, SystemExit):
    """A signal ended `fit`. `result` is the `FitResult` so far.

    It is a `KeyboardInterrupt`, so a notebook goes on, and a `SystemExit`, so a script that does
    not catch it ends without a traceback, with the exit status that shells give to the signal: 130
    for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, number: int, message: str, result: Any):
        """Store the result; `number` is that of the signal."""
        super().__init__(message)
        self.code, self.result = 128 + number, result

    def _attributes(self) -> dict[str, Any]:
        return self.__dict__ | {"code": self.code}


class SignalError(Exception):
    """A signal was noted."""

    def __init__(self, number: int):
        """Store the number of the signal."""
        super().__init__(number)
        self.number = number


class Interrupts:
    """A context in which the first signal is noted, and a second one has its usual effect.

    Signals that the caller handles are left to the caller's handler, except asyncio's: it waits
    for the event loop, which waits for training. In threads other than the main one, Python cannot
    handle signals. Processes that are forked meanwhile do not note signals. A signal that comes
    after the last look at it has its usual effect at the end.
    """

    def __init__(self):
        """Note nothing yet."""
        self._received: int | None = None
        self._is_known = False
        self._process = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if handler in _DEFAULTS or _is_of_asyncio(handler):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._restore_handlers()
        if kind is None and self._received is not None and not self._is_known:
            signal.raise_signal(self._received)

    def _restore_handlers(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def received(self) -> int | None:
        """Return the signal that was noted, if any: the caller ends soon, and says why."""
        self._is_known = self._received is not None
        return self._received

    def check(self) -> None:
        """Raise SignalError if any process received one. All must call this together."""
        number = largest_of_all_processes(self._received or 0, "the question for signals")
        if number:
            self._is_known = True
            raise SignalError(number)

    def check_if_alone(self) -> None:
        """Raise SignalError if this process received one, and has no others to agree with."""
        if jax.process_count() == 1:
            self.check()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._received is None and os.getpid() == self._process:
            self._received = number
            return
        self._restore_handlers()
        signal.raise_signal(number)


def _is_of_asyncio(handler: Any) -> bool:
    function = getattr(handler, "func", handler)  # it may be partial
    return (getattr(function, "__module__", None) or "").startswith("asyncio.")


def name_of(number: int) -> str:
    """Return the name of a signal, such as SIGTERM."""
    return signal.Signals(number).name
