"""The rule at points where mistakes hide: far from zero, at zero, and at kinks."""

from collections.abc import Iterator

import numpy as np
from jax.typing import ArrayLike

from ..compare import compare
from ..precision import Precision, as_float64
from ..program import Refused, Skip
from ..report import CheckResult
from ..sample import Sample
from ..slopes import is_elementwise, step_of, values_of_output
from .differences import MAX_EPS

# exp overflows in float16 at 11, in float32 at 89 and in float64 at 710
FAR = (12.0, 100.0, 800.0, 1e4)


def finite(sample: Sample) -> Iterator[CheckResult]:
    """The rule is finite where the function and its derivative are: at zero and ±12 … ±10⁴."""
    for k in range(sample.count):
        yield next(_non_finite(sample, k), CheckResult("finite", "passed", sample.name(k)))


def _non_finite(sample: Sample, k: int) -> Iterator[CheckResult]:
    for precision in dict.fromkeys((Precision.OWN, sample.wide)):
        for size in (0.0, *FAR):
            for sign in (1.0, -1.0, None) if size else (1.0,):
                yield from _non_finite_at(sample, k, precision, size, sign)


def _non_finite_at(
    sample: Sample, k: int, precision: Precision, size: float, sign: float | None
) -> Iterator[CheckResult]:
    x = as_float64(sample.point.xs[k])
    signs = np.where(x < 0, -1.0, 1.0) if sign is None else np.full(x.shape, sign)
    # unequal entries, because a matrix of equal entries is singular
    sizes = size * (1 + 0.1 * np.tanh(sample.random(x.shape, 60)))
    xs = sample.moved(precision, k, sizes * signs)
    if not sample.is_inside([*map(as_float64, xs)]):
        return
    try:
        by_rule = sample.rule(precision, xs)
    except Refused:
        return  # the function raises at this point
    if all(_finite(dx) for dx in by_rule.dxs) or not all(map(_finite, by_rule.ys)):
        return
    try:
        right = sample.autodiff(precision, xs).dxs
    except Refused:
        return
    for j, (got, want) in enumerate(zip(by_rule.dxs, right, strict=True)):
        bad = ~np.isfinite(as_float64(got)) & np.isfinite(as_float64(want))
        if bad.any():
            where = f"{'±' if sign is None else '-' if sign < 0 else ''}{size:g}"
            index = tuple(int(i) for i in np.argwhere(bad)[0])
            message = f"not finite at {sample.name(k)} = {where} ({xs[k].dtype})"
            yield CheckResult(
                "finite",
                "failed",
                sample.name(j),
                index=index,
                got=float(as_float64(got)[index]),
                want=float(as_float64(want)[index]),
                max_abs=float("inf"),
                tolerance=0.0,
                message=message,
            )


def _finite(array: ArrayLike) -> bool:
    return bool(np.all(np.isfinite(as_float64(array))))


def kinks(sample: Sample) -> Iterator[CheckResult]:
    """At declared kinks, an elementwise rule returns the declared derivative.

    At zero, if no derivative is declared there, it lies between the one-sided slopes.
    """
    names = [sample.name(k) for k in range(sample.count)]
    for name, declared in sample.kinks.items():
        for point, slope in declared.items():
            yield _declared(sample, names.index(name), point, slope)
    for k in range(sample.count):
        may_loop = sample.subject.may_not_end and not sample.explicit_checks
        if 0.0 not in sample.kinks.get(sample.name(k), {}) and not may_loop:
            yield from _between_slopes(sample, k)


def _declared(sample: Sample, k: int, point: float, slope: float) -> CheckResult:
    precision = sample.wide
    if not is_elementwise(sample, k):
        raise Skip(
            "kinks apply to elementwise functions only, and this function is not elementwise"
        )
    xs = sample.moved(precision, k, np.full(sample.point.xs[k].shape, point))
    got, want = sample.rule(precision, xs).dxs[k], slope * as_float64(sample.dys(precision)[0])
    message = f"at {sample.name(k)} = {point:g} the declared derivative is {slope:g}"
    tolerance = sample.allowed(k, want, precision)
    return compare("kinks", sample.name(k), got, want, tolerance, message=message)


def _between_slopes(sample: Sample, k: int) -> Iterator[CheckResult]:
    """Compare with one-sided slopes at zero, if an elementwise function has a kink there."""
    precision, name = sample.wide, sample.name(k)
    eps = sample.subject.computed_eps(precision)
    if eps > MAX_EPS or not is_elementwise(sample, k):
        return
    zero, step = np.zeros(sample.point.xs[k].shape), step_of(sample, k, eps)
    at_zero = [zero if i == k else as_float64(x) for i, x in enumerate(sample.point.xs)]
    if not sample.is_inside(at_zero):
        return
    middle = values_of_output(sample, k, zero)
    slopes = {h: (values_of_output(sample, k, zero + h) - middle) / h for h in _around(step)}
    left, near_left, near_right, right = slopes.values()
    slack = 4 * np.abs(right - near_right) + 4 * np.abs(left - near_left)
    slack += 64 * eps * np.abs(middle) / step + 64 * eps
    kinked = np.abs(near_right - near_left) > 4 * slack + 1e-3 * np.abs(near_right)
    if not np.any(kinked & np.isfinite(slack)):
        return
    dy = as_float64(sample.dys(precision)[0])
    got = as_float64(sample.rule(precision, sample.moved(precision, k, zero)).dxs[k]) / dy
    low, high = np.minimum(near_left, near_right) - slack, np.maximum(near_left, near_right) + slack
    outside = kinked & ~((low <= got) & (got <= high))
    if not outside.any():
        yield CheckResult(
            "kinks", "passed", name, message="a kink at 0, with no declared derivative"
        )
        return
    index = tuple(int(i) for i in np.argwhere(outside)[0])
    yield CheckResult(
        "kinks",
        "failed",
        name,
        max_abs=float(max(low[index] - got[index], got[index] - high[index])),
        index=index,
        got=float(got[index]),
        want=float((near_left[index] + near_right[index]) / 2),
        tolerance=float(high[index] - low[index]) / 2,
        message=f"at {name} = 0 the derivative does not lie between the one-sided slopes",
    )


def _around(step: float) -> tuple[float, ...]:
    return -step, -step / 2, step / 2, step
