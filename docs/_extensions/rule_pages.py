"""Write a page for each rule of the library, from its docstring, its code and its figures.

The report on each page is made when the site is built. The rules are those that `fcjax verify`
checks, so that a new one has its page by itself.
"""

import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from rule_code import code_of, derivation_of
from unicode_math import set_docstring

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
DTYPES = ("float32", "bfloat16", "float16")
KINDS = {
    "layers": "Layers",
    "activations": "Activations",
    "losses": "Losses",
}


class Verified(NamedTuple):
    """What `check_rule` says of the first call of a rule that `fcjax verify` checks."""

    verdict: str
    text: str
    checks: int


def pages() -> dict[str, Any]:
    """Return the first case of each rule by name; the whole networks are not among them."""
    from fcjax.cli.rules import built_in

    found: dict[str, Any] = {}
    for case in built_in():
        name = re.sub(r",.*| in bfloat16", "", case.name)
        if "and its loss" not in name:
            found.setdefault(name, case)
    return found


def verified(name: str) -> Verified:
    """Check a rule, at the arguments and the cotangents of the seed 0."""
    import jax

    import fcjax

    case = pages()[name]
    args, kwargs = case.drawn(0, "float32")
    report = fcjax.check_rule(
        case.fun, args, kwargs=kwargs, kinks=case.kinks, key=jax.random.key(0)
    )
    return Verified(report.verdict, str(report), len(report.results))


def write_pages(docs: Path, reports: dict[str, Verified]) -> None:
    """Write all pages into the folder `rules`, those that changed."""
    folder = docs / "rules"
    folder.mkdir(exist_ok=True)
    found, figures = pages(), _Figures()
    for name, case in found.items():
        _write(folder / f"{name}.md", _page(name, case, reports[name], figures))
    _write(folder / "index.md", _index(found, reports))
    for old in folder.glob("*.md"):
        if old.stem not in {*found, "index"}:
            old.unlink()


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


class _Figures:
    """The figures of the benchmarks: errors at every input of a dtype, and costs."""

    def __init__(self):
        self.errors = {
            dtype: json.loads((RESULTS / f"elementwise-{dtype}.json").read_text())["activations"]
            for dtype in DTYPES
        }
        self.costs = json.loads((RESULTS / "cost.json").read_text())


def _page(name: str, case: Any, report: Verified, figures: _Figures) -> str:
    function = inspect.unwrap(getattr(case.fun, "func", case.fun))
    head, _, rest = (inspect.getdoc(function) or "").partition("\n\n")
    statement = re.split(r"^(?:Args|Returns|Raises|Source|>>>)", rest, flags=re.MULTILINE)[0]
    source = re.search(r"^Source: (.*?)(?:\n\n|\Z)", rest, re.MULTILINE | re.DOTALL)
    file, parts = code_of(case.fun)
    public = f"fcjax.{'losses.' if 'losses' in file else ''}{function.__name__}"
    sections = [
        f"# {name}",
        set_docstring(head),
        set_docstring(statement),
        f"Source: {' '.join(source[1].split())}" if source else "",
        f"In the reference: {{py:func}}`{_public(function, public)}`.",
        *_derivation(case, parts),
        *_kinks(case),
        *_accuracy(name, figures),
        *_cost(name, figures),
        "## Verification in this build",
        _verification(report),
        f"## Code\n\n`{file}`",
        f"```python\n{textwrap.dedent(chr(10).join([*_spaced(parts)]))}\n```",
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _public(function: Callable[..., Any], otherwise: str) -> str:
    import fcjax

    for owner, prefix in ((fcjax, "fcjax"), (fcjax.losses, "fcjax.losses"),
                          (fcjax.activations, "fcjax.activations")):  # fmt: skip
        if hasattr(owner, function.__name__):
            return f"{prefix}.{function.__name__}"
    return otherwise


def _spaced(parts: tuple[str, ...]) -> Iterator[str]:
    for part in parts:
        yield from (part, "")


def _derivation(case: Any, parts: tuple[str, ...]) -> Iterator[str]:
    paragraphs = [*derivation_of(case.fun, parts)]
    if paragraphs:
        yield "## Derivation"
        yield "A dot is the derivative along one direction, and ⟨A, B⟩ is the sum of A ⊙ B."
        yield from paragraphs


def _kinks(case: Any) -> Iterator[str]:
    for argument, slopes in case.kinks.items():
        yield "## Kinks"
        rows = [f"| ${point:g}$ | ${slope:g}$ |" for point, slope in slopes.items()]
        yield "\n".join([f"| {argument} | derivative |", "|---:|---:|", *rows])


def _accuracy(name: str, figures: _Figures) -> Iterator[str]:
    rows: list[str] = []
    for dtype in DTYPES:
        found = figures.errors[dtype].get(name, {}).get("fcjax")
        if found:
            value, derivative = (
                (found[what]["scaled"] or {}).get("size", 0.0) for what in ("value", "derivative")
            )
            rows.append(f"| {dtype} | {found['inputs']:,} | {value:.2f} | {derivative:.2f} |")
    if rows:
        yield "## Accuracy"
        yield (
            "The largest error at *all* numbers of a dtype, in spacings of its numbers at "
            "max(|exact|, 1), against formulas in float64 (`fcjax verify --exhaustive`)."
        )
        head = ["| dtype | inputs | value | derivative |", "|---|---:|---:|---:|"]
        yield "\n".join([*head, *rows])


def _cost(name: str, figures: _Figures) -> Iterator[str]:
    found = figures.costs.get(name)
    if not found:
        return
    rule, plain = found["rule"], found["autodiff"]
    yield "## Cost"
    yield f"`fcjax.compare_cost` at {found['arguments']}, on {found['device']}: {found['verdict']}"
    rows = [
        f"| {label} | {_number(rule[key])} | {_number(plain[key])} |"
        for key, label in {
            "kept_bytes": "bytes kept between the passes, beside the arguments",
            "temporary_bytes": "bytes of temporaries",
            "operations": "floating-point operations",
        }.items()
    ]
    low, high = found["time_spread"]
    rows.append(f"| time of autodiff | {found['time_ratio']:.2f} ({low:.2f} to {high:.2f}) | 1 |")
    yield "\n".join(["| | rule | autodiff |", "|---|---:|---:|", *rows])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _verification(report: Verified) -> str:
    return f"`fcjax.check_rule` says **{report.verdict}**:\n\n```text\n{report.text}\n```"


def _index(found: dict[str, Any], reports: dict[str, Verified]) -> str:
    lines = [
        "# Rules",
        "Each gradient is derived by hand. A page has the derivation, the code, the behaviour at "
        "kinks, the accuracy, the cost, and what `fcjax.check_rule` said of it when these pages "
        "were made.",
    ]
    groups: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name, case in found.items():
        module = inspect.unwrap(getattr(case.fun, "func", case.fun)).__module__
        kind = next((k for k in ("activations", "losses") if f".{k}" in module), "layers")
        groups[kind].append(name)
    for kind, names in groups.items():
        rows = [
            f"| [{name}]({name}.md) | {reports[name].verdict} | {reports[name].checks} |"
            for name in names
        ]
        lines.append(f"## {KINDS[kind]}")
        lines.append("\n".join(["| rule | verdict | results |", "|---|---|---:|", *rows]))
    lines.append(f"Checked with fcjax {version('fcjax')} and JAX {version('jax')}.")
    entries = "\n".join(name for names in groups.values() for name in names)
    lines.append(f"```{{toctree}}\n:hidden:\n\n{entries}\n```")
    return "\n\n".join(lines) + "\n"
