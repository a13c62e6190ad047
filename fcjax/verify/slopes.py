"""Differences of the function itself: in the middle, and on the two sides of a point."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .point import Leaves
from .precision import Precision, as_float64, eps_of, largest
from .sample import Sample


class Weights(NamedTuple):
    """A cotangent that leaves out the entries where the function has no finite value.

    Attributes:
        dys: the cotangents, 0 there.
        terms: Σ |dy y|, which the rounding error of ⟨dy, f⟩ is relative to.
        total: Σ |dy|.
        spared: how many entries were left out.
    """

    dys: tuple[np.ndarray, ...]
    terms: float
    total: float
    spared: int


def weights_of(sample: Sample, precision: Precision) -> Weights:
    """Return the sample's cotangents, as far as the function is finite."""
    ys = [as_float64(y) for y in sample.value(precision)[0]]
    finite = [np.isfinite(y) for y in ys]
    dys = [as_float64(dy) * f for dy, f in zip(sample.dys(precision), finite, strict=True)]
    terms = sum(
        _sum_of_sizes(dy * np.where(f, y, 0)) for dy, y, f in zip(dys, ys, finite, strict=True)
    )
    total = sum(map(_sum_of_sizes, dys))
    return Weights(tuple(dys), terms, total, sum(int(np.sum(~f)) for f in finite))


def _sum_of_sizes(array: Any) -> float:
    """Return Σ |array|."""
    return float(np.sum(np.abs(array)))


def weighted(sample: Sample, precision: Precision, xs: Leaves, weights: Weights) -> float:
    """Return ⟨dy, f(xs)⟩ over the entries that have a weight."""
    ys, _ = sample.value(precision, xs)
    with np.errstate(invalid="ignore"):
        pairs = zip(weights.dys, map(as_float64, ys), strict=True)
        return sum(float(np.sum(np.where(dy == 0, 0, dy * y))) for dy, y in pairs)


class Moved(NamedTuple):
    """The function along a direction u: differences, and the steps that were really made.

    The entries moved by the step are rounded in the argument's dtype; `steps` are what came of it.
    """

    difference: float
    steps: np.ndarray


def central(
    sample: Sample, precision: Precision, k: int, u: np.ndarray, step: float, weights: Weights
) -> Moved:
    """Return ⟨dy, f(x + h u) − f(x − h u)⟩ / 2h, and the direction that it belongs to."""
    x = np.asarray(sample.xs(precision)[k])
    ends = [(as_float64(x) + h * step * u).astype(x.dtype) for h in (1, -1)]
    values = [weighted(sample, precision, sample.moved(precision, k, end), weights) for end in ends]
    steps = (as_float64(ends[0]) - as_float64(ends[1])) / (2 * step)
    return Moved((values[0] - values[1]) / (2 * step), steps)


class Sides(NamedTuple):
    """The slopes on the two sides of a point, each None where it has no limit, and their error."""

    left: float | None
    right: float | None
    error: float

    @property
    def are_known(self) -> bool:
        """Whether the function has a slope on both sides."""
        return self.left is not None and self.right is not None

    def differ(self, tolerance: float) -> bool:
        """Whether there is a kink."""
        if self.left is None or self.right is None:
            return False
        return abs(self.left - self.right) > 2 * (self.error + tolerance)

    def hold(self, slope: float, tolerance: float) -> bool:
        """Whether a derivative lies between the slopes."""
        if self.left is None or self.right is None:
            return False
        low, high = sorted((self.left, self.right))
        slack = self.error + tolerance
        return low - slack <= slope <= high + slack


def sides(sample: Sample, k: int, u: np.ndarray, weights: Weights) -> Sides:
    """Return the slopes of ⟨dy, f⟩ on both sides of the k-th leaf, along u."""
    precision = sample.wide
    rtol, atol = sample.subject.accuracy
    eps = sample.subject.computed_eps(precision)
    x = np.asarray(sample.xs(precision)[k])
    resolution = max(eps, rtol, eps_of(x.dtype))
    step = float(np.sqrt(resolution)) * (largest(x) or 1.0)

    def slope(h: float) -> float:
        moved = (as_float64(x) + h * u).astype(x.dtype)
        made = float(np.sum((as_float64(moved) - as_float64(x)) * u) / np.sum(u * u))
        value = weighted(sample, precision, sample.moved(precision, k, moved), weights)
        return (value - middle) / made

    middle = weighted(sample, precision, sample.xs(precision), weights)
    noise = 64 * eps * max(weights.terms, weights.total) + 2 * rtol * weights.terms
    noise = (noise + 2 * atol * weights.total) / step
    left, right = (_limit([slope(s * h) for h in (step, step / 2)], noise) for s in (-1, 1))
    return Sides(left, right, noise)


def _limit(slopes: Sequence[float], noise: float) -> float | None:
    """Return the slope that two steps agree on, or None: a root has an ever steeper one."""
    wide, narrow = slopes
    if not np.isfinite(wide) or not np.isfinite(narrow):
        return None
    return narrow if abs(wide - narrow) <= noise + 1e-2 * (1e-2 + abs(narrow)) else None


def step_of(sample: Sample, k: int, noise: float) -> float:
    """Return the step that balances truncation, h², against the noise of the values over h."""
    return noise ** (1 / 3) * (largest(sample.point.xs[k]) or 1.0)


def unit(shape: tuple[int, ...], place: int) -> Any:
    """Return the direction of one entry."""
    u = np.zeros(shape)
    u.flat[place] = 1
    return u
