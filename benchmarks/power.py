"""What `check_rule` catches and lets pass, beside `jax.test_util.check_grads` on the same tables.

    python benchmarks/power.py [--points 20]

The tables are those of the tests: wrong rules, each of which has to be caught, and correct ones,
whose verdict has to be "right" at each of the points. The result is benchmarks/results/power.json.
"""

import argparse
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


def caught_by_check_rule(wrong) -> bool:
    """Whether the check and the argument that are named in the table fail.

    All checks are asked for by name: what `sharding` finds would only be noted otherwise.
    """
    options = {"reference": wrong.reference, "kwargs": wrong.kwargs, "kinks": wrong.kinks}
    report = fcjax.check_rule(wrong.rule, wrong.args, checks=list(CHECKS), **options)
    return any(
        result.name == wrong.check and wrong.argument in (None, result.argument)
        for result in report.failures
    )


def refused_by_check_grads(fun, args, kwargs, **options) -> bool:
    """Whether `check_grads` raises; it gets the floating-point arguments and outputs alone."""
    try:
        point = Point(fun, args, kwargs or {})
        f = point.on(fun)
        check_grads(lambda *xs: f(*xs)[0], point.xs, order=1, **options)
    except Exception:
        return True
    return False


def not_right(rule, size: int, points: int) -> tuple[list[str], list[str]]:
    """Return what failed at any of the points, and why a verdict was inconclusive."""
    fun, first = rule.make(0, size)
    several = [first, *(rule.make(seed, size)[1] for seed in range(1, points))]
    reports = check_at_points(
        fun,
        several,
        reference=rule.reference,
        kwargs=rule.kwargs,
        checks=ON_ONE_DEVICE,
        expected_failures=rule.expected,
    )
    alarms, doubts = [], []
    for report in reports:
        alarms += [f"{rule.name}: {result}" for result in report.failures]
        if report.verdict == "inconclusive":
            doubts += [f"{rule.name}: {doubt}" for doubt in report.doubts]
    return alarms, doubts


def main(points: int = 20, sizes: tuple[int, ...] = (0,)) -> None:
    """Run both tables and write the counts.

    Args:
        points: random points for each correct rule.
        sizes: which of the three shapes of each correct rule.
    """
    start = time.perf_counter()
    ways = {"check_grads": {}, 'check_grads(modes=["rev"])': {"modes": ["rev"]}}
    caught = dict.fromkeys(["check_rule", *ways], 0)
    missed, alarms, inconclusive = [], [], []
    for wrong in track(WRONG_RULES, "wrong rules"):
        hit = caught_by_check_rule(wrong)
        caught["check_rule"] += hit
        missed += [] if hit else [wrong.name]
        for way, options in ways.items():
            refused = refused_by_check_grads(wrong.rule, wrong.args, wrong.kwargs, **options)
            caught[way] += refused
    right = [param.values[0] for param in available()]
    passed = dict.fromkeys(["check_rule", *ways], 0)
    for rule in track(right, "correct rules"):
        found = [not_right(rule, size, points) for size in sizes]
        passed["check_rule"] += not any(any(said) for said in found)
        alarms += [alarm for failed, _ in found for alarm in failed]
        inconclusive += [doubt for _, doubts in found for doubt in doubts]
        fun, args = rule.make(0, 0)
        for way, options in ways.items():
            passed[way] += not refused_by_check_grads(fun, args, rule.kwargs, **options)
    result = {
        "jax": jax.__version__,
        "devices": f"{len(jax.devices())} {jax.devices()[0].device_kind}",
        "points": points,
        "wrong rules": len(WRONG_RULES),
        "caught": caught,
        "missed": missed,
        "correct rules": len(right),
        "from other projects": sum(rule.origin not in ("fcjax", "own") for rule in right),
        "passed": passed,
        "alarms": alarms,
        "inconclusive": inconclusive,
        "seconds": round(time.perf_counter() - start),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    table = Table("", f"caught, of {len(WRONG_RULES)}", f"passed, of {len(right)}", box=None)
    for way in caught:
        table.add_row(way, str(caught[way]), str(passed[way]))
    Console().print(table, f"{RESULT.relative_to(ROOT)}, {result['seconds']} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--points", type=int, default=20, help="random points for each correct rule"
    )
    main(points=parser.parse_args().points)
