"""The gradients themselves: against autodiff of the reference."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from ..arbiter import MOST, close, slopes_at
from ..compare import compare, undefined
from ..precision import as_float64, same_bits
from ..program import Refused, Skip
from ..report import CheckResult
from ..sample import Sample
from ..slopes import Sides


def primal(sample: Sample) -> Iterator[CheckResult]:
    """The forward rule returns what the function returns, and what the reference returns."""
    precision = sample.wide
    by_rule = sample.rule(precision)
    wanted = [("the function", sample.value(precision))]
    if sample.subject.has_reference:
        plain = sample.subject.plain.value(precision, *sample.xs(precision))
        wanted.append(("the reference", plain))
    for what, (ys, others) in wanted:
        if len(ys) != len(by_rule.ys) or len(others) != len(by_rule.others):
            yield CheckResult("primal", "failed", message=f"not as many outputs as {what}")
            continue
        for i, (got, want) in enumerate(zip(by_rule.ys, ys, strict=True)):
            tolerance = sample.allowed_value(i, want, precision)
            message = f"output {i} of the forward rule is not that of {what}"
            yield compare("primal", None, got, want, tolerance, message=message)
        for got, want in zip(by_rule.others, others, strict=True):
            if got.dtype != want.dtype or not same_bits(got, want):
                message = f"an output without gradient is not that of {what}"
                yield CheckResult("primal", "failed", message=message)


def vjp(sample: Sample) -> Iterator[CheckResult]:
    """Each argument's gradient equals autodiff of the reference, in float64.

    Where autodiff has no number and the rule has one, the slopes of the function judge.
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
            scene=sample.scene(k, precision),
            leave_out=out,
        )
        if result.status == "passed" and out.any():
            result = _by_slopes(sample, k, as_float64(got), out, result)
        yield result


def _by_slopes(
    sample: Sample, k: int, got: np.ndarray, out: np.ndarray, result: CheckResult
) -> CheckResult:
    """Judge the entries where autodiff has no number, as far as the function has slopes there."""
    near = close(sample, k, got[out])
    judged = 0
    for place in np.argwhere(out)[:MOST]:
        index = tuple(int(i) for i in place)
        slopes = slopes_at(sample, k, index)
        if slopes.are_known and not slopes.hold(float(got[index]), near):
            return _outside(sample.name(k), index, float(got[index]), slopes, near)
        judged += slopes.are_known
    return dataclasses.replace(
        result, compared=result.compared + judged, unjudged=result.unjudged - judged
    )


def _outside(
    name: str, index: tuple[int, ...], got: float, slopes: Sides, tolerance: float
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
        message=f"autodiff is not finite here, and the function's slopes are {low:.6g} and "
        f"{high:.6g}",
        compared=1,
    )
