"""The search: many points of one form, tried until a budget is spent."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice

import jax.numpy as jnp
import numpy as np

from ..._jax import equations_in, is_iterated_by_lapack, without_logs_of_callbacks
from ..point import options_as_text
from ..program import Refused, TimeUp
from ..report import CheckResult
from ..repro import call_that_repeats
from ..sample import Sample
from .branches import points_beyond_masks, points_in_other_branches
from .candidates import candidates, idle_points, mixtures
from .clock import Clock
from .constants import constants_of
from .edges import edge
from .forms import suspicious_forms
from .judge import Flaw, Judge
from .outcome import Values, rounded, values_of
from .screen import PASSES, Screen
from .shrink import described, shrunk

# So many edges of the domain are looked for.
EDGES = 6
# How many mixtures are looked at, fewer where there are many numbers or the function takes long.
MIXTURES = 512
FEWEST = 32
ENTRIES = 2**20
# A point beyond a mask comes after so many others.
BEFORE_MASKS = 6


def search(sample: Sample) -> Iterator[CheckResult]:
    """The rule is right at points where gradients break: zeros, ties, infinities, edges, ..."""
    hunt = Hunt()
    with without_logs_of_callbacks():  # some functions raise outside of their domain
        try:
            hunt.run(sample)
        except TimeUp:
            if not hunt.tried:
                raise
    yield from hunt.results
    wrong = {result.argument for result in hunt.results if result.status == "failed"}
    if None not in wrong:
        points = "1 point" if hunt.tried == 1 else f"{hunt.tried} points"
        message = f"no mistake of the rule at {points}"
        names = (name for name in sample.subject.names if name not in wrong)
        yield from (CheckResult("search", "passed", name, message=message) for name in names)


class Hunt:
    """A search, with what it has found so far.

    Attributes:
        tried: how many points were tried, without those of other forms.
        results: the mistakes, one of each kind.
    """

    def __init__(self):
        self.tried = 0
        self.results: list[CheckResult] = []
        self._known: set[tuple[str, str, int]] = set()
        self._without_oracle: set[int] = set()

    def run(self, sample: Sample) -> None:
        """Search with the given options, at other forms, and with other options."""
        self._at_points(sample)
        self._at_forms(sample)
        for other in sample.others:
            self._at_points(other.sample, f" with {options_as_text(other.options)}")

    def _at_points(self, sample: Sample, options: str = "") -> None:
        base = values_of(sample.point.xs)
        judge = Judge(sample, base)
        for flaw in judge.at_base():
            self._add(sample, flaw, base, f"at the given point{options}")
        self._without_oracle |= judge.skipped
        self.tried += 1
        clock = Clock(sample.budget.seconds, sample.subject.deadline)
        for_shrinking = Clock(sample.budget.seconds, sample.subject.deadline)
        screen = Screen(sample, judge, clock.seconds)
        # a tenth of the time is for values at mixtures, which show what branches and masks do
        most = int(clock.seconds / 10 / max(screen.cost / PASSES, 1e-9))
        points = _Points(sample, base, most, judge.idle[: len(sample.point.wrt)])
        left = max(0, sample.budget.points - 1)
        while not clock.is_over and screen.cost < clock.seconds:
            chunk = list(islice(points, min(screen.chunk, left)))
            if not chunk:
                break
            sample.subject.deadline.check()
            seen = screen.look(chunk)
            left -= len(chunk)
            for values, is_suspicious in zip(chunk, seen.suspicious, strict=True):
                if clock.is_over and is_suspicious:
                    continue
                self.tried += 1
                flaw = judge.flaw(values) if is_suspicious else None
                if flaw and flaw.same not in self._known:
                    flaw, values = _simplest(judge, flaw, values, for_shrinking)
                    where = described(sample.subject.names, values, base)
                    self._add(sample, flaw, values, f"at {where}{options}")
            points.add_edges(v for v, is_out in zip(chunk, seen.outside, strict=True) if is_out)

    def _at_forms(self, sample: Sample) -> None:
        """Add mistakes at other forms, one for each argument in which none is known."""
        for form, text in suspicious_forms(sample):
            if not sample.domain.has(lambda form=form: form.point.call[0]):
                continue
            base = values_of(form.point.xs)
            for flaw in Judge(form, base).at_base(brief=True):
                if flaw.leaf in self._without_oracle:
                    continue
                argument = None if flaw.leaf is None else form.name(flaw.leaf)
                if argument not in {r.argument for r in self.results if r.status == "failed"}:
                    self._add(form, flaw, base, text)

    def _add(self, sample: Sample, flaw: Flaw, values: Values, where: str) -> None:
        if flaw.same not in self._known:
            self._known.add(flaw.same)
            self.results.append(_result(sample, flaw, values, where))


class _Points:
    """The points of a search, with numbers that the leaves can have."""

    def __init__(self, sample: Sample, base: Values, most: int, idle: Sequence[np.ndarray] = ()):
        self._sample, self._base, self._most = sample, base, most
        self._points = self._made()
        self._edges = EDGES
        self._idle = idle

    def __iter__(self) -> Iterator[Values]:
        return self

    def __next__(self) -> Values:
        return next(values for values in self._points if self._sample.is_inside(values))

    def add_edges(self, outside: Iterator[Values]) -> None:
        """Put the edges of the domain on the way to points outside of it next."""
        points = list(islice(outside, self._edges))
        self._edges -= len(points)
        edges = (edge(self._sample, self._base, values) for values in points)
        self._points = chain((values for values in edges if values is not None), self._points)

    def _made(self) -> Iterator[Values]:
        sample, moved = self._sample, len(self._sample.point.wrt)
        if not moved:
            return
        constants = constants_of(sample)
        largest = min(float(jnp.finfo(x.dtype).max) for x in sample.point.xs[:moved])
        made = candidates(self._base, moved, constants, largest, sample.seed)
        most = largest**0.25 if _may_hang(sample) else None
        mixed = self._mixed(constants)
        first = chain(
            idle_points(self._base, self._idle, largest),
            points_in_other_branches(sample, self._base, mixed),
        )
        then = points_beyond_masks(sample, self._base, mixed)
        for values in chain(first, _in_turns(made, then)):
            if most is None or all((np.abs(value) <= most).all() for value in values):
                yield rounded(sample, values)

    def _mixed(self, constants: Sequence[float]) -> list[Values]:
        """Return random points, among which branches and masks are looked for."""
        entries = ENTRIES // max(1, sum(x.size for x in self._base))
        count = max(1, min(MIXTURES, max(FEWEST, self._most), entries))
        rng = np.random.default_rng([*self._sample.seed, 75])
        mixed = mixtures(self._base, len(self._sample.point.wrt), constants, rng)
        return [rounded(self._sample, values) for values in islice(mixed, count)]


def _may_hang(sample: Sample) -> bool:
    """Whether LAPACK may iterate forever at infinities: in the function, in its rule, in autodiff.

    Numbers may also overflow on the way to it, if they are large.
    """
    try:
        sides = [sample.subject.traced(side, sample.wide) for side in sample.subject.sides]
    except Refused:
        sides = []
    programs = [sample.subject.value_program, *sides]
    return any(is_iterated_by_lapack(e) for program in programs for e in equations_in(program))


def _in_turns(many: Iterator[Values], few: Iterator[Values]) -> Iterator[Values]:
    """Yield one of a few points after several of many."""
    while chunk := list(islice(many, BEFORE_MASKS)):
        yield from chunk
        yield from islice(few, 1)
    yield from few


def _simplest(judge: Judge, flaw: Flaw, values: Values, clock: Clock) -> tuple[Flaw, Values]:
    """Return the flaw at the simplest point that has one of its kind."""
    last = flaw, values

    def shows(candidate: Values) -> bool:
        nonlocal last
        is_left_out = clock.is_over or not judge.sample.is_inside(candidate)
        other = None if is_left_out else judge.flaw(candidate)
        if other is None or other.same != flaw.same:
            return False
        last = other, candidate
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


def _result(sample: Sample, flaw: Flaw, values: Values, where: str) -> CheckResult:
    is_wrong = flaw.severity == "wrong"
    message = f"{WORDS[flaw.kind]} {where}"
    if not is_wrong:
        message += "; so is that of autodiff"
    args = sample.point.args_at(values)
    accuracy = {name: value or None for name, value in sample.subject.accuracy._asdict().items()}
    options = {
        "checks": ["search"],
        "reference": sample.subject.reference,
        "kwargs": sample.point.call[1],
        "cotangent": sample.cotangent.given,
        **accuracy,
    }
    about = f"`args` of this finding, {sample.point.described()}"
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
        call=call_that_repeats(sample.fun, args, about, options),
    )
