"""Who is right where a rule and autodiff of the reference disagree: the function's own slopes.

Autodiff of a right function can be wrong. `where(x == 0, 0, x * log(y))` has the derivative log(y)
at x = 0, and autodiff says 0; a bisection has a derivative, and autodiff says 0 everywhere. Where
autodiff has no finite number, a rule may well have one: a norm that is safe at zero.
"""

from typing import Any

import numpy as np

from .compare import difference, undefined
from .precision import as_float64
from .program import Refused
from .sample import Sample
from .slopes import Sides, sides, unit, weights_of

# Entries that are looked at: each takes five calls of the function.
MOST = 32
# What slopes are good to, relative to the size of the gradient.
CLOSE = 1e-3


def slopes_at(sample: Sample, k: int, index: tuple[int, ...]) -> Sides:
    """Return the slopes of the function on both sides of one entry of the k-th leaf."""
    shape = sample.point.xs[k].shape
    place = int(np.ravel_multi_index(index, shape)) if shape else 0
    return sides(sample, k, unit(shape, place), weights_of(sample, sample.wide))


def close(sample: Sample, k: int, gradient: Any) -> float:
    """Return how far the slopes may lie from a right gradient."""
    finite = np.abs(gradient[np.isfinite(gradient)])
    size = float(np.max(finite, initial=0.0))
    return CLOSE * max(size, 1e-3) + sample.subject.accuracy.of(size)


def autodiff_is_refuted(sample: Sample, k: int) -> bool:
    """Whether the function's slopes agree with the rule's k-th gradient against autodiff's.

    All entries that differ must say so. At each, the rule's number lies between the slopes of the
    two sides, and autodiff's does not; or there is a kink, where either may choose. Both together
    must hold as well: of a tie, only one side has the gradient.
    """
    if sample.subject.has_reference:  # the caller says that its gradient is right
        return False
    if k not in sample.refuted:
        sample.refuted[k] = _refuted(sample, k)
    return sample.refuted[k]


def _refuted(sample: Sample, k: int) -> bool:
    precision = sample.wide
    try:
        got, want = (as_float64(way(precision).dxs[k]) for way in (sample.rule, sample.autodiff))
    except Refused:
        return False
    if got.shape != want.shape:
        return False
    differ = (difference(got, want) > sample.allowed(k, want, precision)) & ~undefined(got, want)
    places = np.argwhere(differ)
    if not 0 < len(places) <= MOST:
        return False
    near = close(sample, k, got)
    indices = [tuple(map(int, place)) for place in places]
    if not all(_sides_with(sample, k, index, got, want, near) for index in indices):
        return False
    u = differ.astype(float)
    along = sides(sample, k, u, weights_of(sample, precision))
    return along.hold(float(np.sum(got * u)), near * len(places))


def _sides_with(
    sample: Sample, k: int, index: Any, got: np.ndarray, want: np.ndarray, near: float
) -> bool:
    slopes = slopes_at(sample, k, index)
    if not slopes.hold(float(got[index]), near):
        return False
    return slopes.differ(near) or not slopes.hold(float(want[index]), near)
