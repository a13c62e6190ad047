"""The tables of benchmarks/README.md, as Markdown."""

import statistics
import tomllib
from collections.abc import Callable, Iterable, Sequence

from .activations import ACTIVATIONS
from .cases import UNROLLED
from .results import HERE, Result, entry, fastest, memory, milliseconds, ratios
from .targets import Target, targets


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[int] = (0,)) -> str:
    """Return a table; columns are aligned to the right but for those with text."""
    lines = [head, ["---" if i in text else "---:" for i in range(len(head))], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def number(value: float | None) -> str:
    """Return three digits, or nothing."""
    if value is None:
        return ""
    if value and abs(value) < 1e-3:
        return f"{value:.0e}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def relative(found: Result, reference: Result) -> str:
    """Return the median of the ratios of times, and their quartiles."""
    known = ratios(found, reference)
    if not known:
        return ""
    if found is reference or len(known) < 2:
        return f"{statistics.median(known):.2f}"
    low, middle, high = statistics.quantiles(known, n=4, method="inclusive")
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def _mebibytes(count: int | None, show: Callable[[float], str] = number) -> str:
    return "" if count is None else show(count / 2**20)


def _deepest(found: Result) -> str:
    if "first_losses" not in found:
        return ""
    losses = ", ".join(f"{loss:.4f}" for loss in found["first_losses"])
    time, total = found["step_s"][0], memory(found, "total") / 2**30
    return f"{time:.1f} s a step, {total:.1f} GiB in all; losses of the first steps {losses}"


# What a table can show of a system, by its name in page.toml.
CELLS: dict[str, Callable[[Result], str]] = {
    "step_s": lambda found: number(milliseconds(found)),
    "start_s": lambda found: number(found.get("start_s")),
    "compile_s": lambda found: number(found.get("compile_s")),
    "temp": lambda found: _mebibytes(memory(found, "temp")),
    "total": lambda found: _mebibytes(memory(found, "total")),
    "error": lambda found: f"{found['error']:.1e}" if "error" in found else "",
    "first_losses": _deepest,
}


def table(result: Result, section: str, shown: str, reference: Sequence[str]) -> str:
    """Return a row for each system that has something to show, and a column for each case.

    The other way round, if there are more cases than systems. Times are relative to the fastest
    reference.
    """
    if shown == "activations":
        return _activations(result)
    cases = result["sections"][section]["cases"]
    systems = list(dict.fromkeys(system for found in cases.values() for system in found))
    best = {case: fastest(result, section, case, reference) for case in cases}

    def cell(case: str, system: str) -> str:
        found = entry(result, section, case, system)
        return relative(found, best[case]) if shown == "relative" else CELLS[shown](found)

    if len(cases) > len(systems):
        return markdown(["", *systems], [[c, *(cell(c, s) for s in systems)] for c in cases])
    rows = [[system, *(cell(case, system) for case in cases)] for system in systems]
    return markdown(["", *cases], [row for row in rows if any(row[1:])])


def _activations(result: Result) -> str:
    """Return memory unrolled and stacked, and the stack's time against autodiff's, for each."""
    saved = [entry(result, "saved", UNROLLED, n).get("temp", {}) for n in ("fcjax", "jax.grad")]
    rows = []
    for name in ACTIVATIONS:
        systems = ("fcjax.stack", "scan, jax.grad")
        stacked = [entry(result, "activations", name, system) for system in systems]
        counts = [temp.get(name) for temp in saved] + [memory(one, "temp") for one in stacked]
        rows.append([name, *(_mebibytes(c, "{:.0f}".format) for c in counts), relative(*stacked)])
    head = ["", "unrolled: fcjax", "jax.grad", "scan: fcjax.stack", "jax.grad", "time ÷ jax.grad's"]
    return markdown(head, rows)


def target_table(result: Result) -> str:
    """Return every target beside its figure and the remark on it."""
    remarks = tomllib.loads((HERE / "remarks.toml").read_text())
    rows = [_target_row(target, result, remarks.get(target.key, "")) for target in targets()]
    return markdown(["", "target", "measured", "met", "remark"], rows, text=(0, 2, 3, 4))


def _target_row(target: Target, result: Result, remark: str) -> list[str]:
    figure = target.measure(result)
    bound = f"{target.sign} {number(target.bound)}{target.unit}"
    met = {True: "yes", False: "**no**", None: ""}[target.met(figure)]
    value, whose = figure or (None, "")
    measured = f"{number(value)}{target.unit}" if figure else "not measured"
    return [target.text, bound, measured + (f" ({whose})" if whose else ""), met, remark]


def reasons(result: Result, section: str) -> str:
    """Return a line for each reason why a system has no figure."""
    lines: dict[str, list[str]] = {}
    for case, systems in result["sections"][section]["cases"].items():
        for system, found in systems.items():
            if reason := found.get("skipped") or found.get("failed"):
                lines.setdefault(f"{system}: {reason}", []).append(case)
    return "".join(f"- {reason} ({'; '.join(cases)})\n" for reason, cases in lines.items())


def tpu_table(result: Result) -> str:
    """Return bytes accessed and bytes in all, of each case that was compiled."""
    rows = [
        [case, *(f"{one[key] / 2**20:.1f}" for key in ("bytes", "total") for one in found.values())]
        for case, found in result["cases"].items()
    ]
    return markdown(["", "accessed: fcjax", "jax.grad", "peak: fcjax", "jax.grad"], rows)
