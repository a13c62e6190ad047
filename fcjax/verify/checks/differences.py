"""Gradients against central differences: an oracle that knows nothing of derivatives."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..arbiter import MOST
from ..precision import Precision, as_float64
from ..program import Skip
from ..report import CheckResult
from ..sample import Sample
from ..slopes import Weights, central, sides, step_of, unit, weights_of

# Above the coarsest of these, a difference quotient is all rounding error.
RESOLVED = 1e-6
COORDINATES = 64  # arguments of at most that size are moved along each coordinate
DIRECTIONS = 16  # larger ones along that many random directions,
LARGE = 2**17  # and still larger ones along one
# A quotient that is uncertain by more than this part of the gradient's size is no evidence: it
# would not tell a gradient from half of it.
TELLING = 0.25


def finite_differences(sample: Sample) -> Iterator[CheckResult]:
    """Each argument's gradient equals central differences of the function, in float64."""
    precision = sample.wide
    if sample.subject.computed_eps(precision) > RESOLVED:
        raise Skip("the function rounds to a dtype too coarse for differences")
    weights = weights_of(sample, precision)
    full = sample.rule(precision).dxs
    dxs = full
    if weights.spared:  # outputs without a value have no part in the gradient either
        dxs = sample.rule(precision, dys=sample.as_cotangents(weights.dys, precision)).dxs
    for k, (dx, whole) in enumerate(zip(map(as_float64, dxs), map(as_float64, full), strict=True)):
        yield _compared(sample, k, dx, np.asarray(dx != whole), precision, weights)


class _Quotients(NamedTuple):
    """Of each direction: the slope by the rule and by differences, and how far they may differ."""

    got: np.ndarray
    want: np.ndarray
    tolerance: np.ndarray

    @property
    def are_usable(self) -> np.ndarray:
        """Where the differences are numbers."""
        return np.isfinite(self.want) & np.isfinite(self.tolerance)

    @property
    def excess(self) -> np.ndarray:
        """The difference as a multiple of what is tolerated, 0 where there is none to judge."""
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
    """Compare the gradient of the k-th leaf; where it is only a part, that counts as unjudged."""
    name = sample.name(k)
    if not dx.size:
        return CheckResult("finite_differences", "skipped", name, message="no elements")
    usable = np.isfinite(dx) if weights.spared else np.ones(dx.shape, bool)
    directions = [np.asarray(u * usable) for u in _directions(sample, k)]
    found = _quotients(sample, k, np.where(usable, dx, 0), directions, precision, weights)
    judged = found.are_usable & np.array([bool(np.any(u)) for u in directions])
    if not judged.any() or not weights.total:
        why = "the function is not finite around the point"
        return CheckResult("finite_differences", "skipped", name, message=why)
    excess = found.excess
    for row in np.flatnonzero(excess > 1)[:MOST]:
        # at a kink or a singular point only the two sides tell
        slopes = sides(sample, k, directions[row], weights)
        near = float(found.tolerance[row])
        judged[row] = slopes.are_known
        is_kink = slopes.differ(near) and slopes.hold(float(found.got[row]), near)
        if is_kink or not slopes.are_known:
            excess[row] = 0
    size = max(np.max(np.abs(found.want[judged]), initial=0.0), weights.terms / dx.size)
    is_telling = found.tolerance <= TELLING * size if size else judged
    is_coordinate = len(directions) == dx.size
    whole = judged & ~is_part.ravel() if is_coordinate else judged
    return dataclasses.replace(
        _worst(name, found, excess, dx.shape if is_coordinate else ()),
        compared=int(np.sum(is_telling & whole)),
        unjudged=int(np.sum(~whole if is_coordinate else is_part)),
    )


def _worst(name: str, found: _Quotients, excess: np.ndarray, shape: tuple[int, ...]) -> CheckResult:
    """Return the result for the direction with the largest excess, which has an index if any."""
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
    directions: list[Any],
    precision: Precision,
    weights: Weights,
) -> _Quotients:
    eps = sample.subject.computed_eps(precision)
    rtol, atol = sample.subject.accuracy
    step = step_of(sample, k, max(eps, rtol))
    allowed = sample.allowed(k, dx, precision)
    got, want, tolerance = [], [], []
    # what the values are good to, over the step
    noise = (256 * eps + 2 * rtol) * weights.terms / step + 2 * atol * weights.total / step
    for u in directions:
        whole, half = (central(sample, precision, k, u, h, weights) for h in (step, step / 2))
        slopes = [float(np.sum(dx * moved.steps)) for moved in (whole, half)]
        got.append(slopes[1])
        want.append(half.difference)
        # what the step itself does; where a kink is straddled it is large
        curved = (whole.difference - slopes[0]) - (half.difference - slopes[1])
        tolerance.append(4 * abs(curved) + noise + allowed * float(np.sqrt(np.sum(u * u))))
    return _Quotients(np.array(got), np.array(want), np.array(tolerance))


def _directions(sample: Sample, k: int) -> list[np.ndarray]:
    shape = sample.point.xs[k].shape
    size = int(np.prod(shape))
    if size <= COORDINATES:
        return [unit(shape, place) for place in range(size)]
    count = DIRECTIONS if size <= LARGE else 1
    return [sample.random(shape, 100 + i) for i in range(count)]
