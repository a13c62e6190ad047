"""Compare gradients with central differences, an oracle that uses no derivatives."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..arbiter import MAX_ENTRIES
from ..precision import Precision, as_float64
from ..program import Skip
from ..report import CheckResult
from ..sample import Sample
from ..slopes import (
    Weights,
    central_difference,
    gradients_of,
    one_sided_slopes,
    step_of,
    unit,
    weighted,
    weights_of,
)

# With a coarser eps, a difference quotient consists of rounding error.
MAX_EPS = 1e-6
COORDINATES = 64  # arguments of at most this size are moved along each coordinate,
DIRECTIONS = 16  # larger ones along this many random directions,
LARGE = 2**17  # and those above this size along one
# So many times the rounding error that was seen is allowed. A function that loses digits, such as
# log(1 + x) at a small x, has more than its value suggests; at a kink, there is no saying.
ROUNDINGS = 8
LOST = 1e-8
# Of the two steps. With 1/2, numbers on a grid have the same error at both.
RATIO = 0.6
# A quotient is evidence if its uncertainty is at most this fraction of the gradient: with more, it
# could not distinguish a gradient from half of it.
MAX_UNCERTAINTY = 0.25


def finite_differences(sample: Sample) -> Iterator[CheckResult]:
    """Each gradient equals central differences of the function, in float64."""
    precision = sample.wide
    if sample.subject.computed_eps(precision) > MAX_EPS:
        raise Skip("the function rounds to a dtype too coarse for differences")
    weights = weights_of(sample, precision)
    full = map(as_float64, sample.rule(precision).dxs)
    dxs = gradients_of(sample, precision, weights)
    for k, (dx, whole) in enumerate(zip(dxs, full, strict=True)):
        yield _compared(sample, k, dx, np.asarray(dx != whole), precision, weights)


class _Quotients(NamedTuple):
    """The slopes along each direction, by the rule and by differences, and their tolerances."""

    got: np.ndarray
    want: np.ndarray
    tolerance: np.ndarray

    @property
    def are_usable(self) -> np.ndarray:
        """A mask of the directions whose differences are finite."""
        return np.isfinite(self.want) & np.isfinite(self.tolerance)

    @property
    def excess(self) -> np.ndarray:
        """The errors as multiples of their tolerances, 0 where a difference is not finite."""
        with np.errstate(invalid="ignore"):
            excess = np.abs(self.got - self.want) / np.maximum(self.tolerance, 1e-300)
        excess = np.where(np.isnan(excess), np.inf, excess)
        return np.where(self.are_usable, excess, 0)


def _compared(
    sample: Sample,
    k: int,
    dx: np.ndarray,
    is_part: np.ndarray,
    precision: Precision,
    weights: Weights,
) -> CheckResult:
    """Compare the gradient of the k-th leaf.

    Entries in `is_part` sum over some of the outputs only, the finite ones; they count as unjudged.
    """
    name = sample.name(k)
    if not dx.size:
        return CheckResult("finite_differences", "skipped", name, message="no elements")
    usable = np.isfinite(dx) if weights.excluded else np.ones(dx.shape, bool)
    directions = [np.asarray(u * usable) for u in _directions(sample, k)]
    found = _quotients(sample, k, np.where(usable, dx, 0), directions, precision, weights)
    judged = found.are_usable & np.array([bool(np.any(u)) for u in directions])
    if not judged.any() or not weights.total:
        why = "the function is not finite around the point"
        return CheckResult("finite_differences", "skipped", name, message=why)
    excess = found.excess
    for row in np.flatnonzero(excess > 1)[:MAX_ENTRIES]:
        # at a kink or a singular point, only one-sided slopes are meaningful
        slopes = one_sided_slopes(sample, k, directions[row], weights)
        tolerance = float(found.tolerance[row])
        judged[row] = slopes.are_known
        is_kink = slopes.differ(tolerance) and slopes.bracket(float(found.got[row]), tolerance)
        if is_kink or not slopes.are_known:
            excess[row] = 0
    size = max(np.max(np.abs(found.want[judged]), initial=0.0), weights.terms / dx.size)
    is_evidence = found.tolerance <= MAX_UNCERTAINTY * size if size else judged
    is_coordinate = len(directions) == dx.size
    whole = judged & ~is_part.ravel() if is_coordinate else judged
    return dataclasses.replace(
        _worst(name, found, excess, dx.shape if is_coordinate else ()),
        compared=int(np.sum(is_evidence & whole)),
        unjudged=int(np.sum(~whole if is_coordinate else is_part)),
    )


def _worst(name: str, found: _Quotients, excess: np.ndarray, shape: tuple[int, ...]) -> CheckResult:
    """Return the result for the direction with the largest excess."""
    row = int(np.argmax(excess))
    got, want = float(found.got[row]), float(found.want[row])
    error = abs(got - want)
    return CheckResult(
        "finite_differences",
        "failed" if excess[row] > 1 else "passed",
        name,
        max_abs=error,
        max_rel=error / abs(want) if want else error,
        index=tuple(int(i) for i in np.unravel_index(row, shape)) if shape else (),
        got=got,
        want=want,
        tolerance=float(found.tolerance[row]),
    )


def _quotients(
    sample: Sample,
    k: int,
    dx: np.ndarray,
    directions: list[np.ndarray],
    precision: Precision,
    weights: Weights,
) -> _Quotients:
    eps = sample.subject.computed_eps(precision)
    rtol, atol = sample.subject.accuracy
    step = step_of(sample, k, max(eps, rtol))
    allowed = sample.allowed(k, dx, precision)
    got: list[float] = []
    want: list[float] = []
    tolerance: list[float] = []
    # the error of the values, divided by the step
    noise = (256 * eps + 2 * rtol) * weights.terms / step + 2 * atol * weights.total / step
    middle = weighted(sample, precision, sample.xs(precision), weights)
    rounding = 0.0
    for u in directions:
        wide, narrow = (
            central_difference(sample, precision, k, u, h, weights) for h in (step, RATIO * step)
        )
        slopes = [float(np.sum(dx * difference.steps)) for difference in (wide, narrow)]
        got.append(slopes[1])
        want.append(narrow.quotient)
        # the truncation error of the step, which is large across a kink
        curved = (wide.quotient - slopes[0]) - (narrow.quotient - slopes[1])
        # third and fourth differences: of a smooth function, they are rounding errors alone
        second = [difference.total - 2 * middle for difference in (wide, narrow)]
        third, fourth = 2 * step * curved, second[0] - second[1] / RATIO**2
        for error in map(abs, (third, fourth)):
            rounding = max(rounding, error if error <= LOST * weights.terms else 0.0)
        tolerance.append(4 * abs(curved) + noise + allowed * float(np.sqrt(np.sum(u * u))))
    seen = ROUNDINGS * rounding / step
    return _Quotients(np.array(got), np.array(want), np.array(tolerance) + seen)


def _directions(sample: Sample, k: int) -> list[np.ndarray]:
    shape = sample.point.xs[k].shape
    size = int(np.prod(shape))
    if size <= COORDINATES:
        return [unit(shape, place) for place in range(size)]
    count = DIRECTIONS if size <= LARGE else 1
    return [sample.random(shape, 100 + i) for i in range(count)]
