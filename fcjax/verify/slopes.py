"""Difference quotients of the function: central and one-sided."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from .point import Leaves
from .precision import Precision, as_float64, eps_of, largest
from .sample import Sample


class Weights(NamedTuple):
    """Cotangents that are 0 where the function is not finite.

    Attributes:
        dys: the cotangents.
        terms: Σ |dy y|; the rounding error of ⟨dy, f⟩ is relative to it.
        total: Σ |dy|.
        excluded: the number of entries where the function is not finite.
    """

    dys: tuple[np.ndarray, ...]
    terms: float
    total: float
    excluded: int


def weights_of(sample: Sample, precision: Precision) -> Weights:
    """Return the cotangents of the sample, with 0 where the function is not finite."""
    ys = [as_float64(y) for y in sample.value(precision)[0]]
    finite = [np.isfinite(y) for y in ys]
    dys = [as_float64(dy) * f for dy, f in zip(sample.dys(precision), finite, strict=True)]
    terms = sum(_sum_abs(dy * np.where(f, y, 0)) for dy, y, f in zip(dys, ys, finite, strict=True))
    total = sum(map(_sum_abs, dys))
    return Weights(tuple(dys), terms, total, sum(int(np.sum(~f)) for f in finite))


def gradients_of(sample: Sample, precision: Precision, weights: Weights) -> list[np.ndarray]:
    """Return the gradients by the rule for these cotangents."""
    dys = sample.as_cotangents(weights.dys, precision) if weights.excluded else None
    return [as_float64(dx) for dx in sample.rule(precision, dys=dys).dxs]


def _sum_abs(array: ArrayLike) -> float:
    """Return Σ |array|."""
    return float(np.sum(np.abs(array)))


def weighted(sample: Sample, precision: Precision, xs: Leaves, weights: Weights) -> float:
    """Return ⟨dy, f(xs)⟩ over the entries where dy is not 0."""
    ys, _ = sample.value(precision, xs)
    with np.errstate(invalid="ignore"):
        pairs = zip(weights.dys, map(as_float64, ys), strict=True)
        return sum(float(np.sum(np.where(dy == 0, 0, dy * y))) for dy, y in pairs)


class CentralDifference(NamedTuple):
    """A central difference, and its direction.

    Attributes:
        quotient: the difference quotient.
        steps: the direction after rounding: x ± h u is rounded to the dtype of x.
        total: the sum of the values at both ends.
    """

    quotient: float
    steps: np.ndarray
    total: float


def central_difference(
    sample: Sample, precision: Precision, k: int, u: np.ndarray, step: float, weights: Weights
) -> CentralDifference:
    """Return ⟨dy, f(x + h u) − f(x − h u)⟩ / 2h, and its direction."""
    x = np.asarray(sample.xs(precision)[k])
    ends = [(as_float64(x) + h * step * u).astype(x.dtype) for h in (1, -1)]
    values = [weighted(sample, precision, sample.moved(precision, k, end), weights) for end in ends]
    steps = (as_float64(ends[0]) - as_float64(ends[1])) / (2 * step)
    return CentralDifference((values[0] - values[1]) / (2 * step), steps, sum(values))


class OneSidedSlopes(NamedTuple):
    """The one-sided slopes at a point, None where there is no limit, and their error."""

    left: float | None
    right: float | None
    error: float

    @property
    def are_known(self) -> bool:
        """Whether the function has a slope on both sides."""
        return self.left is not None and self.right is not None

    def differ(self, tolerance: float) -> bool:
        """Whether the slopes differ, which makes the point a kink."""
        if self.left is None or self.right is None:
            return False
        return abs(self.left - self.right) > 2 * (self.error + tolerance)

    def bracket(self, slope: float, tolerance: float) -> bool:
        """Whether a derivative lies between the slopes."""
        if self.left is None or self.right is None:
            return False
        low, high = sorted((self.left, self.right))
        slack = self.error + tolerance
        return low - slack <= slope <= high + slack


def one_sided_slopes(sample: Sample, k: int, u: np.ndarray, weights: Weights) -> OneSidedSlopes:
    """Return the one-sided slopes of ⟨dy, f⟩ in the k-th leaf, along u."""
    precision = sample.wide
    rtol, atol = sample.subject.accuracy
    eps = sample.subject.computed_eps(precision)
    x = np.asarray(sample.xs(precision)[k])
    resolution = max(eps, rtol, eps_of(x.dtype))
    step = float(np.sqrt(resolution)) * (largest(x) or 1.0)

    def slope(h: float) -> float:
        moved = (as_float64(x) + h * u).astype(x.dtype)
        with np.errstate(invalid="ignore"):  # an infinite entry does not move
            change = (as_float64(moved) - as_float64(x)) * u
        actual = float(np.sum(np.where(np.isnan(change), 0, change)) / np.sum(u * u))
        value = weighted(sample, precision, sample.moved(precision, k, moved), weights)
        return (value - middle) / actual if actual else np.nan

    middle = weighted(sample, precision, sample.xs(precision), weights)
    noise = 64 * eps * max(weights.terms, weights.total) + 2 * rtol * weights.terms
    noise = (noise + 2 * atol * weights.total) / step
    left, right = (_limit([slope(s * h) for h in (step, step / 2)], noise) for s in (-1, 1))
    return OneSidedSlopes(left, right, noise)


def _limit(slopes: Sequence[float], noise: float) -> float | None:
    """Return the slope at a step of 0 if two steps, h and h/2, agree, else None.

    At a root, for one, slopes diverge. Where a function bends, its slope is linear in the step, so
    that twice the narrow one less the wide one is the slope at 0; below the noise it is not.
    """
    wide, narrow = slopes
    if not np.isfinite(wide) or not np.isfinite(narrow):
        return None
    gap = abs(wide - narrow)
    if gap > noise + 1e-4 + 2.5e-2 * abs(narrow):
        return None
    return 2 * narrow - wide if gap > noise else narrow


def step_of(sample: Sample, k: int, noise: float) -> float:
    """Return the step h that balances the truncation error h² against the noise over h."""
    return noise ** (1 / 3) * (largest(sample.point.xs[k]) or 1.0)


def unit(shape: tuple[int, ...], place: int) -> np.ndarray:
    """Return the unit vector of one entry."""
    u = np.zeros(shape)
    u.flat[place] = 1
    return u


def is_elementwise(sample: Sample, k: int) -> bool:
    """Whether each entry of the output depends only on the same entry of the argument."""
    precision = sample.wide
    x, ys = as_float64(sample.xs(precision)[k]), sample.subject.ys(precision)
    if len(ys) != 1 or ys[0].shape != x.shape or x.size == 0:
        return False
    start = values_of_output(sample, k, x)
    for place in {0, x.size // 2, x.size - 1}:
        moved = x.copy()
        moved.flat[place] += 0.5
        others = np.arange(x.size) != place
        if not np.array_equal(
            values_of_output(sample, k, moved).flat[others], start.flat[others], equal_nan=True
        ):
            return False
    return True


def values_of_output(sample: Sample, k: int, x: ArrayLike) -> np.ndarray:
    """Return the first output, with other numbers in the k-th leaf."""
    return as_float64(sample.value(sample.wide, sample.moved(sample.wide, k, x))[0][0])
