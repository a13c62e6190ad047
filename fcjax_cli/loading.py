"""Ctrl-C while packages are loaded."""

import contextlib
import signal
from collections.abc import Generator


@contextlib.contextmanager
def loading() -> Generator[None]:
    """Let Ctrl-C end the process at once, where nothing has begun that would have to be undone.

    Packages lose a KeyboardInterrupt, or make another error of it, if it comes while they load.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
