"""Tell apart the functions of one rule: a factory or a class makes many from the same lines.

They differ in what they close over: numbers, arrays, other functions. Two functions that close over
equal values are one function. What cannot be compared counts as different, unless it is the same
object.
"""

import dataclasses
import functools
import hashlib
import types
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from .._jax import RULE_CLASSES, Tracer, is_array, wrapped_by
from ..verify.point import described

# Arrays with more numbers than these are equal only if they are the same array.
COMPARED = 2**12
# Functions and containers within each other beyond which an object stands for its contents.
DEPTH = 20
# Parts of a closure beyond which the remaining ones count as different.
PARTS = 2000
# Characters that are shown of a value, and values that are shown of a closure.
SHOWN = 40
NAMES = 4

_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.dtype)


class Closure(NamedTuple):
    """What a function with a hand-written rule consists of.

    Attributes:
        key: equal for equal functions; it keeps none of their values alive.
        arrays: the address of each array that it closes over, and how many numbers are in it.
        names_objects: whether the key contains addresses, which hold while the function lives.
    """

    key: tuple[Any, ...]
    arrays: dict[int, int]
    names_objects: bool


def closure_of(rule: Any) -> Closure:
    """Return the closure of a `jax.custom_vjp` or `jax.custom_jvp`."""
    reader = _Reader()
    try:
        key = reader.key(rule)
    except Exception:  # whatever the rule closes over, the audited program must go on
        return Closure(("object", id(rule)), reader.arrays, names_objects=True)
    return Closure(key, reader.arrays, reader.names_objects)


def closed_over(rule: Any) -> str:
    """Return the numbers, names and small arrays that a rule closes over, as text."""
    found: dict[str, str] = {}
    for name, value in _free_variables(rule):
        if isinstance(value, bool | int | float | complex | str) or _is_concrete(value):
            text = described(value) if is_array(value) and np.size(value) > 1 else str(value)
            found[name] = text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
    return ", ".join(f"{name} = {text}" for name, text in list(found.items())[:NAMES])


def _is_concrete(value: Any) -> bool:
    return is_array(value) and not isinstance(value, Tracer)


def _parts(rule: Any) -> tuple[Any, ...]:
    """Return the functions that a rule consists of."""
    return (
        (rule.fun, rule.fwd, rule.bwd) if isinstance(rule, jax.custom_vjp) else (rule.fun, rule.jvp)
    )


def _free_variables(rule: Any) -> Iterator[tuple[str, Any]]:
    for part in _parts(rule):
        if isinstance(part, types.FunctionType):
            for name, cell in zip(part.__code__.co_freevars, part.__closure__ or (), strict=True):
                for value in _contents(cell):
                    yield name, value


def _contents(cell: types.CellType) -> Iterable[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # nothing has been assigned yet
        return []


class _Reader:
    """Reads one closure; a function that refers to itself is read once."""

    def __init__(self) -> None:
        self.arrays: dict[int, int] = {}
        self.names_objects = False
        self._parts = 0
        self._met: dict[int, tuple[int, Any]] = {}

    def key(self, value: Any, depth: int = 0) -> tuple[Any, ...]:
        """Return what tells a value from others."""
        self._parts += 1
        if isinstance(value, _PLAIN):
            return type(value).__name__, repr(value)  # by repr: 1 is not 1.0, nor 0.0 -0.0
        if is_array(value):
            return self._of_array(value)
        if id(value) in self._met:
            return "again", self._met[id(value)][0]
        if depth > DEPTH or self._parts > PARTS:
            return self._of_object(value)
        return self._of_function(value, depth + 1) or self._of_tree(value, depth + 1)

    def _of_array(self, array: Any) -> tuple[Any, ...]:
        kind = type(array).__name__, np.shape(array), str(array.dtype)
        if isinstance(array, Tracer):  # it has no numbers, and no check can call the function
            return "traced", *kind
        self.arrays[id(array)] = np.size(array)
        if np.size(array) > COMPARED or jax.numpy.issubdtype(array.dtype, jax.dtypes.extended):
            return self._of_object(array)
        return *kind, hashlib.sha256(np.asarray(array).tobytes()).digest()

    def _of_object(self, value: Any) -> tuple[Any, ...]:
        self.names_objects = True
        return "object", id(value)

    def _of_function(self, value: Any, depth: int) -> tuple[Any, ...] | None:
        """Return the key of something that can be called, or None."""
        if isinstance(value, (*RULE_CLASSES, types.FunctionType, types.MethodType)):
            self._met[id(value)] = len(self._met), value
        if isinstance(value, RULE_CLASSES):
            static = value.nondiff_argnums, getattr(value, "symbolic_zeros", None)
            return "rule", repr(static), *self._all(_parts(value), depth)
        if isinstance(value, types.FunctionType):
            cells = [part for cell in value.__closure__ or () for part in _contents(cell)]
            inner = self._all((value.__defaults__, value.__kwdefaults__, *cells), depth)
            return "function", id(value.__code__), id(value.__globals__), *inner
        if isinstance(value, types.MethodType):
            return "method", *self._all((value.__func__, value.__self__), depth)
        if isinstance(value, functools.partial):
            return "partial", *self._all((value.func, value.args, value.keywords), depth)
        if hasattr(value, "lower") and wrapped_by(value) is not None:  # under jit
            return type(value).__name__, self.key(wrapped_by(value), depth)
        return None

    def _of_tree(self, value: Any, depth: int) -> tuple[Any, ...]:
        """Return the key of a container, or of an object that is none."""
        if dataclasses.is_dataclass(value) and _is_frozen(value):
            fields = [getattr(value, field.name) for field in dataclasses.fields(value)]
            return "dataclass", id(type(value)), *self._all(fields, depth)
        leaves, tree = jax.tree.flatten(value)
        if len(leaves) == 1 and leaves[0] is value:
            return self._of_object(value)
        return "tree", str(tree), *self._all(leaves, depth)

    def _all(self, values: Iterable[Any], depth: int) -> list[tuple[Any, ...]]:
        return [self.key(value, depth) for value in values]


def _is_frozen(value: Any) -> bool:
    return not isinstance(value, type) and type(value).__dataclass_params__.frozen
