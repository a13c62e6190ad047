"""Losses for two classes: hinge and binary cross-entropy, of probabilities and of logits.

`reduction` combines the examples as in the regression losses: "mean" divides by the number of
examples, or by Σ weights where weights are given; "sum" adds; "none" returns one loss per example.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import ArrayLike, Float, Num, Shaped

from .._ranges import Range, report_range
from ._pairwise import pair, pairwise
from ._reduction import Reduction, check_reduction, reduce


def _report_range(target: object, accepted: Range, weights: object, reduction: Reduction) -> None:
    check_reduction(reduction)
    if weights is None and reduction != "none":  # otherwise a target may be masked
        report_range(target, accepted)


def _hinge_value(p: Array, t: Array) -> Array:
    return jnp.where(p * t >= 1, 0, 1 - p * t)


def _hinge_partials(p: Array, t: Array) -> tuple[Array, Array]:
    # f = 1 − p t inside the margin p t < 1, so ḟ = −t ṗ − p ṫ; f = 0 for p t ≥ 1.
    inside = p * t < 1
    return jnp.where(inside, -t, 0), jnp.where(inside, -p, 0)


_hinge = pairwise(_hinge_value, _hinge_partials)


def hinge(
    pred: Float[ArrayLike, "*m"],
    target: Num[ArrayLike, "*m"],
    *,
    weights: Float[ArrayLike, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Hinge loss, `Σⱼ max(0, 1 − pⱼ tⱼ)` per example, for classes t = −1 and +1.

    `dp = −t dℓ` and `dt = −p dℓ` inside the margin, p t < 1. Both are 0 for p t ≥ 1, including the
    kink.

    Args:
        pred: decision values p, shape `(..., n)` or `(m,)`.
        target: classes −1 or +1, floating-point or integer, the shape of `pred`.
        weights: one weight per example.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: `pred` or `weights` is not floating-point, or `target` is not a number.
        ValueError: the shapes differ, the batch is empty, or the reduction is unknown.

    Source: Cortes & Vapnik, Support-vector networks, Machine Learning 20 (1995).

    >>> hinge(jnp.array([0.5, -2.0]), jnp.array([1, -1]), reduction="none")
    Array([0.5, 0. ], dtype=float32)
    """
    _report_range(target, Range("hinge", -1, 1, ends_only=True), weights, reduction)
    return reduce(_hinge(*pair(pred, target, labels=True)), weights, reduction)


def _bernoulli_value(p: Array, t: Array) -> Array:
    # 0 log 0 = 0: a correct prediction with certainty has loss 0.
    return -jax.scipy.special.xlogy(t, p) - jax.scipy.special.xlog1py(1 - t, -p)


def _bernoulli_partials(p: Array, t: Array) -> tuple[Array, Array]:
    # f = −t log p − (1 − t) log(1 − p), so
    # ḟ = (−t/p + (1 − t)/(1 − p)) ṗ + (log(1 − p) − log p) ṫ, where a term with factor 0 is 0.
    df_dp = _quotient(1 - t, 1 - p) - _quotient(t, p)
    return df_dp, jnp.log1p(-p) - jnp.log(p)


def _quotient(numerator: Array, denominator: Array) -> Array:
    zero = numerator == 0
    return jnp.where(zero, 0, numerator / jnp.where(zero, 1, denominator))


_bernoulli = pairwise(_bernoulli_value, _bernoulli_partials)


def binary_cross_entropy(
    probs: Float[ArrayLike, "*m"],
    target: Shaped[ArrayLike, "*m"],
    *,
    weights: Float[ArrayLike, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy of probabilities, `−Σⱼ (tⱼ log pⱼ + (1 − tⱼ) log(1 − pⱼ))` per example.

    `dp = (−t/p + (1 − t)/(1 − p)) dℓ` and `dt = (log(1 − p) − log p) dℓ`; `0 log 0` and `0/0` are
    0. A wrong prediction of exactly 0 or 1 has infinite loss and gradient.
    `sigmoid_binary_cross_entropy`, which takes logits, is finite everywhere.

    Args:
        probs: predicted probabilities p in [0, 1], shape `(..., n)` or `(m,)`.
        target: t in [0, 1]: classes 0 and 1 (boolean, integer or floating-point) or probabilities;
            the shape of `probs`.
        weights: one weight per example.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: `probs` or `weights` is not floating-point, or `target` is not a number.
        ValueError: the shapes differ, the batch is empty, or the reduction is unknown.

    Source: Bishop, Pattern Recognition and Machine Learning (2006), eq. 4.90.

    >>> binary_cross_entropy(jnp.array([[0.5], [1.0]]), jnp.array([[0], [1]])).round(4)
    Array(0.3466, dtype=float32)
    """
    _report_range(target, Range("binary_cross_entropy", 0, 1), weights, reduction)
    P, T = pair(probs, target, pred_name="probs", labels=True)
    return reduce(_bernoulli(P, T), weights, reduction)


def _logit_value(z: Array, t: Array) -> Array:
    # log(1 + eᶻ) − t z, with log(1 + eᶻ) = max(z, 0) + log(1 + e^−|z|), z = max(z, 0) − max(−z, 0):
    # nothing overflows, no large parts cancel, and an infinite z gives ∞ rather than ∞ − ∞.
    large = (1 - t) * jnp.maximum(z, 0) + t * jnp.maximum(-z, 0)
    return large + jnp.log1p(jnp.exp(-jnp.abs(z)))


def _logit_partials(z: Array, t: Array) -> tuple[Array, Array]:
    # f = log(1 + eᶻ) − t z, so ḟ = (sigmoid(z) − t) ż − z ṫ.
    return lax.logistic(z) - t, -z


_logit = pairwise(_logit_value, _logit_partials)


def sigmoid_binary_cross_entropy(
    logits: Float[ArrayLike, "*m"],
    target: Shaped[ArrayLike, "*m"],
    *,
    weights: Float[ArrayLike, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Binary cross-entropy of `sigmoid(z)`, `Σⱼ (log(1 + exp zⱼ) − tⱼ zⱼ)` per example.

    `dz = (sigmoid(z) − t) dℓ` and `dt = −z dℓ`.

    Args:
        logits: z, shape `(..., n)` or `(m,)`.
        target: t in [0, 1]: classes 0 and 1 (boolean, integer or floating-point) or probabilities;
            the shape of `logits`.
        weights: one weight per example.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: `logits` or `weights` is not floating-point, or `target` is not a number.
        ValueError: the shapes differ, the batch is empty, or the reduction is unknown.

    Source: Bishop, Pattern Recognition and Machine Learning (2006), eqs. 4.90 and 4.91.

    >>> sigmoid_binary_cross_entropy(jnp.array([[1e4], [-1e4]]), jnp.array([[1], [1]]))
    Array(5000., dtype=float32)
    """
    _report_range(target, Range("sigmoid_binary_cross_entropy", 0, 1), weights, reduction)
    P, T = pair(logits, target, pred_name="logits", labels=True)
    return reduce(_logit(P, T), weights, reduction)
