"""Run a program as `python` would, and audit the rules that it calls: `python -m fcjax.audit`."""

import os
import runpy
import sys
import traceback

from .listener import Listener
from .settings import Settings
from .verdicts import audited


def main() -> int:
    """Run the script or module that the command line names; return the exit status."""
    settings = Settings.given()
    is_module = sys.argv[1] == "-m"
    name, *arguments = sys.argv[1 + is_module :]
    sys.argv = [name, *arguments]
    with Listener(callbacks=settings.callbacks) as listener:
        status = _run(name, is_module)
    audit = audited(listener, time_limit=settings.time_limit, expected=settings.expected)
    audit.write(*settings.files)
    print(audit, flush=True)
    return status or (0 if audit.ok else 1)


def _run(name: str, is_module: bool) -> int:
    """Run a program, and return its exit status."""
    try:
        if is_module:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = os.path.dirname(os.path.abspath(name))
            runpy.run_path(name, run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
