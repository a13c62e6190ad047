"""Numbers behind the pictures: of the predictions of a classifier, and of what is in a network.

Every row counts once. NumPy computes them, so that they are numbers first and pictures second.
"""

import math
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Integer
from numpy.typing import ArrayLike

from ._arguments import as_integer, check_same_size, describe
from ._types import Tree


def confusion_matrix(
    labels: ArrayLike, predictions: ArrayLike, classes: int
) -> Integer[np.ndarray, "classes classes"]:
    """Count the rows of each label (a row of the matrix) and predicted class (a column).

    Args:
        labels: true classes, integers `(m,)` from 0 to `classes` − 1.
        predictions: predicted classes, likewise.
        classes: the number of classes.

    Raises:
        ValueError: labels or predictions are not such integers, or differ in number.

    Source: Hastie, Tibshirani & Friedman, The Elements of Statistical Learning (2009), table 9.3.

    >>> confusion_matrix([0, 1, 1], [0, 1, 0], 2)
    array([[1, 0],
           [1, 1]])
    """
    number = as_integer(classes)
    if number is None or number < 1:
        raise ValueError(f"classes must be a positive integer, got {describe(classes)}")
    rows = _classes("labels", labels, number)
    columns = _classes("predictions", predictions, number)
    check_same_size("predictions", len(columns), "labels", len(rows))
    return np.bincount(rows * number + columns, minlength=number**2).reshape(number, number)


def most_confused(
    counts: Integer[np.ndarray, "classes classes"], most: int
) -> Integer[np.ndarray, " k"]:
    """Return, in order, the classes with the most errors in their row and column of a matrix.

    >>> most_confused(np.array([[5, 0, 2], [0, 9, 0], [1, 0, 5]]), 2)
    array([0, 2])
    """
    errors = counts - np.diag(np.diag(counts))
    order = np.argsort(-(errors.sum(axis=0) + errors.sum(axis=1)), kind="stable")
    return np.sort(order[:most])


class Calibration(NamedTuple):
    """How often events happened, in bins of their predicted probability; NaN in empty bins.

    `edges (bins + 1,)` are those of the bins, `probability (bins,)` is the mean prediction,
    `frequency` the part that happened, which the truth lies from `low` to `high` of with 95 %
    confidence, `counts` the number of rows, and `error` the expected calibration error.
    """

    edges: np.ndarray
    probability: np.ndarray
    frequency: np.ndarray
    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray
    error: float


def calibration(probabilities: ArrayLike, happened: ArrayLike, *, bins: int = 10) -> Calibration:
    """Compare predicted probabilities with how often the events happened.

    For a classifier, the probability is that of the predicted class, its confidence, and the event
    is that this class is right. The expected calibration error is the mean difference of the two
    over the rows, `Σ_bins (count/m) |frequency − probability|`. A bin does not hold its lower edge.

    Args:
        probabilities: numbers `(m,)` from 0 to 1. A row whose probability is NaN is left out.
        happened: whether the event happened, booleans `(m,)`.
        bins: number of bins of equal width.

    Raises:
        TypeError: `happened` is not boolean, or `probabilities` are not numbers.
        ValueError: a probability is not from 0 to 1, the two differ in number, or `bins` is not
            positive.

    Source: Guo, Pleiss, Sun & Weinberger, On calibration of modern neural networks, ICML 2017;
    Wilson, Probable inference, the law of succession, and statistical inference, Journal of the
    American Statistical Association 22 (1927) (the intervals).

    >>> found = calibration([0.6, 0.6, 0.9, 0.9], [True, False, True, True], bins=2)
    >>> found.frequency, found.counts, round(found.error, 2)
    (array([ nan, 0.75]), array([0, 4]), 0.0)
    """
    number = as_integer(bins)
    if number is None or number < 1:
        raise ValueError(f"bins must be a positive integer, got {describe(bins)}")
    p, event = _events(probabilities, happened)
    edges = np.linspace(0, 1, number + 1)
    bin_of = np.searchsorted(edges[1:-1], p)
    counts, sums, events = (
        np.bincount(bin_of, weights, number) for weights in (None, p, event.astype(float))
    )
    filled = np.where(counts > 0, counts, np.nan)
    probability, frequency = sums / filled, events / filled
    gaps = np.nansum(np.abs(frequency - probability) * counts)
    error = float(gaps / len(p)) if len(p) else math.nan
    return Calibration(edges, probability, frequency, *_wilson(frequency, filled), counts, error)


_QUANTILE = 1.959963984540054  # of the normal distribution, at 97.5 %


def _wilson(frequency: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of Wilson's interval, which is not empty where all events happened."""
    z2 = _QUANTILE**2
    middle = (frequency + z2 / (2 * counts)) / (1 + z2 / counts)
    spread = np.sqrt(frequency * (1 - frequency) / counts + z2 / (4 * counts**2))
    half = _QUANTILE * spread / (1 + z2 / counts)
    # rounding may put an end that equals the frequency, 0 or 1, on its other side
    return np.minimum(middle - half, frequency), np.maximum(middle + half, frequency)


def _events(probabilities: ArrayLike, happened: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    p, event = np.asarray(probabilities), np.asarray(happened)
    if p.dtype.kind not in "iuf" or p.ndim != 1:
        raise TypeError(f"probabilities must be (m,) numbers, got {describe(probabilities)}")
    if event.dtype != bool or event.ndim != 1:
        raise TypeError(f"happened must be (m,) booleans, got {describe(happened)}")
    check_same_size("happened", len(event), "probabilities", len(p))
    known = ~np.isnan(p)
    p, event = p[known].astype(np.float64), event[known]
    outside = p[(p < 0) | (p > 1)]
    if outside.size:
        raise ValueError(f"probabilities must be from 0 to 1, got {outside[0]:g}")
    return p, event


def _classes(name: str, values: ArrayLike, number: int) -> np.ndarray:
    array = np.asarray(values)
    outside = array[(array < 0) | (array >= number)] if array.dtype.kind in "iu" else array
    if array.ndim != 1 or outside.size:
        got = f"{outside.flat[0]!s}" if outside.size else describe(array)
        raise ValueError(f"{name} must be (m,) integers from 0 to {number - 1}, got {got}")
    return array.astype(np.int64)


def in_numpys_dtype(array: np.ndarray) -> np.ndarray:
    """Return numbers of bfloat16 and narrower dtypes, which NumPy does not know, in float32.

    >>> in_numpys_dtype(np.ones(2)).dtype
    dtype('float64')
    """
    is_narrow = array.dtype.kind == "V" and "float" in array.dtype.name
    return array.astype(np.float32) if is_narrow else array


def dead_units(activations: ArrayLike) -> Bool[np.ndarray, " n"]:
    """Return which units have the same output for each example of a batch.

    A unit of `relu` whose input is negative for each is one, and so is one that is saturated to the
    last digit. Of a batch of one example, no unit is said to be dead unless its output is 0.

    Args:
        activations: outputs of a layer, `(m, n)`.

    Raises:
        TypeError: they are not a matrix of numbers.

    >>> dead_units([[0.0, 1.0], [0.0, 2.0]])
    array([ True, False])
    """
    A = in_numpys_dtype(np.asarray(activations))
    if A.dtype.kind not in "iuf" or A.ndim != 2:
        raise TypeError(f"activations must be (m, n) numbers, got {describe(activations)}")
    return np.all((A[:1] if len(A) > 1 else 0) == A, axis=0)


def gradient_norms(gradients: Tree) -> dict[str, float]:
    """Return the norm of the gradient of each layer: of all its parameters together.

    Args:
        gradients: gradients of a network's layers, a sequence with a tree of arrays for each, such
            as `jax.grad` returns for parameters of `init`, or a `Model` of them.

    Raises:
        TypeError: it is no such sequence.

    >>> gradient_norms([{"w": np.array([3.0]), "b": np.array([4.0])}])
    {'layer 1': 5.0}
    """
    layers = getattr(gradients, "params", gradients)
    if not isinstance(layers, tuple | list) or not layers:
        raise TypeError(f"gradients must be a sequence of layers, got {describe(gradients)}")
    squares = [
        sum(float(np.sum(np.square(np.asarray(leaf, np.float64)))) for leaf in jax.tree.leaves(one))
        for one in layers
    ]
    return {f"layer {l}": math.sqrt(square) for l, square in enumerate(squares, 1)}


def singular_values(weights: ArrayLike) -> Float[np.ndarray, " k"]:
    """Return the singular values of a matrix, from the largest to the smallest, in float64.

    Raises:
        TypeError: it is not a matrix of numbers.
        ValueError: it is not finite.

    >>> singular_values([[0.0, 2.0], [1.0, 0.0]])
    array([2., 1.])
    """
    W = in_numpys_dtype(np.asarray(weights))
    if W.dtype.kind not in "iuf" or W.ndim != 2:
        raise TypeError(f"weights must be a matrix of numbers, got {describe(weights)}")
    if not np.isfinite(W).all():
        raise ValueError(f"weights must be finite, got {describe(weights)} with NaN or infinities")
    return np.linalg.svd(W.astype(np.float64), compute_uv=False)
