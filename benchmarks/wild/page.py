"""Write the page of what the checker found in other packages."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from .audits import RESULTS as AUDITS
from .explained import KINDS, UNKNOWN, explanation
from .listed import RESULTS as RULES, packages
from .measure import RESULTS as CASES, is_found

PAGE = Path(__file__).parent / "README.md"
# From the best to the worst.
OUTCOMES = ("right", "inconclusive", *KINDS, UNKNOWN)
VERDICTS = ("right", "wrong", "wrong on purpose", "inconclusive", "never called")


def write() -> None:
    """Write everything below the marker of the page anew."""
    text = PAGE.read_text()
    head = text[: text.index("<!-- generated -->")]
    parts = _rules(), _cases(), _audits(), _wrong()
    PAGE.write_text(head + "\n\n".join(["<!-- generated -->", *parts]) + "\n")


class Found(NamedTuple):
    """The results on one case."""

    module: str
    result: dict[str, Any]

    @property
    def rule(self) -> str:
        """The name of the rule."""
        return self.result["rule"].partition("__")[0]

    @property
    def outcome(self) -> str:
        """What came out with all keys: one of `OUTCOMES`."""
        verdicts = {self.result["verdict"], *self.result["with_other_keys"]}
        if "wrong" in verdicts:
            return explanation(self.module, self.result["rule"])[0]
        return "right" if verdicts == {"right"} else "inconclusive"

    @property
    def text(self) -> str:
        """The explanation of what is wrong, with the name of the case."""
        return f"`{self.result['rule']}`: {explanation(self.module, self.result['rule'])[1]}"


def by_package() -> dict[str, list[Found]]:
    """Return the results on the listed rules that were called, of each package and version."""
    found: dict[str, list[Found]] = {}
    for module, listed in json.loads(RULES.read_text()).items():
        rules = found.setdefault(f"{listed['package']} {listed['version']}", [])
        rules += [Found(module, rule) for rule in listed["rules"] if rule["is_called"]]
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0].lower())))


def _rules() -> str:
    found = by_package()
    everything = [one for cases in found.values() for one in cases]
    rows = [_row(package, cases) for package, cases in found.items()]
    heads = f"| package | rules | cases | {' | '.join(OUTCOMES)} | notes | seconds |"
    line = f"|---|---|---|{'---|' * len(OUTCOMES)}---|---|"
    table = "\n".join([heads, line, *rows, _row(f"{len(found)} packages", everything)])
    text = (
        "A rule is right if each of its cases is, with five keys, each of which draws other "
        "points. Where one is called wrong, `explained.py` says why: by mistake; at a limit that "
        "its authors state, or that follows from their tolerance; as it is meant; or by a mistake "
        "of the checker. Under notes are the right rules with findings that autodiff of "
        "the same function shares."
    )
    done, modules = len(json.loads(RULES.read_text())), len(packages())
    if done < modules:
        text += (
            f"\n\n**Not complete**: {done} of {modules} modules of `rules/` are measured so far."
        )
    return f"## Hand-written rules\n\n{table}\n\n{text}\n\n{_alarms(found)}"


def _row(name: str, cases: list[Found]) -> str:
    outcomes: dict[tuple[str, str], list[str]] = {}
    for one in cases:
        outcomes.setdefault((one.module, one.rule), []).append(one.outcome)
    # a rule counts as the worst of its cases
    count = Counter(max(each, key=OUTCOMES.index) for each in outcomes.values())
    notes = {(one.module, one.rule) for one in cases if one.result["findings"]}
    notes -= {rule for rule, each in outcomes.items() if set(each) != {"right"}}
    cells = [
        name, len(outcomes), len(cases), *(count[outcome] for outcome in OUTCOMES), len(notes),
        round(sum(one.result["seconds"] for one in cases)),
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def _alarms(found: dict[str, list[Found]]) -> str:
    """Return what is wrong with each rule that is called so."""
    lines: list[str] = []
    for package, cases in found.items():
        alarms = [one for one in cases if one.outcome not in ("right", "inconclusive")]
        if alarms:
            lines += ["", f"{package}:", ""]
        lines += [f"- {one.outcome}: {one.text}" for one in alarms]
    return "### Rules that are called wrong\n" + "\n".join(lines)


def _cases() -> str:
    found = json.loads(CASES.read_text())
    rows = []
    for name, what in (("mistakes", "read while the checker was written"),
                       ("mistakes_kept_aside", "kept aside")):  # fmt: skip
        for where, arguments in (
            ("ordinary", "ordinary arguments"),
            ("at_point", "the very point"),
        ):
            results = [r for r in found[name] if r["where"] == where]
            rows.append(
                f"| wrong, {what} | {arguments} | {sum(map(is_found, results))} of {len(results)} |"
            )
    for name, what in (("right", "read"), ("right_kept_aside", "kept aside")):
        results = [r for r in found[name] if r["where"] == "ordinary"]
        alarms = sum(r["verdict"] == "wrong" for r in results)
        rows.append(f"| right, {what} | ordinary arguments | {alarms} alarms of {len(results)} |")
    table = "\n".join(["| functions | at | found |", "|---|---|---|", *rows])
    return f"## Functions with right and wrong gradients\n\n{table}"


def _audits() -> str:
    results: dict[str, Any] = json.loads(AUDITS.read_text())
    heads = " | ".join(VERDICTS)
    rows = [f"| package | tests | {heads} | seconds |", f"|---|---|{'---|' * len(VERDICTS)}---|"]
    for package, result in results.items():
        count = Counter(rule["verdict"] for rule in result["rules"])
        counts = " | ".join(str(count[verdict]) for verdict in VERDICTS)
        tests = ", ".join(re.findall(r"\d+ (?:passed|failed)", result["summary"]))
        rows.append(f"| {package} {result['version']} | {tests} | {counts} | {result['seconds']} |")
    return "## Audits of published test suites\n\n" + "\n".join(rows)


def _wrong() -> str:
    results: dict[str, Any] = json.loads(AUDITS.read_text())
    lines = ["Rules that an audit calls wrong:", ""]
    for package, result in results.items():
        for rule in result["rules"]:
            if rule["verdict"] == "wrong":
                first = next(one for one in rule["findings"] if one["severity"] == "wrong")
                text = first["text"].splitlines()[0]
                lines.append(f"- {package}: `{rule['name']}` ({rule['source']}), {text}")
    return "\n".join(lines) if len(lines) > 2 else "No rule was called wrong."
