"""The Python call that repeats the failed checks."""

import sys
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._jax import has_dtype, is_array, unwrapped
from .._types import Tree

# Arguments with more entries in total are not written out.
MAX_ENTRIES = 32


def name_of_function(fun: Callable[..., object]) -> str:
    """Return the name of a function, or of the class of a callable object."""
    return getattr(fun, "__name__", type(fun).__name__)


def call_that_repeats(
    fun: Callable[..., object],
    args: Sequence[Tree],
    described: str,
    options: Mapping[str, object],
) -> str:
    """Return Python code that calls `check_rule` again; short arguments are written out."""
    leaves = [leaf for leaf in jax.tree.leaves(args) if is_array(leaf)]
    short = sum(np.size(leaf) for leaf in leaves) <= MAX_ENTRIES
    name = name_of_function(fun)
    imported = _imported(fun, name)
    given = {key: value for key, value in options.items() if not _is_unset(value)}
    written = [f"{key}={_written(value)}" for key, value in given.items()]
    note = "" if short else f"\n# args: {described}"
    arguments = ", ".join([name, _written(tuple(args)) if short else "args", *written])
    return f"{imported}fcjax.check_rule({arguments}){note}"


def _imported(fun: Callable[..., object], name: str) -> str:
    """Return the line that imports a function, if its name in its module is that of `fun`."""
    where = getattr(unwrapped(fun), "__module__", None)
    if not where or where == "__main__" or getattr(sys.modules.get(where), name, None) is not fun:
        return ""
    return f"from {where} import {name}\n"


def _is_unset(value: object) -> bool:
    return value is None or (isinstance(value, Mapping) and not value)


def _written(value: object) -> str:
    """Return a Python expression for a value; arrays in it keep every digit."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = value._asdict().items()  # pyright: ignore[reportAttributeAccessIssue]
        return f"{type(value).__name__}({', '.join(f'{n}={_written(v)}' for n, v in fields)})"
    if isinstance(value, tuple):
        return f"({', '.join(map(_written, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {_written(v)}" for k, v in value.items()) + "}"
    if has_dtype(value, jax.dtypes.prng_key):
        words = np.asarray(jax.random.key_data(value)).tolist()
        return f"jax.random.wrap_key_data(jnp.array({words}, 'uint32'))"
    if is_array(value):
        return f"jnp.array({_digits(value)}, '{value.dtype}')"
    return getattr(value, "__name__", repr(value))


def _digits(array: ArrayLike) -> str:
    """Return the numbers of an array as a list, with as many digits as identify them."""
    array = np.asarray(array)
    if jnp.issubdtype(array.dtype, jnp.bfloat16):
        array = array.astype(np.float32)
    if array.ndim == 0:
        is_number = array.dtype.kind not in "fc" or np.isfinite(array)
        return str(array) if is_number else f"float('{array}')"
    return "[" + ", ".join(map(_digits, array)) + "]"
