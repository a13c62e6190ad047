"""Normalization of the features of each example: layer norm and root-mean-square norm."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import ArrayLike, Float

from ._arguments import check_features, describe, floating, is_number
from ._cotangent import cotangent_of
from ._placement import beside


def layer_norm(
    x: Float[ArrayLike, "*batch n"],
    scale: Float[ArrayLike, " n"],
    bias: Float[ArrayLike, " n"],
    *,
    eps: float = 1e-5,
) -> Float[Array, "*batch n"]:
    """Normalize each example to mean 0 and variance 1: `y = x̂ · scale + bias`.

    `x̂ = (x − mean(x)) r` with `r = 1/√(var(x) + eps)`, mean and (biased) variance over the last
    axis. With `dx̂ = dy · scale`, the gradients are

        dx = r (dx̂ − mean(dx̂) − x̂ mean(dx̂ x̂))    dscale = Σ dy x̂    dbias = Σ dy

    Statistics and sums are computed in float32 or wider.

    Args:
        x: inputs, shape `(..., n)`, any number of leading batch dimensions.
        scale: gain, shape `(n,)`.
        bias: offset, shape `(n,)`.
        eps: positive constant added under the root, in units of the variance.

    Returns:
        y, with the shape and dtype of `x`.

    Raises:
        TypeError: an argument is not floating-point.
        ValueError: the shapes do not match, or `eps` is not a positive number.

    Source: Ba, Kiros & Hinton, Layer normalization, arXiv:1607.06450, eq. 3.

    >>> layer_norm(jnp.array([[1.0, 2.0, 3.0]]), jnp.ones(3), jnp.zeros(3))
    Array([[-1.2247..., 0. , 1.2247...]], dtype=float32)
    """
    x, scale, bias = floating("x", x), floating("scale", scale), floating("bias", bias)
    check_features(x, scale=scale, bias=bias)
    return _layer_norm(_checked_eps(eps), x, beside(scale, x), beside(bias, x))


def rms_norm(
    x: Float[ArrayLike, "*batch n"], scale: Float[ArrayLike, " n"], *, eps: float = 1e-5
) -> Float[Array, "*batch n"]:
    """Divide each example by its root mean square: `y = x̂ · scale`, `x̂ = x r`.

    `r = 1/√(mean(x²) + eps)`, the mean over the last axis. With `dx̂ = dy · scale`,

        dx = r (dx̂ − x̂ mean(dx̂ x̂))    dscale = Σ dy x̂

    The mean and the sums are computed in float32 or wider.

    Args:
        x: inputs, shape `(..., n)`, any number of leading batch dimensions.
        scale: gain, shape `(n,)`.
        eps: positive constant added under the root, in units of x².

    Returns:
        y, with the shape and dtype of `x`.

    Raises:
        TypeError: an argument is not floating-point.
        ValueError: the shapes do not match, or `eps` is not a positive number.

    Source: Zhang & Sennrich, Root mean square layer normalization, NeurIPS 2019, eq. 4.

    >>> rms_norm(jnp.array([[3.0, 4.0]]), jnp.ones(2))
    Array([[0.848..., 1.131...]], dtype=float32)
    """
    x, scale = floating("x", x), floating("scale", scale)
    check_features(x, scale=scale)
    return _rms_norm(_checked_eps(eps), x, beside(scale, x))


def _checked_eps(eps: object) -> float:
    if not is_number(eps) or not eps > 0:
        raise ValueError(f"eps must be a positive number, got {describe(eps)}")
    return float(eps)


def _wide(V: Array) -> Array:
    return V.astype(jnp.promote_types(V.dtype, jnp.float32))


_mean = partial(jnp.mean, axis=-1, keepdims=True)


def _sum_over_examples(dV: Array) -> Array:
    return jnp.sum(dV, axis=tuple(range(dV.ndim - 1)))


def _layer_norm_forward(
    eps: float, x: Array, scale: Array, bias: Array
) -> tuple[Array, tuple[Array, Array]]:
    X = _wide(x)
    mean = _mean(X)
    r = lax.rsqrt(_mean(jnp.square(X - mean)) + eps)
    return ((X - mean) * r * scale + bias).astype(x.dtype), (mean, r)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _layer_norm(eps: float, x: Array, scale: Array, bias: Array) -> Array:
    return _layer_norm_forward(eps, x, scale, bias)[0]


# x, mean, r, scale and bias
_LayerNormKept = tuple[Array, Array, Array, Array, Array]


def _layer_norm_fwd(
    eps: float, x: Array, scale: Array, bias: Array
) -> tuple[Array, _LayerNormKept]:
    y, (mean, r) = _layer_norm_forward(eps, x, scale, bias)
    # The residuals are x, uncast, and two numbers per example. The backward pass recomputes x̂.
    return y, (x, mean, r, scale, bias)


def _layer_norm_bwd(eps: float, kept: _LayerNormKept, dy: Array) -> tuple[Array, Array, Array]:
    # With c = x − mean(x), v = mean(c²), r = (v + eps)^(−½) and x̂ = c r, per example:
    #   ċ = ẋ − mean(ẋ),   v̇ = 2 mean(c ċ),   ṙ = −½ r³ v̇ = −r³ mean(c ċ) = −r² mean(x̂ ċ),
    #   x̂˙ = r ċ + c ṙ = r (ċ − x̂ mean(x̂ ċ)),   and mean(x̂ ċ) = mean(x̂ ẋ) as mean(x̂) = 0.
    # ⟨dx̂, x̂˙⟩ = r (⟨dx̂, ẋ⟩ − Σdx̂ mean(ẋ) − ⟨dx̂, x̂⟩ mean(x̂ ẋ))
    #           = ⟨r (dx̂ − mean(dx̂) − x̂ mean(dx̂ x̂)), ẋ⟩.
    # ẏ = x̂˙ scale + x̂ scale˙ + bias˙ gives dx̂ = dy scale and the sums over examples below.
    del eps
    x, mean, r, scale, bias = kept
    dy = _wide(dy)
    x_hat = (_wide(x) - mean) * r
    dx_hat = dy * scale
    dx = r * (dx_hat - _mean(dx_hat) - x_hat * _mean(dx_hat * x_hat))
    dscale = _sum_over_examples(dy * x_hat)
    dbias = _sum_over_examples(dy)
    return cotangent_of(x, dx), cotangent_of(scale, dscale), cotangent_of(bias, dbias)


_layer_norm.defvjp(_layer_norm_fwd, _layer_norm_bwd)


def _rms_norm_forward(eps: float, x: Array, scale: Array) -> tuple[Array, Array]:
    X = _wide(x)
    r = lax.rsqrt(_mean(jnp.square(X)) + eps)
    return (X * r * scale).astype(x.dtype), r


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _rms_norm(eps: float, x: Array, scale: Array) -> Array:
    return _rms_norm_forward(eps, x, scale)[0]


def _rms_norm_fwd(eps: float, x: Array, scale: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    y, r = _rms_norm_forward(eps, x, scale)
    # The residuals are x, uncast, and one number per example. The backward pass recomputes x̂.
    return y, (x, r, scale)


def _rms_norm_bwd(eps: float, kept: tuple[Array, Array, Array], dy: Array) -> tuple[Array, Array]:
    # With q = mean(x²), r = (q + eps)^(−½) and x̂ = x r, per example:
    #   q̇ = 2 mean(x ẋ),   ṙ = −½ r³ q̇ = −r² mean(x̂ ẋ),   x̂˙ = r ẋ + x ṙ = r (ẋ − x̂ mean(x̂ ẋ)).
    # ⟨dx̂, x̂˙⟩ = r (⟨dx̂, ẋ⟩ − ⟨dx̂, x̂⟩ mean(x̂ ẋ)) = ⟨r (dx̂ − x̂ mean(dx̂ x̂)), ẋ⟩.
    # ẏ = x̂˙ scale + x̂ scale˙ gives dx̂ = dy scale and the sum over examples below.
    del eps
    x, r, scale = kept
    dy = _wide(dy)
    x_hat = _wide(x) * r
    dx_hat = dy * scale
    dx = r * (dx_hat - x_hat * _mean(dx_hat * x_hat))
    dscale = _sum_over_examples(dy * x_hat)
    return cotangent_of(x, dx), cotangent_of(scale, dscale)


_rms_norm.defvjp(_rms_norm_fwd, _rms_norm_bwd)
