"""Whether an activation acts on each entry by itself, or mixes entries of a row or of the batch."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from .._types import Function
from ..activations import facts_of

Mixing = Literal["entry", "row", "batch"]


@functools.lru_cache(64)
def mixing_of(activation: Function, shape: tuple[int, int], dtype: np.dtype) -> Mixing:
    """Return what an entry of `A = g(Z)` depends on: its own entry of Z, its row, or the batch.

    A function of this package says so; of any other, some entries are replaced, and the values of
    the rest are compared.
    """
    facts = facts_of(getattr(activation, "func", activation))
    if facts is not None and facts.oracle is not None:
        return "entry"
    if jax.eval_shape(activation, jax.ShapeDtypeStruct(shape, dtype)).shape == shape:
        places = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) % 2 == 0
        if _depends_only_on(activation, places, dtype) and _depends_only_on(
            activation, ~places, dtype
        ):
            return "entry"
    rows = np.broadcast_to(np.arange(shape[0])[:, None] % 2 == 0, shape)
    is_of_rows = _depends_only_on(activation, rows, dtype) and _depends_only_on(
        activation, ~rows, dtype
    )
    return "row" if is_of_rows else "batch"


def _depends_only_on(activation: Function, places: np.ndarray, dtype: np.dtype) -> bool:
    """Whether the values at some places, or in those rows, depend on Z at these places alone."""
    one, other = jax.random.normal(jax.random.key(0), (2, *places.shape), dtype)
    before, after = activation(one), activation(jnp.where(places, one, other))
    kept = places if before.shape == places.shape else places[:, 0]
    rtol = float(jnp.sqrt(jnp.finfo(before.dtype).eps))
    return bool(jnp.allclose(before[kept], after[kept], rtol=rtol, atol=rtol, equal_nan=True))
