"""Ctrl-C where Python cannot raise: it comes again."""

import contextlib
import signal
import sys
import threading
from collections.abc import Generator
from typing import Any

_PAUSE = 0.05  # seconds, in which the code that cannot raise ends


@contextlib.contextmanager
def keeping_interrupts() -> Generator[None]:
    """Send a signal again whose KeyboardInterrupt was dropped.

    Python cannot raise in a callback of its garbage collector, such as JAX's, or in `__del__`: it
    prints "Exception ignored", and goes on.
    """
    report = sys.unraisablehook

    def again(unraisable: Any) -> None:
        if unraisable.exc_type is not KeyboardInterrupt:
            report(unraisable)
            return
        timer = threading.Timer(_PAUSE, _interrupt_main)
        timer.daemon = True
        timer.start()

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = report


def _interrupt_main() -> None:
    """Send SIGINT to the main thread, which it wakes where the system can send it to a thread."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
