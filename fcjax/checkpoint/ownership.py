"""Whose folder of checkpoints it is: of all processes of one job, and of no other job."""

import os
from pathlib import Path

from ..distributed import is_first_process, largest_of_all_processes, of_all_processes

try:
    import fcntl
except ImportError:  # not on every system
    fcntl = None

_LOCK = ".lock"
_SEEN = ".seen"


class Owned:
    """A folder that only this job writes, until it ends or `release` is called.

    The lock is that of the system, which releases it when a process dies. Where the file system has
    no locks, there is none.
    """

    def __init__(self, directory: Path):
        """Lock the folder in the first process; raise in all if that, or sharing it, fails."""
        self._lock: int | None = None
        is_taken = is_first_process() and not self._take(directory)
        if largest_of_all_processes(is_taken, "the opening of a folder of checkpoints"):
            raise BlockingIOError(
                f"directory {str(directory)!r} is written by another run, which must end first"
            )
        _check_shared(directory)

    def _take(self, directory: Path) -> bool:
        if fcntl is None:
            return True
        self._lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            self.release()
            return False
        except OSError:  # no locks here
            pass
        return True

    def release(self) -> None:
        """Let other jobs write."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None


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
