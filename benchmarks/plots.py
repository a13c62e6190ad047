"""The pictures: speed against size, memory against depth, and efficiency against chips."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter

from .cases import DEPTHS
from .networks import MAIN
from .results import Result, entry, fastest, memory, ratio
from .sections import PEERS, SINGLE_LIMITS
from .wide import SLICES

DASHED = {"color": "0.3", "lw": 1, "ls": (0, (4, 3)), "zorder": 0}
# The library itself stands out; the peers share a palette that the colour-blind can read.
PALETTE = ["#000000", "#0072b2", "#56b4e9", "#009e73", "#cc79a7", "#7a5195", "#8c8c8c", "#a67c52"]
SPEED = {"fcjax train_epoch": "#c1121f", "fcjax train_step": "#e8871e"}
SPEED |= dict(zip(PEERS, PALETTE, strict=False))
MEMORY = {
    "unrolled, jax.grad": "#56b4e9",
    "unrolled": "#0072b2",
    "scan, jax.grad": "#000000",
    "fcjax.stack": "#c1121f",
    "fcjax.stack, remat_every": "#e8871e",
}
SCALE = {"tensor": "#0072b2", "fsdp": "#e8871e", "fsdp+tensor": "#c1121f"}


def speed_plot(result: Result, path: Path, title: str) -> None:
    """Draw each system's time over that of the matrix products, for networks of growing size."""
    networks = sorted(MAIN, key=lambda network: network.flops)
    lines: dict[str, dict[float, float | None]] = {system: {} for system in SPEED}
    for x, network in enumerate(networks):
        best = fastest(result, "speed", network, SINGLE_LIMITS)
        for system, line in lines.items():
            line[x] = ratio(entry(result, "speed", network, system), best)
    _, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    axes.axhline(1, **DASHED, label="its matrix products alone")
    axes.set(yscale="log", xlim=(-1.3, len(networks) - 0.7))
    ticks = [f"{network}\n{network.flops / 1e6:,.0f} M".replace(", ", "\n") for network in networks]
    axes.set_xticks(range(len(networks)), ticks)
    axes.set_xlabel("network, and floating-point operations per step")
    axes.set_ylabel("time of a step ÷ its matrix products alone")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.legend(frameon=False, loc="upper right")
    _draw(axes, lines, SPEED, names_at=-0.5)
    _finish(axes, path, f"Speed against size · {title}")


def memory_plot(result: Result, path: Path, title: str) -> None:
    """Draw the temporaries of loss and gradient against the number of layers."""
    lines: dict[str, dict[float, float | None]] = {system: {} for system in MEMORY}
    for deep in DEPTHS:
        for system, line in lines.items():
            temp = memory(entry(result, "depth", deep, system), "temp")
            line[deep.layers] = temp and temp / 2**20
    _, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    saved = [deep.saved_inputs / 2**20 for deep in DEPTHS]
    axes.plot(list(lines["unrolled"]), saved, **DASHED, label="one saved input per layer")
    axes.set(xscale="log", yscale="log", xlim=(2, 1300))
    axes.set_xlabel("hidden layers of width 256, gelu, batch 256")
    axes.set_ylabel("temporaries of loss and gradient, MiB")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(frameon=False, loc="upper left")
    _draw(axes, lines, MEMORY, names_at=7)
    _finish(axes, path, f"Memory against depth · {title}")


def efficiency_plot(networks: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw, for each network, the efficiency of each layout between no overlap and all."""
    figure, panels = plt.subplots(
        1, len(networks), figsize=(11, 4.6), sharex=True, sharey=True, layout="constrained"
    )
    for axes, (name, layouts) in zip(panels, networks.items(), strict=True):
        for layout, points in layouts.items():
            _band(axes, points, SCALE[layout])
        axes.set(xscale="log", ylim=(0, 1.03), xlabel="chips", title=f"{name} parameters")
        axes.set_xticks(list(SLICES.values()), list(SLICES.values()))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        _bare(axes)
    panels[0].set_ylabel("needed products ÷ time of a step")
    names = [Line2D([], [], color=SCALE[name], lw=2, label=name) for name in SCALE]
    ends = {"all overlaps": {"lw": 2}, "nothing overlaps": {"lw": 1, "ls": "--"}}
    names += [Line2D([], [], color="0.3", label=name, **style) for name, style in ends.items()]
    figure.legend(handles=names, frameon=False, ncols=len(names), loc="outside lower center")
    figure.suptitle("Expected efficiency against chips · TPU v5e", x=0.01, ha="left")
    _save(figure, path)


def _band(axes: Axes, points: dict[int, tuple[float, float]], colour: str) -> None:
    """Draw both ends of a range, and what is between them."""
    chips, (low, high) = list(points), zip(*points.values(), strict=True)
    axes.plot(chips, high, "o-", lw=2, ms=4, color=colour)
    axes.plot(chips, low, "o--", lw=1, ms=4, color=colour, mfc="white")
    axes.vlines(chips, low, high, color=colour, lw=0.8, alpha=0.4, zorder=1)
    axes.fill_between(chips, low, high, color=colour, alpha=0.1, lw=0)


def _draw(axes: Axes, lines: dict[str, Any], colours: dict[str, str], names_at: float) -> None:
    """Draw the lines, each with its name beside its first point and none of these on another."""
    known = {n: [(x, y) for x, y in line.items() if y is not None] for n, line in lines.items()}
    known = {name: points for name, points in known.items() if points}
    for name, points in known.items():
        style = {"lw": 2.8, "zorder": 3} if "fcjax" in name else {"lw": 1.4}
        axes.plot(*zip(*points, strict=True), "o-", ms=4, color=colours[name], **style)
    axes.get_figure().draw_without_rendering()  # settles the limits
    lowest = 0.0
    for name, points in sorted(known.items(), key=lambda line: line[1][0][1]):
        height = max(lowest, axes.transData.transform(points[0])[1])
        place = names_at, axes.transData.inverted().transform((0, height))[1]
        join = {"arrowstyle": "-", "lw": 0.5, "color": colours[name], "relpos": (1, 0.5)}
        text = {"ha": "right", "va": "center", "fontsize": 9, "color": colours[name]}
        axes.annotate(name, points[0], place, arrowprops=join, **text)
        lowest = height + 15


def _finish(axes: Axes, path: Path, title: str) -> None:
    axes.set_title(title, loc="left")
    axes.yaxis.set_major_formatter("{x:g}")
    _bare(axes)
    _save(axes.get_figure(), path)


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92", zorder=-1)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
