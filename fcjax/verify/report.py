"""What a check found, and how it reads."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

Status = Literal["passed", "failed", "skipped", "expected", "unexpected pass", "noted"]
Verdict = Literal["right", "wrong", "inconclusive"]
Line = tuple[str, str]  # text and style

MARKS = {
    "passed": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "skipped": ("–", "dim"),
    "expected": ("≈", "yellow"),
    "unexpected pass": ("!", "yellow"),
    "noted": ("!", "yellow"),
}
STYLES = {"right": "green", "wrong": "bold red", "inconclusive": "yellow"}
SEVERITY: tuple[Status, ...] = (
    "failed", "noted", "unexpected pass", "expected", "passed", "skipped",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """One check of one argument.

    Attributes:
        name: of the check, one of `fcjax.verify.CHECKS`.
        status: "passed"; "failed"; "skipped", with the reason in `message`; "expected", a failure
            that `expected_failures` names; "unexpected pass", one that it names and that did not
            occur; or "noted", a finding that does not make the rule wrong.
        argument: name and tree path of the argument that the result is about, or None.
        max_abs: largest difference between `got` and `want` anywhere, in units of the gradient.
        max_rel: the same, relative to the largest entry that was wanted.
        index: of the entry with the largest difference.
        got: that entry.
        want: what it should have been.
        tolerance: largest difference that rounding explains.
        hint: likely cause, where the pattern is a known one.
        message: what else there is to say.
        compared: how many entries were compared with finite numbers of an oracle.
        unjudged: how many could not be, because the oracle has no number there.
    """

    name: str
    status: Status
    argument: str | None = None
    max_abs: float | None = None
    max_rel: float | None = None
    index: tuple[int, ...] | None = None
    got: float | None = None
    want: float | None = None
    tolerance: float | None = None
    hint: str | None = None
    message: str | None = None
    compared: int = 0
    unjudged: int = 0

    @property
    def title(self) -> str:
        """The check, and the argument that it is about."""
        return f"{self.name}, {self.argument}" if self.argument else self.name

    def __str__(self) -> str:
        lines = [f"{MARKS[self.status][0]} {self.title}: {self._summary()}"]
        if self.got is not None and self.want is not None and self.status in TOLD_IN_NUMBERS:
            place = f"at {list(self.index)} " if self.index else ""
            got, want = apart(self.got, self.want)
            lines.append(
                f"    {place}got {got}, want {want}; "
                f"off by {self.max_abs:.2g}, rounding explains {self.tolerance:.2g}"
            )
        return "\n".join(lines)

    def _summary(self) -> str:
        said = [text for text in (self.message, self.hint) if text]
        return "; ".join(said) or (
            "wrong, in no known pattern" if self.status == "failed" else self.status
        )


TOLD_IN_NUMBERS: tuple[Status, ...] = ("failed", "expected", "noted")


def apart(one: float, other: float) -> tuple[str, str]:
    """Return two numbers with as many digits as it takes to tell them apart, and six at least."""
    written = ((f"{one:.{digits}g}", f"{other:.{digits}g}") for digits in range(6, 17))
    return next((pair for pair in written if pair[0] != pair[1]), (repr(one), repr(other)))


@dataclasses.dataclass(frozen=True)
class RuleReport:
    """What `check_rule` found about one function at one point.

    Attributes:
        function: name of the function.
        arguments: its arguments, in words.
        results: one `CheckResult` for each check and argument.
        doubts: why the verdict is inconclusive: arguments whose gradient was compared with nothing.
        unchecked: what this report does not cover.
        culprits: where several rules are composed, what is known of the wrong ones.
        call: the Python call that repeats the failed checks.
    """

    function: str
    arguments: str
    results: tuple[CheckResult, ...]
    doubts: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    culprits: tuple[str, ...] = ()
    call: str = ""

    @property
    def verdict(self) -> Verdict:
        """What follows from the results: "wrong" after a failure, "inconclusive" where in doubt."""
        if self.failures:
            return "wrong"
        return "inconclusive" if self.doubts else "right"

    @property
    def ok(self) -> bool:
        """Whether the verdict is "right"."""
        return self.verdict == "right"

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The failures that were not expected, in the order of the checks."""
        return self._with_status("failed")

    @property
    def findings(self) -> tuple[CheckResult, ...]:
        """What was found and does not make the rule wrong."""
        return self._with_status("noted")

    def _with_status(self, *statuses: Status) -> tuple[CheckResult, ...]:
        return tuple(result for result in self.results if result.status in statuses)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data that `json.dump` takes.

        NaN and infinities become strings, which JSON has no numbers for.
        """
        return {
            "function": self.function,
            "arguments": self.arguments,
            "verdict": self.verdict,
            "ok": self.ok,
            "doubts": list(self.doubts),
            "results": [
                {name: _plain(value) for name, value in dataclasses.asdict(result).items()}
                for result in self.results
            ],
            "unchecked": list(self.unchecked),
            "culprits": list(self.culprits),
            "call": self.call,
        }

    def __str__(self) -> str:
        return "\n".join(text for text, _ in self._lines())

    __repr__ = __str__

    def __rich__(self) -> Any:
        """Render in colours on a terminal that `rich` prints to."""
        return styled(self._lines())

    def _lines(self) -> Iterator[Line]:
        """Yield what failed first, then a row for each check, the call, and what is not covered."""
        yield self._headline(), STYLES[self.verdict]
        if self.verdict == "inconclusive":
            yield from ((f"? {doubt}", "yellow") for doubt in self.doubts)
        for status in ("failed", "noted", "expected", "unexpected pass"):
            told = self._told(self._with_status(status))
            yield from ((text, MARKS[status][1]) for text in told)
        yield from ((culprit, "bold red") for culprit in self.culprits)
        yield "", ""
        yield from self._table()
        yield from ((str(result), "dim") for result in self._with_status("skipped"))
        if self.call:
            yield from (("", ""), ("Repeat it:", ""), (self.call, ""))
        others = [text for text in self.unchecked if text not in self.doubts]
        if others:
            yield from (("", ""), ("Not covered:", "dim"))
            yield from ((f"  {text}", "dim") for text in others)

    def _headline(self) -> str:
        done = [result for result in self.results if result.status != "skipped"]
        skipped = len(self.results) - len(done)
        verdict = {
            "wrong": f"{len(self.failures)} of {len(done)} results are wrong",
            "right": f"all {len(done)} results are right",
            "inconclusive": f"inconclusive, though none of {len(done)} results is wrong",
        }[self.verdict]
        return f"{self.function}({self.arguments}): {verdict}, {skipped} skipped"

    def _told(self, results: Sequence[CheckResult]) -> Iterator[str]:
        """Yield the first result of each argument in full; what else says the same, by name."""
        by_argument: dict[str | None, list[CheckResult]] = {}
        for result in results:
            by_argument.setdefault(result.argument, []).append(result)
        for first, *others in by_argument.values():
            yield str(first)
            names = dict.fromkeys(r.name for r in others if r.name != first.name and not r.hint)
            if names:
                yield f"    {', '.join(names)} report{'s' if len(names) == 1 else ''} the same"
            yield from (str(r) for r in others if r.hint and r.hint != first.hint)

    def _table(self) -> Iterator[Line]:
        names = dict.fromkeys(result.name for result in self.results)
        by_name = {n: [r for r in self.results if r.name == n] for n in names}
        ran = {n: [r for r in rs if r.status != "skipped"] for n, rs in by_name.items()}
        ran = {name: results for name, results in ran.items() if results}
        rows = [("", "check", "of", "largest error", "allowed")]
        rows += [_row(name, results) for name, results in ran.items()]
        styles = ["bold", *(_worst(results)[1] for results in ran.values())]
        yield from zip(aligned(rows, right=(3, 4)), styles, strict=True)


def styled(lines: Iterable[Line]) -> Any:
    """Return lines as one text in colours; for `__rich__`, which only rich itself calls."""
    from rich.text import Text  # whoever prints with rich has it, and nobody else needs it

    return Text("\n").join(Text(text, style) for text, style in lines)


def aligned(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Return rows of a table as lines, columns two spaces apart, some flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [
        [text.rjust(w) if i in right else text.ljust(w) for i, (text, w) in enumerate(pairs)]
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return ["  ".join(row).rstrip() for row in cells]


def _worst(results: Sequence[CheckResult]) -> tuple[str, str]:
    status = next((s for s in SEVERITY if any(r.status == s for r in results)), "passed")
    mark, style = MARKS[status]
    return mark, "" if status == "passed" else style


def _row(name: str, results: Sequence[CheckResult]) -> tuple[str, ...]:
    """Return one line for all results of a check: what failed, and the error nearest the limit."""
    telling = [r for r in results if r.status != "passed"] or results
    arguments = dict.fromkeys(r.argument for r in telling if r.argument)
    measured = [r for r in telling if r.max_abs is not None]
    near = max(measured, key=lambda r: (r.max_abs or 0) / (r.tolerance or 1e-300), default=None)
    figures = (_figure(near.max_abs), _figure(near.tolerance)) if near else ("", "")
    return _worst(results)[0], name, ", ".join(arguments), *figures


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
        return str(value)
    return value
