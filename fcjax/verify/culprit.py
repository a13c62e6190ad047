"""Which of several composed rules is wrong: each is kept alone, all others taken out."""

from collections.abc import Iterator

import numpy as np

from .computing import OWN, as_float64, first_line
from .plain import RuleCall, rules_in, without_rules
from .trial import Trial


def culprits(trial: Trial) -> tuple[str, ...]:
    """Return a line for each rule that is wrong by itself: its name, source and arguments.

    A computation in which one rule stays and every other one is plain has the right gradient if
    that rule is right. Several wrong rules are all found.
    """
    try:
        calls = rules_in(trial.functions["rule"], *trial.xs(OWN))
    except Exception:
        return ()
    by_origin: dict[tuple[str, str], list[RuleCall]] = {}
    for call in calls:
        by_origin.setdefault(call.origin, []).append(call)
    return tuple(_lines(trial, by_origin))


def _lines(trial: Trial, by_origin: dict[tuple[str, str], list[RuleCall]]) -> Iterator[str]:
    for origin, calls in by_origin.items():
        why = _wrong(trial, origin)
        if why and len(by_origin) == 1:
            yield f"  the rule is that of {origin[0]} ({origin[1]})"
        elif why:
            times = f", {len(calls)} times" if len(calls) > 1 else ""
            arguments = "; ".join(dict.fromkeys(", ".join(call.arguments) for call in calls))
            yield f"  the rule of {origin[0]} ({origin[1]}), called with {arguments}{times}: {why}"


def _wrong(trial: Trial, origin: tuple[str, str]) -> str | None:
    """Say what is wrong when the rule of `origin` alone is kept, or return None."""
    alone = trial.with_rule(
        without_rules(trial.functions["rule"], keep=lambda call: call.origin == origin)
    )
    dtype = trial.wide
    try:
        got = alone.rule(dtype).dxs
    except Exception as error:
        return first_line(error)
    try:
        want = trial.by_autodiff(dtype).dxs
    except Exception:
        return None
    for k in range(trial.count):
        error = np.abs(as_float64(got[k]) - as_float64(want[k]))
        if not np.max(error, initial=0.0) <= trial.allowed(k, want[k], dtype):
            return f"with all others taken out, the gradient of {trial.name(k)} is still wrong"
        if got[k].dtype != trial.xs(dtype)[k].dtype:
            return f"it returns a {got[k].dtype} cotangent"
    return None
