"""What a hand-written rule saves against autodiff of the same function, and what it costs."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._arguments import brief, check_function
from .._jax import bytes_kept, compiled_cost
from .._types import Function, Tree
from .arbiter import autodiff_is_refuted
from .arguments import call_of, require_matching_reference, seconds_of
from .checks.values import vjp
from .compare import compare
from .point import Leaves, Point
from .precision import Precision
from .program import Refused, Skip, user_code
from .report import CheckResult
from .repro import name_of_function
from .sample import Sample
from .subject import Side, Subject, pullback_of

# One round of the clock takes at least this long, in seconds, so that a call of some microseconds
# is measured; and there are so many rounds at least.
ROUND = 2e-3
ROUNDS = 9
# A time that differs by less than this is the same, and so is a size.
SAME = 0.05
UNCOUNTED = (
    "Not counted: XLA leaves out sin, exp and the like, and gives no figure if it finds no others."
)


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one call of a function with its gradient.

    Attributes:
        kept_bytes: bytes kept between the forward and the backward pass. An argument that is kept
            counts 0 bytes: it is there anyway.
        temporary_bytes: bytes of the temporary arrays of the compiled gradient, by XLA.
        operations: floating-point operations of the compiled gradient, by XLA, which does not count
            sin, exp and the like; None if it finds no other.
        compile_seconds: time to trace and compile it.
        seconds: median time of a call.
        spread_seconds: the quartiles of that time.
    """

    kept_bytes: int
    temporary_bytes: int | None
    operations: float | None
    compile_seconds: float
    seconds: float
    spread_seconds: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class CostReport:
    """The costs of a rule and of autodiff, measured in turns.

    Attributes:
        function: the name of the function.
        arguments: names, dtypes and shapes of its arguments.
        device: where it was measured.
        rule: the cost with the hand-written rules.
        autodiff: the cost without.
        time_ratio: the median time of the rule, divided by that of autodiff.
        time_spread: the quartiles of the ratio in single rounds, widened to contain `time_ratio`.
        agrees: whether values and gradients of the rule equal those of autodiff up to rounding;
            None if they could not be compared.
        largest_difference: the largest difference of the two, in float64 if the function supports
            it, for normal random cotangents; infinite where only one of them is finite, None if
            they could not be compared.
        disagreement: what differs and by how much, as text; empty if nothing does.
    """

    function: str
    arguments: str
    device: str
    rule: Cost
    autodiff: Cost
    time_ratio: float
    time_spread: tuple[float, float]
    agrees: bool | None
    largest_difference: float | None
    disagreement: str

    @property
    def verdict(self) -> str:
        """One line: whether the rule is worth having, and what it costs."""
        gains, costs = self._gains_and_costs()
        what = " and ".join(gains or costs)
        if gains and costs:
            what += f", but {' and '.join(costs)}"
        if self.disagreement:
            what = what or "saves neither time nor memory"
            return f"{self.disagreement}: run check_rule. The rule {what}."
        if gains and costs:
            return f"The rule {what}.{self._reservations}"
        if what:
            worth = "worth having" if gains else "not worth having"
            return f"The rule is {worth}: it {what}.{self._reservations}"
        return (
            "The rule saves neither time nor memory: it is worth having for its numbers alone."
            f"{self._reservations}"
        )

    def _gains_and_costs(self) -> tuple[list[str], list[str]]:
        """Return what the rule does with less than autodiff, and what with more."""
        low, high = self.time_spread
        gains, costs = [], []
        percent = f"{self.time_ratio:.0%} of the time ({low:.0%} to {high:.0%})"
        if high < 1 - SAME:
            gains.append(f"takes {percent}")
        elif low > 1 + SAME:
            costs.append(f"takes {percent}")
        kept = _change(self.rule.kept_bytes, self.autodiff.kept_bytes)
        if kept:
            (gains if kept < 0 else costs).append(f"keeps {self._sizes('kept_bytes')}")
        temporary = self._temporary_change
        if temporary:
            what = f"needs {self._sizes('temporary_bytes')} of temporaries"
            (gains if temporary < 0 else costs).append(what)
        return gains, costs

    @property
    def _temporary_change(self) -> int | None:
        """Compare the temporaries; a difference far below the other sizes is none."""
        rule, plain = self.rule, self.autodiff
        if rule.temporary_bytes is None or plain.temporary_bytes is None:
            return None
        largest = max(rule.kept_bytes, plain.kept_bytes)
        return _change(rule.temporary_bytes, plain.temporary_bytes, beside=largest)

    def _sizes(self, name: str) -> str:
        return f"{_size(getattr(self.rule, name))} instead of {_size(getattr(self.autodiff, name))}"

    @property
    def _reservations(self) -> str:
        """Further sentences that the verdict needs, each after a space."""
        text = ""
        if self.agrees is None:
            text += " Its gradient could not be compared with that of autodiff."
        kept = _change(self.rule.kept_bytes, self.autodiff.kept_bytes)
        if kept and self._temporary_change == 0:
            sizes = [_size(side.temporary_bytes or 0) for side in (self.rule, self.autodiff)]
            need = f"it needs {sizes[0]} of temporaries and autodiff {sizes[1]}"
            if sizes[0] == sizes[1]:
                need = f"both need {sizes[0]} of temporaries"
            text += (
                f" Compiled as one program, {need}: the bytes kept matter only where the passes"
                " run apart."
            )
        return text

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data for `json.dump`.

        An infinite difference becomes a string, because JSON has no such number.
        """
        found = dataclasses.asdict(self) | {"verdict": self.verdict}
        if self.largest_difference == math.inf:
            found["largest_difference"] = "inf"
        return found

    def __str__(self) -> str:
        rows = [("", "the rule", "autodiff", ""), *self._rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            f"{name:<{widths[0]}}  {rule:>{widths[1]}}  {plain:>{widths[2]}}  {ratio}".rstrip()
            for name, rule, plain, ratio in rows
        ]
        head = f"{self.function}({self.arguments}) on {self.device}"
        if None in (self.rule.operations, self.autodiff.operations):
            lines += ["", UNCOUNTED]
        return "\n".join([head, "", *lines, "", self.verdict])

    __repr__ = __str__

    def _rows(self) -> list[tuple[str, str, str, str]]:
        rule, plain = self.rule, self.autodiff
        low, high = self.time_spread
        return [
            ("kept between the passes", *_two(rule.kept_bytes, plain.kept_bytes, _size)),
            ("temporaries", *_two(rule.temporary_bytes, plain.temporary_bytes, _size)),
            ("operations", *_two(rule.operations, plain.operations, "{:,.0f}".format)),
            ("time to compile", *_two(rule.compile_seconds, plain.compile_seconds, _time)),
            (
                "time of a call",
                _time(rule.seconds),
                _time(plain.seconds),
                f"{self.time_ratio:.2f} ({low:.2f} to {high:.2f})",
            ),
        ]


def compare_cost(
    fun: Function,
    args: Sequence[Tree],
    *,
    reference: Function | None = None,
    kwargs: Mapping[str, Tree] | None = None,
    seconds: float = 1.0,
) -> CostReport:
    """Compare the cost of the gradient of `fun` by its hand-written rules with that by autodiff.

    Both are compiled, and called in turns on the default device: a value with its gradients with
    respect to all floating-point arguments. The bytes kept between the two passes are counted
    without the arguments: a rule that keeps its arguments alone keeps 0 B.

    The report also says where the two gradients differ by more than rounding. That may be a
    mistake, or a choice such as a straight-through estimator: `check_rule` tells more.

    Args:
        fun: the function, as in `check_rule`.
        args: its positional arguments, as in `check_rule`.
        reference: a function with the arguments and the values of `fun` that autodiff
            differentiates; by default `fun` without its hand-written rules.
        kwargs: keyword arguments of `fun`.
        seconds: how long calls are timed, at least 9 rounds.

    Returns:
        A `CostReport`: `print(report)` shows a table, `report.verdict` says in one line whether the
        rule is worth having, and `report.to_dict()` is plain data.

    Raises:
        TypeError: as `check_rule`.
        ValueError: `fun` has no hand-written rule, JAX cannot differentiate it or the reference,
            the values of the reference differ from those of `fun` by more than rounding, or
            `seconds` is not positive and finite.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import fcjax
    >>> z = jnp.linspace(-3, 3, 1000)
    >>> report = compare_cost(fcjax.gelu, (z,), seconds=0.05)
    >>> report.rule.kept_bytes <= report.autodiff.kept_bytes
    True
    >>> report.agrees
    True
    """
    check_function("fun", fun)
    call_of(fun, args, kwargs)
    _require_positive(seconds)
    point = Point(fun, args, dict(kwargs or {}))
    subject = Subject.of(fun, reference, point)
    point.require_leaves()
    require_matching_reference(subject)
    if not subject.has_oracle:
        raise ValueError("fun has no hand-written rule: there is nothing to compare with autodiff")
    sample = Sample(fun, subject, point, (0,))
    _require_same_values(sample)
    sides = [_Measured(name, side, point) for name, side in _sides(subject)]
    agreement = _agreement(sample, sides)
    times = _in_turns(sides, seconds)
    of_rule, of_plain = (side.cost(own) for side, own in zip(sides, times, strict=True))
    device = jax.devices()[0]
    return CostReport(
        name_of_function(fun),
        point.described(),
        f"{device.platform} ({device.device_kind})",
        of_rule,
        of_plain,
        *_time_ratio(*times),
        *agreement,
    )


def _require_positive(seconds: Any) -> None:
    is_number = isinstance(seconds, int | float | np.number) and not isinstance(seconds, bool)
    if is_number and not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be positive and finite, got {brief(seconds)}")
    if seconds_of(seconds, "seconds") is None:
        raise TypeError("seconds must be a number, got None")


def _time_ratio(
    of_rule: Sequence[float], of_plain: Sequence[float]
) -> tuple[float, tuple[float, float]]:
    """Return the ratio of the median times, and the spread of that of single rounds.

    The spread contains the ratio, which may lie outside of the quartiles on a busy machine.
    """
    ratio = statistics.median(of_rule) / statistics.median(of_plain)
    low, high = _quartiles([one / other for one, other in zip(of_rule, of_plain, strict=True)])
    return ratio, (min(low, ratio), max(high, ratio))


def _require_same_values(sample: Sample) -> None:
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


class _Agreement(NamedTuple):
    """Whether a rule and autodiff agree, as in `CostReport`."""

    agrees: bool | None
    largest_difference: float | None
    disagreement: str


def _agreement(sample: Sample, sides: Sequence["_Measured"]) -> _Agreement:
    """Compare values and gradients of the rule with those of autodiff."""
    try:
        results = [*_comparisons(sample), *_finite(sample, *(side.gradients() for side in sides))]
    except (Refused, Skip):
        return _Agreement(None, None, "")
    worst = max(results, key=_excess, default=None)
    if worst is None or worst.status == "passed":
        return _Agreement(True, max((r.max_abs or 0.0 for r in results), default=0.0), "")
    size = math.inf if worst.max_abs is None else worst.max_abs
    what, other = "gradient with respect to", "autodiff"
    if worst.name == "primal":
        what, other = "value of", "the function"
    elif sample.subject.has_reference:
        other = "the reference"
    by = f"by up to {size:.3g}" if math.isfinite(size) else "where only one of them is finite"
    return _Agreement(False, size, f"The {what} {worst.argument} differs from that of {other} {by}")


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


def _sides(subject: Subject) -> list[tuple[str, Side]]:
    return [("fun", subject.rule), ("the reference", subject.plain)]


class _Measured:
    """One side: its compiled gradient, and the numbers that need no clock."""

    def __init__(self, name: str, side: Side, point: Point):
        self._inputs = point.xs
        try:
            with user_code():
                self._compile(side)
        except Refused as refusal:
            raise ValueError(f"{name} cannot be differentiated: {refusal}") from refusal
        self.timed(1)

    def _compile(self, side: Side) -> None:
        ys = side.value.shapes(Precision.OWN, *self._inputs)[0]
        dys = tuple(jnp.ones(y.shape, y.dtype) for y in ys)

        def gradient(xs: Leaves) -> tuple[Leaves, tuple[Array, ...]]:
            found = pullback_of(side.function)(xs, dys)
            return found.ys, found.dxs

        self._kept = bytes_kept(lambda *xs: side.function(*xs)[0], self._inputs)
        start = time.perf_counter()
        self._compiled = jax.jit(gradient).lower(self._inputs).compile()
        self._compile_seconds = time.perf_counter() - start

    def timed(self, calls: int) -> float:
        """Return the time of a call in seconds, as the mean of several."""
        start = time.perf_counter()
        jax.block_until_ready([self._compiled(self._inputs) for _ in range(calls)][-1])
        return (time.perf_counter() - start) / calls

    def gradients(self) -> Leaves:
        """Return the gradients of the sum of all outputs."""
        return self._compiled(self._inputs)[1]

    def cost(self, times: Sequence[float]) -> Cost:
        """Return all costs, with the times of the rounds."""
        temporary, operations = compiled_cost(self._compiled)
        return Cost(
            self._kept,
            temporary,
            operations,
            self._compile_seconds,
            statistics.median(times),
            _quartiles(times),
        )


def _in_turns(sides: Sequence[_Measured], seconds: float) -> list[list[float]]:
    """Time the sides in turns, and return the times of each."""
    calls = [max(1, int(ROUND / max(side.timed(3), 1e-9))) for side in sides]
    times: list[list[float]] = [[] for _ in sides]
    start = time.perf_counter()
    while len(times[0]) < ROUNDS or time.perf_counter() - start < seconds:
        for own, side, count in zip(times, sides, calls, strict=True):
            own.append(side.timed(count))
    return times


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def _change(one: float, other: float, beside: float = 0.0) -> int:
    """Return -1 if one is less than the other, 1 if it is more, 0 if they are about the same.

    A difference that is small compared with `beside` does not count either.
    """
    if abs(one - other) <= SAME * max(abs(one), abs(other), beside):
        return 0
    return -1 if one < other else 1


def _two(
    one: float | None, other: float | None, written: Callable[[Any], str]
) -> tuple[str, str, str]:
    ours, plain = ("not counted" if value is None else written(value) for value in (one, other))
    return ours, plain, f"{one / other:.2f}" if one is not None and other else ""


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _time(seconds: float) -> str:
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
