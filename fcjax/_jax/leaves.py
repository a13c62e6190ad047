"""Tell the leaves of a tree apart: arrays, dtypes and keys."""

from typing import TypeGuard

import jax
import jax.numpy as jnp
import numpy as np

from .._types import AnyArray


def is_array(leaf: object) -> TypeGuard[AnyArray]:
    """Whether a leaf is an array. A dtype is not, though it also has an attribute `dtype`."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def has_dtype(leaf: object, kind: type[np.generic]) -> TypeGuard[AnyArray]:
    """Whether a leaf is an array whose dtype is of this kind."""
    return is_array(leaf) and jnp.issubdtype(leaf.dtype, kind)


def is_key(array: AnyArray) -> bool:
    """Whether an array consists of typed PRNG keys."""
    return jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
