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
            could be checked, or "never called".
        calls: how often it was called.
        forms: the arguments of the calls that were checked.
        left_out: how many calls had forms that were not kept.
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
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0

    @property
    def origin(self) -> tuple[str, str]:
        """What identifies a rule."""
        return self.name, self.source

    def merged(self, other: "Rule") -> "Rule":
        """Return what two processes say of one rule."""
        return dataclasses.replace(
            self,
            verdict=min(self.verdict, other.verdict, key=VERDICTS.index),
            calls=self.calls + other.calls,
            forms=tuple(dict.fromkeys((*self.forms, *other.forms))),
            left_out=self.left_out + other.left_out,
            findings=tuple(dict.fromkeys((*self.findings, *other.findings))),
            seconds=self.seconds + other.seconds,
        )


@dataclasses.dataclass(frozen=True)
class Audit:
    """The rules that a program called or defined.

    Attributes:
        rules: the rules, with the verdict on each.
        expected: names of rules that were said to be wrong on purpose.
    """

    rules: tuple[Rule, ...]
    expected: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no rule is wrong."""
        return not any(rule.verdict == "wrong" for rule in self.rules)

    @property
    def unmet(self) -> list[str]:
        """Return the names of expected rules that are not among those that are wrong."""
        met = {rule.name for rule in self.rules if rule.verdict == "wrong on purpose"}
        return [name for name in self.expected if name not in met]

    @classmethod
    def of(cls, rules: Iterable[Rule], expected: Iterable[str] = ()) -> "Audit":
        """Return an audit; what several processes say of one rule is merged."""
        merged: dict[tuple[str, str], Rule] = {}
        for rule in rules:
            known = merged.get(rule.origin)
            merged[rule.origin] = rule if known is None else known.merged(rule)
        order = sorted(
            merged.values(),
            key=lambda rule: (VERDICTS.index(rule.verdict), rule.is_jaxs_own, rule.module),
        )
        return cls(tuple(order), tuple(dict.fromkeys(expected)))

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as plain data for `json.dump`."""
        rules = [dataclasses.asdict(rule) for rule in self.rules]
        return {"ok": self.ok, "unmet": self.unmet, "rules": rules}

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
            return ["no hand-written rule was called or defined", *self._of_unmet()]
        called = [rule for rule in self.rules if rule.verdict != "never called"]
        unused = [rule for rule in self.rules if rule.verdict == "never called"]
        lines = [line for rule in called for line in _lines_of(rule)]
        if unused:
            lines.append(f"defined and never called, {len(unused)}:")
            lines += [f"  {rule.name}  {rule.source}" for rule in unused]
        count = Counter(rule.verdict for rule in called)
        said = [f"{count[verdict]} {verdict}" for verdict in VERDICTS if count[verdict]]
        rules = "1 rule was" if len(called) == 1 else f"{len(called)} rules were"
        lines.append(f"{rules} called: {', '.join(said) or 'none'}")
        return lines + self._of_unmet()

    def _of_unmet(self) -> list[str]:
        called = {rule.name: rule for rule in self.rules if rule.calls}
        return [
            f"expected: {name} is not wrong, but {called[name].verdict}"
            if name in called
            else f"expected: no rule with the name {name!r} was called"
            for name in self.unmet
        ]


def _lines_of(rule: Rule) -> Sequence[str]:
    owner = ", JAX's own" if rule.is_jaxs_own else ""
    calls = "once" if rule.calls == 1 else f"{rule.calls} times"
    if rule.left_out:
        calls += f", {rule.left_out} of them in other forms than those checked"
    lines = [f"{MARKS[rule.verdict]} {rule.name} ({rule.source}{owner}), called {calls}"]
    for finding in rule.findings:
        lines += [f"    {finding.severity}, {finding.form}:"]
        lines += [f"      {line}" for line in finding.text.splitlines()]
        lines += [f"      {line}" for line in finding.call.splitlines()]
    return lines


def _rule_from(data: dict[str, Any]) -> Rule:
    lists: dict[str, Any] = {
        "forms": tuple(data["forms"]),
        "findings": tuple(Finding(**finding) for finding in data["findings"]),
    }
    return Rule(**{**data, **lists})
