"""Checks of the arguments of public functions, and the descriptions in their error messages."""

import difflib
import operator
import reprlib
import sys
import textwrap
from collections.abc import Iterable
from typing import Any, Protocol, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ._jax import Tracer
from ._types import Tree


def describe(value: object) -> str:
    """Describe a value: an array by its dtype and shape, anything else by its type and value.

    The description always fits on one line. Long values are abbreviated, and the elements of an
    array are never shown.
    """
    if _is_array(value):
        kind = "float0" if value.dtype == jax.dtypes.float0 else value.dtype
        return f"{kind}{list(value.shape)}"
    kind, text = type(value).__name__, brief(value)
    return text if text.startswith(f"{kind}(") else f"{kind} {text}"


def brief(value: object) -> str:
    """Return the `repr` of a value on one line, abbreviated if it is long."""
    text = " ".join(_brief.repr(value).split())
    return text if len(text) <= _MAX_LENGTH else text[:_MAX_LENGTH] + " ..."


class _Shaped(Protocol):
    dtype: object
    shape: tuple[int, ...]


def _is_array(value: object) -> TypeGuard[_Shaped]:
    return hasattr(value, "dtype") and hasattr(value, "shape")


_MAX_LENGTH = 160
_MAX_NAME = 80


class _Brief(reprlib.Repr):
    """A `repr` that shows a few items of each container, and arrays by dtype and shape."""

    def repr_int(self, x: int, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:  # Python writes no more than 4300 digits
            return f"int(of {x.bit_length()} bits)"

    def repr_instance(self, x: object, level: int) -> str:
        if _is_array(x):
            return describe(x)
        if isinstance(x, tuple) and hasattr(x, "_fields"):
            return type(x).__name__ + self.repr_tuple(tuple(x), level)
        return super().repr_instance(x, level)


_brief = _Brief()
_brief.maxlevel, _brief.maxstring, _brief.maxother = 3, 80, 80
_brief.maxtuple = _brief.maxlist = _brief.maxdict = _brief.maxset = 4


def as_array(name: str, value: object, kind: str = "an array of numbers") -> Array:
    """Return `value` as a JAX array, or raise TypeError if it cannot be converted."""
    try:
        array = jnp.asarray(value)
    except jax.errors.JaxRuntimeError:  # the device's, for example that its memory is full
        raise
    except Exception as error:  # whatever the conversion of somebody's object raises
        raise TypeError(f"{name} must be {kind}, got {describe(value)}") from error
    if array.dtype == jax.dtypes.float0:  # not an Array: NumPy's, which stands for "no gradient"
        raise TypeError(f"{name} must be {kind}, got {describe(value)}")
    if not isinstance(array, Tracer) and array.is_deleted():
        raise TypeError(f"{name} must be {kind}, got {describe(value)}, which has been deleted")
    return array


def floating(name: str, value: object) -> Array:
    """Return `value` as a JAX array, or raise TypeError unless it is real and floating-point.

    Numbers of 8 bits or fewer are refused: JAX has no arithmetic between them and other numbers.
    """
    array = as_array(name, value, "a floating-point array")
    if not jnp.issubdtype(array.dtype, jnp.floating) or array.dtype.itemsize < 2:
        bits = "" if array.dtype.itemsize > 1 else " of 16 bits or more"
        raise TypeError(
            f"{name} must be a floating-point array{bits}, got {describe(array)}; "
            f"convert it first, e.g. jnp.asarray({name}, jnp.float32)"
        )
    return array


def check_tree(name: str, tree: Tree) -> None:
    """Raise TypeError unless JAX can flatten `tree`."""
    try:
        jax.tree.structure(tree)
    except Exception as error:  # of keys that cannot be sorted, or of somebody's class of nodes
        raise TypeError(
            f"{name} must be a pytree, in which the keys of each dict can be sorted, "
            f"got {describe(tree)}"
        ) from error


def named_leaves(name: str, tree: Tree) -> list[tuple[str, Any]]:
    """Return the leaves of a pytree, each with its name, such as `params[0].w`."""
    check_tree(name, tree)
    found = jax.tree.leaves_with_path(tree)
    return [(name + jax.tree_util.keystr(path), leaf) for path, leaf in found]


def check_arrays(name: str, tree: Tree) -> None:
    """Raise TypeError unless all leaves are arrays of JAX or NumPy, of a dtype that JAX has."""
    for place, leaf in named_leaves(name, tree):
        if not _is_array_of_numbers(leaf):
            kind, got = type(leaf).__name__, describe(leaf)
            got = f"{kind} {got}" if _is_array(leaf) else got
            raise TypeError(f"{place} must be an array of numbers, of JAX or NumPy, got {got}")
        if not isinstance(leaf, Tracer) and isinstance(leaf, Array) and leaf.is_deleted():
            raise TypeError(f"{place} must be an array, got {describe(leaf)}, which was deleted")


def _is_array_of_numbers(leaf: Any) -> bool:
    if not isinstance(leaf, Array | np.ndarray | np.generic):
        return False
    try:
        return jax.typeof(leaf).dtype != jax.dtypes.float0
    except (TypeError, ValueError):  # a dtype that JAX does not have, or a masked array
        return False


def count_examples(data: Tree, name: str = "data") -> int:
    """Return the common first dimension of all arrays, or raise an error that names one."""
    check_tree(name, data)
    lengths = {
        name + jax.tree_util.keystr(path): _first_dimension(name, path, leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(data)
    }
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(
            f"{name} must be arrays with equal first dimensions (the number of examples), at least "
            f"1; got first dimensions {brief(_first_difference(lengths))}"
        )
    return next(iter(lengths.values()))


def _first_difference(lengths: dict[str, int]) -> dict[str, int]:
    """Return the first entry, and the first entry that differs from it."""
    first = next(iter(lengths.items()), ("", 0))
    others = [item for item in lengths.items() if item[1] != first[1]]
    return dict([*lengths.items()][:1] + others[:1])


def _first_dimension(name: str, path: tuple[object, ...], leaf: object) -> int:
    shape = getattr(leaf, "shape", ())
    if shape:
        return shape[0]
    place, around = (_shortened(name + jax.tree_util.keystr(p)) for p in (path, path[:1]))
    hint = (
        "" if place == around else f"; a list is not an array, convert it with np.asarray({around})"
    )
    raise ValueError(
        f"{place} must be an array whose first dimension counts the examples, "
        f"got {describe(leaf)}{hint}"
    )


def _shortened(name: str) -> str:
    return name if len(name) <= _MAX_NAME else name[:_MAX_NAME] + " ..."


def floating_dtype(name: str, value: object, kind: str = "a floating-point dtype") -> np.dtype:
    """Return `value` as a dtype; raise TypeError unless it is floating-point."""
    dtype = _dtype_or_none(value)
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating) or dtype == np.longdouble:
        raise TypeError(f"{name} must be {kind}, got {dtype or describe(value)}")
    return dtype


def _dtype_or_none(value: Any) -> np.dtype | None:
    try:
        return None if value is None else jnp.dtype(value)
    except Exception:  # whatever NumPy, or the repr of the value, raises for what is no dtype
        return None


def check_matrix_product(x: Array, w: Array, b: Array | None) -> None:
    """Raise ValueError unless `x w + b` is defined without broadcasting."""
    if w.ndim != 2:
        raise ValueError(f"w must have shape (n_in, n_out), got {describe(w)}")
    check_input(x, w)
    if b is not None and b.shape != w.shape[1:]:
        raise ValueError(
            f"b must have shape ({w.shape[1]},) to match w {describe(w)}, got {describe(b)}"
        )


def check_input(x: Array, w: Array, name: str = "w") -> None:
    """Raise ValueError unless `x` holds rows that the product with `w (..., n_in, n_out)` takes."""
    if x.shape[-1:] != w.shape[-2:-1]:
        raise ValueError(
            f"x must have shape (..., {w.shape[-2]}) to match {name} {describe(w)}, "
            f"got {describe(x)}"
        )
    check_not_empty("x", x)


def check_features(x: Array, **parameters: Array) -> None:
    """Raise ValueError unless x has features, and each parameter one number for each of them."""
    for name, parameter in parameters.items():
        if x.ndim < 1 or parameter.shape != x.shape[-1:]:
            raise ValueError(
                f"{name} must have shape {list(x.shape[-1:])} to match the features of "
                f"x {describe(x)}, "
                f"got {describe(parameter)}"
            )
    if x.shape[-1] == 0:
        raise ValueError(f"x must have at least one feature, got {describe(x)}")


def check_not_empty(name: str, array: Array) -> None:
    """Raise ValueError if the array has no elements."""
    if array.size == 0:
        raise ValueError(
            f"{name} must hold at least one example, got an empty array, {describe(array)}"
        )


def check_same_shape(name: str, array: Array, other_name: str, other: Array) -> None:
    """Raise ValueError unless the two shapes are equal, because losses never broadcast."""
    if array.shape != other.shape:
        raise ValueError(
            f"{name} must have the shape of {other_name}, {list(other.shape)}, "
            f"got {describe(array)}; losses do not broadcast"
        )


def check_same_size(name: str, size: int, other_name: str, other: int) -> None:
    """Raise ValueError unless two sequences have as many entries."""
    if size != other:
        raise ValueError(f"{name} must have as many entries as {other_name}, {other}, got {size}")


def check_one_of(name: str, value: object, accepted: Iterable[str]) -> None:
    """Raise ValueError unless `value` is an accepted name; the error suggests similar names."""
    accepted = sorted(accepted)
    if isinstance(value, str) and value in accepted:
        return
    got = textwrap.shorten(brief(value), 80, placeholder=" ...")
    near = difflib.get_close_matches(got.strip("'"), accepted, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    names = textwrap.shorten(", ".join(accepted), 260, placeholder=" ...")
    raise ValueError(f"{name}: {got} is unknown; {hint}accepted: {names}")


def check_function(name: str, value: object) -> None:
    """Raise TypeError unless `value` can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, got {describe(value)}")


def check_bool(name: str, value: object) -> None:
    """Raise TypeError unless `value` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {describe(value)}")


def as_integer(value: Any) -> int | None:
    """Return `value` as a Python integer, or None if it is not one; booleans are not."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except Exception:  # whatever somebody's object raises, or an array that has been deleted
        return None


def checked_axis(name: str, axis: Any, array_name: str, array: Array) -> int:
    """Return an axis of the array, or raise unless it is an integer and the array has that axis."""
    number = as_integer(axis)
    if number is None:
        raise TypeError(f"{name} must be an integer, got {describe(axis)}")
    if not -array.ndim <= number < array.ndim:
        raise ValueError(
            f"{name} must be an axis of {array_name} {describe(array)}, got {brief(axis)}"
        )
    return number


def check_broadcasts_to(name: str, array: Array, other_name: str, other: Array) -> None:
    """Raise ValueError unless `array` broadcasts to the shape of `other`."""
    shape = array.shape
    ends = zip(reversed(shape), reversed(other.shape), strict=False)
    if array.ndim > other.ndim or any(size not in (1, full) for size, full in ends):
        raise ValueError(
            f"{name} must have a shape that broadcasts to that of {other_name} {describe(other)}, "
            f"got {describe(array)}"
        )


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether `value` is a plain Python number, hence a constant of the traced program.

    An integer that no float can hold is not.
    """
    if isinstance(value, bool):
        return False
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= _LARGEST)


_LARGEST = int(sys.float_info.max)


def is_key(value: object) -> TypeGuard[Array]:
    """Whether `value` is a single PRNG key, typed or raw (uint32)."""
    if not isinstance(value, jax.Array):
        return False
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return value.ndim == 0
    # raw keys of threefry, and of rbg
    return value.dtype == jnp.uint32 and value.shape in ((2,), (4,))


def check_key(name: str, key: object) -> None:
    """Raise TypeError unless `key` is one PRNG key."""
    if not is_key(key):
        raise TypeError(f"{name} must be one PRNG key, e.g. jax.random.key(0), got {describe(key)}")
