"""What `check_rule` catches and lets pass, beside `jax.test_util.check_grads` on the same tables.

    python benchmarks/power.py [POINTS]    # random points for each correct rule, 20 by default

The tables are those of the tests: wrong rules, each of which has to be caught, and correct ones,
whose verdict has to be "right" at each of the points. The result is benchmarks/results/power.json.
"""

import json
import sys
import time
from pathlib import Path

import jax
from jax.test_util import check_grads
from rich.console import Console
from rich.progress import track
from rich.table import Table

jax.config.update("jax_num_cpu_devices", 2)  # before anything runs

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from correct_rules import available  # noqa: E402
from wrong_rules import WRONG_RULES  # noqa: E402

import fcjax  # noqa: E402
from fcjax.verify import CHECKS, check_at_points  # noqa: E402
from fcjax.verify.point import Point  # noqa: E402

RESULT = ROOT / "benchmarks/results/power.json"
ON_ONE_DEVICE = [name for name in CHECKS if name != "sharding"]
# The peers: `check_grads` in both modes, and in reverse mode alone.
PEERS = {"check_grads": {}, 'check_grads(modes=["rev"])': {"modes": ["rev"]}}


def caught(wrong) -> dict[str, bool]:
    """Whether check_rule fails the check and the argument that the table names; and the peers.

    All checks are asked for by name: what `sharding` finds would only be noted otherwise.
    """
    options = {"reference": wrong.reference, "kwargs": wrong.kwargs, "kinks": wrong.kinks}
    report = fcjax.check_rule(wrong.rule, wrong.args, checks=list(CHECKS), **options)
    named = any(
        result.name == wrong.check and wrong.argument in (None, result.argument)
        for result in report.failures
    )
    return {"check_rule": named} | refused(wrong.rule, wrong.args, wrong.kwargs)


def refused(fun, args, kwargs) -> dict[str, bool]:
    """Whether each peer raises; it gets the floating-point arguments and outputs alone."""
    raised = dict.fromkeys(PEERS, False)
    for way, options in PEERS.items():
        try:
            point = Point(fun, args, kwargs or {})
            f = point.on(fun)
            check_grads(lambda *xs, f=f: f(*xs)[0], point.xs, order=1, **options)
        except Exception:
            raised[way] = True
    return raised


def passed(rule, points: int, alarms: list[str], doubts: list[str]) -> dict[str, bool]:
    """Whether nothing is said against a correct rule at any of the points; keep what is said."""
    fun, first = rule.make(0, 0)
    several = [first, *(rule.make(seed, 0)[1] for seed in range(1, points))]
    options = {"reference": rule.reference, "kwargs": rule.kwargs, "checks": ON_ONE_DEVICE}
    before = len(alarms) + len(doubts)
    for report in check_at_points(fun, several, expected_failures=rule.expected, **options):
        alarms += [f"{rule.name}: {result}" for result in report.failures]
        if report.verdict == "inconclusive":
            doubts += [f"{rule.name}: {doubt}" for doubt in report.doubts]
    peers = {way: not raised for way, raised in refused(fun, first, rule.kwargs).items()}
    return {"check_rule": len(alarms) + len(doubts) == before} | peers


def main(points: int = 20) -> None:
    """Run both tables and write the counts."""
    start, alarms, doubts = time.perf_counter(), [], []
    right = [param.values[0] for param in available()]
    hits = [caught(wrong) for wrong in track(WRONG_RULES, "wrong rules")]
    passes = [passed(rule, points, alarms, doubts) for rule in track(right, "correct rules")]
    ways = ["check_rule", *PEERS]
    result = {
        "jax": jax.__version__,
        "devices": f"{len(jax.devices())} {jax.devices()[0].device_kind}",
        "points": points,
        "wrong rules": len(WRONG_RULES),
        "caught": {way: sum(hit[way] for hit in hits) for way in ways},
        "missed": [w.name for w, hit in zip(WRONG_RULES, hits, strict=True) if not hit[ways[0]]],
        "correct rules": len(right),
        "from other projects": sum(rule.origin not in ("fcjax", "own") for rule in right),
        "passed": {way: sum(one[way] for one in passes) for way in ways},
        "alarms": alarms,
        "inconclusive": doubts,
        "seconds": round(time.perf_counter() - start),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    table = Table("", f"caught, of {len(WRONG_RULES)}", f"passed, of {len(right)}", box=None)
    for way in ways:
        table.add_row(way, str(result["caught"][way]), str(result["passed"][way]))
    Console().print(table, f"{RESULT.relative_to(ROOT)}, {result['seconds']} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
