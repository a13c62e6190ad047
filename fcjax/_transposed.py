"""`Xᵀ dZ` on a CPU: when it is faster to transpose X first, and how to do that in memory.

XLA hands a product to its fast kernel only if the left operand is contracted over its last axis.
`Xᵀ dZ` contracts over the first, so it goes another way, which is several times slower when dZ is
narrow, and for which there are no kernels for 16-bit operands. The benchmarks show it, under
"The weight gradient".
"""

import math

import jax
import jax.numpy as jnp
from jax import Array

from ._jax import in_row_major_order

# Of the first cache: below this much, a column of X can be read without evicting the next one.
_CACHE_BYTES = 32 * 1024
# Addresses so far apart share a place in that cache.
_CACHE_PERIOD = 4096
# Columns that are moved together: a few cache lines.
_BLOCK = 64


def transposing_pays(examples: int, n_in: int, n_out: int, itemsize: int) -> bool:
    """Whether `Xᵀ dZ` of (examples, n_in) and (examples, n_out) is faster if X is transposed first.

    XLA transposes as soon as X is there and keeps both until the backward pass, so it has to pay in
    memory too. For 16-bit operands it always does: there is no other fast way. For 32 bits

    - where the layer makes its input much narrower, as the last of a classifier does;
    - for products of middle size where X is no larger than W, which has its gradient beside it.

    Beyond these a few percent at most could be gained. The bounds were measured.
    """
    if itemsize != 4:
        return itemsize < 4
    size = examples * n_in
    if 2 <= n_out <= min(64, n_in // 4):
        return examples <= 8 * n_in and 2**10 <= size <= 2**19
    middle = size <= 2**18 and size * n_out >= 2**25
    return middle and examples <= n_out and _in_blocks(examples, n_in, itemsize)


def transposed(X: Array) -> Array:
    """Return X with its last axis first, lying in memory in that order.

    Columns of a wide matrix whose width is a power of two fall on the same few places of the cache:
    such an X is first cut into strips, which are then transposed one by one.
    """
    *batch, n_in = X.shape
    if not _in_blocks(math.prod(batch), n_in, X.dtype.itemsize) or _is_placed(X):
        return in_row_major_order(jnp.moveaxis(X, -1, 0))
    strips = X.reshape(*batch, n_in // _BLOCK, _BLOCK)
    strips = in_row_major_order(jnp.moveaxis(strips, -2, 0))
    return in_row_major_order(jnp.moveaxis(strips, -1, 1).reshape(n_in, *batch))


def _in_blocks(examples: int, n_in: int, itemsize: int) -> bool:
    """Whether the rows that meet at one place of the cache are more than it holds."""
    shared = math.gcd(n_in * itemsize, _CACHE_PERIOD)
    return n_in % _BLOCK == 0 and examples * shared > _CACHE_BYTES


def _is_placed(X: Array) -> bool:
    """Whether the type of X says how it lies on a mesh, so that an axis may not be cut."""
    return any(jax.typeof(X).sharding.spec)
