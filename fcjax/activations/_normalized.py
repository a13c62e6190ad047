"""Activations that couple the elements along an axis: softmax and its logarithm."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike, Bool, Float

from .._arguments import (
    as_array,
    brief,
    check_broadcasts_to,
    checked_axis,
    describe,
    floating,
)
from ._facts import Rule, with_facts

_Axis = int | tuple[int, ...]


def _softmax_value(axis: _Axis, Z: Array, where: Array | None) -> Array:
    return jax.nn.softmax(Z, axis, where)


_softmax = jax.custom_vjp(_softmax_value, nondiff_argnums=(0,))


def _softmax_fwd(axis: _Axis, Z: Array, where: Array | None) -> tuple[Array, Array]:
    P = _softmax_value(axis, Z, where)
    return P, P


def _softmax_pull(axis: _Axis, P: Array, dP: Array) -> Array:
    # P = eᶻ/σ with σ = Σ eᶻ along the axis: Ṗ = P ⊙ Ż − P σ̇/σ and σ̇/σ = Σ P ⊙ Ż, so
    # ⟨dP, Ṗ⟩ = ⟨P ⊙ dP, Ż⟩ − Σ(dP ⊙ P) ⟨P, Ż⟩ = ⟨P ⊙ (dP − Σ P ⊙ dP), Ż⟩.
    # A masked entry has P = 0 and so dZ = 0.
    return P * (dP - jnp.sum(P * dP, axis, keepdims=True))


def _softmax_bwd(axis: _Axis, P: Array, dP: Array) -> tuple[Array, None]:
    return _softmax_pull(axis, P, dP), None


_softmax.defvjp(_softmax_fwd, _softmax_bwd)


def _softmax_rule(axis: _Axis = -1, where: ArrayLike | None = None) -> Rule:
    fwd = partial(_softmax_fwd, axis, where=_mask(where))
    return Rule(fwd, partial(_softmax_pull, axis), "output")


@with_facts(_softmax_rule)
def softmax(
    z: Float[ArrayLike, "..."],
    axis: _Axis = -1,
    where: Bool[ArrayLike, "..."] | None = None,
) -> Float[Array, "..."]:
    """Normalized exponential, `p = eᶻ / Σ eᶻ` along `axis`, with `dz = p (dp − Σ p dp)`.

    The maximum is subtracted first, so that no input overflows.

    Args:
        z: floating-point, with at least one dimension; `p` has its shape and dtype.
        axis: the axis, or axes, along which the result sums to 1.
        where: boolean mask that broadcasts against `z`. Masked entries (False) have p = 0.

    Raises:
        TypeError: `z` is not floating-point, `axis` is not an integer or a tuple of integers, or
            `where` is not boolean.
        ValueError: `z` has no such axis, or `where` does not broadcast to its shape.

    Source: Bridle, Probabilistic interpretation of feedforward classification network outputs
    (1990); Bishop, Pattern Recognition and Machine Learning (2006), eq. 4.106.

    >>> softmax(jnp.array([1e4, 1e4, 0.0]))
    Array([0.5, 0.5, 0. ], dtype=float32)
    """
    z = floating("z", z)
    return _softmax(_checked_axes(axis, z), z, _checked_mask(where, z))


def _log_softmax_value(axis: _Axis, Z: Array, where: Array | None) -> Array:
    return jax.nn.log_softmax(Z, axis, where)


_log_softmax = jax.custom_vjp(_log_softmax_value, nondiff_argnums=(0,))


def _log_softmax_fwd(
    axis: _Axis, Z: Array, where: Array | None
) -> tuple[Array, tuple[Array, Array | None]]:
    A = _log_softmax_value(axis, Z, where)
    return A, (A, where)


def _log_softmax_pull(axis: _Axis, where: Array | None, A: Array, dA: Array) -> Array:
    # A = Z − log Σ eᶻ, and the differential of the last term is Σ P ⊙ Ż with P = eᴬ:
    # ⟨dA, Ȧ⟩ = ⟨dA, Ż⟩ − Σ dA ⟨P, Ż⟩ = ⟨dA − P Σ dA, Ż⟩.
    # A masked entry is the constant −∞. It is left out of the sums, and its dZ is 0.
    dA = dA if where is None else jnp.where(where, dA, 0)
    return dA - jnp.exp(A) * jnp.sum(dA, axis, keepdims=True)


def _log_softmax_bwd(
    axis: _Axis, kept: tuple[Array, Array | None], dA: Array
) -> tuple[Array, None]:
    A, where = kept
    return _log_softmax_pull(axis, where, A, dA), None


_log_softmax.defvjp(_log_softmax_fwd, _log_softmax_bwd)


def _log_softmax_rule(axis: _Axis = -1, where: ArrayLike | None = None) -> Rule:
    mask = _mask(where)

    def fwd(Z: Array) -> tuple[Array, Array]:
        A = _log_softmax_value(axis, Z, mask)
        return A, A

    return Rule(fwd, partial(_log_softmax_pull, axis, mask), "output")


@with_facts(_log_softmax_rule)
def log_softmax(
    z: Float[ArrayLike, "..."],
    axis: _Axis = -1,
    where: Bool[ArrayLike, "..."] | None = None,
) -> Float[Array, "..."]:
    """Logarithm of `softmax`, `a = z − log Σ eᶻ` along `axis`, with `dz = da − eᵃ Σ da`.

    Args:
        z: floating-point, with at least one dimension; `a` has its shape and dtype.
        axis: the axis, or axes, along which the exponential of the result sums to 1.
        where: boolean mask that broadcasts against `z`. Masked entries (False) have a = −∞.

    Raises:
        TypeError: `z` is not floating-point, `axis` is not an integer or a tuple of integers, or
            `where` is not boolean.
        ValueError: `z` has no such axis, or `where` does not broadcast to its shape.

    Source: Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.4.

    >>> log_softmax(jnp.array([1e4, 1e4])).round(4)
    Array([-0.6931, -0.6931], dtype=float32)
    """
    z = floating("z", z)
    return _log_softmax(_checked_axes(axis, z), z, _checked_mask(where, z))


def _checked_axes(axis: object, z: Array) -> _Axis:
    """Return one axis of z or several, or raise unless z has them, and numbers along them."""
    if z.ndim == 0:
        raise ValueError(f"z must have at least one dimension, got {describe(z)}")
    several = axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(checked_axis("axis", a, "z", z) for a in several)
    if not axes or len({a % z.ndim for a in axes}) < len(axes):
        raise ValueError(f"axis must be one axis of z, or different ones, got {brief(axis)}")
    if not all(z.shape[a] for a in axes):
        raise ValueError(f"z must have numbers along axis {brief(axis)}, got {describe(z)}")
    return axes if isinstance(axis, tuple) else axes[0]


def _checked_mask(where: Bool[ArrayLike, "..."] | None, z: Array) -> Array | None:
    mask = _mask(where)
    if mask is not None:
        check_broadcasts_to("where", mask, "z", z)
    return mask


def _mask(where: Bool[ArrayLike, "..."] | None) -> Array | None:
    if where is None:
        return None
    where = as_array("where", where, "a boolean array")
    if where.dtype != jnp.bool_:
        raise TypeError(f"where must be a boolean array, got {describe(where)}")
    return where
