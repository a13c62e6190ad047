"""The picture of the page: how well each system does, and what its fits take."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from .summary import Result, of, ranks, timed

COLOURS = ["#c1121f", "#f2a3a9", "#0072b2", "#9ecae1", "#e8871e", "#8c8c8c", "#009e73"]


def draw(
    found: Sequence[Result], tables: Sequence[str], systems: Sequence[str],
    rivals: Mapping[str, tuple[str, float]], path: Path,
) -> None:  # fmt: skip
    """Draw mean ranks, and seconds to fit against the number of rows."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    places = ranks(found, tables, systems, "primary")
    known = [system for system in systems if places[system]]
    _ranks(left, {system: places[system] for system in known}, systems)
    _seconds(right, found, tables, systems, rivals)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _ranks(axes: Axes, places: Mapping[str, Sequence[float]], systems: Sequence[str]) -> None:
    order = sorted(places, key=lambda system: -statistics.fmean(places[system]))
    for y, system in enumerate(order):
        colour = COLOURS[list(systems).index(system)]
        axes.plot(places[system], [y] * len(places[system]), "o", color=colour, alpha=0.25, ms=6)
        mean = statistics.fmean(places[system])
        axes.plot(mean, y, "D", color=colour, ms=9)
        axes.annotate(f"{mean:.2f}", (mean, y), (0, 9), textcoords="offset points", ha="center")
    axes.set_yticks(range(len(order)), order)
    axes.set_ylim(-0.5, len(order) - 0.2)
    tables = len(next(iter(places.values()), ()))
    axes.set_xlabel(f"rank by error or RMSE on {tables} tables (1 is best), and its mean")


def _seconds(
    axes: Axes, found: Sequence[Result], tables: Sequence[str], systems: Sequence[str],
    rivals: Mapping[str, tuple[str, float]],
) -> None:  # fmt: skip
    authors = [rival for rival, _ in rivals.values()]
    for number, system in enumerate(systems):
        points = []
        for table in tables:
            points += [(one["rows"], one["fit_s"]) for one in of(timed(found), table, system)]
        if points:
            style = "s" if system in authors else "o"
            axes.plot(*zip(*sorted(points), strict=True), style, color=COLOURS[number], ms=6,
                      label=system)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="rows to train on", ylabel="seconds to fit")
    axes.set_xticks([1500, 3000, 6000, 12_000], ["1,500", "3,000", "6,000", "12,000"])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.legend(frameon=False, fontsize="small", ncols=2, loc="upper left")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * 8)
