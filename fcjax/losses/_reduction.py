"""Reduce the losses of the examples: mean, sum or none, with weights."""

import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array

from .._arguments import check_one_of, describe, floating
from .._cotangent import cotangent_of

Reduction = Literal["mean", "sum", "none"]


def reduce(
    losses: Array, weights: object, reduction: Reduction, *, counts: Array | None = None
) -> Array:
    """Combine the losses ℓ (m,) of m examples.

    With weights w: "none" returns `w ℓ`, "sum" `Σ w ℓ` and "mean" `Σ w ℓ / Σ w n`, where n,
    the count of an example in the mean, is 1 unless `counts` is given. Without weights, w = 1.
    """
    weights = checked_weights(weights, reduction, losses.shape)
    if reduction == "none":
        return losses if weights is None else weighted(losses, weights)
    if reduction == "sum":
        return total(losses, weights)
    if weights is None and counts is None:
        return _mean(losses)
    return _weighted_mean(
        losses,
        jnp.ones_like(losses) if weights is None else weights,
        jnp.ones_like(losses) if counts is None else counts,
    )


def check_reduction(reduction: object) -> None:
    """Raise ValueError unless `reduction` is one of the names."""
    check_one_of("reduction", reduction, get_args(Reduction))


def checked_weights(weights: object, reduction: str, batch: tuple[int, ...]) -> Array | None:
    """Return the weights as an array, or raise unless weights and reduction are valid."""
    check_reduction(reduction)
    if weights is None:
        return None
    weights = floating("weights", weights)
    if weights.shape != batch:
        raise ValueError(
            f"weights must have one number per example, shape {list(batch)}, "
            f"got {describe(weights)}"
        )
    return weights


@jax.custom_vjp
def weighted(losses: Array, weights: Array) -> Array:
    """Return `w ℓ` for each example."""
    return losses * weights


def _weighted_fwd(losses: Array, weights: Array) -> tuple[Array, tuple[Array, Array]]:
    return losses * weights, (losses, weights)


def _weighted_bwd(kept: tuple[Array, Array], dL: Array) -> tuple[Array, Array]:
    # L = ℓ ⊙ w: ⟨dL, L̇⟩ = ⟨dL ⊙ w, ℓ̇⟩ + ⟨dL ⊙ ℓ, ẇ⟩.
    losses, weights = kept
    dlosses = dL * weights
    dweights = dL * losses
    return cotangent_of(losses, dlosses), cotangent_of(weights, dweights)


weighted.defvjp(_weighted_fwd, _weighted_bwd)


def _total(losses: Array, weights: Array | None) -> Array:
    """Return `Σ w ℓ`."""
    return jnp.sum(losses if weights is None else losses * weights)


total = jax.custom_vjp(_total)


def _sum_fwd(losses: Array, weights: Array | None) -> tuple[Array, tuple[Array, Array | None]]:
    return _total(losses, weights), (losses, weights)


def _sum_bwd(kept: tuple[Array, Array | None], dL: Array) -> tuple[Array, Array | None]:
    # L = Σ w ℓ: L̇ = Σ w ℓ̇ + Σ ℓ ẇ.
    losses, weights = kept
    if weights is None:
        return cotangent_of(losses, jnp.broadcast_to(dL, losses.shape)), None
    dlosses = dL * weights
    dweights = dL * losses
    return cotangent_of(losses, dlosses), cotangent_of(weights, dweights)


total.defvjp(_sum_fwd, _sum_bwd)


@jax.custom_vjp
def _mean(losses: Array) -> Array:
    return jnp.mean(losses)


def _mean_fwd(losses: Array) -> tuple[Array, Array]:
    return jnp.mean(losses), losses


def _mean_bwd(losses: Array, dL: Array) -> tuple[Array]:
    # L = Σ ℓ / m: L̇ = Σ ℓ̇ / m. The 1/m of the textbooks enters here, and only here.
    m = math.prod(losses.shape)
    dlosses = jnp.broadcast_to(dL / m, losses.shape)
    return (cotangent_of(losses, dlosses),)


_mean.defvjp(_mean_fwd, _mean_bwd)


def _ratio(losses: Array, weights: Array, counts: Array) -> Array:
    """Return `Σ w ℓ / Σ w n`."""
    return jnp.sum(losses * weights) / jnp.sum(counts * weights)


_weighted_mean = jax.custom_vjp(_ratio)


def _weighted_mean_fwd(
    losses: Array, weights: Array, counts: Array
) -> tuple[Array, tuple[Array, Array, Array, Array]]:
    L = _ratio(losses, weights, counts)
    return L, (losses, weights, counts, L)


def _weighted_mean_bwd(
    kept: tuple[Array, Array, Array, Array], dL: Array
) -> tuple[Array, Array, Array]:
    # L D = Σ w ℓ with D = Σ w n. Differentiate both sides:
    #   L̇ D + L Σ(ẇ n + w ṅ) = Σ(ẇ ℓ + w ℓ̇)
    #   L̇ = Σ (w ℓ̇ + (ℓ − L n) ẇ − L w ṅ) / D
    losses, weights, counts, L = kept
    s = dL / jnp.sum(counts * weights)
    dlosses = s * weights
    dweights = s * (losses - L * counts)
    dcounts = -s * L * weights
    return (
        cotangent_of(losses, dlosses),
        cotangent_of(weights, dweights),
        cotangent_of(counts, dcounts),
    )


_weighted_mean.defvjp(_weighted_mean_fwd, _weighted_mean_bwd)


def _quotient(S: Array, D: Array) -> Array:
    """Return `S / D`, the mean for a given sum."""
    return S / D


quotient = jax.custom_vjp(_quotient)


def _quotient_fwd(S: Array, D: Array) -> tuple[Array, tuple[Array, Array]]:
    return S / D, (S, D)


def _quotient_bwd(kept: tuple[Array, Array], dL: Array) -> tuple[Array, Array]:
    # L D = S: L̇ D + L Ḋ = Ṡ.
    S, D = kept
    dS = dL / D
    dD = -dS * (S / D)
    return cotangent_of(S, dS), cotangent_of(D, dD)


quotient.defvjp(_quotient_fwd, _quotient_bwd)
