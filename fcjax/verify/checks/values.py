"""Compare values with the function, and gradients with autodiff of the reference."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from ..arbiter import MAX_ENTRIES, slope_tolerance, slopes_at
from ..compare import compare, undefined
from ..precision import same_bits
from ..program import Refused, Skip
from ..report import CheckResult
from ..sample import Sample
from ..slopes import OneSidedSlopes, gradients_of, weights_of


def primal(sample: Sample) -> Iterator[CheckResult]:
    """The forward rule returns the values of the function and of the reference."""
    precision = sample.wide
    by_rule = sample.rule(precision)
    wanted = [("the function", sample.value(precision))]
    if sample.subject.has_reference:
        plain = sample.subject.plain.value(precision, *sample.xs(precision))
        wanted.append(("the reference", plain))
    for what, (ys, others) in wanted:
        if len(ys) != len(by_rule.ys) or len(others) != len(by_rule.others):
            yield CheckResult(
                "primal",
                "failed",
                message=f"the forward rule and {what} return different numbers of outputs",
            )
            continue
        for i, (got, want) in enumerate(zip(by_rule.ys, ys, strict=True)):
            tolerance = sample.allowed_value(i, want, precision)
            message = f"output {i} of the forward rule differs from {what}"
            yield compare("primal", None, got, want, tolerance, message=message)
        for got, want in zip(by_rule.others, others, strict=True):
            if got.dtype != want.dtype or not same_bits(got, want):
                message = f"a non-differentiable output differs from {what}"
                yield CheckResult("primal", "failed", message=message)


def vjp(sample: Sample) -> Iterator[CheckResult]:
    """Each gradient equals autodiff of the reference, in float64.

    Where the rule is finite and autodiff is not, the one-sided slopes of the function decide.
    """
    precision = sample.wide
    try:
        right = sample.autodiff(precision).dxs
    except Refused as refusal:
        raise Skip(f"JAX cannot differentiate the reference: {refusal}") from refusal
    for k, (got, want) in enumerate(zip(sample.rule(precision).dxs, right, strict=True)):
        out = undefined(got, want)
        result = compare(
            "vjp",
            sample.name(k),
            got,
            want,
            sample.allowed(k, want, precision),
            context=sample.hint_context(k, precision),
            leave_out=out,
        )
        if result.status == "passed" and out.any():
            result = _by_slopes(sample, k, out, result)
        yield result


def _by_slopes(sample: Sample, k: int, out: np.ndarray, result: CheckResult) -> CheckResult:
    """Compare the entries where autodiff is not finite with the one-sided slopes, if any.

    An output that is not finite has no slope, and is left out of the gradient too.
    """
    weights = weights_of(sample, sample.wide)
    got = gradients_of(sample, sample.wide, weights)[k]
    if weights.excluded:
        out = out & np.isfinite(got)
    tolerance = slope_tolerance(sample, k, got[out])
    judged = 0
    for place in np.argwhere(out)[:MAX_ENTRIES]:
        index = tuple(int(i) for i in place)
        slopes = slopes_at(sample, k, index)
        if slopes.are_known and not slopes.bracket(float(got[index]), tolerance):
            return _outside(sample.name(k), index, float(got[index]), slopes, tolerance)
        judged += slopes.are_known
    return dataclasses.replace(
        result, compared=result.compared + judged, unjudged=result.unjudged - judged
    )


def _outside(
    name: str, index: tuple[int, ...], got: float, slopes: OneSidedSlopes, tolerance: float
) -> CheckResult:
    low, high = sorted((slopes.left or 0.0, slopes.right or 0.0))
    nearest = min(max(got, low), high)
    return CheckResult(
        "vjp",
        "failed",
        name,
        max_abs=abs(got - nearest),
        index=index,
        got=got,
        want=nearest,
        tolerance=slopes.error + tolerance,
        message=f"autodiff is not finite here, and the one-sided slopes of the function are "
        f"{low:.6g} and {high:.6g}",
        compared=1,
    )
