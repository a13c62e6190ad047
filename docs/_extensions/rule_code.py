"""The code of a rule: the functions of its module that belong to it, and its derivation."""

import ast
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from unicode_math import set_comment, set_docstring

# Functions that check arguments are no part of a rule.
_CHECKS = ("_check", "checked")


def code_of(function: Callable[..., Any]) -> tuple[str, tuple[str, ...]]:
    """Return the file of a rule, and the source of each function that belongs to it."""
    function = inspect.unwrap(getattr(function, "func", function))
    module = inspect.getmodule(function)
    assert isinstance(module, ModuleType)
    source = inspect.getsource(module)
    tree = ast.parse(source)
    wanted = _related(tree, function.__name__)
    parts = [
        _without_docstring(ast.get_source_segment(source, node, padded=True) or "", source, node)
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.Assign) and _name_of(node) in wanted
    ]
    return module.__name__.replace(".", "/") + ".py", tuple(parts)


def _related(tree: ast.Module, name: str) -> set[str]:
    """Return the names in a module that a function uses, and those of rules that it calls."""
    uses = {
        _name_of(node): {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.Assign) and _name_of(node)
    }
    for node in tree.body:  # f.defvjp(fwd, bwd) belongs to f
        call = node.value if isinstance(node, ast.Expr) else None
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            owner = call.func.value
            if isinstance(owner, ast.Name) and owner.id in uses:
                uses[owner.id] |= {n.id for n in ast.walk(call) if isinstance(n, ast.Name)}
    found, left = set[str](), {name}
    while left:
        one = left.pop()
        found.add(one)
        left |= {n for n in uses.get(one, ()) if n in uses and not n.startswith(_CHECKS)} - found
    return found


def _name_of(node: ast.stmt) -> str:
    if isinstance(node, ast.FunctionDef):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return ""


def _without_docstring(segment: str, source: str, node: ast.stmt) -> str:
    if not isinstance(node, ast.FunctionDef):
        return segment
    lines = source.splitlines()
    start = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
    kept = lines[start : node.end_lineno]
    if ast.get_docstring(node) is not None and len(node.body) > 1:
        first = node.body[0]
        del kept[first.lineno - 1 - start : (first.end_lineno or first.lineno) - start]
    return "\n".join(kept)


def derivation_of(function: Callable[..., Any], parts: tuple[str, ...]) -> Iterator[str]:
    """Yield the paragraphs of a derivation, as Markdown.

    They are the docstrings of the functions that belong to a rule, where they have formulas in
    lines of their own, and the comments that open a function.
    """
    module = inspect.getmodule(inspect.unwrap(getattr(function, "func", function)))
    for part in parts:
        name = re.search(r"^def (\w+)", part, re.MULTILINE)
        inner = getattr(module, name[1], None) if name else None
        docstring = inspect.getdoc(inner) if name and name[1].startswith(("_", "dense_")) else None
        if docstring and re.search(r"^    .*=", docstring, re.MULTILINE):
            yield set_docstring(docstring)
        comment = _first_comment(part)
        if any(c in comment for c in "=⟨"):
            yield set_comment([line for line in comment.split("\n") if line.strip()])


def _first_comment(part: str) -> str:
    """Return the comment between the head of a function and its first statement."""
    tokens = tokenize.generate_tokens(io.StringIO(textwrap.dedent(part)).readline)
    lines: list[str] = []
    is_inside = False
    for token in tokens:
        if token.type == tokenize.NEWLINE and not is_inside:
            is_inside = True
        elif is_inside and token.type == tokenize.COMMENT:
            lines.append(token.string.removeprefix("#").removeprefix(" "))
        elif is_inside and token.type not in (tokenize.NL, tokenize.INDENT):
            break
    return "\n".join(lines)
