"""The tables of benchmarks/README.md, as Markdown."""

import tomllib
from collections.abc import Callable, Iterable, Sequence

from .cases import ACTIVATIONS
from .results import HERE, Result, entry, fastest, milliseconds, ratio, spread
from .targets import SINGLE_LIMITS, Figure, Target, targets

Cell = Callable[[str, str], str]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[int] = (0,)) -> str:
    """Return a table; columns are aligned to the right but for those with text."""
    lines = [head, ["---" if i in text else "---:" for i in range(len(head))], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def target_table(result: Result) -> str:
    """Return every target beside its figure and the remark on it."""
    remarks = tomllib.loads((HERE / "remarks.toml").read_text())
    rows = [_target_row(target, result, remarks) for target in targets()]
    return markdown(["", "target", "measured", "met", "remark"], rows, text=(0, 2, 3, 4))


def _target_row(target: Target, result: Result, remarks: dict[str, str]) -> list[str]:
    figure = target.measure(result)
    bound = f"{'≤' if target.at_most else '≥'} {_number(target.bound)}{target.unit}"
    met = {True: "yes", False: "**no**", None: ""}[target.met(figure)]
    return [target.text, bound, _figure(figure, target.unit), met, remarks.get(target.key, "")]


def _figure(figure: Figure, unit: str) -> str:
    if figure is None:
        return "not measured"
    value, note = figure
    return f"{_number(value)}{unit}" + (f" ({note})" if note else "")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value and abs(value) < 1e-3:
        return f"{value:.0e}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def speed_ratios(result: Result) -> str:
    """Return each system's time divided by the matrix products', with quartiles of the rounds."""

    def cell(case: str, system: str) -> str:
        best = fastest(result, "speed", case, SINGLE_LIMITS)
        return _ratio(entry(result, "speed", case, system), best)

    return system_table(result, "speed", cell)


def ratios(result: Result, section: str, reference: str, cases_down: bool = False) -> str:
    """Return each system's time divided by that of the reference, with quartiles."""

    def cell(case: str, system: str) -> str:
        found = entry(result, section, case, system)
        return _ratio(found, entry(result, section, case, reference))

    return system_table(result, section, cell, cases_down)


def _ratio(found: Result, reference: Result) -> str:
    value, quartiles = ratio(found, reference), spread(found, reference)
    if value is None:
        return ""
    if found is reference or quartiles is None:
        return f"{value:.2f}"
    return f"{value:.2f} ({quartiles[0]:.2f}–{quartiles[1]:.2f})"


def times(result: Result, section: str) -> str:
    """Return milliseconds per step."""
    return _entries(result, section, lambda found: _number(milliseconds(found)))


def starts(result: Result, section: str) -> str:
    """Return the seconds that the first run took longer than the second."""
    return _entries(result, section, lambda found: _number(found.get("start_s")))


def compile_times(result: Result, section: str) -> str:
    """Return the seconds of tracing and compiling alone."""
    return _entries(result, section, lambda found: _number(found.get("compile_s")))


def temporaries(result: Result, section: str, part: str = "temp") -> str:
    """Return MiB of temporaries, or of `part="total"`."""

    def cell(found: Result) -> str:
        memory = found.get("memory")
        return _number(memory[part] / 2**20) if memory else ""

    return _entries(result, section, cell)


def _entries(result: Result, section: str, show: Callable[[Result], str]) -> str:
    return system_table(
        result, section, lambda case, system: show(entry(result, section, case, system))
    )


def system_table(result: Result, section: str, cell: Cell, cases_down: bool = False) -> str:
    """Return one row for each system that has something to show, one column for each case.

    With `cases_down`, the other way round.
    """
    cases = result["sections"][section]["cases"]
    systems = list(dict.fromkeys(system for found in cases.values() for system in found))
    if cases_down:
        return markdown(["", *systems], [[c, *(cell(c, s) for s in systems)] for c in cases])
    rows = [[system, *(cell(case, system) for case in cases)] for system in systems]
    return markdown(["", *cases], [row for row in rows if any(row[1:])])


def activation_table(result: Result) -> str:
    """Return memory unrolled and stacked, and the stack's time against autodiff's, for each."""
    saved = {
        name: entry(result, "saved", "8 layers of 1024, batch 2048", name).get("temp", {})
        for name in ("fcjax", "jax.grad")
    }
    rows = []
    for name in ACTIVATIONS:
        ours, scan = (
            entry(result, "activations", name, system)
            for system in ("fcjax.stack", "scan, jax.grad")
        )
        unrolled = [_mebibytes(saved[system].get(name)) for system in saved]
        stacked = [_mebibytes(found.get("memory", {}).get("temp")) for found in (ours, scan)]
        rows.append([name, *unrolled, *stacked, _ratio(ours, scan)])
    head = ["", "unrolled: fcjax", "jax.grad", "scan: fcjax.stack", "jax.grad", "time ÷ jax.grad's"]
    return markdown(head, rows)


def _mebibytes(count: int | None) -> str:
    return "" if count is None else f"{count / 2**20:.0f}"


def reasons(result: Result, section: str) -> str:
    """Return a line for each reason why a system has no figure."""
    lines: dict[str, list[str]] = {}
    for case, systems in result["sections"][section]["cases"].items():
        for system, found in systems.items():
            reason = found.get("skipped") or found.get("failed")
            if reason:
                lines.setdefault(f"{system}: {reason}", []).append(case)
    return "".join(f"- {reason} ({'; '.join(cases)})\n" for reason, cases in lines.items())
