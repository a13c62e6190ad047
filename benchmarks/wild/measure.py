"""Check the functions of `cases/`: which mistakes are found, and which alarms are false."""

import importlib
import json
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fcjax.verify import check_rule

RESULTS = Path(__file__).parents[1] / "results" / "wild-cases.json"
SETS = ("mistakes", "mistakes_kept_aside", "right", "right_kept_aside")
CHECKS = ("vjp", "finite_differences", "search", "finite", "kinks", "forward")
# Seconds for one case.
LIMIT = 150


class Late(Exception):  # noqa: N818 - control flow, not an error
    """Raised when a case takes too long."""


def measure(names: list[str]) -> None:
    """Check the sets that are named, all by default, and keep what was found."""
    warnings.filterwarnings("ignore")
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in names or SETS:
        cases = importlib.import_module(f"benchmarks.wild.cases.{name}").CASES
        found[name] = [one for case in cases for one in _checked(case)]
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def _checked(case: Callable[[], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the result at each kind of arguments."""
    given = case()
    for where in ("ordinary", "at_point"):
        if given.get(where) is None:
            continue
        start = time.perf_counter()
        outcome = _outcome(given["fun"], given[where])
        yield {
            "case": case.__name__, "package": given["package"], "where": where, **outcome,
            "seconds": round(time.perf_counter() - start, 1),
        }  # fmt: skip


def _outcome(fun: Any, args: Any) -> dict[str, Any]:
    def late(*_: object) -> None:
        raise Late

    signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    try:
        report = check_rule(fun, args, checks=CHECKS)
    except Late:
        return {"verdict": "late", "notes": 0}
    finally:
        signal.alarm(0)
    notes = sum(finding.severity == "note" for finding in report.findings)
    return {"verdict": report.verdict, "notes": notes}


def is_found(result: dict[str, Any]) -> bool:
    """Whether a mistake was found, as one of the rule or as one that autodiff makes too."""
    return result["verdict"] == "wrong" or result["notes"] > 0
