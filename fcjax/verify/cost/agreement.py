"""Whether the values and gradients of a rule are those of autodiff."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp

from ..arbiter import autodiff_is_refuted
from ..checks.values import vjp
from ..compare import compare
from ..point import Leaves
from ..precision import Precision
from ..program import Refused, Skip
from ..report import CheckResult
from ..sample import Sample
from .measure import Measured


def require_same_values(sample: Sample) -> None:
    """Raise ValueError if the reference has other values than the function.

    They must differ in float64 and in the dtypes of the arguments: a dropout mask may depend on the
    dtype in which it is drawn. If only those in float64 differ, gradients are compared in the
    dtypes of the arguments.
    """
    if not sample.subject.has_reference:
        return
    worst: CheckResult | None = None
    for precision in dict.fromkeys((sample.wide, Precision.OWN)):
        try:
            plain = sample.subject.plain.value(precision, *sample.xs(precision))[0]
            results = _compared_values(sample, precision, sample.value(precision)[0], plain)
        except Refused:
            return  # compiling the two says why
        worst = max(results, key=_excess, default=None)
        if worst is None or worst.status == "passed":
            sample.subject.wide = precision
            return
    if worst is not None:
        raise ValueError(
            f"reference must return the values of fun up to rounding ({worst.tolerance:.1g}), "
            f"got {worst.argument} that differs by up to {worst.max_abs:.3g}"
        )


def _compared_values(
    sample: Sample, precision: Precision, got: Leaves, want: Leaves
) -> list[CheckResult]:
    return [
        compare("primal", f"output {i}", y, plain, sample.allowed_value(i, plain, precision))
        for i, (y, plain) in enumerate(zip(got, want, strict=True))
    ]


def _excess(result: CheckResult) -> tuple[bool, float]:
    return result.status == "failed", result.max_abs or 0.0


class Agreement(NamedTuple):
    """Whether a rule and autodiff agree, as in `CostReport`."""

    agrees: bool | None
    largest_difference: float | None
    disagreement: str


def agreement(sample: Sample, sides: Sequence[Measured]) -> Agreement:
    """Compare values and gradients of the rule with those of autodiff."""
    try:
        results = [*_comparisons(sample), *_finite(sample, *(side.gradients() for side in sides))]
    except (Refused, Skip):
        return Agreement(None, None, "")
    worst = max(results, key=_excess, default=None)
    if worst is None or worst.status == "passed":
        return Agreement(True, max((r.max_abs or 0.0 for r in results), default=0.0), "")
    size = math.inf if worst.max_abs is None else worst.max_abs
    what, other = "gradient with respect to", "autodiff"
    if worst.name == "primal":
        what, other = "value of", "the function"
    elif sample.subject.has_reference:
        other = "the reference"
    by = f"by up to {size:.3g}" if math.isfinite(size) else "where only one of them is finite"
    return Agreement(False, size, f"The {what} {worst.argument} differs from that of {other} {by}")


def _comparisons(sample: Sample) -> Iterator[CheckResult]:
    """Compare in the widest precision, with random cotangents.

    A gradient that differs only at kinks, or where autodiff itself is wrong, is not yielded.
    """
    precision = sample.wide
    value = sample.value(precision)[0]
    yield from _compared_values(sample, precision, sample.rule(precision).ys, value)
    for k, result in enumerate(vjp(sample)):
        if result.status != "failed" or not autodiff_is_refuted(sample, k):
            yield result


def _finite(sample: Sample, rule: Leaves, plain: Leaves) -> Iterator[CheckResult]:
    """Compare in the dtypes of the arguments: the rule must be finite where autodiff is."""
    for name, got, want in zip(sample.subject.names, rule, plain, strict=True):
        if bool(jnp.any(jnp.isfinite(want) & ~jnp.isfinite(got))):
            yield CheckResult("vjp", "failed", name, max_abs=math.inf)
