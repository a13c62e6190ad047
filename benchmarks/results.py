"""What a run leaves in benchmarks/results, and how figures are read off it."""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
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
    items = [f"{_lines(key)}: {_lines(item, depth + 1)}" for key, item in value.items()]
    return "{" + pad + ("," + pad).join(items) + pad[:-1] + "}"


def devices() -> list[Path]:
    """Return the files that runs of the benchmarks wrote."""
    return [path for path in sorted(RESULTS.glob("*.json")) if "sections" in load(path)]


def entry(result: Result, section: str, case: Any, system: str) -> Result:
    """Return what is known of a system, or that it was not measured."""
    cases = result["sections"].get(section, {}).get("cases", {})
    return cases.get(str(case), {}).get(system, {"skipped": "not measured"})


def memory(found: Result, part: str) -> int | None:
    """Return bytes of the temporaries ("temp"), or of all ("total")."""
    return found.get("memory", {}).get(part)


def milliseconds(found: Result) -> float | None:
    """Return the median over rounds of a step's time."""
    return 1e3 * statistics.median(found["step_s"]) if found.get("step_s") else None


def ratios(found: Result, reference: Result) -> list[float]:
    """Return the ratio of the two times in each round."""
    pairs = zip(found.get("step_s", ()), reference.get("step_s", ()), strict=False)
    return [a / b for a, b in pairs]


def ratio(found: Result, reference: Result) -> float | None:
    """Return the median of the ratios."""
    known = ratios(found, reference)
    return statistics.median(known) if known else None


def fastest(result: Result, section: str, case: Any, systems: Iterable[str]) -> Result:
    """Return the entry with the smallest median; of none, an entry without times."""
    found = [entry(result, section, case, system) for system in systems]
    timed = [one for one in found if one.get("step_s")]
    return min(timed, key=milliseconds, default={"skipped": "no time"})
