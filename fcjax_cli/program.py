"""Run a program as `python` would, as one of the processes of `fcjax launch`.

Python does not say with which status it exits, and a process that exits with another than 0 must
not wait for the others. So this file catches it.
"""

import contextlib
import os
import signal
import sys
import threading
import time

from .running import run, show

# Seconds between looks at whether the launcher is still there.
INTERVAL = 1.0
# Seconds to save a checkpoint once the launcher is gone.
TO_END = 10.0


def main() -> None:
    """Run the script or the module that the command line names, with the rest as its arguments."""
    # the launcher passes Ctrl-C on, also where a shell lets what it starts ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    launcher = int(os.environ["FCJAX_LAUNCHER"])
    threading.Thread(target=_end_with, args=(launcher,), daemon=True).start()
    try:
        run(sys.argv[1:])
    except SystemExit as end:
        if end.code not in (None, 0):
            _exit_without_waiting(end.code)
        raise
    except (Exception, KeyboardInterrupt) as error:
        show(error)
        sys.exit(1 if isinstance(error, Exception) else 128 + signal.SIGINT)


def _end_with(launcher: int) -> None:
    """End this process, and those that it has started, once the launcher has been killed."""
    while os.getppid() == launcher:
        time.sleep(INTERVAL)
    with contextlib.suppress(OSError):  # the launcher may have been the reader
        print("fcjax launch: the launcher is gone; its processes end", file=sys.stderr, flush=True)
    os.killpg(0, signal.SIGTERM)
    time.sleep(TO_END)
    os.killpg(0, signal.SIGKILL)


def _exit_without_waiting(code: object) -> None:
    """Exit with what a SystemExit has: a status, or a message and status 1."""
    distributed = sys.modules.get("fcjax.distributed")
    if distributed is not None:
        if not isinstance(code, int):
            print(code, file=sys.stderr)
        # as the shell sees it: -1 is 255
        distributed.abort((code & 0xFF or 1) if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
