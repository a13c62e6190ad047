"""`fcjax verify`: every built-in rule on this machine's devices, or somebody else's function."""

import importlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ..activations import ACTIVATIONS
from ..verify import RuleReport, check_elementwise, check_rule
from ..verify.oracles import ORACLES
from .rules import Case, built_in, integers, normal

_console = Console(soft_wrap=True, highlight=False)


def verify(
    target: Annotated[str | None, tyro.conf.Positional] = None,
    shapes: tuple[str, ...] = (),
    reference: str | None = None,
    only: str = "",
    dtypes: tuple[str, ...] = ("float32",),
    checks: tuple[str, ...] = (),
    exhaustive: bool = False,
    seed: int = 0,
    out: Path = Path("out/verify.json"),
) -> None:
    """Check hand-written gradients on the present backend: fcjax's own, or a function of yours.

    Exits with 1 if one is wrong.

    Args:
        target: package.module:function to check; without it, every rule of fcjax.
        shapes: of its arguments, each drawn at random: 5x3 is a floating-point array, 5:4 five
            integers below 4, a single number such as 0.5 is passed as it is.
        reference: package.module:function with a gradient that is known to be right; by default
            the target without its hand-written rules.
        only: check the built-in rules whose name contains this.
        dtypes: of the arguments; each is also checked in bfloat16 and float16.
        checks: names of the checks to run; all by default.
        exhaustive: compare each built-in activation at every number of the dtypes instead: 65536
            in bfloat16 and float16, 2³² in float32, which takes some minutes an activation. What is
            known is kept beside `out`, and a second call goes on with it.
        seed: that arguments and cotangents are drawn from.
        out: JSON file that the reports are written to.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    if exhaustive:
        _verify_every_number(only, dtypes, out)
        return
    cases = _cases_of(target, shapes) if target else [c for c in built_in() if only in c.name]
    if not cases:
        raise ValueError(f"only: no built-in rule has {only!r} in its name")
    plain = _imported(reference) if reference else None
    start, reports = time.perf_counter(), {}
    for name, report in _checked(cases, dtypes, checks, seed, plain):
        reports[name] = report
    out.write_text(json.dumps({name: r.to_dict() for name, r in reports.items()}, indent=1))
    _tell(reports, time.perf_counter() - start, out)
    if not all(report.ok for report in reports.values()):
        sys.exit(1)


def _checked(
    cases: Sequence[Case], dtypes: Sequence[str], checks: Sequence[str], seed: int, plain: Any
) -> Iterator[tuple[str, RuleReport]]:
    with Progress(console=_console, transient=True) as progress:
        task = progress.add_task("", total=len(cases) * len(dtypes))
        for case in cases:
            for dtype in dtypes:
                progress.update(task, description=f"{case.name}, {dtype}")
                args, kwargs = case.drawn(seed, dtype)
                yield (
                    f"{case.name}, {dtype}",
                    check_rule(
                        case.fun,
                        args,
                        kwargs=kwargs,
                        kinks=case.kinks,
                        reference=plain,
                        checks=checks or None,
                        key=jax.random.key(seed),
                    ),
                )
                progress.advance(task)


def _verify_every_number(only: str, dtypes: Sequence[str], out: Path) -> None:
    """Compare the activations that have an oracle at every input."""
    reports = {}
    for name in [name for name in ORACLES if only in name and name in ACTIVATIONS]:
        for dtype in dtypes:
            report = check_elementwise(
                ACTIVATIONS[name],
                name=name,
                dtype=dtype,
                state=out.parent / f"exhaustive-{name}-{dtype}.json",
                progress=True,
            )
            reports[f"{name}, {dtype}"] = report
            _console.print(report, "")
    if not reports:
        raise ValueError(f"only: no elementwise activation has {only!r} in its name")
    out.write_text(json.dumps({name: r.to_dict() for name, r in reports.items()}, indent=1))
    wrong = [name for name, report in reports.items() if not report.ok]
    _console.print(f"wrong: {'; '.join(wrong)}" if wrong else f"all {len(reports)} are right")
    if wrong:
        sys.exit(1)


def _cases_of(target: str, shapes: Sequence[str]) -> list[Case]:
    if not shapes:
        raise ValueError("shapes: give one for each argument, e.g. --shapes 5x3 3x2 2")
    return [Case(target, _imported(target), tuple(map(_draw, shapes)))]


def _draw(text: str) -> Any:
    """Return how to draw an argument that is described as on the command line."""
    described = re.fullmatch(r"(\d+(?:x\d+)*)(?::(\d+))?", text)
    if described:
        shape = tuple(map(int, described[1].split("x")))
        return integers(int(described[2]), *shape) if described[2] else normal(*shape)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"shapes: {text!r} is none of 5x3, 5:4 (integers below 4), 0.5") from None


def _imported(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    if not module or not name:
        raise ValueError(f"{target!r} must have the form package.module:function")
    sys.path.insert(0, "")  # as `python -m` does, so that files in this folder are found
    found = getattr(importlib.import_module(module), name, None)
    if not callable(found):
        raise ValueError(f"{module} has no function {name!r}")
    return found


def _tell(reports: dict[str, RuleReport], seconds: float, out: Path) -> None:
    """Print a row for each rule, then what is wrong."""
    table = Table("", "rule", "right", "skipped", "checks that failed", box=None, pad_edge=False)
    for name, report in reports.items():
        status = [result.status for result in report.results]
        failed = dict.fromkeys(result.name for result in report.failures)
        table.add_row(
            "✓" if report.ok else "✗",
            name,
            str(status.count("passed")),
            str(status.count("skipped")),
            ", ".join(failed),
            style="" if report.ok else "bold red",
        )
    _console.print(table if len(reports) > 1 else "")
    for report in reports.values():
        if not report.ok or len(reports) == 1:
            _console.print(report, "")
    wrong = sum(not report.ok for report in reports.values())
    verdict = f"{wrong} of {len(reports)} are wrong" if wrong else f"all {len(reports)} are right"
    devices = f"{len(jax.devices())} {jax.devices()[0].device_kind}"
    _console.print(f"{verdict} on {devices}, {seconds:.0f} s; {out} has the reports")
