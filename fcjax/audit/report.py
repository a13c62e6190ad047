"""What an audit found: as text, as JSON and as JUnit XML."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

Verdict = Literal["right", "wrong", "wrong on purpose", "inconclusive", "never called"]
# From the one that matters most.
VERDICTS: tuple[Verdict, ...] = (
    "wrong", "wrong on purpose", "inconclusive", "right", "never called",
)  # fmt: skip
MARKS = {
    "right": "✓", "wrong": "✗", "wrong on purpose": "≈", "inconclusive": "?", "never called": "–",
}  # fmt: skip
# Failures of one rule that are printed in full.
SHOWN = 2
CALLBACKS = (
    "the program raised an error about host callbacks, which the audit adds: try --no-callbacks "
    "(of pytest by itself: --audit-no-callbacks)"
)
NOT_HEARD = "in this process; the audit does not hear child processes"


def blames_callbacks(message: str) -> bool:
    """Whether an error of JAX may come from the callbacks of the audit."""
    return "host_callback" in message or "host callback" in message.lower()


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that an audit says of a rule.

    Attributes:
        severity: "wrong", "note" or "inconclusive".
        form: the arguments at which it was found.
        text: what was found.
        call: the Python call that repeats it, if there is one.
    """

    severity: str
    form: str
    text: str
    call: str = ""


@dataclasses.dataclass(frozen=True)
class Rule:
    """A hand-written rule, and what became of it.

    Attributes:
        name: the name of the function.
        source: file and line of its backward or jvp function.
        module: the module of that function.
        is_jaxs_own: whether it belongs to JAX.
        verdict: "wrong" if it is at one of its calls or near one, "right" if it is at one and
            wrong at none, "wrong on purpose" if the caller has said so, "inconclusive" if no call
            could be checked, or "never called". Of several functions, the worst verdict.
        calls: how often it was called.
        forms: the arguments of the calls that were checked.
        left_out: how many calls had forms that were not checked, or were of functions that were
            not.
        functions: how many functions of this rule were called; a factory or a class makes many,
            which differ in what they close over.
        unchecked: how many of them were not checked.
        is_cut: whether the time was over before all calls that were kept were checked.
        findings: what was found.
        seconds: how long it took to check.
    """

    name: str
    source: str
    module: str
    is_jaxs_own: bool
    verdict: Verdict
    calls: int = 0
    forms: tuple[str, ...] = ()
    left_out: int = 0
    functions: int = 0
    unchecked: int = 0
    is_cut: bool = False
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0

    @property
    def origin(self) -> tuple[str, str]:
        """What identifies a rule."""
        return self.name, self.source

    def fits(self, name: str) -> bool:
        """Whether this is a rule of a name, or of `FILE:LINE`, `FILE:NAME` or `MODULE:NAME`.

        The line is that of `source`, and the file may have any of its folders before it.
        """
        where, _, last = name.rpartition(":")
        if not where:
            return last == self.name
        file, _, line = self.source.rpartition(":")
        is_in = last == self.name and where == self.module
        return is_in or (last in (self.name, line) and f"/{file}".endswith(f"/{where}"))

    def merged(self, other: "Rule") -> "Rule":
        """Return what two processes say of one rule."""
        return dataclasses.replace(
            self,
            verdict=min(self.verdict, other.verdict, key=VERDICTS.index),
            calls=self.calls + other.calls,
            forms=tuple(dict.fromkeys((*self.forms, *other.forms))),
            left_out=self.left_out + other.left_out,
            functions=self.functions + other.functions,
            unchecked=self.unchecked + other.unchecked,
            is_cut=self.is_cut or other.is_cut,
            findings=tuple(dict.fromkeys((*self.findings, *other.findings))),
            seconds=self.seconds + other.seconds,
        )


@dataclasses.dataclass(frozen=True)
class Audit:
    """The rules that a program called or defined.

    Attributes:
        rules: the rules, with the verdict on each.
        expected: the rules that were said to be wrong on purpose, each as `Rule.fits` takes it.
        hints: what the caller may try.
    """

    rules: tuple[Rule, ...]
    expected: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no rule is wrong."""
        return not any(rule.verdict == "wrong" for rule in self.rules)

    @property
    def status(self) -> int:
        """1 if a rule is wrong, else 2 if the time was over before all were checked, else 0."""
        return 1 if not self.ok else 2 if any(rule.is_cut for rule in self.rules) else 0

    @property
    def unmet(self) -> list[str]:
        """Return the expected names that excuse no rule."""
        met = [rule for rule in self.rules if rule.verdict == "wrong on purpose"]
        return [name for name in self.expected if not any(rule.fits(name) for rule in met)]

    @classmethod
    def of(cls, rules: Iterable[Rule], expected: Iterable[str] = ()) -> "Audit":
        """Return an audit; what several processes say of one rule is merged."""
        merged: dict[tuple[str, str], Rule] = {}
        for rule in rules:
            known = merged.get(rule.origin)
            merged[rule.origin] = rule if known is None else known.merged(rule)
        names = tuple(dict.fromkeys(expected))
        order = sorted(
            _excused(tuple(merged.values()), names),
            key=lambda rule: (VERDICTS.index(rule.verdict), rule.is_jaxs_own, rule.module),
        )
        return cls(tuple(order), names)

    def with_hint(self, hint: str) -> "Audit":
        """Return the audit with a hint."""
        return dataclasses.replace(self, hints=(*self.hints, hint))

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as plain data for `json.dump`."""
        rules = [dataclasses.asdict(rule) for rule in self.rules]
        said = {"ok": self.ok, "status": self.status, "unmet": self.unmet, "hints": self.hints}
        return {**said, "rules": rules}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Audit":
        """Return the audit that `to_dict` made plain."""
        return cls(tuple(_rule_from(entry) for entry in data["rules"]))

    def write(self, json_file: Path | None = None, junit_file: Path | None = None) -> None:
        """Write the audit as JSON, and as JUnit XML, where a file is named."""
        if json_file is not None:
            json_file.write_text(json.dumps(self.to_dict(), indent=1))
        if junit_file is not None:
            ElementTree.ElementTree(self._junit()).write(junit_file, "utf-8", xml_declaration=True)

    def _junit(self) -> ElementTree.Element:
        count = Counter(rule.verdict for rule in self.rules)
        skipped = count["inconclusive"] + count["never called"]
        suite = ElementTree.Element(
            "testsuite", name="fcjax audit", tests=str(len(self.rules)), errors="0",
            failures=str(count["wrong"]), skipped=str(skipped),
        )  # fmt: skip
        for rule in self.rules:
            case = ElementTree.SubElement(
                suite, "testcase", classname=rule.module, name=rule.name, time=f"{rule.seconds:.3f}"
            )
            text = "\n".join(_lines_of(rule))
            if rule.verdict == "wrong":
                ElementTree.SubElement(case, "failure", message="wrong").text = text
            elif rule.verdict in ("inconclusive", "never called"):
                ElementTree.SubElement(case, "skipped", message=rule.verdict).text = text
        return suite

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Return the audit as lines of text."""
        if not self.rules:
            return [f"no hand-written rule was called or defined {NOT_HEARD}", *self._last()]
        called = [rule for rule in self.rules if rule.verdict != "never called"]
        unused = [rule for rule in self.rules if rule.verdict == "never called"]
        lines = [line for rule in called for line in _lines_of(rule)]
        if unused:
            lines.append(f"defined and never called, {len(unused)}:")
            lines += [f"  {rule.name}  {rule.source}" for rule in unused]
        if not called:
            return [*lines, f"0 rules were called {NOT_HEARD}", *self._last()]
        count = Counter(rule.verdict for rule in called)
        said = [f"{count[verdict]} {verdict}" for verdict in VERDICTS if count[verdict]]
        lines.append(f"{_number(len(called), 'rule')} called: {', '.join(said)}")
        return lines + self._last()

    def _last(self) -> list[str]:
        return [*self._of_time(), *map(self._of_unmet, self.unmet), *self.hints]

    def _of_time(self) -> list[str]:
        cut = sum(rule.is_cut for rule in self.rules)
        if not cut:
            return []
        before = f"{_number(cut, 'rule')} checked completely"
        return [f"the time was over before {before}; raise the time limit to check the rest"]

    def _of_unmet(self, name: str) -> str:
        """Return why an expected name excuses no rule."""
        fit = [rule for rule in self.rules if rule.calls and rule.fits(name)]
        wrong = [rule for rule in fit if rule.verdict == "wrong"]
        if wrong:
            names = ", ".join(_qualified(rule, wrong) for rule in wrong)
            return f"expected: {name} fits {len(wrong)} wrong rules and excuses none; name {names}"
        if fit:
            return f"expected: {name} is not wrong, but {fit[0].verdict}"
        return f"expected: no rule with the name {name!r} was called"


def _excused(rules: Sequence[Rule], expected: Sequence[str]) -> list[Rule]:
    """Return the rules; those are wrong on purpose that are the only wrong one of a name."""
    wrong = [rule for rule in rules if rule.verdict == "wrong"]
    fits = [[rule.origin for rule in wrong if rule.fits(name)] for name in expected]
    excused = {origins[0] for origins in fits if len(origins) == 1}
    return [
        dataclasses.replace(rule, verdict="wrong on purpose") if rule.origin in excused else rule
        for rule in rules
    ]


def _qualified(rule: Rule, others: Sequence[Rule]) -> str:
    """Return the shortest `FILE:LINE` that tells a rule from others."""
    parts = rule.source.split("/")
    names = ("/".join(parts[-n:]) for n in range(1, len(parts)))
    return next((n for n in names if sum(rule.fits(n) for rule in others) == 1), rule.source)


def _number(count: int, what: str) -> str:
    return f"1 {what} was" if count == 1 else f"{count} {what}s were"


def _lines_of(rule: Rule) -> list[str]:
    owner = ", JAX's own" if rule.is_jaxs_own else ""
    calls = "once" if rule.calls == 1 else f"{rule.calls} times"
    if rule.left_out and rule.forms:
        calls += f", {rule.left_out} of them in other forms than those checked"
    lines = [f"{MARKS[rule.verdict]} {rule.name} ({rule.source}{owner}), traced {calls}"]
    if rule.unchecked and rule.functions > 1:
        were = "was" if rule.unchecked == 1 else "were"
        said = f"{rule.unchecked} of {rule.functions} functions of this rule {were} not checked"
        lines[0] += f"; {said}"
    return lines if rule.verdict == "wrong on purpose" else lines + _lines_about(rule.findings)


def _lines_about(findings: Sequence[Finding]) -> list[str]:
    """Return the first failures (or else the first other findings), and how to repeat one."""
    failures = [finding for finding in findings if finding.severity == "wrong"]
    others = [finding for finding in findings if finding.severity != "wrong"]
    shown = (failures or others)[:SHOWN]
    lines: list[str] = []
    for finding in shown:
        lines += [f"    {finding.severity}, {finding.form}:"]
        lines += [f"      {line}" for line in finding.text.splitlines()]
    lines += _more(failures, shown, "failure") + _more(others, shown, "finding")
    call = next((finding.call for finding in shown if finding.call), "")
    return lines + [f"      {line}" for line in call.splitlines()]


def _more(findings: Sequence[Finding], shown: Sequence[Finding], what: str) -> list[str]:
    """Return a line with the number of findings that are not shown."""
    count = sum(finding not in shown for finding in findings)
    return [f"    and {count} more {what}{'s' if count > 1 else ''}"] if count else []


def _rule_from(data: dict[str, Any]) -> Rule:
    lists: dict[str, Any] = {
        "forms": tuple(data["forms"]),
        "findings": tuple(Finding(**finding) for finding in data["findings"]),
    }
    return Rule(**{**data, **lists})
