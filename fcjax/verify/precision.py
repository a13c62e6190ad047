"""The dtypes in which a check computes."""

import contextlib
import enum
from collections.abc import Generator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from .._types import Tree

# Factors that turn one point into several. They keep a point inside a domain such as (0, 1), and
# every dtype represents them exactly.
FACTORS = (1.0, 0.875, 0.75)


class Precision(enum.Enum):
    """The dtype that floating-point arguments are cast to; OWN keeps their own dtypes."""

    OWN = "own"
    FLOAT64 = "float64"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"

    @contextlib.contextmanager
    def context(self) -> Generator[None]:
        """Configure JAX for this precision: 64-bit types for FLOAT64, matmuls at full precision.

        Debugging flags of JAX are switched off: at some points of the checker, NaN and infinities
        are expected.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(jax.default_matmul_precision("highest"))
            stack.enter_context(jax.disable_jit(False))
            stack.enter_context(jax.debug_nans(False))
            stack.enter_context(jax.debug_infs(False))
            if self is Precision.FLOAT64:
                stack.enter_context(jax.enable_x64(True))
            yield

    def cast(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return floating-point arrays in this precision."""
        if self is Precision.OWN:
            return tuple(arrays)
        with self.context():
            dtype = jnp.dtype(self.value)
            return tuple(jnp.asarray(np.asarray(array).astype(dtype)) for array in arrays)


def eps_of(dtype: DTypeLike) -> float:
    """Return the spacing at 1 of the numbers of a dtype."""
    return float(jnp.finfo(dtype).eps)


def as_float64(array: ArrayLike) -> np.ndarray:
    """Return the values of an array of any floating-point dtype."""
    return np.asarray(array).astype(np.float64)


def largest(array: ArrayLike) -> float:
    """Return the largest finite magnitude in an array, 0 if there is none."""
    values = np.abs(as_float64(array))
    return float(np.max(values, initial=0.0, where=np.isfinite(values)))


def scaled(x: ArrayLike, factor: float) -> np.ndarray:
    """Multiply on the host, which saves compiling a program."""
    x = np.asarray(x)
    return np.asarray(x * np.asarray(factor, x.dtype), x.dtype)


def same_bits(one: Tree, two: Tree) -> bool:
    """Whether two arrays, or two PRNG keys, have the same bits."""
    return _raw(one).tobytes() == _raw(two).tobytes()


def _raw(array: Tree) -> np.ndarray:
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    return np.asarray(array)
