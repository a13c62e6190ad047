"""The scaled layer: one learned factor per feature."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike, Float

from ._arguments import check_features, floating
from ._cotangent import cotangent_of
from ._placement import beside


def scale(x: Float[ArrayLike, "*batch n"], s: Float[ArrayLike, " n"]) -> Float[Array, "*batch n"]:
    """Multiply each feature by a factor of its own: `y = x ⊙ s`.

    In front of a network, s learns how much each input counts. The gradients are

        dx = dy ⊙ s        ds = Σᵢ xᵢ ⊙ dyᵢ

    where `Σᵢ` sums over all leading batch dimensions, in float32 or wider.

    Args:
        x: inputs, shape `(..., n)`, any number of leading batch dimensions.
        s: factors, shape `(n,)`.

    Returns:
        y, with the shape of `x`, in the dtype to which `x` and `s` promote.

    Raises:
        TypeError: an argument is not floating-point.
        ValueError: the shapes do not match.

    Source: Holzmüller, Grinsztajn & Steinwart, Better by default: strong pre-tuned MLPs and boosted
    trees on tabular data, NeurIPS 2024, section 3 (the scaling layer).

    >>> scale(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([10.0, 0.5]))
    Array([[10.,  1.],
           [30.,  2.]], dtype=float32)
    """
    x, s = floating("x", x), floating("s", s)
    check_features(x, s=s)
    return _scale(x, beside(s, x))


@jax.custom_vjp
def _scale(x: Array, s: Array) -> Array:
    return x * s


def _scale_fwd(x: Array, s: Array) -> tuple[Array, tuple[Array, Array]]:
    # x is kept for ds, and s, a parameter, for dx
    return x * s, (x, s)


def _scale_bwd(kept: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    # ẏ = ẋ ⊙ s + x ⊙ ṡ, hence ⟨dy, ẏ⟩ = ⟨dy ⊙ s, ẋ⟩ + Σᵢ ⟨xᵢ ⊙ dyᵢ, ṡ⟩: one s meets each example.
    x, s = kept
    dx = dy * s
    wide = jnp.promote_types(dy.dtype, jnp.float32)
    ds = jnp.sum(x.astype(wide) * dy.astype(wide), axis=tuple(range(x.ndim - 1)))
    return cotangent_of(x, dx), cotangent_of(s, ds)


_scale.defvjp(_scale_fwd, _scale_bwd)
