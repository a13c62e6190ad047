"""What a caller passed: checked at the call, and named in the error."""

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def describe(value: Any) -> str:
    """Say what was got: dtype and shape of an array, the type and value of anything else.

    Whatever the value, it takes a line: of long ones a part is shown, of an array never the values.
    """
    if _is_array(value):
        return f"{value.dtype}{list(value.shape)}"
    kind, text = type(value).__name__, _brief.repr(value)
    shortened = text if len(text) <= _LINE else text[:_LINE] + " ..."
    return shortened if text.startswith(f"{kind}(") else f"{kind} {shortened}"


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape")


_LINE = 160


class _Brief(reprlib.Repr):
    """The `repr` of a few items of each container, with arrays by their dtype and shape."""

    def repr_instance(self, x: Any, level: int) -> str:
        if _is_array(x):
            return describe(x)
        if isinstance(x, tuple) and hasattr(x, "_fields"):
            return type(x).__name__ + self.repr_tuple(tuple(x), level)
        return super().repr_instance(x, level)


_brief = _Brief()
_brief.maxlevel, _brief.maxstring, _brief.maxother = 3, 80, 80
_brief.maxtuple = _brief.maxlist = _brief.maxdict = _brief.maxset = 4


def as_array(name: str, value: Any, kind: str = "an array of numbers") -> Array:
    """Return `value` as a JAX array, or raise TypeError for what cannot be one."""
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be {kind}, got {describe(value)}") from error


def floating(name: str, value: Any) -> Array:
    """Return `value` as a JAX array, or raise TypeError unless it is real and floating-point."""
    array = as_array(name, value, "a floating-point array")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{name} must be a floating-point array, got {describe(array)}; "
            f"convert it first, e.g. jnp.asarray({name}, jnp.float32)"
        )
    return array


def matrix_product(x: Array, w: Array, b: Array | None) -> None:
    """Raise ValueError unless `x w + b` is defined without broadcasting."""
    if w.ndim != 2:
        raise ValueError(f"w must have shape (n_in, n_out), got {describe(w)}")
    if x.ndim < 1 or x.shape[-1] != w.shape[0]:
        raise ValueError(
            f"x must have shape (..., {w.shape[0]}) to match w {describe(w)}, got {describe(x)}"
        )
    if b is not None and b.shape != w.shape[1:]:
        raise ValueError(
            f"b must have shape ({w.shape[1]},) to match w {describe(w)}, got {describe(b)}"
        )
    not_empty("x", x)


def not_empty(name: str, array: Array) -> None:
    """Raise ValueError for an array without elements."""
    if array.size == 0:
        raise ValueError(f"{name} must hold at least one example, got the empty {describe(array)}")


def same_shape(name: str, array: Array, other_name: str, other: Array) -> None:
    """Raise ValueError unless the two shapes are equal: a loss never broadcasts."""
    if array.shape != other.shape:
        raise ValueError(
            f"{name} must have the shape of {other_name}, {list(other.shape)}, "
            f"got {describe(array)}; nothing is broadcast"
        )


def one_of(name: str, value: Any, accepted: Iterable[str]) -> None:
    """Raise ValueError unless `value` is an accepted name; the nearest ones are offered."""
    accepted = sorted(accepted)
    if value in accepted:
        return
    near = difflib.get_close_matches(str(value), accepted, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise ValueError(f"{name}: {value!r} is unknown; {hint}accepted: {', '.join(accepted)}")


def is_number(value: Any) -> bool:
    """Whether `value` is a plain Python number: a constant of the traced program."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_key(value: Any) -> bool:
    """Whether `value` is one PRNG key, of the typed or of the raw uint32 kind."""
    if not isinstance(value, jax.Array):
        return False
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return value.ndim == 0
    return value.dtype == jnp.uint32 and value.ndim == 1
