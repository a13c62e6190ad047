"""Write the page of what the checker found in other packages."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from .audits import RESULTS as AUDITS
from .listed import RESULTS as RULES, packages
from .measure import RESULTS as CASES, is_found

PAGE = Path(__file__).parent / "README.md"
VERDICTS = ("right", "wrong", "wrong on purpose", "inconclusive", "never called")


def write() -> None:
    """Write everything below the marker of the page anew."""
    text = PAGE.read_text()
    head = text[: text.index("<!-- generated -->")]
    parts = _rules(), _cases(), _audits(), _wrong()
    PAGE.write_text(head + "\n\n".join(["<!-- generated -->", *parts]) + "\n")


def by_package() -> dict[str, list[dict[str, Any]]]:
    """Return the results on the listed rules that were called, of each package and version."""
    found: dict[str, list[dict[str, Any]]] = {}
    for listed in json.loads(RULES.read_text()).values():
        rules = found.setdefault(f"{listed['package']} {listed['version']}", [])
        rules += [rule for rule in listed["rules"] if rule["is_called"]]
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0].lower())))


def _rules() -> str:
    found = by_package()
    everything = [rule for rules in found.values() for rule in rules]
    rows = [_row(package, rules) for package, rules in found.items()]
    total = _row(f"{len(found)} packages", everything)
    heads = "| package | rules | right | wrong | inconclusive | notes | with other keys | seconds |"
    text = (
        "Under notes are the rules with findings that autodiff of the same function shares. Under "
        "other keys is how many of the right rules are right with four further keys too."
    )
    table = "\n".join([heads, "|---|---|---|---|---|---|---|---|", *rows, total])
    done, modules = len(json.loads(RULES.read_text())), len(packages())
    if done < modules:
        text += (
            f"\n\n**Not complete**: {done} of {modules} modules of `rules/` are measured so far."
        )
    return f"## Hand-written rules\n\n{table}\n\n{text}"


def _row(name: str, rules: list[dict[str, Any]]) -> str:
    count = Counter(rule["verdict"] for rule in rules)
    names = {rule["rule"].partition("__")[0] for rule in rules}
    right = [rule for rule in rules if rule["verdict"] == "right"]
    stay = sum(set(rule["with_other_keys"]) <= {"right"} for rule in right)
    notes = sum(bool(rule["findings"]) and rule["verdict"] == "right" for rule in rules)
    cells = [
        name, len(names), count["right"], count["wrong"], count["inconclusive"], notes,
        f"{stay} of {len(right)}", round(sum(rule["seconds"] for rule in rules)),
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


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
        tests = result["summary"].split(",")[0]
        rows.append(f"| {package} {result['version']} | {tests} | {counts} | {result['seconds']} |")
    return "## Audits of published test suites\n\n" + "\n".join(rows)


def _wrong() -> str:
    results: dict[str, Any] = json.loads(AUDITS.read_text())
    lines = ["Rules that an audit calls wrong:", ""]
    for package, result in results.items():
        for rule in result["rules"]:
            if rule["verdict"] == "wrong":
                first = rule["findings"][0]
                text = first["text"].splitlines()[0]
                lines.append(f"- {package}: `{rule['name']}` ({rule['source']}), {text}")
    return "\n".join(lines) if len(lines) > 2 else "No rule was called wrong."
