"""Orbax, which is imported on use, and what its errors become."""

import contextlib
import gc
import logging
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import jax

_MAX_LENGTH = 120
_OS_ERROR = re.compile(r"\[os_error_code='(\d+)'\]")
_ANNOTATION = re.compile(r" \[\w+(?: \w+)*='.*'\]")
_ORBAX = "/orbax/checkpoint/"
_WAITING = "Waiting for previous save"
_SETTLING = 0.2  # seconds in which the threads of Orbax notice an error of another one


def shortened(error: Exception) -> str:
    """Return what a message says, on one line; TensorStore's are long.

    They begin with paths, and end with annotations such as [os_error_code='28'].
    """
    line = " ".join(str(error).split())
    if code := _OS_ERROR.search(line):
        return os.strerror(int(code[1]))
    line = _ANNOTATION.sub("", line.partition(" See full TensorStore")[0])
    if len(line) <= _MAX_LENGTH:
        return line
    return f"{line[: _MAX_LENGTH // 2]} ... {line[-_MAX_LENGTH // 2 :]}"


def os_error_of(error: Exception) -> int | None:
    """Return the number of the system's error that Python or TensorStore reports, if it is one."""
    if isinstance(error, OSError):
        return error.errno
    code = _OS_ERROR.search(str(error))
    return int(code[1]) if code else None


@contextlib.contextmanager
def errors_of_writing(directory: Path) -> Generator[None]:
    """Name the folder in errors of writing; TensorStore raises ValueError for a full disk."""
    try:
        with quietly():
            yield
    except Exception as error:
        raise OSError(
            f"directory {str(directory)!r} could not be written; its earlier checkpoints are as "
            f"they were: {shortened(error)}"
        ) from None


@contextlib.contextmanager
def quietly() -> Generator[None]:
    """Report an error once.

    Orbax also logs it, with hundreds of lines of traceback from each of its threads. And when one
    array fails, it closes the event loop to which the others are about to report. What nobody
    asks them for then, asyncio logs once the collector finds it.
    """
    hook, keep = sys.unraisablehook, _IsNotFromOrbax()
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    for logger in loggers:
        logger.addFilter(keep)

    def ignore_coroutines(unraisable: Any) -> None:
        code = getattr(unraisable.object, "cr_code", None)
        if not (_is_closed_loop(unraisable) or (code and _ORBAX in code.co_filename)):
            hook(unraisable)

    sys.unraisablehook = ignore_coroutines
    try:
        yield
    except Exception as error:
        # What a thread still holds is found later, when the process ends at the latest.
        logging.getLogger("asyncio").addFilter(_LEFT_BEHIND)
        # The others end now, and not when the process does, which would report each.
        time.sleep(_SETTLING)
        traceback.clear_frames(error.__traceback__)
        with _without_warnings_of_coroutines():
            gc.collect()
        raise
    finally:
        for logger in loggers:
            logger.removeFilter(keep)
        if sys.unraisablehook is ignore_coroutines:  # and not one that was set since
            sys.unraisablehook = hook


@contextlib.contextmanager
def _without_warnings_of_coroutines() -> Generator[None]:
    """Show no warning of coroutines that were never awaited.

    A filter would do, but each change of the filters makes Python show again what it has shown
    once, and a disk that is full is full at the next save too.
    """
    show = warnings.showwarning

    def show_others(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        if "was never awaited" not in str(message):
            show(message, *args, **kwargs)

    warnings.showwarning = show_others
    try:
        yield
    finally:
        warnings.showwarning = show


def _is_closed_loop(unraisable: Any) -> bool:
    return "Event loop is closed" in str(unraisable.exc_value)


class _IsNotFromOrbax(logging.Filter):
    """Drops errors of Orbax, which are raised too, and what it says of waits that are meant."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "asyncio":
            return not _raised_in_orbax(record)
        if _ORBAX not in record.pathname:
            return True
        return record.levelno < logging.ERROR and not record.getMessage().startswith(_WAITING)


_LEFT_BEHIND = _IsNotFromOrbax()


def _raised_in_orbax(record: logging.LogRecord) -> bool:
    frames = traceback.walk_tb(record.exc_info[2] if record.exc_info else None)
    return any(_ORBAX in frame.f_code.co_filename for frame, _ in frames)


def orbax() -> ModuleType:
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise ImportError("checkpoints need Orbax: pip install 'fcjax[checkpoint]'") from error
    return ocp


def reader(handler: Any) -> Any:
    """Return what reads files in this process, and waits for no other, which may find no damage."""
    ocp, this = orbax(), jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=this, active_processes={this}, barrier_sync_key_prefix=f"process_{this}"
    )
    return ocp.Checkpointer(handler, multiprocessing_options=options)


def noting(handler: Any, failures: list[Exception]) -> Any:
    """Let a handler note errors of writing: Orbax reports them once all processes have finished."""
    save = handler.async_save

    async def async_save(*args: Any, **kwargs: Any) -> list[_Noted]:
        return [_Noted(future, failures) for future in await save(*args, **kwargs) or ()]

    handler.async_save = async_save
    return handler


class _Noted:
    """A future of Orbax that notes its error."""

    def __init__(self, future: Any, failures: list[Exception]):
        self._future, self._failures = future, failures

    def result(self, timeout: float | None = None) -> Any:
        try:
            return self._future.result(timeout)
        except Exception as error:
            self._failures.append(error)
            raise
