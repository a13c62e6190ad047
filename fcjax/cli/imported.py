"""What a name on the command line, package.module:function, stands for."""

import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any

from ..verify.program import summary


def imported(option: str, name: str) -> Callable[..., Any]:
    """Return the function of that name; `option` is where it was named."""
    module, _, path = name.partition(":")
    if not module or not path:
        raise ValueError(f"{option}: {name!r} must have the form package.module:function")
    try:
        found = functools.reduce(getattr, path.split("."), _module(option, module))
    except AttributeError as error:
        raise ValueError(f"{option}: {module} has no function {path!r}") from error
    if not callable(found):
        raise ValueError(f"{option}: {name} must be a function, got {type(found).__name__}")
    return found


def _module(option: str, name: str) -> Any:
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does, so that files in this folder are found
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{option}: {name} cannot be imported: {summary(error)}") from error


def called(option: str, name: str, fun: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Return what a function of the user's returns; raise ValueError where it raises."""
    try:
        return fun(*args, **kwargs)
    except (Exception, SystemExit) as error:
        at = " at these arguments" if args or kwargs else ""
        raise ValueError(f"{option}: {name} raised{at}: {summary(error)}") from error
