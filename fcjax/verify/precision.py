"""In which dtypes a check computes."""

import contextlib
import enum
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# Several points for checks that want some; all stay inside a domain such as (0, 1), and no
# dtype rounds them.
FACTORS = (1.0, 0.875, 0.75)


class Precision(enum.Enum):
    """The dtype that the floating-point arguments are cast to; OWN leaves them as they are."""

    OWN = "own"
    FLOAT64 = "float64"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"

    @contextlib.contextmanager
    def context(self) -> Iterator[None]:
        """Compute so: with 64-bit types where asked for, and with exact products everywhere.

        What somebody has switched on to find mistakes of their own would find the checker's points.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(jax.default_matmul_precision("highest"))
            stack.enter_context(jax.disable_jit(False))
            stack.enter_context(jax.debug_nans(False))
            stack.enter_context(jax.debug_infs(False))
            if self is Precision.FLOAT64:
                stack.enter_context(jax.enable_x64(True))
            yield

    def cast(self, arrays: Sequence[Any]) -> tuple[Array, ...]:
        """Return floating-point arrays in this precision."""
        if self is Precision.OWN:
            return tuple(arrays)
        with self.context():
            dtype = jnp.dtype(self.value)
            return tuple(jnp.asarray(np.asarray(array).astype(dtype)) for array in arrays)


def eps_of(dtype: Any) -> float:
    """Return the spacing of a dtype's numbers at 1."""
    return float(jnp.finfo(dtype).eps)


def as_float64(array: Any) -> np.ndarray:
    """Return the values of an array of any floating-point dtype."""
    return np.asarray(array).astype(np.float64)


def largest(array: Any) -> float:
    """Return the largest finite magnitude in an array, 0 for none."""
    values = np.abs(as_float64(array))
    return float(np.max(values, initial=0.0, where=np.isfinite(values)))


def times(x: Any, factor: float) -> np.ndarray:
    """Multiply on the host: one program fewer to compile."""
    x = np.asarray(x)
    return np.asarray(x * np.asarray(factor, x.dtype), x.dtype)


def same_bits(one: Any, two: Any) -> bool:
    """Whether two arrays, or PRNG keys, hold the same bits."""
    return _raw(one).tobytes() == _raw(two).tobytes()


def _raw(array: Any) -> np.ndarray:
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    return np.asarray(array)
