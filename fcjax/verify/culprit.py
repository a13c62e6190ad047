"""Find the wrong rule in a composition: check each rule with all others removed."""

from collections.abc import Iterator

import numpy as np

from .precision import as_float64
from .program import Refused, TimeUp
from .rules import RuleCall
from .sample import Sample


def culprits(sample: Sample) -> tuple[str, ...]:
    """Return a line for each wrong rule: its name, source and arguments.

    With all rules but one removed, the gradient is right if and only if that rule is right. This
    finds every wrong rule, even if there are several.
    """
    by_origin: dict[tuple[str, str], list[RuleCall]] = {}
    try:
        for call in sample.subject.calls:
            by_origin.setdefault(call.origin, []).append(call)
        return tuple(_lines(sample, by_origin))
    except (Refused, TimeUp):
        return ()


def _lines(sample: Sample, by_origin: dict[tuple[str, str], list[RuleCall]]) -> Iterator[str]:
    for origin, calls in by_origin.items():
        why = _wrong(sample, origin)
        if why and len(by_origin) == 1:
            yield f"  the wrong rule is that of {origin[0]} ({origin[1]})"
        elif why:
            times = f", {len(calls)} times" if len(calls) > 1 else ""
            arguments = "; ".join(dict.fromkeys(", ".join(call.arguments) for call in calls))
            yield f"  the rule of {origin[0]} ({origin[1]}), called with {arguments}{times}: {why}"


def _wrong(sample: Sample, origin: tuple[str, str]) -> str | None:
    """Return what is wrong if only the rule of `origin` is kept, or None."""
    alone = sample.subject.with_rules_kept(lambda call: call.origin == origin)
    precision = sample.wide
    try:
        want = sample.autodiff(precision).dxs
    except Refused:  # without an oracle, the fault cannot be assigned
        return None
    try:
        got = alone.rule.pullback(precision, sample.xs(precision), sample.dys(precision)).dxs
    except Refused as refusal:
        return str(refusal)
    for k, (one, right) in enumerate(zip(got, want, strict=True)):
        name = sample.name(k)
        judged = np.isfinite(as_float64(right))
        with np.errstate(invalid="ignore"):
            error = np.where(judged, np.abs(as_float64(one) - as_float64(right)), 0)
        if not np.max(error, initial=0.0) <= sample.allowed(k, right, precision):
            return f"with all other rules removed, the gradient of {name} is still wrong"
        if one.dtype != sample.xs(precision)[k].dtype:
            return f"it returns a {one.dtype} cotangent"
    return None
