"""Make a rule from a loss that compares each prediction with its own target.

Such a loss is `ℓᵢ = Σⱼ f(pᵢⱼ, tᵢⱼ)` for example i, summed over the features j. Then

    ℓ̇ᵢ = Σⱼ ∂f/∂p ṗᵢⱼ + ∂f/∂t ṫᵢⱼ        dpᵢⱼ = dℓᵢ ∂f/∂p        dtᵢⱼ = dℓᵢ ∂f/∂t

so each loss supplies only f and its two partial derivatives.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from .._arguments import as_array, check_not_empty, check_same_shape, describe, floating
from .._cotangent import cotangent_of

# The options of a loss, such as the δ of `huber`.
Options = tuple[float, ...]
Elementwise = Callable[..., Array]
Partials = Callable[..., tuple[Array, Array]]


def pairwise(f: Elementwise, partials: Partials) -> Callable[..., Array]:
    """Return the rule `(P, T, *options) -> ℓ`; f and partials take the same arguments.

    All computations are in float32 or wider, and so is ℓ. A vector P holds one number per example;
    otherwise its last axis holds the features.
    """

    def value(options: Options, P: Array, T: Array) -> Array:
        return jnp.sum(f(*_wide(P, T), *options), axis=_features(P))

    def fwd(options: Options, P: Array, T: Array) -> tuple[Array, tuple[Array, Array]]:
        return value(options, P, T), (P, T)

    def bwd(options: Options, kept: tuple[Array, Array], dl: Array) -> tuple[Array, Array]:
        P, T = kept
        df_dp, df_dt = partials(*_wide(P, T), *options)
        dl = jnp.expand_dims(dl, _features(P))
        dP = dl * df_dp
        dT = dl * df_dt
        return cotangent_of(P, dP), cotangent_of(T, dT)

    name = f.__name__
    value.__name__, fwd.__name__, bwd.__name__ = name, f"{name}_fwd", f"{name}_bwd"
    rule = jax.custom_vjp(value, nondiff_argnums=(0,))
    rule.defvjp(fwd, bwd)
    return lambda P, T, *options: rule(options, P, T)


def pair(
    pred: object, target: object, *, pred_name: str = "pred", labels: bool = False
) -> tuple[Array, Array]:
    """Return predictions and targets as arrays, or raise unless they can be compared.

    Both must be floating-point, of the same shape, and hold at least one example. With `labels`,
    targets are counts or classes, and may be integers or booleans, which are converted.
    """
    P = floating(pred_name, pred)
    T = as_array("target", target, "a floating-point array" + (" or classes" if labels else ""))
    if labels and (jnp.issubdtype(T.dtype, jnp.integer) or T.dtype == jnp.bool_):
        T = T.astype(P.dtype)
    T = floating("target", T)
    if P.ndim == 0:
        raise ValueError(f"{pred_name} must have shape (m,) or (..., features), got {describe(P)}")
    check_same_shape("target", T, pred_name, P)
    check_not_empty(pred_name, P)
    return P, T


def _features(P: Array) -> tuple[int, ...]:
    return () if P.ndim == 1 else (-1,)


def _wide(P: Array, T: Array) -> tuple[Array, Array]:
    dtype = jnp.promote_types(jnp.promote_types(P.dtype, T.dtype), jnp.float32)
    return P.astype(dtype), T.astype(dtype)
