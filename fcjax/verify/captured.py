"""The arrays that a function closes over, and their names."""

import functools
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .._jax import (
    JIT,
    ClosedJaxpr,
    constants_in,
    constants_into_rules,
    constants_of_rules,
    equations_in,
    halves_of,
    has_dtype,
    inline_calls,
    is_array,
    is_hand_written,
    name_of,
    original,
    rule_constants,
    wrapped_by,
)
from .._types import AnyArray, Function

# Limits of the search for names: some object graphs are infinite.
MAX_DEPTH = 8
MAX_OBJECTS = 2000


class Captured(NamedTuple):
    """The floating-point arrays that a function closes over and a hand-written rule may depend on.

    Attributes:
        names: the names of the differentiable ones.
        arrays: the differentiable ones.
        positions: their positions among the constants of the program, after `inline_jits`.
        fixed: descriptions of the arrays that are kept constant by design.
        missed: descriptions of the arrays that the checker cannot differentiate with respect to.
    """

    names: tuple[str, ...] = ()
    arrays: tuple[AnyArray, ...] = ()
    positions: tuple[int, ...] = ()
    fixed: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()

    def with_first_fixed(self, why: str) -> "Captured":
        """Keep the first array constant."""
        return self._replace(
            names=self.names[1:],
            arrays=self.arrays[1:],
            positions=self.positions[1:],
            fixed=(*self.fixed, f"{self.names[0]} is kept constant: {why}"),
        )


def captured_by(fun: Function, closed: ClosedJaxpr) -> Captured:
    """Return the arrays that `fun` closes over; `closed` is the traced program of its call."""
    program = inline_jits(closed)
    where = dict(_arrays_around(fun))
    of_rules, into_rules = rule_constants(program), constants_into_rules(program)
    arrays = {i: original(const) for i, const in enumerate(program.consts)}
    names = {i: where.get(id(array), f"captured[{i}]") for i, array in arrays.items()}
    real = [i for i, array in arrays.items() if _is_real(array)]
    chosen = [i for i in real if i in into_rules and id(program.consts[i]) not in of_rules]
    fixed = [
        f"{names[i]} ({arrays[i].dtype}{list(arrays[i].shape)}) is a constant of a rule, which has "
        "no gradient"
        for i in real
        if id(program.consts[i]) in of_rules
    ]
    return Captured(
        tuple(names[i] for i in chosen),
        tuple(arrays[i] for i in chosen),
        tuple(chosen),
        tuple(fixed),
        (
            *_missed(closed, program, where),
            *(
                f"{names[i]} ({array.dtype}{list(array.shape)}), which the function closes over"
                for i, array in arrays.items()
                if i in into_rules and has_dtype(array, jnp.complexfloating) and array.size
            ),
        ),
    )


def _missed(closed: ClosedJaxpr, program: ClosedJaxpr, where: Mapping[int, str]) -> Iterator[str]:
    """Yield the arrays that are closed over inside a loop or branch, if the program has rules."""
    if not any(map(is_hand_written, equations_in(program))):
        return
    direct = {id(original(const)) for const in program.consts}
    of_rules = {id(original(const)) for const in constants_of_rules(closed)}
    for array in map(original, constants_in(closed)):
        if id(array) not in direct | of_rules and _is_real(array):
            name = where.get(id(array), "an array")
            yield f"{name} ({array.dtype}{list(array.shape)}), which a loop closes over"


def _is_real(array: AnyArray) -> bool:
    return has_dtype(array, jnp.floating) and array.size > 0


def inline_jits(closed: ClosedJaxpr) -> ClosedJaxpr:
    """Inline the calls of jit in a program, so that their constants become its own."""
    return inline_calls(closed, lambda equation, _: name_of(equation) in JIT)


def with_arrays(
    closed: ClosedJaxpr, positions: Sequence[int], new: Sequence[Array]
) -> list[AnyArray]:
    """Return the constants of a program with those at `positions` replaced."""
    consts = list(closed.consts)
    for position, value in zip(positions, new, strict=True):
        consts[position] = value.astype(consts[position].dtype)
    return consts


def _arrays_around(fun: Function) -> Iterator[tuple[int, str]]:
    """Yield the id and the name of every array that is reachable from a function."""
    module = getattr(fun, "__module__", None)
    yield from _walk(fun, "", module, MAX_DEPTH, set())


def _walk(
    value: object, name: str, module: str | None, depth: int, seen: set[int]
) -> Iterator[tuple[int, str]]:
    if is_array(value):
        yield id(value), name or "captured"
        return
    is_leaf = isinstance(value, type | types.ModuleType | str)
    if id(value) in seen or depth == 0 or is_leaf or len(seen) > MAX_OBJECTS:
        return
    seen.add(id(value))
    for part, inner in _parts(value, name, module):
        yield from _walk(inner, part, module, depth - 1, seen)


def _parts(value: object, name: str, module: str | None) -> Iterator[tuple[str, object]]:
    """Yield the parts of an object, each with its name."""
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
    elif (wrapped := wrapped_by(value)) is not None:
        yield name, wrapped
    else:
        yield from _fields(value, name)


def _around_code(function: types.FunctionType, module: str | None) -> Iterator[tuple[str, object]]:
    """Yield the closure of a function, its defaults, and the globals of its module that it uses."""
    for variable, cell in zip(
        function.__code__.co_freevars, function.__closure__ or (), strict=True
    ):
        if cell != types.CellType():  # skip a cell that is still empty
            yield variable, cell.cell_contents
    if (wrapped := wrapped_by(function)) is not None:
        yield "", wrapped
    code, defaults = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    yield from zip(names[len(names) - len(defaults) :], defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()
    if function.__module__ == module:
        for variable in function.__code__.co_names:
            if variable in function.__globals__:
                yield variable, function.__globals__[variable]


def _fields(value: object, name: str) -> Iterator[tuple[str, object]]:
    try:
        leaves = jax.tree.leaves_with_path(value)
    except ValueError:  # an object that only resembles a NamedTuple
        return
    if not (len(leaves) == 1 and leaves[0][1] is value):  # a pytree, such as a module
        for path, leaf in leaves:
            # as for a bound method of Python
            part = jax.tree_util.keystr(path).replace(".__self__", ".self")
            yield (name + part).lstrip("."), leaf
    elif hasattr(value, "__dict__"):
        yield from ((f"{name}.{field}".lstrip("."), v) for field, v in vars(value).items())
