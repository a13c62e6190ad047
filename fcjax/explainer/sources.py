"""The code of each step that the page shows, and where it is."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path

from ..activations import rule_of
from .record import Function


def source_of(g: Function) -> tuple[str, str]:
    """Return where an activation and its rule are, and the code."""
    try:
        return code_of(inspect.unwrap(getattr(g, "func", g)))
    except (OSError, TypeError):  # it was not written in a file
        return "", ""


def source_of_backward(g: Function) -> tuple[str, str]:
    """Return where the derivative of an activation is, and the code; of another function, all."""
    backward = rule_of(g)
    if backward.keeps == "pullback":
        return source_of(g)
    derivative = inspect.unwrap(backward.bwd)
    return code_of(getattr(derivative, "func", derivative))


def code_of(function: Callable[..., object]) -> tuple[str, str]:
    """Return where a function is, and its code without the docstring."""
    function = inspect.unwrap(function)
    lines, number = inspect.getsourcelines(function)
    path = Path(inspect.getsourcefile(function) or "")
    body = [line.rstrip() for line in lines if line.strip()]
    return shortened(f"{path}:{number}"), "\n".join(_without_docstring(body))


def _without_docstring(lines: Sequence[str]) -> list[str]:
    """Return code without its docstring."""
    kept: list[str] = []
    inside = False
    for line in lines:
        quotes = line.count('"""')
        if quotes == 0 and not inside:
            kept.append(line)
        inside ^= quotes == 1
    return kept


def shortened(source: str) -> str:
    """Return file and line, without the folders above the package."""
    parts = Path(source).parts
    return "/".join(parts[parts.index("fcjax") :]) if "fcjax" in parts else Path(source).name
