"""The matrix products of dense layers: their dtypes, and `Xᵀ dZ` on a CPU.

On a CPU, XLA uses its fast kernel only for a product that contracts the last axis of the left
operand. `Xᵀ dZ` contracts the first. XLA then takes a path that is several times slower where dZ is
narrow, and that has no kernel for 16-bit operands. Where it is faster, `weight_gradient` first
transposes X in memory. The benchmarks measure the difference under "The weight gradient".
"""

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from ._arguments import floating_dtype
from ._jax import in_row_major_order, last_to_front
from ._placement import at, sum_over_examples

# The dtype to which the operands of products are rounded; None does not round them.
ComputeDtype = DTypeLike | None

# Axes of the left operand, and of the right.
Axes = tuple[Sequence[int], Sequence[int]]

# Size of the first-level cache. A smaller amount of data can be read along a column of X without
# evicting the next column.
_CACHE_BYTES = 32 * 1024
# Addresses that differ by a multiple of this many bytes map to the same set of that cache.
_CACHE_PERIOD = 4096
# Number of columns transposed together: a few cache lines.
_BLOCK = 64


def compute_dtype_of(compute_dtype: ComputeDtype) -> jnp.dtype | None:
    """Return `compute_dtype` as a dtype or None; raise TypeError unless it is floating-point."""
    if compute_dtype is None:
        return None
    dtype = floating_dtype("compute_dtype", compute_dtype, "a floating-point dtype or None")
    return jax.dtypes.canonicalize_dtype(dtype)  # float64 is float32 unless x64 is enabled


def narrowed(compute_dtype: ComputeDtype, V: Array) -> Array:
    """Return `V` in `compute_dtype` where that takes less memory."""
    if compute_dtype is None or jnp.dtype(compute_dtype).itemsize >= V.dtype.itemsize:
        return V
    return V.astype(compute_dtype)


def product(
    left: Array,
    right: Array,
    axes: Axes,
    compute_dtype: ComputeDtype,
    out_sharding: NamedSharding | None = None,
) -> Array:
    """Contract `left` with `right` over `axes`, and accumulate in float32 or wider."""
    return grouped_product(left, right, (axes, ((), ())), compute_dtype, out_sharding)


def grouped_product(
    left: Array,
    right: Array,
    axes: tuple[Axes, Axes],
    compute_dtype: ComputeDtype,
    out_sharding: NamedSharding | None = None,
) -> Array:
    """Return a product for each index of some axes, which come first in the result.

    `axes` are those to contract, and those of the groups, as in `lax.dot_general`.
    """
    operand = _operand_dtype(compute_dtype, left, right)
    return lax.dot_general(
        left.astype(operand),
        right.astype(operand),
        axes,
        preferred_element_type=jnp.promote_types(operand, jnp.float32),
        out_sharding=out_sharding,
    )


def _operand_dtype(compute_dtype: ComputeDtype, left: Array, right: Array) -> DTypeLike:
    return compute_dtype or jnp.promote_types(left.dtype, right.dtype)


def weight_gradient(
    compute_dtype: ComputeDtype, X: Array, dZ: Array, out_sharding: NamedSharding
) -> Array:
    """Return `Xᵀ dZ`. On a CPU, transpose X in memory first where that is faster."""
    return sum_over_examples(partial(_weight_gradient, compute_dtype), (X, dZ), out_sharding)


def _weight_gradient(
    compute_dtype: ComputeDtype, X: Array, dZ: Array, out_sharding: NamedSharding | None = None
) -> Array:
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
    # The choice is made when the program is compiled for a device.
    return lax.platform_dependent(X, dZ, cpu=transposed_first, default=direct)


def bias_gradient(dZ: Array, out_sharding: NamedSharding) -> Array:
    """Return the sum of `dZ` over the examples, accumulated in float32 or wider."""
    return sum_over_examples(_sum, (dZ,), out_sharding)


def _sum(dZ: Array, out_sharding: NamedSharding | None = None) -> Array:
    total = jnp.sum(
        dZ, axis=tuple(range(dZ.ndim - 1)), dtype=jnp.promote_types(dZ.dtype, jnp.float32)
    )
    return total if out_sharding is None else at(total, out_sharding)


def transposing_pays(examples: int, n_in: int, n_out: int, itemsize: int) -> bool:
    """Whether to transpose X first in `Xᵀ dZ`, for X (examples, n_in) and dZ (examples, n_out).

    XLA transposes X as soon as X is computed, and keeps X and Xᵀ until the backward pass. The time
    saved must therefore justify the memory. For 16-bit operands it always does, because XLA has no
    other fast kernel. For 32-bit operands it does in two cases:

    - the layer's output is much narrower than its input, as in the last layer of a classifier;
    - the product is of medium size and X is no larger than W and its gradient.

    In all other cases, transposing would save a few percent at most. The bounds were measured.
    """
    if itemsize != 4:
        return itemsize < 4
    size = examples * n_in
    if 2 <= n_out <= min(64, n_in // 4):
        return examples <= 8 * n_in and 2**10 <= size <= 2**19
    middle = size <= 2**18 and size * n_out >= 2**25
    return middle and examples <= n_out and _in_blocks(examples, n_in, itemsize)


def transposed(X: Array) -> Array:
    """Return X with its last axis moved to the front; on one device, in row-major order."""
    return last_to_front(X, _transposed_in_memory)


def _transposed_in_memory(X: Array) -> Array:
    """Move the last axis of X to the front, in row-major order in memory.

    If the width of X is a power of two, the entries of a column map to the same few sets of the
    cache. Such an X is cut into strips of columns, which are transposed one by one.
    """
    *batch, n_in = X.shape
    if not _in_blocks(math.prod(batch), n_in, X.dtype.itemsize):
        return in_row_major_order(jnp.moveaxis(X, -1, 0))
    strips = X.reshape(*batch, n_in // _BLOCK, _BLOCK)
    strips = in_row_major_order(jnp.moveaxis(strips, -2, 0))
    return in_row_major_order(jnp.moveaxis(strips, -1, 1).reshape(n_in, *batch))


def _in_blocks(examples: int, n_in: int, itemsize: int) -> bool:
    """Whether a column has more entries in the same set of the cache than the set can hold."""
    shared = math.gcd(n_in * itemsize, _CACHE_PERIOD)
    return n_in % _BLOCK == 0 and examples * shared > _CACHE_BYTES
