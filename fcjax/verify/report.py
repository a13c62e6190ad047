"""The results of the checks, and how they are printed."""

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
    """The result of one check for one argument.

    Attributes:
        name: the name of the check, one of `fcjax.verify.CHECKS`.
        status: "passed"; "failed"; "skipped", with the reason in `message`; "expected", a failure
            that `expected_failures` names; "unexpected pass", a failure that it names and that did
            not occur; or "noted", a finding that does not make the rule wrong.
        argument: name and tree path of the argument, or None.
        max_abs: the largest absolute difference from the oracle over all entries.
        max_rel: `max_abs` relative to the largest entry of the oracle.
        index: the index of the entry with the largest difference.
        got: the value of that entry.
        want: the value that the oracle has there.
        tolerance: the largest difference that passes.
        hint: the likely cause, if the pattern is a known one.
        message: further explanation.
        compared: how many entries were compared with finite numbers of an oracle.
        unjudged: how many entries were not, because the oracle has no number there.
        args: the arguments that show it, if they are others than those given.
        call: the Python call that repeats it there.
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
    args: tuple[Any, ...] | None = dataclasses.field(default=None, compare=False)
    call: str = ""

    @property
    def severity(self) -> Literal["wrong", "note"] | None:
        """Return "wrong" if the rule is, "note" if it is only worth knowing, else None."""
        return "wrong" if self.status == "failed" else "note" if self.status == "noted" else None

    @property
    def title(self) -> str:
        """The name of the check and of the argument."""
        return f"{self.name}, {self.argument}" if self.argument else self.name

    def __str__(self) -> str:
        lines = [f"{MARKS[self.status][0]} {self.title}: {self._summary()}"]
        if self.got is not None and self.want is not None and self.status in SHOWN_WITH_NUMBERS:
            place = f"at {list(self.index)} " if self.index else ""
            got, want = _distinct_digits(self.got, self.want)
            lines.append(
                f"    {place}got {got}, want {want}; "
                f"off by {self.max_abs:.2g}, tolerance {self.tolerance:.2g}"
            )
        return "\n".join(lines)

    def _summary(self) -> str:
        texts = [text for text in (self.message, self.hint) if text]
        return "; ".join(texts) or (
            "wrong, with no known pattern" if self.status == "failed" else self.status
        )


SHOWN_WITH_NUMBERS: tuple[Status, ...] = ("failed", "expected", "noted")


def _distinct_digits(one: float, other: float) -> tuple[str, str]:
    """Return two numbers with as many digits as distinguish them, and at least six."""
    written = ((f"{one:.{digits}g}", f"{other:.{digits}g}") for digits in range(6, 17))
    return next((pair for pair in written if pair[0] != pair[1]), (repr(one), repr(other)))


@dataclasses.dataclass(frozen=True)
class RuleReport:
    """The results of `check_rule` for one function at one point.

    Attributes:
        function: the name of the function.
        arguments: the names, dtypes and shapes of its arguments.
        results: the `CheckResult` of each check and argument.
        doubts: why the verdict is inconclusive: gradients that were not compared with an oracle.
        unchecked: what this report does not cover.
        culprits: for each rule in the function that is wrong by itself, its name and source.
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
        """The verdict: "wrong" if a check failed, "inconclusive" if there are doubts."""
        if self.failures:
            return "wrong"
        return "inconclusive" if self.doubts else "right"

    @property
    def ok(self) -> bool:
        """Whether the verdict is "right"."""
        return self.verdict == "right"

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The unexpected failures, in the order of the checks."""
        return self._with_status("failed")

    @property
    def findings(self) -> tuple[CheckResult, ...]:
        """What the search found, and failures that do not make the rule wrong, by `severity`."""
        return tuple(
            result
            for result in self.results
            if result.status == "noted" or (result.status == "failed" and result.name == "search")
        )

    def _with_status(self, *statuses: Status) -> tuple[CheckResult, ...]:
        return tuple(result for result in self.results if result.status in statuses)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data for `json.dump`.

        NaN and infinities become strings, because JSON has no such numbers.
        """
        return {
            "function": self.function,
            "arguments": self.arguments,
            "verdict": self.verdict,
            "ok": self.ok,
            "doubts": list(self.doubts),
            "results": [
                {
                    field.name: _plain(getattr(result, field.name))
                    for field in dataclasses.fields(result)
                    if field.name != "args"  # arrays; `call` has them as text
                }
                | {"severity": result.severity}
                for result in self.results
            ],
            "unchecked": list(self.unchecked),
            "culprits": list(self.culprits),
            "call": self.call,
        }

    def __str__(self) -> str:
        return "\n".join(text for text, _ in self._lines())

    __repr__ = __str__

    def __rich__(self) -> object:
        """Render in colours on a terminal that `rich` prints to."""
        return styled(self._lines())

    def _lines(self) -> Iterator[Line]:
        """Yield the failures, a row for each check, the call, and what is not covered."""
        yield self._headline(), STYLES[self.verdict]
        if self.verdict == "inconclusive":
            yield from ((f"? {doubt}", "yellow") for doubt in self.doubts)
        for status in ("failed", "noted", "expected", "unexpected pass"):
            texts = self._by_argument(self._with_status(status))
            yield from ((text, MARKS[status][1]) for text in texts)
        yield from ((culprit, "bold red") for culprit in self.culprits)
        yield "", ""
        yield from self._table()
        yield from ((str(result), "dim") for result in self._with_status("skipped"))
        for result in self.findings:
            if result.call:
                yield from (("", ""), (f"To repeat {result.title}:", ""), (result.call, ""))
        if self.call:
            yield from (("", ""), ("To repeat the failed checks:", ""), (self.call, ""))
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
            "inconclusive": f"inconclusive, with no failure in {len(done)} results",
        }[self.verdict]
        return f"{self.function}({self.arguments}): {verdict}, {skipped} skipped"

    def _by_argument(self, results: Sequence[CheckResult]) -> Iterator[str]:
        """Yield the first result of each argument in full, then the names of the others."""
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
        rows: list[tuple[str, ...]] = [("", "check", "argument", "largest error", "tolerance")]
        rows += [_row(name, results) for name, results in ran.items()]
        styles = ["bold", *(_worst(results)[1] for results in ran.values())]
        yield from zip(aligned(rows, right=(3, 4)), styles, strict=True)


def styled(lines: Iterable[Line]) -> object:
    """Return lines as one coloured text, for `__rich__`, which only rich calls."""
    from rich.text import Text  # optional: only a caller that prints with rich needs it

    return Text("\n").join(Text(text, style) for text, style in lines)


def aligned(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Return the rows of a table as lines; the columns in `right` are right-aligned."""
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
    """Return one row for all results of a check, with the error nearest to its tolerance."""
    relevant = [r for r in results if r.status != "passed"] or results
    arguments = dict.fromkeys(r.argument for r in relevant if r.argument)
    measured = [r for r in relevant if r.max_abs is not None]
    closest = max(measured, key=lambda r: (r.max_abs or 0) / (r.tolerance or 1e-300), default=None)
    figures = (_figure(closest.max_abs), _figure(closest.tolerance)) if closest else ("", "")
    return _worst(results)[0], name, ", ".join(arguments), *figures


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
        return str(value)
    return value
