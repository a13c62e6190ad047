"""What a hand-written rule saves against autodiff of the same function, and what it costs."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .._arguments import check_function
from .._jax import bytes_kept, compiled_cost
from .._types import Function, Tree
from .arguments import call_of, require_matching_reference, seconds_of
from .point import Leaves, Point
from .precision import Precision
from .program import Refused, user_code
from .repro import name_of_function
from .subject import Side, Subject, pullback_of

# One round of the clock takes at least this long, in seconds, so that a call of some microseconds
# is measured; and there are so many rounds at least.
ROUND = 2e-3
ROUNDS = 9
# A time that differs by less than this is the same, and so is a size.
SAME = 0.05


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one call of a function with its gradient.

    Attributes:
        kept_bytes: bytes kept between the forward and the backward pass, without the arguments,
            which are there anyway.
        temporary_bytes: bytes of the temporary arrays of the compiled gradient, by XLA.
        operations: floating-point operations of the compiled gradient, by XLA.
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
        time_ratio: the median over all rounds of the time of the rule, divided by that of autodiff.
        time_spread: the quartiles of this ratio.
    """

    function: str
    arguments: str
    device: str
    rule: Cost
    autodiff: Cost
    time_ratio: float
    time_spread: tuple[float, float]

    @property
    def verdict(self) -> str:
        """One line: whether the rule is worth having, and what it costs."""
        low, high = self.time_spread
        gains, costs = [], []
        percent = f"{self.time_ratio:.0%} of the time ({low:.0%} to {high:.0%})"
        if high < 1 - SAME:
            gains.append(f"takes {percent}")
        elif low > 1 + SAME:
            costs.append(f"takes {percent}")
        kept = _change(self.rule.kept_bytes, self.autodiff.kept_bytes)
        if kept:
            what = f"keeps {_size(self.rule.kept_bytes)} for {_size(self.autodiff.kept_bytes)}"
            (gains if kept < 0 else costs).append(what)
        if gains and costs:
            return f"The rule {' and '.join(gains)}, but {' and '.join(costs)}."
        if gains:
            return f"The rule is worth having: it {' and '.join(gains)}."
        if costs:
            return f"The rule is not worth having: it {' and '.join(costs)}."
        return "The rule saves neither time nor memory: it is worth having for its numbers alone."

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data for `json.dump`."""
        return dataclasses.asdict(self) | {"verdict": self.verdict}

    def __str__(self) -> str:
        rows = [("", "the rule", "autodiff", ""), *self._rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            f"{name:<{widths[0]}}  {rule:>{widths[1]}}  {plain:>{widths[2]}}  {ratio}".rstrip()
            for name, rule, plain, ratio in rows
        ]
        head = f"{self.function}({self.arguments}) on {self.device}"
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
    """Compare the gradient of `fun` by its hand-written rules with that by autodiff.

    Both are compiled, and called in turns on the default device: a value with its gradients with
    respect to all floating-point arguments.

    Args:
        fun: the function, as in `check_rule`.
        args: its positional arguments, as in `check_rule`.
        reference: a function with the arguments of `fun` that autodiff differentiates; by default
            `fun` without its hand-written rules.
        kwargs: keyword arguments of `fun`.
        seconds: how long calls are timed, at least 9 rounds.

    Returns:
        A `CostReport`: `print(report)` shows a table, `report.verdict` says in one line whether the
        rule is worth having, and `report.to_dict()` is plain data.

    Raises:
        TypeError: as `check_rule`.
        ValueError: `fun` has no hand-written rule, JAX cannot differentiate it or the reference,
            or `seconds` is not positive.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import fcjax
    >>> z = jnp.linspace(-3, 3, 1000)
    >>> report = compare_cost(fcjax.gelu, (z,), seconds=0.05)
    >>> report.rule.kept_bytes <= report.autodiff.kept_bytes
    True
    """
    check_function("fun", fun)
    call_of(fun, args, kwargs)
    is_time = seconds_of(seconds, "seconds")
    if not is_time:
        raise ValueError(f"seconds must be positive and finite, got {seconds}")
    point = Point(fun, args, dict(kwargs or {}))
    subject = Subject.of(fun, reference, point)
    point.require_leaves()
    require_matching_reference(subject)
    if not subject.has_oracle:
        raise ValueError("fun has no hand-written rule: there is nothing to compare with autodiff")
    sides = [_Measured(name, side, point) for name, side in _sides(subject)]
    of_rule, of_plain = _in_turns(sides, seconds)
    ratios = [one / other for one, other in zip(of_rule, of_plain, strict=True)]
    device = jax.devices()[0]
    return CostReport(
        name_of_function(fun),
        point.described(),
        f"{device.platform} ({device.device_kind})",
        sides[0].cost(of_rule),
        sides[1].cost(of_plain),
        statistics.median(ratios),
        _quartiles(ratios),
    )


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


def _change(one: float, other: float) -> int:
    """Return -1 if one is less than the other, 1 if it is more, 0 if they are about the same."""
    if abs(one - other) <= SAME * max(abs(one), abs(other)):
        return 0
    return -1 if one < other else 1


def _two(
    one: float | None, other: float | None, written: Callable[[Any], str]
) -> tuple[str, str, str]:
    ours, plain = ("unknown" if value is None else written(value) for value in (one, other))
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
