"""The mean loss of many members, whose gradient is accumulated member by member."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._types import Tree

# `loss(shared, own, data, key)`, a number.
Loss = Callable[[Tree, Tree, Tree, Any], Array]


def mean_of_parts(loss: Loss, shared: Tree, own: Tree, data: Tree, keys: Array | None) -> Array:
    """Return the mean loss of k parts, `L = 1/k Σᵢ ℓᵢ` with `ℓᵢ = loss(shared, ownᵢ, data, keyᵢ)`.

    With s for `shared` and oᵢ for `ownᵢ`, the gradients are

        ds = dL/k Σᵢ ∂ℓᵢ/∂s        doᵢ = dL/k ∂ℓᵢ/∂oᵢ

    The parts have nothing in common but s. So the forward pass computes the derivatives of each ℓᵢ
    together with ℓᵢ, and until the backward pass only they are kept, those of s as their sum.
    The intermediate results of one part, a member or two, stay in the processor's cache. Those of
    all 32 members of TabM do not: then a step takes up to twice as long.

    Args:
        loss: a function of one part.
        shared: what the parts have in common, a pytree of floating-point arrays.
        own: what each part has for itself, a pytree of arrays with a leading axis of length k.
        data: other arguments, in which the result is constant.
        keys: a PRNG key for each part, or None.

    Source: the sum rule; Huang et al., GPipe, NeurIPS 2019, section 2.1, does the same with parts
    of a batch.

    >>> def loss(shared, own, data, key):
    ...     return jnp.sum(shared * own * data)
    >>> shared, own, data = jnp.array([1.0, 2.0]), jnp.array([3.0, 5.0]), jnp.ones(2)
    >>> jax.grad(lambda s, o: mean_of_parts(loss, s, o, data, None), (0, 1))(shared, own)
    (Array([4., 4.], dtype=float32), Array([1.5, 1.5], dtype=float32))
    """
    return _mean(loss, shared, own, lax.stop_gradient(data), keys)


def _mean_value(loss: Loss, shared: Tree, own: Tree, data: Tree, keys: Array | None) -> Array:
    def add(total: Array, part: tuple[Tree, Any]) -> tuple[Array, None]:
        return total + loss(shared, part[0], data, part[1]), None

    return lax.scan(add, _zero_of(loss, shared, own, data, keys), (own, keys))[0] / _count(own)


_mean = jax.custom_vjp(_mean_value, nondiff_argnums=(0,))


def _mean_fwd(
    loss: Loss, shared: Tree, own: Tree, data: Tree, keys: Array | None
) -> tuple[Array, tuple[Tree, Tree]]:
    def add(sums: Tree, part: tuple[Tree, Any]) -> tuple[Tree, Tree]:
        value_and_grad = jax.value_and_grad(loss, argnums=(0, 1))
        value, (dshared, down) = value_and_grad(shared, part[0], data, part[1])
        return jax.tree.map(jnp.add, sums, (value, dshared)), down

    zeros = _zero_of(loss, shared, own, data, keys), jax.tree.map(jnp.zeros_like, shared)
    (total, dshared), down = lax.scan(add, zeros, (own, keys))
    return total / _count(own), (dshared, down)


def _mean_bwd(
    loss: Loss, kept: tuple[Tree, Tree], dL: Array
) -> tuple[Tree, Tree, None, None]:  # fmt: skip
    # L̇ = 1/k Σᵢ (⟨∂ℓᵢ/∂s, ṡ⟩ + ⟨∂ℓᵢ/∂oᵢ, ȯᵢ⟩), for data and keys are constant. Hence
    # dL L̇ = ⟨dL/k Σᵢ ∂ℓᵢ/∂s, ṡ⟩ + Σᵢ ⟨dL/k ∂ℓᵢ/∂oᵢ, ȯᵢ⟩, which gives ds and doᵢ. The forward half
    # has kept Σᵢ ∂ℓᵢ/∂s and all ∂ℓᵢ/∂oᵢ.
    dshared, down = kept
    scale = partial(jnp.multiply, dL / _count(down))
    return jax.tree.map(scale, dshared), jax.tree.map(scale, down), None, None


_mean.defvjp(_mean_fwd, _mean_bwd)


def _count(own: Tree) -> int:
    return len(jax.tree.leaves(own)[0])


def _zero_of(loss: Loss, shared: Tree, own: Tree, data: Tree, keys: Array | None) -> Array:
    first = jax.tree.map(lambda V: V[0], (own, keys))
    value = jax.eval_shape(loss, shared, first[0], data, first[1])
    return jnp.zeros(value.shape, value.dtype)
