"""Run a program as `python` would, and audit the rules that it calls: `python -m fcjax.audit`."""

import contextlib
import os
import signal
import sys

from fcjax_cli.running import run, show

from .listener import Listener
from .report import CALLBACKS, blames_callbacks
from .settings import Settings
from .verdicts import audited


def main() -> int:
    """Run the script or module that the command line names; return the exit status."""
    settings = Settings.given()
    # the program may close its standard error; its standard output is its own
    to, encoding = os.dup(sys.stderr.fileno()), sys.stderr.encoding
    with Listener(callbacks=settings.callbacks) as listener:
        status, error = _run(sys.argv[1:])
    with (
        open(to, "w", 1, encoding=encoding, errors="replace") as report,
        contextlib.redirect_stderr(report),  # the checks may warn
    ):
        audit = audited(listener, time_limit=settings.time_limit, expected=settings.expected)
        if settings.callbacks and error is not None and blames_callbacks(str(error)):
            audit = audit.with_hint(CALLBACKS)
        audit.write(*settings.files)
        print(audit, file=report)
    return status or audit.status


def _run(command: list[str]) -> tuple[int, Exception | None]:
    """Run a program, and return its exit status, and the error that has ended it."""
    try:
        run(command)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0, None
        print(end.code, file=sys.stderr)
        return 1, None
    except Exception as error:
        show(error)
        return 1, error
    except KeyboardInterrupt:  # what was called until then is checked
        return 128 + signal.SIGINT, None
    finally:
        _flush()
    return 0, None


def _flush() -> None:
    """Print what the program has printed before the report."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # it may be None, or closed
            stream.flush()


if __name__ == "__main__":
    sys.exit(main())
