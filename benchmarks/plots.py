"""The two pictures: speed against size, and memory against depth."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from .cases import Deep
from .networks import MAIN
from .results import Result, entry, fastest, ratio
from .sections import PEERS
from .targets import SINGLE_LIMITS

Line = tuple[list[float], list[float]]

# The library itself stands out; the eight peers share a palette that the colour-blind can read.
OURS = {"fcjax train_epoch": "#c1121f", "fcjax train_step": "#e8871e"}
PALETTE = ["#000000", "#0072b2", "#56b4e9", "#009e73", "#cc79a7", "#7a5195", "#8c8c8c", "#a67c52"]


def speed_plot(result: Result, path: Path, title: str) -> None:
    """Draw each system's time over that of the matrix products, against work per step."""
    _, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    colours = OURS | dict(zip(PEERS, PALETTE, strict=False))
    drawn = {}
    for system, colour in colours.items():
        drawn[system] = _speed_line(result, system)
        style = {"lw": 2.8, "zorder": 3} if system in OURS else {"lw": 1.4}
        axes.plot(*drawn[system], "o-", ms=4, color=colour, **style)
    axes.axhline(1, color="0.3", lw=1, ls=(0, (4, 3)), zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="floating-point operations per step")
    axes.set_ylabel("time of a step ÷ its matrix products alone")
    _label_ends(axes, {s: line for s, line in drawn.items() if line[0]}, colours, first=True)
    _name_networks(axes)
    axes.set_title(f"Speed against size · {title}", loc="left")
    _finish(axes, path)


def _speed_line(result: Result, system: str) -> Line:
    xs, ys = [], []
    for network in MAIN:
        best = fastest(result, "speed", network.name, SINGLE_LIMITS)
        y = ratio(entry(result, "speed", network.name, system), best)
        if y is not None:
            xs.append(float(network.flops))
            ys.append(y)
    return xs, ys


def _name_networks(axes: Axes) -> None:
    for network in MAIN:
        layers, batch = network.name.split(", ")
        at = (network.flops, 1.01)
        where = axes.get_xaxis_transform()
        axes.text(*at, f"{layers}\n{batch}", transform=where, ha="center", fontsize=8, color="0.4")


def memory_plot(result: Result, path: Path, title: str) -> None:
    """Draw the temporaries of loss and gradient against the number of layers."""
    _, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    systems = {
        "unrolled, jax.grad": "#56b4e9",
        "unrolled": "#0072b2",
        "scan, jax.grad": "#000000",
        "fcjax.stack": "#c1121f",
        "fcjax.stack, remat_every": "#e8871e",
    }
    depths = [Deep(layers, 256, 256) for layers in (10, 30, 100, 300, 1000)]
    drawn = {system: _memory_line(result, system, depths) for system in systems}
    for system, colour in systems.items():
        width = 2.8 if system.startswith("fcjax.stack") else 1.4
        axes.plot(*drawn[system], "o-", ms=4, color=colour, lw=width)
    saved = [deep.saved_inputs / 2**20 for deep in depths]
    axes.plot([deep.layers for deep in depths], saved, color="0.3", lw=1, ls=(0, (4, 3)), zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="hidden layers of width 256, gelu, batch 256")
    axes.set_ylabel("temporaries of loss and gradient, MiB")
    _label_ends(axes, {s: line for s, line in drawn.items() if line[0]}, systems, first=False)
    axes.set_title(f"Memory against depth · {title}", loc="left")
    _finish(axes, path)


def _memory_line(result: Result, system: str, depths: list[Deep]) -> Line:
    xs, ys = [], []
    for deep in depths:
        memory = entry(result, "depth", deep.name, system).get("memory")
        if memory:
            xs.append(float(deep.layers))
            ys.append(memory["temp"] / 2**20)
    return xs, ys


def _label_ends(axes: Axes, lines: dict[str, Line], colours: dict[str, str], first: bool) -> None:
    """Write each line's name beside its first or last point, no two on top of each other."""
    end = 0 if first else -1
    figure_y = {
        name: axes.transData.transform((xs[end], ys[end]))[1] for name, (xs, ys) in lines.items()
    }
    free = float("-inf")
    for name in sorted(lines, key=lambda name: figure_y[name]):
        xs, _ = lines[name]
        y = max(figure_y[name], free)
        free = y + 16
        at = axes.transData.inverted().transform((0, y))[1]
        axes.annotate(
            name,
            (xs[end], at),
            xytext=(-9 if first else 9, 0),
            textcoords="offset points",
            ha="right" if first else "left",
            va="center",
            color=colours[name],
            fontsize=9,
            annotation_clip=False,
        )


def _finish(axes: Axes, path: Path) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92", zorder=-1)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = axes.get_figure()
    figure.savefig(path, dpi=130)
    plt.close(figure)
