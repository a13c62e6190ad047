"""What the results say: figures over seeds, ranks, paired differences, and ratios of times."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from scipy.stats import rankdata

from .run import TIMED

Result = dict[str, Any]
# For each figure, whether less is better.
FIGURES = {"error": True, "auc": False, "log_loss": True, "calibration": True, "rmse": True}


class Spread(NamedTuple):
    """Mean and standard deviation over seeds, and their number."""

    mean: float
    deviation: float
    count: int


class Difference(NamedTuple):
    """Tables on which the first of two systems is better, as good, and worse.

    As good: the mean difference over the seeds, which share a split, is at most two standard
    errors. Tables with one seed are `single`.
    """

    better: int
    same: int
    worse: int
    single: int


def figure(result: Result, name: str) -> float | None:
    """Return a figure of a result, None if it has none. The error is 1 − accuracy."""
    if name == "error":
        return 1 - result["accuracy"] if "accuracy" in result else None
    return result.get(name)


def primary(result: Result) -> str:
    """Return the name of the figure that a table is ranked by."""
    return "error" if "accuracy" in result else "rmse"


def of(results: Iterable[Result], table: str, system: str) -> list[Result]:
    """Return the results of a system on a table that have figures, by seed."""
    found = [r for r in results if (r["table"], r["system"]) == (table, system) and "fit_s" in r]
    return sorted(found, key=lambda r: r["seed"])


def spread(found: Sequence[Result], name: str) -> Spread | None:
    """Return mean and deviation of a figure, None if there is none."""
    values = [v for v in (figure(r, name) for r in found) if v is not None]
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(statistics.fmean(values), deviation, len(values))


def ranks(
    results: Sequence[Result], tables: Sequence[str], systems: Sequence[str], name: str
) -> dict[str, list[float]]:
    """Return the ranks of the systems on each table where all of them have the figure.

    They are those of the mean over the seeds, and so over the splits, that all have. `name`
    "primary" is the error of classes, and the RMSE of numbers. Ties share their mean rank.
    """
    found: dict[str, list[float]] = {system: [] for system in systems}
    for table in tables:
        means = []
        for these in _same_seeds(of(results, table, system) for system in systems):
            which = primary(these[0]) if these and name == "primary" else name
            means.append(spread(these, which))
        if None in means:
            continue
        less = FIGURES.get(name, True)
        values = [one.mean if less else -one.mean for one in means if one is not None]
        for system, rank in zip(systems, rankdata(values), strict=True):
            found[system].append(float(rank))
    return found


def _same_seeds(found: Iterable[list[Result]]) -> list[list[Result]]:
    systems = list(found)
    seeds = set.intersection(*({r["seed"] for r in own} for own in systems))
    return [[r for r in own if r["seed"] in seeds] for own in systems]


def difference(
    results: Sequence[Result], tables: Sequence[str], first: str, second: str
) -> Difference:
    """Compare two systems table by table, on the seeds that both have."""
    counts = {"better": 0, "same": 0, "worse": 0, "single": 0}
    for table in tables:
        pairs = _pairs(results, table, first, second)
        if not pairs:
            continue
        name = primary(pairs[0][0])
        gaps = [(figure(a, name) or 0.0) - (figure(b, name) or 0.0) for a, b in pairs]
        if len(gaps) == 1:
            counts["single"] += 1
            continue
        mean, error = statistics.fmean(gaps), statistics.stdev(gaps) / math.sqrt(len(gaps))
        counts["same" if abs(mean) <= 2 * error else "better" if mean < 0 else "worse"] += 1
    return Difference(**counts)


def ahead(results: Sequence[Result], tables: Sequence[str], first: str, second: str) -> list[str]:
    """Return the tables on which the mean figure of the first system is the better one."""
    found = []
    for table in tables:
        pairs = _pairs(results, table, first, second)
        if pairs:
            name = primary(pairs[0][0])
            a, b = (spread(side, name) for side in zip(*pairs, strict=True))
            if a is not None and b is not None and a.mean < b.mean:
                found.append(table)
    return found


def times(
    results: Sequence[Result], tables: Sequence[str], slow: str, fast: str, what: str = "fit_s"
) -> dict[str, float]:
    """Return for each table the ratio of times, on the same split and machine."""
    return {
        table: a[what] / b[what]
        for table in tables
        for a, b in _pairs(timed(results), table, slow, fast)
        if a.get("machine") == b.get("machine") and a.get(what) and b.get(what)
    }


def timed(results: Iterable[Result]) -> list[Result]:
    """Return the results whose costs count."""
    return [r for r in results if r["seed"] == TIMED and not r.get("busy")]


def _pairs(
    results: Sequence[Result], table: str, first: str, second: str
) -> list[tuple[Result, Result]]:
    a, b = ({r["seed"]: r for r in of(results, table, system)} for system in (first, second))
    return [(a[seed], b[seed]) for seed in a if seed in b]
