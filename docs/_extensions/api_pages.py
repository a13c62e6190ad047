"""Write the reference from the docstrings: a page for each public module."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from unicode_math import set_docstring

# The public modules, and what each is for, if its docstring is not enough.
MODULES = (
    "fcjax",
    "fcjax.activations",
    "fcjax.losses",
    "fcjax.verify",
    "fcjax.distributed",
    "fcjax.tables",
    "fcjax.estimators",
    "fcjax.checkpoint",
    "fcjax.export",
    "fcjax.trackers",
    "fcjax.plot",
    "fcjax.diagnostics",
    "fcjax.datasets",
)
_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Source):", re.MULTILINE)


def write_pages(docs: Path) -> None:
    """Write the pages into the folder `api`, those that changed."""
    folder = docs / "api"
    folder.mkdir(exist_ok=True)
    entries = "\n".join(MODULES)
    pages = {name: _page(importlib.import_module(name)) for name in MODULES}
    pages["index"] = (
        "# Reference\n\nThe public names, with shapes, what they raise, and an example that runs "
        f"as a test.\n\n```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n"
    )
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def public_names(module: ModuleType) -> list[str]:
    """Return the names of functions and classes that a module has for its users."""
    return [
        name
        for name in dir(module)
        if not name.startswith("_")
        and (inspect.isfunction(v := getattr(module, name)) or inspect.isclass(v))
        and v.__module__.startswith("fcjax")
        and (module.__name__ == "fcjax" or _is_home(module, v))
    ]


def _is_home(module: ModuleType, value: Any) -> bool:
    """Whether something belongs to a module, or to the files below it."""
    return f"{value.__module__}.".startswith(f"{module.__name__}.")


def _page(module: ModuleType) -> str:
    parts = [f"# `{module.__name__}`", set_docstring(inspect.getdoc(module) or "")]
    for name in public_names(module):
        parts += _entry(f"{module.__name__}.{name}", getattr(module, name))
    return "\n\n".join(parts) + "\n"


def _entry(name: str, value: Any) -> Iterator[str]:
    kind = "class" if inspect.isclass(value) else "function"
    fence = "::::" if kind == "class" else ":::"
    yield f"{fence}{{py:{kind}}} {name}{_signature(value)}"
    yield from _body(inspect.getdoc(value) or "")
    for method_name, method in _methods(value) if kind == "class" else ():
        yield f":::{{py:method}} {method_name}{_signature(method)}"
        yield from _body(inspect.getdoc(method) or "")
        yield ":::"
    yield fence


def _methods(value: type) -> Iterator[tuple[str, Any]]:
    for name, method in vars(value).items():
        if not name.startswith("_") and inspect.isfunction(method):
            yield name, method


def _signature(value: Any) -> str:
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return "()"
    parameters = [
        p.replace(annotation=p.empty, default=_Shown(p.default) if p.default is not p.empty
                  else p.empty)
        for p in signature.parameters.values() if p.name not in ("self", "cls")
    ]  # fmt: skip
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Parameter.empty))


class _Shown:
    """A default as it is shown, without the address that some have in their name."""

    def __init__(self, value: Any):
        self.value = value

    def __repr__(self) -> str:
        if callable(self.value):
            return getattr(self.value, "__name__", type(self.value).__name__)
        return re.sub(r" at 0x\w+", "", repr(self.value))


def _body(docstring: str) -> Iterator[str]:
    text, _, example = docstring.partition(">>> ")
    head, *rest = _SECTION.split(text)
    yield set_docstring(head)
    for title, content in zip(rest[::2], rest[1::2], strict=True):
        yield f"**{title}**"
        yield from _section(title, content)
    if example:
        yield f"```python\n>>> {example.rstrip()}\n```"


def _section(title: str, content: str) -> Iterator[str]:
    lines = inspect.cleandoc("x\n" + content).splitlines()[1:] if "\n" in content else []
    if title not in ("Args", "Attributes", "Raises") or not lines:
        words = " ".join(content.split())
        yield set_docstring(words)
        return
    items: list[str] = []
    for line in lines:
        if re.match(r"\S[^:]*:", line):
            name, _, what = line.partition(":")
            items.append(f"`{name}`: {what.strip()}")
        elif line.strip() and items:
            items[-1] += f" {line.strip()}"
    yield "\n".join(f"- {set_docstring(item)}" for item in items)
