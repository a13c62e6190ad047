"""Paths that are passed as arguments, and files that are replaced in one step."""

import contextlib
import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import cast

from ._arguments import describe


def checked_path(name: str, path: object) -> Path:
    """Return a path, or raise unless it is one."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} must be a path, got {describe(path)}")
    text = os.fspath(cast("str | os.PathLike[str]", path))
    if not text or "\0" in text:
        raise ValueError(f"{name} must be a path, got {text!r}")
    if Path(text).parts[:1] == ("~",):
        raise ValueError(
            f"{name} must be a path without ~, which only a shell replaces by the home folder, got "
            f"{text!r}; use Path(...).expanduser()"
        )
    return Path(text)


def checked_file(name: str, path: object) -> Path:
    """Return the path of a file to be written, or raise unless its folder can hold it."""
    file = checked_path(name, path)
    if file.is_dir():
        raise IsADirectoryError(f"{name} must be a file, got the folder {str(file)!r}")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"{name} must lie in a folder that exists, got {str(file)!r}")
    return file


@contextlib.contextmanager
def naming(path: Path) -> Generator[None]:
    """Name a file in errors of writing it, as of a full disk; the system says only what it is."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise type(error)(error.errno, error.strerror, os.fspath(path)) from None


def replace_file(path: Path, content: bytes | bytearray) -> None:
    """Write a file so that it has its old content or all of the new one, whatever happens."""
    with naming(path):
        _replace_file(path, content)


def _replace_file(path: Path, content: bytes | bytearray) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync(path.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(folder: Path) -> None:
    """Write the names of a folder to the disk; not every system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
