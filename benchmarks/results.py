"""What a run leaves in benchmarks/results, and how figures are read off it."""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"

Result = dict[str, Any]


def load(path: Path) -> Result:
    """Return the results in a file, or of nothing where there is none."""
    return json.loads(path.read_text()) if path.exists() else {"sections": {}}


def save(result: Result, path: Path) -> None:
    """Write the results, one line for each system of each case."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_lines(result) + "\n")


def _lines(value: Any, depth: int = 0) -> str:
    """Format as JSON with line breaks down to the systems, which are four levels deep."""
    if not isinstance(value, dict) or not value or depth > 4:
        return json.dumps(value, ensure_ascii=False)
    pad = "\n" + " " * (depth + 1)
    items = [
        f"{json.dumps(key, ensure_ascii=False)}: {_lines(item, depth + 1)}"
        for key, item in value.items()
    ]
    return "{" + pad + ("," + pad).join(items) + "\n" + " " * depth + "}"


def devices() -> list[Path]:
    """Return the files that runs of the benchmarks wrote."""
    return [path for path in sorted(RESULTS.glob("*.json")) if "sections" in load(path)]


def entry(result: Result, section: str, case: str, system: str) -> Result:
    """Return what is known of a system, or that it was not measured."""
    cases = result["sections"].get(section, {}).get("cases", {})
    return cases.get(case, {}).get(system, {"skipped": "not measured"})


def milliseconds(found: Result) -> float | None:
    """Return the median over rounds of a step's time."""
    if not found.get("step_s"):
        return None
    return 1e3 * statistics.median(found["step_s"])


def ratio(found: Result, reference: Result) -> float | None:
    """Return the median over rounds of the ratio of the two times in that round."""
    pairs = list(zip(found.get("step_s", ()), reference.get("step_s", ()), strict=False))
    return statistics.median(a / b for a, b in pairs) if pairs else None


def spread(found: Result, reference: Result) -> tuple[float, float] | None:
    """Return the quartiles of the same ratios."""
    pairs = zip(found.get("step_s", ()), reference.get("step_s", ()), strict=False)
    ratios = [a / b for a, b in pairs]
    if len(ratios) < 2:
        return None
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return low, high


def fastest(result: Result, section: str, case: str, systems: Iterable[str]) -> Result:
    """Return the entry with the smallest median; of none, an entry without times."""
    found = [entry(result, section, case, system) for system in systems]
    timed = [one for one in found if milliseconds(one) is not None]
    return min(timed, key=lambda one: milliseconds(one) or 0.0, default={"skipped": "no time"})
