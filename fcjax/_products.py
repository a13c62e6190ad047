"""The products of dense layers: their dtypes, and `Xᵀ dZ` on a CPU.

On a CPU, XLA hands a product to its fast kernel only if it contracts the last axis of the left
operand. `Xᵀ dZ` contracts the first. It then takes a path that is several times slower where dZ is
narrow, and that has no kernel for 16-bit operands. `weight_gradient` transposes X in memory first
where that is faster. The benchmarks show it, under "The weight gradient".
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ._jax import in_row_major_order

# Of the first cache: below this much, a column of X can be read without evicting the next one.
_CACHE_BYTES = 32 * 1024
# Addresses so far apart share a place in that cache.
_CACHE_PERIOD = 4096
# Columns that are moved together: a few cache lines.
_BLOCK = 64


def compute_dtype_of(compute_dtype: Any) -> jnp.dtype | None:
    """Return the dtype that a caller asked for, or raise TypeError unless it is floating."""
    if compute_dtype is None:
        return None
    dtype = jnp.dtype(compute_dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"compute_dtype must be a floating-point dtype or None, got {dtype}")
    return dtype


def narrowed(compute_dtype: Any, V: Array) -> Array:
    """Return `V` in `compute_dtype` where that takes less memory."""
    if compute_dtype is None or jnp.dtype(compute_dtype).itemsize >= V.dtype.itemsize:
        return V
    return V.astype(compute_dtype)


def product(
    left: Array, right: Array, axes: tuple, compute_dtype: Any, out_sharding: Any = None
) -> Array:
    """Contract `left` with `right` over `axes`; the sum is held in float32 or wider."""
    operand = _operand_dtype(compute_dtype, left, right)
    return lax.dot_general(
        left.astype(operand),
        right.astype(operand),
        (axes, ((), ())),
        preferred_element_type=jnp.promote_types(operand, jnp.float32),
        out_sharding=out_sharding,
    )


def _operand_dtype(compute_dtype: Any, left: Array, right: Array) -> Any:
    return compute_dtype or jnp.promote_types(left.dtype, right.dtype)


def weight_gradient(compute_dtype: Any, X: Array, dZ: Array, out_sharding: Any) -> Array:
    """Return `Xᵀ dZ`, on a CPU by way of Xᵀ in memory where that is faster."""
    operand = jnp.dtype(_operand_dtype(compute_dtype, X, dZ))
    examples = tuple(range(X.ndim - 1))

    def direct(X: Array, dZ: Array) -> Array:
        return product(X, dZ, (examples, examples), operand, out_sharding)

    def transposed_first(X: Array, dZ: Array) -> Array:
        Xt, last = transposed(X.astype(operand)), tuple(range(1, X.ndim))
        return product(Xt, dZ, (last, examples), operand, out_sharding)

    *batch, n_in = X.shape
    if not transposing_pays(math.prod(batch), n_in, dZ.shape[-1], operand.itemsize):
        return direct(X, dZ)
    # which of the two is decided when the program is compiled for a device
    return lax.platform_dependent(X, dZ, cpu=transposed_first, default=direct)


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
