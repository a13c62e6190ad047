"""`fcjax verify`: check the built-in rules, or a function of the user, on the local devices."""

import contextlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jax
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from fcjax_cli.options import Checking, Function, Library

from ..activations import ACTIVATIONS, facts_of
from ..verify import Budget, CheckResult, RuleReport, check_elementwise, check_rule
from ..verify.arguments import call_of
from ..verify.elementwise import ElementwiseReport
from ..verify.oracles import ORACLES
from ..verify.report import MARKS, STYLES
from .arguments import Call, load_args, parse_shape
from .options import check_options, parse_expected_failures
from .rules import Case, built_in
from .user_code import call, import_function

EXIT = {"right": 0, "wrong": 1, "inconclusive": 2}
VERDICT_MARKS = {"right": "✓", "wrong": "✗", "inconclusive": "?"}

_console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


def verify(function: Function, library: Library, checking: Checking, out: Path) -> int:
    """Check hand-written gradients on the default backend; return the exit status."""
    check_options(function, library, checking)
    if out.is_dir():
        raise ValueError(f"out: {out} is a folder; accepted: a file")
    out.parent.mkdir(parents=True, exist_ok=True)
    if library.exhaustive:
        return _verify_exhaustively(library.only, checking.dtypes or ("float32",), out)
    start = time.perf_counter()
    chosen = user_case(function, checking) if function.target else _built_in(library, checking)
    reports = dict(_checked(*chosen, checking))
    out.write_text(json.dumps({name: r.to_dict() for name, r in reports.items()}, indent=1))
    _print_reports(reports)
    seconds = time.perf_counter() - start
    _console.print(f"{_summary(reports)}, {seconds:.0f} s; the reports are in {out}")
    return _exit_status(reports)


def _built_in(library: Library, checking: Checking) -> tuple[list[Case], Sequence[str]]:
    """Return the chosen rules of the library, and the dtypes to check them in."""
    cases = [case for case in built_in() if library.only in case.name]
    if not cases:
        raise ValueError(f"only: no built-in rule has {library.only!r} in its name")
    return cases, checking.dtypes or ("float32",)


def user_case(function: Function, checking: Checking) -> tuple[list[Case], Sequence[str]]:
    """Return the user's function with its arguments, and the dtypes; "" means uncast."""
    name = str(function.target)
    args, kwargs = _arguments(function, checking)
    case = Case(
        name,
        import_function("target", name),
        args,
        kwargs,
        reference=import_function("reference", function.reference) if function.reference else None,
        expected_failures=parse_expected_failures(function.expected_failures),
    )
    own_dtypes = ("",) if function.args and not function.args.endswith(".json") else ("float32",)
    dtypes = checking.dtypes or own_dtypes
    drawn, kwargs = case.drawn(checking.seed, dtypes[0])
    call_of(case.fun, drawn, kwargs)
    call("target", name, case.fun, *drawn, **kwargs)
    return [case], dtypes


def _arguments(function: Function, checking: Checking) -> Call:
    if function.args:
        return load_args(function.args, checking.dtypes)
    return tuple(map(parse_shape, function.shapes)), {}


def _checked(
    cases: Sequence[Case], dtypes: Sequence[str], checking: Checking
) -> Iterator[tuple[str, RuleReport]]:
    """Yield the name and the report of each rule in each dtype."""
    with Progress(console=_console, transient=True) as progress:
        task = progress.add_task("", total=len(cases) * len(dtypes))
        for case, dtype in itertools.product(cases, dtypes):
            name = f"{case.name}, {dtype}" if dtype else case.name
            progress.update(task, description=name)
            with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
                report = _check(case, dtype, checking)
            yield name, report
            progress.advance(task)


def _check(case: Case, dtype: str, checking: Checking) -> RuleReport:
    args, kwargs = case.drawn(checking.seed, dtype)
    return check_rule(
        case.fun,
        args,
        reference=case.reference,
        kwargs=kwargs,
        key=jax.random.key(checking.seed),
        checks=checking.checks or None,
        expected_failures=case.expected_failures,
        kinks=case.kinks,
        rtol=checking.rtol,
        atol=checking.atol,
        time_limit=checking.time_limit,
        search=_budget(checking.search),
    )


def _budget(points: int) -> bool | Budget:
    """Return the budget of a search of so many points."""
    return points > 0 and Budget(points, max(1.0, points / 200))


def _verify_exhaustively(only: str, dtypes: Sequence[str], out: Path) -> int:
    """Compare each activation with its oracle at every input."""
    reports: dict[str, ElementwiseReport] = {}
    for name, fun in ACTIVATIONS.items():
        facts = facts_of(fun)
        if only not in name or facts is None or facts.oracle is None:
            continue
        for dtype in dtypes:
            report = check_elementwise(
                fun,
                name=facts.oracle if facts.oracle in ORACLES else None,
                dtype=dtype,
                state=out.parent / f"exhaustive-{name}-{dtype}.json",
                progress=True,
            )
            reports[f"{name}, {dtype}"] = report
            _console.print(report, end="\n\n")
    if not reports:
        raise ValueError(f"only: no elementwise activation has {only!r} in its name")
    out.write_text(json.dumps({name: r.to_dict() for name, r in reports.items()}, indent=1))
    wrong = [name for name, report in reports.items() if not report.ok]
    _console.print(f"wrong: {'; '.join(wrong)}" if wrong else f"all {len(reports)} are right")
    return 1 if wrong else 0


def _print_reports(reports: Mapping[str, RuleReport]) -> None:
    """Print a row for each rule, then the reports of the rules that are not right."""
    if len(reports) > 1:
        _console.print(_table(reports))
    for name, report in reports.items():
        if not report.ok or len(reports) == 1:
            _console.print(report, end="\n\n")
        else:
            for result in _worth_printing(report):
                _console.print(Text(f"{name}:\n{result}", MARKS[result.status][1]))


def _table(reports: Mapping[str, RuleReport]) -> Table:
    table = Table("", "rule", "verdict", "passed", "skipped", "failed", box=None, pad_edge=False)
    for name, report in reports.items():
        status = Counter(result.status for result in report.results)
        failed = dict.fromkeys(result.name for result in report.failures)
        noted = dict.fromkeys(f"({result.name})" for result in report.findings)
        table.add_row(
            VERDICT_MARKS[report.verdict],
            name,
            report.verdict,
            str(status["passed"]),
            str(status["skipped"]),
            ", ".join([*failed, *noted]),
            style="" if report.ok else STYLES[report.verdict],
        )
    return table


def _worth_printing(report: RuleReport) -> Sequence[CheckResult]:
    """Return the results to print for a rule that is right."""
    unexpected = [r for r in report.results if r.status == "unexpected pass"]
    return [*report.findings, *unexpected]


def _summary(reports: Mapping[str, RuleReport]) -> str:
    count = Counter(report.verdict for report in reports.values())
    devices = f"{len(jax.devices())} {jax.devices()[0].device_kind}"
    if len(reports) == 1:
        return f"{next(iter(count))} on {devices}"
    if count["right"] == len(reports):
        return f"all {len(reports)} are right on {devices}"
    said = ", ".join(f"{count[verdict]} {verdict}" for verdict in EXIT if count[verdict])
    return f"{said} on {devices}"


def _exit_status(reports: Mapping[str, RuleReport]) -> int:
    verdicts = {report.verdict for report in reports.values()}
    return next((EXIT[v] for v in ("wrong", "inconclusive") if v in verdicts), 0)
