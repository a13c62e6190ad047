"""Gradients against central differences: an oracle that knows nothing of derivatives."""

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
    """Of each direction: the slope by the rule and by differences, and what that is good to."""

    got: np.ndarray
    want: np.ndarray
    uncertain: np.ndarray


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
    keep = np.isfinite(found.want) & np.isfinite(found.uncertain)
    keep &= np.array([bool(np.any(u)) for u in directions])
    if not keep.any() or not weights.total:
        why = "the function is not finite around the point"
        return CheckResult("finite_differences", "skipped", name, message=why)
    tolerance = found.uncertain + sample.allowed(k, dx, precision) * np.sqrt(
        np.sum(directions[0] ** 2)
    )
    with np.errstate(invalid="ignore"):
        error = np.abs(found.got - found.want)
        excess = np.where(keep, error / np.maximum(tolerance, 1e-300), 0)
    excess = np.where(np.isnan(excess), np.inf, excess)
    for row in np.flatnonzero(excess > 1)[:MOST]:
        # at a kink or a singular point only the two sides tell
        slopes = sides(sample, k, directions[row], weights)
        if not slopes.are_known:
            keep[row] = False
        if not slopes.are_known or slopes.hold(float(found.got[row]), float(tolerance[row])):
            excess[row] = 0
    row = int(np.argmax(excess))
    size = max(np.max(np.abs(found.want[keep])), weights.terms / dx.size)
    telling = keep & (tolerance <= TELLING * size) if size else keep
    is_coordinate = len(directions) == dx.size
    judged = keep & ~is_part.ravel() if is_coordinate else keep
    return CheckResult(
        "finite_differences",
        "failed" if excess[row] > 1 else "passed",
        name,
        max_abs=float(error[row]),
        max_rel=float(error[row] / abs(found.want[row])) if found.want[row] else float(error[row]),
        index=tuple(int(i) for i in np.unravel_index(row, dx.shape)) if is_coordinate else (),
        got=float(found.got[row]),
        want=float(found.want[row]),
        tolerance=float(tolerance[row]),
        compared=int(np.sum(telling & judged)),
        unjudged=int(np.sum(~judged if is_coordinate else is_part)),
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
    got, want, uncertain = [], [], []
    # what the values are good to, over the step
    noise = (256 * eps + 2 * rtol) * weights.terms / step + 2 * atol * weights.total / step
    for u in directions:
        whole, half = (central(sample, precision, k, u, h, weights) for h in (step, step / 2))
        slopes = [float(np.sum(dx * moved.steps)) for moved in (whole, half)]
        got.append(slopes[1])
        want.append(half.difference)
        # what the step itself does; where a kink is straddled it is large
        curved = (whole.difference - slopes[0]) - (half.difference - slopes[1])
        uncertain.append(4 * abs(curved) + noise)
    return _Quotients(np.array(got), np.array(want), np.array(uncertain))


def _directions(sample: Sample, k: int) -> list[np.ndarray]:
    shape = sample.point.xs[k].shape
    size = int(np.prod(shape))
    if size <= COORDINATES:
        return [unit(shape, place) for place in range(size)]
    count = DIRECTIONS if size <= LARGE else 1
    return [sample.random(shape, 100 + i) for i in range(count)]
