"""Give a gradient the dtype, shape and sharding that its primal has."""

from jax import Array, lax
from jax.typing import DTypeLike

from ._jax import varying_axes
from ._placement import at, placement


def cotangent_of(V: Array, dV: Array, dtype: DTypeLike | None = None) -> Array:
    """Return `dV` in the form that JAX requires of the cotangent of `V`.

    `dtype` is the dtype of the primal, if `V` was stored in another one. After the formula is
    evaluated, `dV` can differ from `V` in three ways:

    - Inside `shard_map`, each device along a mesh axis may hold one term of a sum while `V` is the
      same on all of them (a weight and the shards of a batch). The derivative of a replicated
      value is the sum over its uses, so `dV` is summed over those axes. With `check_vma=False` JAX
      tracks no axes, the set is empty, and `shard_map` itself computes the sum at its boundary.
    - With explicit axis types, the sharding is part of the type.
    - The sum may have been accumulated in a wider dtype.
    """
    extra = varying_axes(dV) - varying_axes(V)
    if extra:
        dV = lax.psum(dV, tuple(sorted(extra)))
    return at(dV, placement(V, dV)).astype(dtype or V.dtype)
