"""Figures of predictions, as functions that JAX compiles: for early stopping, and for reports."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._arguments import check_one_of
from .presets import Task

Function = Callable[[Array, Array, Array | None], Array]


class Metric(NamedTuple):
    """A figure: its name, whether low or high is good, and its function.

    The function takes predictions (probabilities `(n, classes)`, or numbers `(n, outputs)`),
    targets, and weights of the rows or None.
    """

    name: str
    mode: Literal["min", "max"]
    function: Function


def _mean(values: Array, weights: Array | None) -> Array:
    return jnp.average(values, weights=weights, axis=0)


def error(probabilities: Array, labels: Array, weights: Array | None = None) -> Array:
    """The part of the rows whose most probable class is wrong; the first of equal ones counts."""
    return _mean(
        (jnp.argmax(probabilities, axis=-1) != labels).astype(probabilities.dtype), weights
    )


def accuracy(probabilities: Array, labels: Array, weights: Array | None = None) -> Array:
    """The part of the rows whose most probable class is right."""
    return 1 - error(probabilities, labels, weights)


def log_loss(probabilities: Array, labels: Array, weights: Array | None = None) -> Array:
    """The mean of minus the logarithm of the probability of the right class."""
    right = jnp.take_along_axis(probabilities, labels[:, None], axis=-1)[:, 0]
    return _mean(-jnp.log(jnp.maximum(right, jnp.finfo(right.dtype).tiny)), weights)


def brier(probabilities: Array, labels: Array, weights: Array | None = None) -> Array:
    """The mean squared distance of the probabilities from the right class.

    Source: Brier, Verification of forecasts expressed in terms of probability, 1950.
    """
    target = jax.nn.one_hot(labels, probabilities.shape[-1], dtype=probabilities.dtype)
    return _mean(jnp.sum((probabilities - target) ** 2, axis=-1), weights)


def auc(probabilities: Array, labels: Array, weights: Array | None = None) -> Array:
    """The area under the ROC curve; of several classes, the mean of each against the others.

    It is the probability that a row of the class has a higher score than another row, and half of
    that for equal scores. A class that is absent, or alone, does not count.

    Source: Hanley & McNeil, The meaning and use of the area under a ROC curve, Radiology 143
    (1982); Provost & Domingos, 2000 (several classes).
    """
    classes = probabilities.shape[-1]
    numbers = jnp.arange(1 if classes == 2 else 0, classes)
    areas = jax.lax.map(lambda k: _auc_of(probabilities[:, k], labels == k, weights), numbers)
    return jnp.nanmean(areas)


def _auc_of(scores: Array, is_positive: Array, weights: Array | None) -> Array:
    weights = jnp.ones_like(scores) if weights is None else weights
    positive, negative = weights * is_positive, weights * ~is_positive
    order = jnp.argsort(scores)
    ranked, below = (
        scores[order],
        jnp.cumsum(jnp.append(jnp.zeros(1, scores.dtype), negative[order])),
    )
    low = jnp.searchsorted(ranked, scores, side="left")
    high = jnp.searchsorted(ranked, scores, side="right")
    wins = jnp.sum(positive * (below[low] + below[high]) / 2)
    return wins / (jnp.sum(positive) * jnp.sum(negative))


def mse(predicted: Array, target: Array, weights: Array | None = None) -> Array:
    """The mean squared error, over rows and outputs."""
    return jnp.mean(_mean((predicted - target) ** 2, weights))


def rmse(predicted: Array, target: Array, weights: Array | None = None) -> Array:
    """The root of the mean squared error."""
    return jnp.sqrt(mse(predicted, target, weights))


def mae(predicted: Array, target: Array, weights: Array | None = None) -> Array:
    """The mean absolute error, over rows and outputs."""
    return jnp.mean(_mean(jnp.abs(predicted - target), weights))


def r2(predicted: Array, target: Array, weights: Array | None = None) -> Array:
    """The part of the variance that is explained, the mean over outputs."""
    residual = _mean((predicted - target) ** 2, weights)
    variance = _mean((target - _mean(target, weights)) ** 2, weights)
    return jnp.mean(1 - residual / variance)


_OF_CLASSES = {
    "accuracy": accuracy, "error": error, "log_loss": log_loss, "auc": auc, "brier": brier
}  # fmt: skip
_OF_NUMBERS = {"rmse": rmse, "mae": mae, "r2": r2, "mse": mse}
# The power of the target's unit that a figure has.
_POWERS = {"rmse": 1, "mae": 1, "mse": 2}
_HIGH_IS_GOOD = ("accuracy", "auc", "r2")


def metrics_of(task: Task) -> dict[str, Metric]:
    """Return the figures of a task by name, the default for early stopping first."""
    functions = _OF_CLASSES if task == "classification" else _OF_NUMBERS
    return {
        name: Metric(name, "max" if name in _HIGH_IS_GOOD else "min", function)
        for name, function in functions.items()
    }


def check_defined(metric: Metric, target: np.ndarray, weights: np.ndarray | None) -> None:
    """Raise ValueError where a figure of the rows that choose the epoch is NaN or infinite."""
    if metric.name not in ("auc", "r2"):
        return
    counted = target if weights is None else target[weights > 0]
    differ = np.any(counted != counted[:1], axis=0)
    if not np.all(differ):
        what = "two classes" if metric.name == "auc" else "two different numbers of each target"
        raise ValueError(
            f"metric {metric.name!r} needs at least {what} among the rows that choose the epoch, "
            f"got one in {len(counted)} rows; choose another metric, or other rows"
        )


def metric_of(task: Task, name: str | None) -> Metric:
    """Return a figure by its name; None stands for the default of the task."""
    metrics = metrics_of(task)
    if name is None:
        return next(iter(metrics.values()))
    check_one_of("metric", name, metrics)
    return metrics[name]


def unit_of(metric: Metric, deviations: Sequence[float]) -> float | None:
    """Return what a figure of scaled targets is multiplied by to be in the targets' own unit.

    None stands for a figure that stays in deviations: of several targets, which have several units,
    and where float32 does not have the number.

    >>> [unit_of(metric_of("regression", name), [3.0]) for name in ("mse", "rmse", "r2")]
    [9.0, 3.0, 1.0]
    """
    power = _POWERS.get(metric.name, 0)
    if power == 0:
        return 1.0
    with np.errstate(over="ignore", under="ignore"):
        unit = float(np.float64(deviations[0]) ** power)
    return unit if len(deviations) == 1 and 1e-30 < unit < 1e30 else None
