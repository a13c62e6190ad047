"""The parametric activation: each unit learns how far it bends."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike, Float

from .._arguments import check_features, check_one_of, describe, floating
from .._cotangent import cotangent_of
from .._placement import beside
from ._facts import rule_of
from ._names import ACTIVATIONS


def parametric(
    z: Float[ArrayLike, "*batch n"],
    alpha: Float[ArrayLike, " n"],
    activation: str | Callable[[Array], Array] = "selu",
) -> Float[Array, "*batch n"]:
    """Move from the identity to an activation g: `y = z + α ⊙ (g(z) − z)`.

    `α = 0` is the identity, `α = 1` is g, and each unit learns its own. The gradients are

        dz = dy ⊙ (1 − α) + (α ⊙ dy) ⊙ g'(z)        dα = Σᵢ dyᵢ ⊙ (g(zᵢ) − zᵢ)

    where `Σᵢ` sums over all leading batch dimensions, in float32 or wider.

    Args:
        z: inputs, shape `(..., n)`, any number of leading batch dimensions.
        alpha: weights of the activation, shape `(n,)`.
        activation: g, the name of an activation or an elementwise function. Its own kinks, and
            its derivative there, are those of y.

    Returns:
        y, with the shape of `z`, in the dtype to which `z` and `alpha` promote.

    Raises:
        TypeError: an argument is not floating-point, or `activation` is no function.
        ValueError: the shapes do not match, or `activation` is an unknown name or does not return
            the shape of its input.

    Source: Holzmüller, Grinsztajn & Steinwart, Better by default: strong pre-tuned MLPs and boosted
    trees on tabular data, NeurIPS 2024, section 3 (the parametric activation).

    >>> parametric(jnp.array([[-1.0, -1.0, 2.0]]), jnp.array([0.0, 0.5, 1.0]), "relu")
    Array([[-1. , -0.5,  2. ]], dtype=float32)
    """
    z, alpha = floating("z", z), floating("alpha", alpha)
    check_features(z, alpha=alpha)
    if isinstance(activation, str):
        check_one_of("activation", activation, ACTIVATIONS)
        activation = ACTIVATIONS[activation]
    elif not callable(activation):
        raise TypeError(
            "activation must be the name of an activation or a function, "
            f"got {describe(activation)}"
        )
    got = jax.eval_shape(activation, z).shape
    if got != z.shape:
        raise ValueError(f"activation must keep the shape {list(z.shape)} of z, got {list(got)}")
    return _parametric(activation, z, beside(alpha, z))


def _blended(g: Callable[[Array], Array], z: Array, alpha: Array) -> Array:
    A, _ = rule_of(g).fwd(z)
    return z + alpha * (A - z)


_parametric = jax.custom_vjp(_blended, nondiff_argnums=(0,))


def _parametric_fwd(
    g: Callable[[Array], Array], z: Array, alpha: Array
) -> tuple[Array, tuple[Array, Array]]:
    # z alone is kept, and g(z) computed again: elementwise work is cheaper than the memory
    return _blended(g, z, alpha), (z, alpha)


def _parametric_bwd(
    g: Callable[[Array], Array], kept: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    # ẏ = ż + α ⊙ (g'(z) ⊙ ż − ż) + α̇ ⊙ (g(z) − z), hence
    # ⟨dy, ẏ⟩ = ⟨dy − α ⊙ dy + g'(z) ⊙ (α ⊙ dy), ż⟩ + Σᵢ ⟨dyᵢ ⊙ (g(zᵢ) − zᵢ), α̇⟩.
    # The product with g' is g's own backward rule, at the cotangent α ⊙ dy.
    z, alpha = kept
    rule = rule_of(g)
    A, kept_by_g = rule.fwd(z)
    bent = alpha * dy
    dz = dy - bent + rule.bwd(kept_by_g, bent.astype(A.dtype))
    wide = jnp.promote_types(dy.dtype, jnp.float32)
    dalpha = jnp.sum(dy.astype(wide) * (A - z).astype(wide), axis=tuple(range(z.ndim - 1)))
    return cotangent_of(z, dz), cotangent_of(alpha, dalpha)


_parametric.defvjp(_parametric_fwd, _parametric_bwd)
