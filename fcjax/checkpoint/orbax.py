"""Orbax, which is imported on use, and what its errors become."""

import contextlib
import gc
import logging
import sys
import time
import traceback
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import Any

_MAX_LENGTH = 120
_SETTLING = 0.2  # seconds in which the threads of Orbax notice an error of another one


def shortened(error: Exception) -> str:
    """Return the end of a message on one line; TensorStore's begin with long paths."""
    line = " ".join(str(error).split())
    return line if len(line) <= _MAX_LENGTH else f"... {line[-_MAX_LENGTH:]}"


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
    """Let an error be the only word of it.

    Orbax also logs it, with hundreds of lines of traceback from each of its threads. And when one
    array fails, it closes the event loop to which the others are about to report.
    """
    hook = sys.unraisablehook

    def ignore_closed_loop(unraisable: Any) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            hook(unraisable)

    sys.unraisablehook = ignore_closed_loop
    try:
        yield
    except Exception as error:
        # The others end now, and not when the process does, which would report each.
        time.sleep(_SETTLING)
        traceback.clear_frames(error.__traceback__)
        gc.collect()
        raise
    finally:
        sys.unraisablehook = hook


def _is_not_from_orbax(record: logging.LogRecord) -> bool:
    return "/orbax/checkpoint/" not in record.pathname or record.levelno < logging.ERROR


def orbax() -> ModuleType:
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise ImportError("checkpoints need Orbax: pip install 'fcjax[checkpoint]'") from error
    # The errors are raised, so they need not be logged too.
    logging.getLogger("absl").addFilter(_is_not_from_orbax)
    return ocp
