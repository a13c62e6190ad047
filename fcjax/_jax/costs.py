"""The bytes and operations of a gradient."""

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jax import Array

from .._types import Tree
from .types import Literal


def bytes_kept(fun: Callable[..., Tree], inputs: Sequence[Array]) -> int:
    """Return the bytes that `jax.vjp` keeps for the backward pass, without the inputs themselves.

    The pullback is a pytree, whose leaves are what it keeps.
    """
    closed = jax.make_jaxpr(lambda *xs: jax.tree.leaves(jax.vjp(fun, *xs)[1]))(*inputs)
    there = {*closed.jaxpr.invars, *closed.jaxpr.constvars}
    kept = {v for v in closed.jaxpr.outvars if not isinstance(v, Literal)} - there
    return sum(int(np.prod(v.aval.shape)) * v.aval.dtype.itemsize for v in kept)


def compiled_cost(compiled: jax.stages.Compiled) -> tuple[int | None, float | None]:
    """Return the bytes of temporaries and the floating-point operations that XLA counts."""
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    temporary = getattr(memory, "temp_size_in_bytes", None)
    operations = cost.get("flops") if isinstance(cost, Mapping) else None
    return temporary, operations if isinstance(operations, float) else None
