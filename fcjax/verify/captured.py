"""The arrays that a function closes over: which they are, and where they sit."""

import functools
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .._jax import (
    JIT,
    constants_in,
    halves_of,
    has_dtype,
    inline_calls,
    is_array,
    name_of,
    original,
    rule_constants,
)

# How deep objects are searched for arrays. A bound method of a network of modules needs five.
DEPTH = 8


class Captured(NamedTuple):
    """The floating-point arrays that a traced call closes over.

    Attributes:
        names: where each one sits that can be differentiated by.
        arrays: these.
        held: what cannot, in words: why it gets no gradient.
    """

    names: tuple[str, ...] = ()
    arrays: tuple[Any, ...] = ()
    held: tuple[str, ...] = ()


def captured_by(fun: Callable[..., Any], closed: Any, given: Sequence[Any]) -> Captured:
    """Return the arrays, other than `given` ones, in the program of a call of `fun`."""
    program = inline_jits(closed)
    known = {id(array) for array in given}
    direct = {id(array): array for array in map(original, program.consts)}
    everywhere = {id(array): array for array in map(original, constants_in(closed))}
    of_rules = rule_constants(program)
    names = dict(_arrays_around(fun))
    found, held = {}, []
    for number, array in everywhere.items():
        if number in known or number not in names or not _is_real(array):
            continue
        if number in direct and not any(id(c) in of_rules for c in _same(program, array)):
            found[names[number]] = array
        else:
            held.append(
                f"{names[number]} ({array.dtype}{list(array.shape)}): a constant inside of a rule "
                "or a loop, which nobody can differentiate by"
            )
    return Captured(tuple(found), tuple(found.values()), tuple(held))


def _same(program: Any, array: Any) -> list[Any]:
    return [const for const in program.consts if original(const) is array]


def _is_real(array: Any) -> bool:
    return has_dtype(array, jnp.floating) and array.size > 0


def inline_jits(closed: Any) -> Any:
    """Return a program without calls of jit, so that it holds their constants itself."""
    return inline_calls(closed, lambda equation, _: name_of(equation) in JIT)


def with_arrays(closed: Any, old: Sequence[Any], new: Sequence[Array]) -> list[Any]:
    """Return the constants of a program, those that were `old` replaced by `new`."""
    replaced = {id(array): value for array, value in zip(old, new, strict=True)}
    return [replaced.get(id(original(const)), const) for const in closed.consts]


def _arrays_around(fun: Callable[..., Any]) -> Iterator[tuple[int, str]]:
    """Yield id and name of every array that a function can reach."""
    module = getattr(fun, "__module__", None)
    yield from _walk(fun, "", module, DEPTH, set())


def _walk(
    value: Any, name: str, module: str | None, depth: int, seen: set[int]
) -> Iterator[tuple[int, str]]:
    if is_array(value):
        yield id(value), name or "captured"
        return
    if id(value) in seen or depth == 0 or isinstance(value, type | types.ModuleType | str):
        return
    seen.add(id(value))
    for part, inner in _parts(value, name, module):
        yield from _walk(inner, part, module, depth - 1, seen)


def _parts(value: Any, name: str, module: str | None) -> Iterator[tuple[str, Any]]:
    """Yield what an object holds, each with its name."""
    if isinstance(value, functools.partial):
        yield name, value.func
        yield from ((f"{name}.args[{i}]".lstrip("."), arg) for i, arg in enumerate(value.args))
        yield from value.keywords.items()
    elif isinstance(value, types.MethodType):
        yield name or "self", value.__self__
        yield "", value.__func__
    elif isinstance(value, types.FunctionType):
        yield from _around_code(value, module)
    elif (halves := halves_of(value)) is not None:
        yield "", halves.primal
    elif hasattr(value, "__wrapped__"):
        yield name, value.__wrapped__
    else:
        yield from _fields(value, name)


def _around_code(function: Any, module: str | None) -> Iterator[tuple[str, Any]]:
    """Yield the closure of a function, and the globals of its module that it uses."""
    for variable, cell in zip(
        function.__code__.co_freevars, function.__closure__ or (), strict=True
    ):
        if cell != types.CellType():  # an empty one
            yield variable, cell.cell_contents
    if hasattr(function, "__wrapped__"):
        yield "", function.__wrapped__
    code, defaults = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    yield from zip(names[len(names) - len(defaults) :], defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()
    if function.__module__ == module:
        for variable in function.__code__.co_names:
            if variable in function.__globals__:
                yield variable, function.__globals__[variable]


def _fields(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    leaves = jax.tree.leaves_with_path(value)
    if not (len(leaves) == 1 and leaves[0][1] is value):  # a pytree, such as a module
        for path, leaf in leaves:
            yield (name + jax.tree_util.keystr(path)).lstrip("."), leaf
    elif hasattr(value, "__dict__"):
        yield from ((f"{name}.{field}".lstrip("."), v) for field, v in vars(value).items())
