"""Which of several composed rules is wrong: each is kept alone, all others taken out."""

from collections.abc import Iterator

import numpy as np

from .precision import as_float64
from .program import Refused
from .rules import RuleCall
from .sample import Sample


def culprits(sample: Sample) -> tuple[str, ...]:
    """Return a line for each rule that is wrong by itself: its name, source and arguments.

    A computation in which one rule stays and every other one is plain has the right gradient if
    that rule is right. Several wrong rules are all found.
    """
    try:
        calls = sample.subject.calls
    except Refused:
        return ()
    by_origin: dict[tuple[str, str], list[RuleCall]] = {}
    for call in calls:
        by_origin.setdefault(call.origin, []).append(call)
    return tuple(_lines(sample, by_origin))


def _lines(sample: Sample, by_origin: dict[tuple[str, str], list[RuleCall]]) -> Iterator[str]:
    for origin, calls in by_origin.items():
        why = _wrong(sample, origin)
        if why and len(by_origin) == 1:
            yield f"  the rule is that of {origin[0]} ({origin[1]})"
        elif why:
            times = f", {len(calls)} times" if len(calls) > 1 else ""
            arguments = "; ".join(dict.fromkeys(", ".join(call.arguments) for call in calls))
            yield f"  the rule of {origin[0]} ({origin[1]}), called with {arguments}{times}: {why}"


def _wrong(sample: Sample, origin: tuple[str, str]) -> str | None:
    """Say what is wrong when the rule of `origin` alone is kept, or return None."""
    alone = sample.subject.with_rules_kept(lambda call: call.origin == origin)
    precision = sample.wide
    try:
        want = sample.autodiff(precision).dxs
    except Refused:  # with the others taken out, nothing would tell whose fault it is
        return None
    try:
        got = alone.rule.pullback(precision, sample.xs(precision), sample.dys(precision)).dxs
    except Refused as refusal:
        return str(refusal)
    for k, (one, right) in enumerate(zip(got, want, strict=True)):
        name = sample.name(k)
        judged = np.isfinite(as_float64(right))
        error = np.where(judged, np.abs(as_float64(one) - as_float64(right)), 0)
        if not np.max(error, initial=0.0) <= sample.allowed(k, right, precision):
            return f"with all others taken out, the gradient of {name} is still wrong"
        if one.dtype != sample.xs(precision)[k].dtype:
            return f"it returns a {one.dtype} cotangent"
    return None
