"""Run a program as `python` would, and audit the rules that it calls: `python -m fcjax.audit`."""

import contextlib
import os
import signal
import sys

from fcjax_cli.running import run, show

from .listener import Listener
from .settings import Settings
from .verdicts import audited


def main() -> int:
    """Run the script or module that the command line names; return the exit status."""
    settings = Settings.given()
    # the program may close its standard output
    to, encoding = os.dup(sys.stdout.fileno()), sys.stdout.encoding
    with Listener(callbacks=settings.callbacks) as listener:
        status = _run(sys.argv[1:])
    audit = audited(listener, time_limit=settings.time_limit, expected=settings.expected)
    audit.write(*settings.files)
    with open(to, "w", encoding=encoding, errors="replace") as report:
        print(audit, file=report)
    return status or (0 if audit.ok else 1)


def _run(command: list[str]) -> int:
    """Run a program, and return its exit status."""
    try:
        run(command)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except Exception as error:
        show(error)
        return 1
    except KeyboardInterrupt:  # what was called until then is checked
        return 128 + signal.SIGINT
    finally:
        _flush()
    return 0


def _flush() -> None:
    """Print what the program has printed before the report."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # it may be None, or closed
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
