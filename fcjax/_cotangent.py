"""How a gradient leaves a rule: with the dtype, shape and placement of its primal."""

from typing import Any

import jax
from jax import Array, lax
from jax.sharding import NamedSharding, PartitionSpec

from ._jax import varying_axes


def placement(V: Array, dZ: Array) -> NamedSharding:
    """Return the sharding in which the gradient of `V` must be, on the mesh of `dZ`.

    A `V` that was never placed on a mesh (a constant of the traced function) counts as replicated.
    """
    sharding = jax.typeof(V).sharding
    if sharding.mesh.empty:
        return NamedSharding(jax.typeof(dZ).sharding.mesh, PartitionSpec(*[None] * V.ndim))
    return sharding


def cotangent_of(V: Array, dV: Array, dtype: Any = None) -> Array:
    """Return `dV` as JAX expects the cotangent of `V`, or of a `V` that was of `dtype`.

    Three things can differ from `V` after the formula was evaluated:

    - Inside `shard_map`, each device along a mesh axis may hold one term of a sum while `V` is the
      same on all of them (a weight and the shards of a batch). The derivative of a replicated
      value is the sum over its uses, so those axes are summed. With `check_vma=False` JAX tracks
      no axes, the set is empty, and the boundary of `shard_map` does the sum.
    - With explicit axis types the sharding is part of the type.
    - The sum may have been accumulated in a wider dtype.
    """
    extra = varying_axes(dV) - varying_axes(V)
    if extra:
        dV = lax.psum(dV, tuple(sorted(extra)))
    target = placement(V, dV)
    if jax.typeof(dV).sharding.spec != target.spec:
        dV = jax.sharding.reshard(dV, target)
    return dV.astype(dtype or V.dtype)
