"""The two pictures: speed against size, and memory against depth."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from .cases import Deep
from .networks import MAIN, Network
from .results import Result, entry, fastest, ratio
from .sections import PEERS
from .targets import SINGLE_LIMITS

Line = tuple[list[float], list[float]]

DASHED = {"color": "0.3", "lw": 1, "ls": (0, (4, 3)), "zorder": 0}

# The library itself stands out; the eight peers share a palette that the colour-blind can read.
OURS = {"fcjax train_epoch": "#c1121f", "fcjax train_step": "#e8871e"}
PALETTE = ["#000000", "#0072b2", "#56b4e9", "#009e73", "#cc79a7", "#7a5195", "#8c8c8c", "#a67c52"]


def speed_plot(result: Result, path: Path, title: str) -> None:
    """Draw each system's time over that of the matrix products, for networks of growing size."""
    _, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    networks = sorted(MAIN, key=lambda network: network.flops)
    colours = OURS | dict(zip(PEERS, PALETTE, strict=False))
    drawn = {system: _speed_line(result, system, networks) for system in colours}
    for system, colour in colours.items():
        style = {"lw": 2.8, "zorder": 3} if system in OURS else {"lw": 1.4}
        axes.plot(*drawn[system], "o-", ms=4, color=colour, **style)
    axes.axhline(1, **DASHED, label="its matrix products alone")
    axes.set(yscale="log", xlim=(-1.3, len(networks) - 0.7))
    axes.set_ylabel("time of a step ÷ its matrix products alone")
    axes.set_xticks(range(len(networks)), [_tick(network) for network in networks])
    axes.set_xlabel("network, and floating-point operations per step")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    _label(axes, drawn, colours, -1.2, first=True)
    axes.legend(frameon=False, loc="upper right")
    axes.set_title(f"Speed against size · {title}", loc="left")
    _finish(axes, path)


def _tick(network: Network) -> str:
    layers, batch = network.name.split(", ")
    return f"{layers}\n{batch}\n{network.flops / 1e6:,.0f} M"


def _speed_line(result: Result, system: str, networks: list[Network]) -> Line:
    xs, ys = [], []
    for x, network in enumerate(networks):
        best = fastest(result, "speed", network.name, SINGLE_LIMITS)
        y = ratio(entry(result, "speed", network.name, system), best)
        if y is not None:
            xs.append(float(x))
            ys.append(y)
    return xs, ys


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
    axes.plot([d.layers for d in depths], saved, **DASHED, label="one saved input per layer")
    axes.set(xscale="log", yscale="log", xlim=(2.4, 5000))
    axes.set_xlabel("hidden layers of width 256, gelu, batch 256")
    axes.set_ylabel("temporaries of loss and gradient, MiB")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    reaches_end = {system for system in systems if depths[-1].layers in drawn[system][0]}
    short = {system: drawn[system] for system in systems if system not in reaches_end}
    _label(axes, {system: drawn[system] for system in reaches_end}, systems, 1200, first=False)
    _label(axes, short, systems, 2.6, first=True)
    axes.legend(frameon=False, loc="upper left")
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


def _label(
    axes: Axes, lines: dict[str, Line], colours: dict[str, str], x: float, first: bool
) -> None:
    """Write each line's name at `x`, joined to its first or last point, none on another."""
    axes.get_figure().draw_without_rendering()  # settles the limits
    end = 0 if first else -1
    lines = {name: line for name, line in lines.items() if line[0]}
    heights = {
        name: axes.transData.transform((xs[end], ys[end]))[1] for name, (xs, ys) in lines.items()
    }
    names = sorted(lines, key=lambda name: heights[name])
    for name, height in zip(names, _apart([heights[name] for name in names]), strict=True):
        xs, ys = lines[name]
        axes.annotate(
            name,
            (xs[end], ys[end]),
            xytext=(x, axes.transData.inverted().transform((0, height))[1]),
            va="center",
            color=colours[name],
            fontsize=9,
            arrowprops={
                "arrowstyle": "-",
                "lw": 0.5,
                "color": colours[name],
                "relpos": (first, 0.5),
            },
        )


def _apart(heights: list[float], gap: float = 15.0) -> list[float]:
    """Move ascending heights as far as needed for a gap, half of the way up and half down."""
    up, down = list(heights), list(heights)
    for i in range(1, len(heights)):
        up[i] = max(up[i], up[i - 1] + gap)
    for i in reversed(range(len(heights) - 1)):
        down[i] = min(down[i], down[i + 1] - gap)
    return [(low + high) / 2 for low, high in zip(down, up, strict=True)]


def _finish(axes: Axes, path: Path) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92", zorder=-1)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = axes.get_figure()
    figure.savefig(path, dpi=130)
    plt.close(figure)
