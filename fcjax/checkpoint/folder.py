"""The folder of all checkpoints of a run."""

from pathlib import Path

from .._arguments import describe
from .orbax import orbax


def steps(directory: str | Path) -> list[int]:
    """Return the numbers of all complete checkpoints, in order.

    Args:
        directory: the folder of the checkpoints; it need not exist.

    Raises:
        ImportError: Orbax is not installed.
        ValueError: `directory` is empty.

    >>> steps("/no/such/folder")
    []
    """
    folder = checked_directory(directory)
    return sorted(orbax().utils.checkpoint_steps(folder)) if folder.is_dir() else []


def latest(directory: str | Path) -> int | None:
    """Return the number of the newest checkpoint, or None if there is none.

    Args:
        directory: the folder of the checkpoints; it need not exist.

    Raises:
        ImportError: Orbax is not installed.
        ValueError: `directory` is empty.

    >>> latest("/no/such/folder") is None
    True
    """
    return max(steps(directory), default=None)


def existing(directory: str | Path) -> list[int]:
    found = steps(directory)
    if not found:
        raise FileNotFoundError(f"directory {str(directory)!r} holds no checkpoint")
    return found


def checked_directory(directory: object) -> Path:
    """Return the absolute path of a folder, or raise unless it is one or can become one."""
    if not isinstance(directory, str | Path):
        raise TypeError(f"directory must be a path, got {describe(directory)}")
    if str(directory) == "" or "\0" in str(directory):
        raise ValueError(f"directory must be the path of a folder, got {str(directory)!r}")
    path = Path(directory).absolute()
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"directory must be a folder, got the file {str(directory)!r}")
    return path


def name_of(directory: str | Path, step: int) -> str:
    return f"the checkpoint of step {step} in {str(directory)!r}"
