"""The folder of all checkpoints of a run."""

import tempfile
from pathlib import Path

from .._arguments import brief, describe
from .orbax import orbax

# Orbax looks for the parts of a checkpoint by a pattern that begins with the path.
_PATTERNS = "*?[\\"
_RECORD = "record"  # what every checkpoint holds


def steps(directory: str | Path) -> list[int]:
    """Return the numbers of all complete checkpoints, in order.

    Args:
        directory: the folder of the checkpoints; it need not exist.

    Raises:
        ImportError: Orbax is not installed.
        ValueError: `directory` is empty, or a pattern such as `run*`.

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
        ValueError: `directory` is empty, or a pattern such as `run*`.

    >>> latest("/no/such/folder") is None
    True
    """
    return max(steps(directory), default=None)


def existing(directory: str | Path) -> list[int]:
    found = steps(directory)
    if not found:
        raise FileNotFoundError(f"directory {str(directory)!r} holds no checkpoint")
    return found


def checked_directory(directory: object, name: str = "directory") -> Path:
    """Return the absolute path of a folder, or raise unless it is one or can become one."""
    if not isinstance(directory, str | Path):
        raise TypeError(f"{name} must be a path, got {describe(directory)}")
    if str(directory) == "" or "\0" in str(directory):
        raise ValueError(f"{name} must be the path of a folder, got {str(directory)!r}")
    path = Path(directory).absolute()
    if any(character in path.as_posix() for character in _PATTERNS):
        raise ValueError(
            f"{name} must be a path without any of {' '.join(_PATTERNS)}, with which Orbax loses "
            f"checkpoints, got {brief(str(path))}"
        )
    if Path(directory).parts[:1] == ("~",):
        raise ValueError(
            f"{name} must be a path without ~, which only a shell replaces by the home folder, got "
            f"{str(directory)!r}; use Path(...).expanduser()"
        )
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{name} must be a folder, got the file {str(directory)!r}")
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(
            f"{name} must be a folder, got a link to nowhere, {str(directory)!r}"
        )
    if (path / _RECORD).is_dir() and path.name.isdigit():
        raise ValueError(
            f"{name} must be the folder of all checkpoints, got one of them, {str(directory)!r}; "
            f"pass {str(path.parent)!r}"
        )
    return path


def check_writable(directory: Path, name: str = "directory") -> None:
    """Raise OSError unless files can be created in the folder."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise OSError(f"{name} {str(directory)!r} cannot be written: {error}") from error


def name_of(directory: str | Path, step: int) -> str:
    return f"the checkpoint of step {step} in {str(directory)!r}"
