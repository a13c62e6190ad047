"""What a check found, and how it reads."""

import dataclasses
import io
from collections.abc import Iterator
from typing import Any, Literal

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

Status = Literal["passed", "failed", "skipped", "declared", "not needed"]

MARKS = {
    "passed": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "skipped": ("–", "dim"),
    "declared": ("≈", "yellow"),
    "not needed": ("!", "yellow"),
}
SEVERITY: tuple[Status, ...] = ("failed", "not needed", "declared", "passed", "skipped")


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """One check of one argument.

    Attributes:
        name: of the check, one of `fcjax.verify.CHECKS`.
        status: "passed", "failed", "skipped" (with the reason in `message`), "declared" (failed,
            as `expected_failures` says) or "not needed" (declared to fail, and passed).
        argument: name and tree path of the argument that the result is about, or None.
        max_abs: largest difference between `got` and `want` anywhere, in units of the gradient.
        max_rel: the same, relative to the largest entry that was wanted.
        index: of the entry with the largest difference.
        got: that entry.
        want: what it should have been.
        tolerance: largest difference that rounding explains.
        hint: likely cause, where the pattern is a known one.
        message: what else there is to say.
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

    @property
    def title(self) -> str:
        """The check, and the argument that it is about."""
        return f"{self.name}, {self.argument}" if self.argument else self.name

    def __str__(self) -> str:
        lines = [f"{MARKS[self.status][0]} {self.title}: {self._summary()}"]
        if self.got is not None and self.status in ("failed", "declared"):
            place = f"at {list(self.index)} " if self.index else ""
            lines.append(
                f"    {place}got {self.got:.6g}, want {self.want:.6g}; "
                f"off by {self.max_abs:.2g}, rounding explains {self.tolerance:.2g}"
            )
        return "\n".join(lines)

    def _summary(self) -> str:
        said = [text for text in (self.message, self.hint) if text]
        return "; ".join(said) or (
            "wrong, in no known pattern" if self.status == "failed" else self.status
        )


@dataclasses.dataclass(frozen=True)
class RuleReport:
    """What `check_rule` found about one function at one point.

    Attributes:
        function: name of the function.
        arguments: its arguments, in words.
        results: one `CheckResult` for each check and argument.
        culprits: where several rules are composed, what is known of the wrong ones.
        call: the Python call that repeats the failed checks.
    """

    function: str
    arguments: str
    results: tuple[CheckResult, ...]
    culprits: tuple[str, ...] = ()
    call: str = ""

    @property
    def ok(self) -> bool:
        """Whether no check failed that was not declared to."""
        return not self.failures

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The undeclared failures, in the order of the checks."""
        return self._with_status("failed")

    def _with_status(self, *statuses: Status) -> tuple[CheckResult, ...]:
        return tuple(result for result in self.results if result.status in statuses)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data that `json.dump` takes.

        NaN and infinities become strings, which JSON has no numbers for.
        """
        return {
            "function": self.function,
            "arguments": self.arguments,
            "ok": self.ok,
            "results": [
                {name: _plain(value) for name, value in dataclasses.asdict(result).items()}
                for result in self.results
            ],
            "culprits": list(self.culprits),
            "call": self.call,
        }

    def __str__(self) -> str:
        buffer = io.StringIO()
        console = Console(
            file=buffer, width=100, soft_wrap=True, highlight=False, color_system=None
        )
        console.print(self)
        return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())

    __repr__ = __str__

    def __rich__(self) -> RenderableType:
        """Render for a terminal: what failed first, then a row for each check, then the call."""
        parts: list[RenderableType] = [Text(self._headline(), "green" if self.ok else "bold red")]
        parts += [Text(text, "bold red") for text in self._told(self.failures)]
        for status in ("declared", "not needed"):
            parts += [
                Text(text, MARKS[status][1]) for text in self._told(self._with_status(status))
            ]
        parts += [Text(culprit, "bold red") for culprit in self.culprits]
        parts += [Text(), self._table()]
        parts += [Text(str(result), "dim") for result in self._with_status("skipped")]
        if not self.ok:
            parts += [Text(), Text("Repeat it:"), Text(self.call)]
        return Group(*parts)

    def _headline(self) -> str:
        done = [result for result in self.results if result.status != "skipped"]
        skipped = len(self.results) - len(done)
        failed = f"{len(self.failures)} of {len(done)} results are wrong"
        verdict = failed if self.failures else f"all {len(done)} results are right"
        return f"{self.function}({self.arguments}): {verdict}, {skipped} skipped"

    def _told(self, results: tuple[CheckResult, ...]) -> Iterator[str]:
        """Tell the first result of each argument in full; what else says the same, by name."""
        by_argument: dict[str | None, list[CheckResult]] = {}
        for result in results:
            by_argument.setdefault(result.argument, []).append(result)
        for first, *others in by_argument.values():
            yield str(first)
            names = dict.fromkeys(r.name for r in others if r.name != first.name and not r.hint)
            if names:
                yield f"    as {', '.join(names)} say{'s' if len(names) == 1 else ''} too"
            yield from (str(r) for r in others if r.hint and r.hint != first.hint)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for column in ("", "check", "of"):
            table.add_column(column)
        for column in ("largest error", "allowed"):
            table.add_column(column, justify="right")
        for name in dict.fromkeys(result.name for result in self.results):
            ran = [r for r in self.results if r.name == name and r.status != "skipped"]
            if ran:
                table.add_row(*_row(name, ran), style=_worst(ran)[1])
        return table


def _worst(results: list[CheckResult]) -> tuple[str, str]:
    status = next((s for s in SEVERITY if any(r.status == s for r in results)), "passed")
    mark, style = MARKS[status]
    return mark, "" if status == "passed" else style


def _row(name: str, results: list[CheckResult]) -> tuple[str, ...]:
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
