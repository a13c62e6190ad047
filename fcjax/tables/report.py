"""The figures of a model on rows that chose nothing, beside a baseline and a linear model."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from .metrics import metrics_of
from .presets import Task

RESAMPLES = 1000
# The part of the resamples that an interval holds.
LEVEL = 0.95

Figure = dict[str, float]


class HeldOut(NamedTuple):
    """Rows that chose nothing: the matrix, targets, weights, and outputs of a model for them.

    Targets and outputs are as the network has them: labels and probabilities, or scaled numbers.
    """

    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None
    outputs: np.ndarray


def figures(
    task: Task, predicted: np.ndarray, target: np.ndarray, weights: np.ndarray | None, seed: int
) -> dict[str, Figure]:
    """Return each figure with its bootstrap interval, by name.

    An interval is that of the percentiles of the figure over resampled rows.

    Source: Efron & Tibshirani, An introduction to the bootstrap (1993), chapter 13.
    """
    own = np.ones(len(target)) if weights is None else weights
    # a row that was drawn twice has twice the weight
    rows = len(target)
    counts = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), RESAMPLES)
    drawn = np.concatenate([np.ones((1, rows)), counts]) * own
    with jax.enable_x64(True):  # squares of large targets lose all digits in float32
        values = _resampled(task, predicted.astype(np.float64), target, drawn)
    return {name: _with_interval(np.asarray(V)) for name, V in values.items()}


def _with_interval(values: np.ndarray) -> Figure:
    """Return the figure of all rows, which comes first, with the interval of the resamples."""
    others = values[1:][np.isfinite(values[1:])]
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(others, ends) if len(others) else (np.nan, np.nan)
    return {"value": float(values[0]), "low": float(low), "high": float(high)}


@partial(jax.jit, static_argnums=0)
def _resampled(task: Task, predicted: Array, target: Array, weights: Array) -> dict[str, Array]:
    """Return each figure with each row of weights."""

    def of(weights: Array) -> dict[str, Array]:
        return {n: m.function(predicted, target, weights) for n, m in metrics_of(task).items()}

    return jax.lax.map(of, weights, batch_size=16)


def baselines(
    task: Task, train: Any, X: np.ndarray, classes: int
) -> Mapping[str, np.ndarray]:  # fmt: skip
    """Return what a constant and a linear model predict for the rows of a matrix.

    The constant is the part of each class in the training rows, or the mean.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    inputs, y = np.asarray(train.x), np.asarray(train.y)
    weights = None if train.weights is None else np.asarray(train.weights)
    if task == "regression":
        linear = Ridge(alpha=1.0).fit(inputs, y, weights)
        mean = np.average(y, axis=0, weights=weights)
        numbers = linear.predict(X).reshape(len(X), -1)
        return {"mean": np.tile(mean, (len(X), 1)), "linear": numbers}
    parts = np.bincount(y, weights, classes)
    majority = np.tile(parts / parts.sum(), (len(X), 1))
    if np.count_nonzero(parts) < 2:  # the other classes are in the rows to choose by, or to test
        return {"majority": majority, "linear": majority}
    found = LogisticRegression(max_iter=1000).fit(inputs, y, weights)
    probabilities = np.zeros((len(X), classes))
    probabilities[:, found.classes_] = found.predict_proba(X)
    return {"majority": majority, "linear": probabilities}
