"""The search: many points of one form, tried until a budget is spent."""

import time
from collections.abc import Iterator
from itertools import chain, islice
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ..._jax import equations_in, is_iterated_by_lapack, without_logs_of_callbacks
from ..report import CheckResult
from ..repro import call_that_repeats
from ..sample import Sample
from .candidates import candidates
from .constants import constants_of
from .edges import edge
from .forms import suspicious_forms
from .judge import Flaw, Judge
from .outcome import Values, rounded, values_of
from .screen import Screen
from .shrink import described, shrunk

# So many edges of the domain are looked for.
EDGES = 6


class Found(NamedTuple):
    """A mistake, and the simplest point that shows it."""

    flaw: Flaw
    values: Values


def search(sample: Sample) -> Iterator[CheckResult]:
    """The rule is right at points where gradients break: zeros, ties, infinities, edges, ..."""
    base = values_of(sample.point.xs)
    with without_logs_of_callbacks():  # some functions raise outside of their domain
        tried, found = _found(sample, base)
        results = [_result(sample, flaw, values, base) for flaw, values in found]
        results += _of_forms(sample, {result.argument for result in results})
    yield from results
    wrong = {result.argument for result in results if result.status == "failed"}
    if None not in wrong:
        message = f"no mistake of the rule at {tried} points"
        names = (name for name in sample.subject.names if name not in wrong)
        yield from (CheckResult("search", "passed", name, message=message) for name in names)


def _found(sample: Sample, base: Values) -> tuple[int, list[Found]]:
    """Return how many points were tried, and one mistake of each kind."""
    judge = Judge(sample, base)
    found = {flaw.same: Found(flaw, base) for flaw in judge.at_base()}
    screen = Screen(sample, judge)
    clock = Clock(sample.budget.seconds)
    points = iter(_points(sample, base))
    edges = EDGES
    tried = 1
    while not clock.is_over and tried < sample.budget.points:
        chunk = list(islice(points, min(screen.chunk, sample.budget.points - tried)))
        if not chunk:
            break
        sample.subject.deadline.check()
        seen = screen.look(chunk)
        clock.start()
        for values, is_suspicious in zip(chunk, seen.suspicious, strict=True):
            if clock.is_over:
                break
            flaw = judge.flaw(values) if is_suspicious else None
            if flaw and flaw.same not in found:
                found[flaw.same] = _simplest(judge, flaw, values)
        outside = [v for v, is_out in zip(chunk, seen.outside, strict=True) if is_out][:edges]
        edges -= len(outside)
        points = chain((e for v in outside if (e := edge(sample, base, v)) is not None), points)
        tried += len(chunk)
    return tried, list(found.values())


class Clock:
    """CPU time from the first start, so that what is found depends little on other processes."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._end: float | None = None

    def start(self) -> None:
        """Start, if it has not."""
        if self._end is None:
            self._end = time.process_time() + self._seconds

    @property
    def is_over(self) -> bool:
        """Whether the time has passed."""
        return self._end is not None and time.process_time() > self._end


def _of_forms(sample: Sample, known: set[str | None]) -> Iterator[CheckResult]:
    """Yield mistakes at other sizes, one for each argument in which none is known."""
    for form, text in suspicious_forms(sample):
        sample.subject.deadline.check()
        base = values_of(form.point.xs)
        for flaw in Judge(form, base).at_base(brief=True):
            result = _result(form, flaw, base, base, text)
            if result.argument not in known:
                known.add(result.argument)
                yield result


def _points(sample: Sample, base: Values) -> Iterator[Values]:
    """Yield points with numbers that the leaves can have."""
    moved = len(sample.point.wrt)
    if moved:
        largest = min(float(jnp.finfo(x.dtype).max) for x in sample.point.xs[:moved])
        points = candidates(base, moved, constants_of(sample), largest, sample.seed)
        may_hang = any(map(is_iterated_by_lapack, equations_in(sample.subject.value_program)))
        for values in points:
            if not may_hang or all(np.isfinite(value).all() for value in values):
                yield rounded(sample, values)


def _simplest(judge: Judge, flaw: Flaw, values: Values) -> Found:
    """Return the flaw at the simplest point that has one of its kind."""
    last = Found(flaw, values)

    def shows(candidate: Values) -> bool:
        nonlocal last
        other = judge.flaw(candidate)
        if other is None or other.same != flaw.same:
            return False
        last = Found(other, candidate)
        return True

    shrunk(values, judge.base, shows)
    return last


WORDS = {
    "value": "the forward rule returns another value than the function",
    "gradient": "the gradient is wrong",
    "not finite": "the gradient is not finite",
    "lost digits": "no digit of the gradient is right",
    "raises": "the rule raises and the function does not",
}


def _result(
    sample: Sample, flaw: Flaw, values: Values, base: Values, form: str = ""
) -> CheckResult:
    is_wrong = flaw.severity == "wrong"
    where = form or f"at {described(sample.subject.names, values, base)}"
    message = f"{WORDS[flaw.kind]} {where}"
    if not is_wrong:
        message += "; so is that of autodiff"
    args = sample.point.args_at(values)
    accuracy = {name: value or None for name, value in sample.subject.accuracy._asdict().items()}
    options = {
        "checks": ["search"],
        "reference": sample.subject.reference,
        "kwargs": sample.point.call[1],
        **accuracy,
    }
    return CheckResult(
        "search",
        "failed" if is_wrong else "noted",
        None if flaw.leaf is None else sample.name(flaw.leaf),
        max_abs=abs(flaw.got - flaw.want) if np.isfinite(flaw.got) else float("inf"),
        index=flaw.place,
        got=flaw.got,
        want=flaw.want,
        tolerance=flaw.tolerance,
        message=message,
        args=args,
        call=call_that_repeats(sample.fun, args, sample.point.described(), options),
    )
