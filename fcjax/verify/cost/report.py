"""The costs of a rule and of autodiff, and what they say, as text and as data."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

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
        what = _listed(gains or costs)
        if gains and costs:
            what += f", but {_listed(costs)}"
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


def _listed(parts: Sequence[str]) -> str:
    """Join parts of a sentence: "a", "a and b", "a, b, and c"."""
    return f"{', '.join(parts[:-1])}, and {parts[-1]}" if len(parts) > 2 else " and ".join(parts)


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
