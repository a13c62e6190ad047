"""Losses for numbers and counts: squared, absolute, Huber and Poisson.

Predictions and targets have the same shape, `(..., n)`, or `(m,)` for one number per example. Each
loss sums over the n features of an example; `reduction` then combines the examples:

- "mean": the sum divided by the number of examples, or by Σ weights where weights are given;
- "sum": the sum over examples;
- "none": one loss per example, shape `(...)`.

`weights` (one number per example) and targets are differentiable arguments. Losses are computed
and returned in float32 or wider; gradients have the dtype of their argument.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike, Float, Num

from .._arguments import describe, is_number
from ._pairwise import pair, pairwise
from ._reduction import Reduction, reduce


def _scaled_square(p: Array, t: Array, s: float) -> Array:
    return s * jnp.square(p - t)


def _scaled_square_partials(p: Array, t: Array, s: float) -> tuple[Array, Array]:
    # f = s (p − t)², so ḟ = 2s (p − t)(ṗ − ṫ).
    df_dp = 2 * s * (p - t)
    return df_dp, -df_dp


_square = pairwise(_scaled_square, _scaled_square_partials)


def squared_error(
    pred: Float[ArrayLike, "*m"],
    target: Float[ArrayLike, "*m"],
    *,
    weights: Float[ArrayLike, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Squared error, `Σⱼ (pⱼ − tⱼ)²` per example; with "sum" it is the squared Frobenius norm.

    `dp = 2 (p − t) dℓ` and `dt = −2 (p − t) dℓ`.

    Args:
        pred: predictions p, shape `(..., n)` or `(m,)`.
        target: targets t, the shape of `pred`.
        weights: one weight per example.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: an argument is not floating-point.
        ValueError: the shapes differ, the batch is empty, or the reduction is unknown.

    Source: Bishop, Pattern Recognition and Machine Learning (2006), eq. 3.12, times 2.

    >>> pred, target = jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.zeros((2, 2))
    >>> squared_error(pred, target), squared_error(pred, target, reduction="sum")
    (Array(15., dtype=float32), Array(30., dtype=float32))
    """
    return reduce(_square(*pair(pred, target), 1.0), weights, reduction)


def half_squared_error(
    pred: Float[ArrayLike, "*m"],
    target: Float[ArrayLike, "*m"],
    *,
    weights: Float[ArrayLike, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Half the squared error, `½ Σⱼ (pⱼ − tⱼ)²` per example; the mean is the 1/(2m) Σ of textbooks.

    `dp = (p − t) dℓ` and `dt = −(p − t) dℓ`.

    Args:
        pred: predictions p, shape `(..., n)` or `(m,)`.
        target: targets t, the shape of `pred`.
        weights: one weight per example.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: an argument is not floating-point.
        ValueError: the shapes differ, the batch is empty, or the reduction is unknown.

    Source: Bishop, Pattern Recognition and Machine Learning (2006), eq. 5.11.

    >>> half_squared_error(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.zeros((2, 2)))
    Array(7.5, dtype=float32)
    """
    return reduce(_square(*pair(pred, target), 0.5), weights, reduction)


def mean_squared_error(
    pred: Float[ArrayLike, "*m"],
    target: Float[ArrayLike, "*m"],
    *,
    weights: Float[ArrayLike, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Mean squared error, `(1/n) Σⱼ (pⱼ − tⱼ)²` per example, the mean over its n features.

    This is the loss of that name in scikit-learn, Keras and PyTorch. `dp = (2/n)(p − t) dℓ` and
    `dt = −dp`.

    Args:
        pred: predictions p, shape `(..., n)` or `(m,)`.
        target: targets t, the shape of `pred`.
        weights: one weight per example.
        reduction: "mean", "sum" or "none", over examples.

    Raises:
        TypeError: an argument is not floating-point.
        ValueError: the shapes differ, the batch is empty, or the reduction is unknown.

    Source: Hastie, Tibshirani & Friedman, The Elements of Statistical Learning (2009), eq. 2.25.

    >>> mean_squared_error(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.zeros((2, 2)))
    Array(7.5, dtype=float32)
    """
    P, T = pair(pred, target)
    n = P.shape[-1] if P.ndim > 1 else 1
    return reduce(_square(P, T, 1 / n), weights, reduction)


def _absolute_difference(p: Array, t: Array) -> Array:
    return jnp.abs(p - t)


def _absolute_partials(p: Array, t: Array) -> tuple[Array, Array]:
    # f = |p − t|, so ḟ = sign(p − t)(ṗ − ṫ), with sign(0) = 0 at the kink.
    df_dp = jnp.sign(p - t)
    return df_dp, -df_dp


_absolute = pairwise(_absolute_difference, _absolute_partials)


def absolute_error(
    pred: Float[ArrayLike, "*m"],
    target: Float[ArrayLike, "*m"],
    *,
    weights: Float[ArrayLike, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Absolute error, `Σⱼ |pⱼ − tⱼ|` per example.

    `dp = sign(p − t) dℓ` and `dt = −dp`; at the kink p = t both are 0, the midpoint of the
    subdifferential.

    Args:
        pred: predictions p, shape `(..., n)` or `(m,)`.
        target: targets t, the shape of `pred`.
        weights: one weight per example.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: an argument is not floating-point.
        ValueError: the shapes differ, the batch is empty, or the reduction is unknown.

    Source: Hastie, Tibshirani & Friedman, The Elements of Statistical Learning (2009), eq. 2.18.

    >>> absolute_error(jnp.array([[1.0, -2.0]]), jnp.zeros((1, 2)))
    Array(3., dtype=float32)
    """
    return reduce(_absolute(*pair(pred, target)), weights, reduction)


def _huber_value(p: Array, t: Array, delta: float) -> Array:
    distance = jnp.abs(p - t)
    # jnp.where rather than jnp.minimum, whose autodiff derivative is halved at |e| = δ.
    inside = jnp.where(distance <= delta, distance, delta)
    return jnp.where(distance <= delta, 0.5 * inside**2, delta * (distance - 0.5 * delta))


def _huber_partials(p: Array, t: Array, delta: float) -> tuple[Array, Array]:
    # With e = p − t: f = ½ e² and ḟ = e ė for |e| ≤ δ; f = δ(|e| − ½ δ) and ḟ = δ sign(e) ė
    # beyond. The two agree at |e| = δ: there is no kink.
    df_dp = jnp.clip(p - t, -delta, delta)
    return df_dp, -df_dp


_huber = pairwise(_huber_value, _huber_partials)


def huber(
    pred: Float[ArrayLike, "*m"],
    target: Float[ArrayLike, "*m"],
    *,
    delta: float = 1.0,
    weights: Float[ArrayLike, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Huber loss: `½ e²` for |e| ≤ δ, else `δ (|e| − ½ δ)`, summed over features; e = p − t.

    `dp = min(max(e, −δ), δ) dℓ` and `dt = −dp`.

    Args:
        pred: predictions p, shape `(..., n)` or `(m,)`.
        target: targets t, the shape of `pred`.
        delta: δ > 0, in the unit of the targets.
        weights: one weight per example.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: an array argument is not floating-point.
        ValueError: the shapes differ, the batch is empty, the reduction is unknown, or `delta` is
            not a positive number.

    Source: Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics 35
    (1964).

    >>> huber(jnp.array([[0.5], [3.0]]), jnp.zeros((2, 1)), reduction="none")
    Array([0.125, 2.5  ], dtype=float32)
    """
    if not is_number(delta) or not delta > 0:
        raise ValueError(f"delta must be a positive number, got {describe(delta)}")
    return reduce(_huber(*pair(pred, target), float(delta)), weights, reduction)


def _poisson_value(r: Array, t: Array) -> Array:
    return jnp.exp(r) - t * r


def _poisson_partials(r: Array, t: Array) -> tuple[Array, Array]:
    # f = eʳ − t r, so ḟ = (eʳ − t) ṙ − r ṫ.
    return jnp.exp(r) - t, -r


_poisson = pairwise(_poisson_value, _poisson_partials)


def poisson(
    log_rate: Float[ArrayLike, "*m"],
    target: Num[ArrayLike, "*m"],
    *,
    weights: Float[ArrayLike, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Negative log-likelihood of counts, `Σⱼ (exp rⱼ − tⱼ rⱼ)`, without the constant `log t!`.

    `dr = (eʳ − t) dℓ` and `dt = −r dℓ`.

    Args:
        log_rate: logarithm r of the predicted rate, shape `(..., n)` or `(m,)`.
        target: observed counts t, floating-point or integer, the shape of `log_rate`.
        weights: one weight per example.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: `log_rate` or `weights` is not floating-point, or `target` is not a number.
        ValueError: the shapes differ, the batch is empty, or the reduction is unknown.

    Source: McCullagh & Nelder, Generalized Linear Models (1989), section 6.2.

    >>> poisson(jnp.array([[0.0]]), jnp.array([[2]]))
    Array(1., dtype=float32)
    """
    P, T = pair(log_rate, target, pred_name="log_rate", labels=True)
    return reduce(_poisson(P, T), weights, reduction)
