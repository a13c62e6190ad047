"""Whose folder of checkpoints it is: of all processes of one job, and of no other job."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

from ..distributed import is_first_process, largest_of_all_processes, of_all_processes

try:
    import fcntl
except ImportError:  # not on every system
    fcntl = None

_LOCK = ".lock"
_SEEN = ".seen"


@contextlib.contextmanager
def owned(directory: Path) -> Generator[None]:
    """Let no other job write a folder; raise in all processes if one does.

    The first process holds the lock, which the system releases when it dies. Where the file system
    has no locks, there is none.
    """
    with contextlib.ExitStack() as stack:
        is_taken = is_first_process() and not _lock(directory, stack)
        if largest_of_all_processes(is_taken, "the opening of a folder of checkpoints"):
            raise BlockingIOError(
                f"directory {str(directory)!r} is written by another run, which must end first"
            )
        _check_shared(directory)
        yield


def _lock(directory: Path, stack: contextlib.ExitStack) -> bool:
    """Lock the folder until the stack is closed; return whether no other job has."""
    if fcntl is None:
        return True
    file = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    stack.callback(os.close, file)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX allows either
        return False
    except OSError:  # no locks here
        pass
    return True


def _check_shared(directory: Path) -> None:
    """Raise ValueError in all processes unless all see the same folder."""
    at, mark = "the sharing of a folder of checkpoints", directory / _SEEN
    if is_first_process():
        mark.touch()
    of_all_processes(0, at)
    sees = of_all_processes(mark.exists(), at)
    if is_first_process():
        mark.unlink()
    if not all(sees):
        raise ValueError(
            f"directory must be a folder that all processes share, got {str(directory)!r}, which "
            f"is another one in process {sees.index(0)} than in process 0"
        )
