"""What a call must give: a result computed by NumPy in float64, or an error that names an argument.

A spec has the arguments of a public function. It returns what it expects, or raises `Invalid`.
"""

import math
import numbers
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from support import tolerance

FLOATING = ("float64", "float32", "float16", "bfloat16")


class Invalid(Exception):  # noqa: N818 - an answer, not an error
    """The call must be refused, with an error that names one of these arguments."""

    def __init__(self, *names):
        super().__init__(*names)
        self.names = names


def require(holds, *names):
    if not holds:
        raise Invalid(*names)


class Real(NamedTuple):
    """A floating-point argument: its values in float64, and the dtype that JAX gives it."""

    v: np.ndarray
    dtype: np.dtype

    @property
    def shape(self):
        return self.v.shape


class Want(NamedTuple):
    """An expected result: float64 values and dtypes of its arrays, in the order of `jax.tree`.

    `allowed` is the error in units of the largest entry of each array.
    """

    leaves: list
    allowed: float

    @classmethod
    def one(cls, values, dtype, *inputs, times=1.0):
        return cls([(values, dtype)], times * allowed(dtype, *inputs))


def allowed(*dtypes):
    """The error that the coarsest of these dtypes allows."""
    return max(tolerance(dtype) if is_usual(dtype) else 4 * eps(dtype) for dtype in dtypes)


def eps(dtype):
    return float(ml_dtypes.finfo(dtype).eps)


def is_usual(dtype):
    return np.dtype(dtype).name in FLOATING


def canonical(dtype):
    """The dtype that JAX gives to arrays of this one: float32 for float64 without x64."""
    return np.dtype(jax.dtypes.canonicalize_dtype(dtype))


def promoted(*dtypes):
    try:
        return np.dtype(
            jnp.promote_types(dtypes[0], promoted(*dtypes[1:])) if dtypes[1:] else dtypes[0]
        )
    except ValueError:  # no promotion between 8-bit dtypes and others
        raise Invalid() from None


def as_numpy(value):
    """Return an array, a number or nested lists of them as a NumPy array; None for all else."""
    if isinstance(value, jax.Array):
        usable = not value.is_deleted() and not jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
        return np.asarray(value) if usable else None
    if isinstance(value, np.ma.MaskedArray):
        return None
    if isinstance(value, np.ndarray | np.generic | memoryview):
        array = np.asarray(value)
        held = array.dtype.kind in "biufc" and array.dtype != np.longdouble
        return array if held or is_extended(array.dtype) else None
    if isinstance(value, bool | int | float | complex):
        return np.asarray(value) if fits(value) else None
    if isinstance(value, list | tuple):
        return _stacked(value)
    return None


def is_extended(dtype):
    return dtype != jax.dtypes.float0 and jnp.issubdtype(dtype, np.number)


def fits(value):
    return not isinstance(value, int) or -(2**31) <= value < 2**31


def _stacked(items):
    arrays = [as_numpy(item) for item in items]
    if any(array is None for array in arrays) or len({array.shape for array in arrays}) > 1:
        return None
    return np.stack(arrays) if arrays else np.zeros(0)


def reals(name, value, *also):
    """Return a floating-point argument, or raise Invalid."""
    array = as_numpy(value)
    require(array is not None, name)
    require(jnp.issubdtype(array.dtype, jnp.floating), name, *also)
    dtype = canonical(array.dtype.newbyteorder("="))
    values = np.asarray(array, np.float64)
    if dtype == np.float32:  # what is too large for it
        values = np.where(
            np.abs(values) > np.finfo(np.float32).max, np.sign(values) * np.inf, values
        )
    return Real(values, dtype)


def is_one_of(value, several):
    """Whether a value is one of these: that of an array cannot be asked with `in`."""
    return any(value is one for one in several)


def leaves_of(name, tree):
    """Return the leaves of a pytree, or raise Invalid."""
    try:
        return jax.tree.leaves(tree)
    except Exception:  # keys that cannot be sorted
        raise Invalid(name) from None


def number(name, value, low, high=math.inf, closed=False):
    """Return an option that must be a number above `low` (or equal, if closed) and below `high`."""
    real = isinstance(value, numbers.Real) and not isinstance(
        value, bool | np.bool_ | np.timedelta64
    )
    require(real, name)
    above = value >= low if closed else value > low
    require(above and (value < high or high == math.inf), name)
    try:
        return float(value)
    except OverflowError:
        raise Invalid(name) from None


def integer(name, value, low=None):
    try:
        require(not isinstance(value, bool | np.bool_), name)
        value = value.__index__()
    except (AttributeError, TypeError):
        raise Invalid(name) from None
    require(low is None or value >= low, name)
    return value


def one_of(name, value, accepted):
    require(isinstance(value, str) and value in accepted, name)
    return value


def floating_dtype(name, value):
    """Return an optional floating dtype."""
    if value is None:
        return None
    try:
        dtype = np.dtype(value)
    except Exception:  # NumPy raises whatever
        raise Invalid(name) from None
    require(jnp.issubdtype(dtype, jnp.floating) and dtype != np.longdouble, name)
    return dtype


def a_key(name, value):
    require(isinstance(value, jax.Array) and not value.is_deleted(), name)
    typed = jnp.issubdtype(value.dtype, jax.dtypes.prng_key) and value.ndim == 0
    raw = value.dtype == np.uint32 and value.shape == (2,)
    require(typed or raw, name)
    return value


def _is_array(value):
    return isinstance(value, jax.Array | np.ndarray)


def is_odd(value: Any) -> bool:
    """Whether a call may refuse this value though it can be read as what is expected."""
    if isinstance(value, tuple | list):
        arrays = not hasattr(value, "_fields") and any(map(_is_array, value))
        return arrays or any(map(is_odd, value))
    if isinstance(value, jax.Array | np.ndarray):
        unusual = jnp.issubdtype(value.dtype, jnp.floating) and not is_usual(value.dtype)
        return unusual or value.dtype.byteorder == ">" if isinstance(value, np.ndarray) else unusual
    if isinstance(value, float):
        return type(value) is not float or not math.isfinite(value)
    numbers_of_others = isinstance(value, numbers.Number) and not isinstance(value, int)
    return (
        numbers_of_others
        or isinstance(value, memoryview | np.generic)
        or (isinstance(value, int) and not fits(value))
    )
