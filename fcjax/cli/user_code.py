"""Import and call the functions that the command line names as package.module:function."""

import functools
import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

from .._types import Function, Tree
from ..verify.program import summary

R = TypeVar("R")


def import_function(option: str, name: str) -> Function:
    """Import the function `name`; errors name `option`, the option that it was given to."""
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


def _module(option: str, name: str) -> ModuleType:
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does, to find modules in the current folder
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{option}: {name} cannot be imported: {summary(error)}") from error


def call(option: str, name: str, fun: Callable[..., R], /, *args: Tree, **kwargs: Tree) -> R:
    """Call a function of the user; raise ValueError if it raises any exception."""
    try:
        return fun(*args, **kwargs)
    except (Exception, SystemExit) as error:
        at = " at these arguments" if args or kwargs else ""
        raise ValueError(f"{option}: {name} raised{at}: {summary(error)}") from error
