"""How a training went."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import as_integer, brief, check_one_of, describe
from ._checks import numbers, require
from ._labels import label
from ._matplotlib import Axes, Figure, MaxNLocator, SubFigure
from ._style import BLUE, GREEN, GUIDE, ORANGE, clean, drawable, legend, spans_decades
from ._ticks import set_ticks


def loss_curve(ax: Axes, history: Mapping[str, ArrayLike]) -> None:
    """Draw the training and validation loss of each epoch, on a logarithmic scale.

    Args:
        ax: where to draw.
        history: `FitResult.history`, with "loss" and optionally "val_loss".

    Raises:
        TypeError: `ax` is not an Axes, or `history` does not map names to numbers.
        ValueError: `history` has no "loss".

    Source: Goodfellow, Bengio & Courville, Deep Learning (2016), figure 7.3.

    >>> from fcjax.plot import figure
    >>> loss_curve(figure(4, 3).subplots(), {"loss": [1.0, 0.5], "val_loss": [1.1, 0.7]})
    """
    require("ax", ax, Axes)
    require("history", history, Mapping)
    if "loss" not in history:
        raise ValueError(f"history must have 'loss', got {brief(history)}")
    for name, line in {"loss": "training", "val_loss": "held out"}.items():
        if name in history:
            losses = numbers(f"history[{name!r}]", history[name])
            if losses.ndim != 1:
                raise TypeError(
                    f"history[{name!r}] must have one number per epoch, got {describe(losses)}"
                )
            ax.plot(range(1, len(losses) + 1), losses, label=line)
    if any(np.any(np.asarray(line.get_ydata()) > 0) for line in ax.lines):
        ax.set_yscale("log")
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    ax.set_title("Loss")
    ax.grid(alpha=0.3, which="both")
    ax.legend()


def history(
    fig: Figure | SubFigure,
    figures: Mapping[str, ArrayLike],
    *,
    metric: str | None = None,
    best: int | None = None,
) -> None:
    """Draw what a training reports of each epoch: the losses, a metric, and the learning rate.

    A loss or a metric that falls over decades is drawn on a logarithmic scale. NaN, and
    numbers beyond 1e200, are left out.

    Args:
        fig: figure or subfigure to fill.
        figures: numbers of each epoch, such as `FitResult.history`: "loss", and optionally
            "val_loss", the metric (also as "val_" and its name) and "learning_rate".
        metric: the metric to draw beside the losses.
        best: the number of the epoch that is kept, from 1, which is marked.

    Raises:
        TypeError: `fig` is not a figure, or `figures` does not map names to numbers.
        ValueError: there is nothing to draw, lists differ in length, or `best` is not an epoch.

    Source: Goodfellow, Bengio & Courville, Deep Learning (2016), figure 7.3.

    >>> from fcjax.plot import figure
    >>> fig = figure(8, 3)
    >>> history(fig, {"loss": [1.0, 0.5], "val_auc": [0.8, 0.9]}, metric="auc", best=2)
    >>> [ax.get_ylabel() for ax in fig.axes]
    ['loss', 'auc']
    """
    require("fig", fig, Figure | SubFigure)
    require("figures", figures, Mapping)
    require("metric", metric, str | None)
    if metric is not None:
        check_one_of("metric", metric, {str(name).removeprefix("val_") for name in figures})
    panels = _panels(figures, metric)
    epochs = {len(values) for panel in panels.values() for values in panel.values()}
    if len(epochs) != 1:
        wanted = "'loss'" if metric is None else f"'loss' or {metric!r}"
        raise ValueError(
            f"figures must have lists of one length, at least of {wanted}, got {brief(figures)}"
        )
    (number,) = epochs
    kept = None if best is None else as_integer(best)
    if best is not None and (kept is None or not 1 <= kept <= number):
        raise ValueError(f"best must be an epoch from 1 to {number}, got {brief(best)}")
    axes = fig.subplots(1, len(panels), squeeze=False)[0]
    for ax, (name, panel) in zip(axes, panels.items(), strict=True):
        _draw_epochs(ax, name, panel, kept)


def _panels(
    figures: Mapping[str, ArrayLike], metric: str | None
) -> dict[str, dict[str, np.ndarray]]:
    """Return the lines of each panel, by the name of the line."""
    wanted = {"loss": ("loss", "val_loss"), "learning rate": ("learning_rate",)}
    if metric not in (None, "loss"):
        wanted = {"loss": wanted["loss"], metric: (metric, f"val_{metric}"), **wanted}
    panels: dict[str, dict[str, np.ndarray]] = {}
    for panel, names in wanted.items():
        lines = {
            "validation" if name.startswith("val_") else "training": _per_epoch(name, figures[name])
            for name in names
            if name in figures
        }
        if lines:
            panels[panel] = lines
    return panels


def _per_epoch(name: str, values: ArrayLike) -> np.ndarray:
    found = numbers(f"figures[{name!r}]", values).astype(np.float64)
    if found.ndim != 1:
        raise TypeError(f"figures[{name!r}] must have one number per epoch, got {describe(found)}")
    return found


def _draw_epochs(ax: Axes, name: str, lines: Mapping[str, np.ndarray], best: int | None) -> None:
    colors = {"training": BLUE, "validation": ORANGE}
    for line, values in lines.items():
        shown = np.where(drawable(values), values, np.nan)
        # a line of one point, or of points between gaps, is invisible
        marker = "o" if len(values) <= 30 or np.isnan(shown).any() else ""
        color = GREEN if name == "learning rate" else colors[line]
        epochs = np.arange(1, len(values) + 1)
        ax.plot(epochs, shown, color=color, label=line, marker=marker, markersize=4, linewidth=1.5)
    is_log = spans_decades(*lines.values()) and name != "learning rate"
    scale = {"value": "log" if is_log else "linear"}
    ax.set_yscale(**scale)
    set_ticks(ax.yaxis, scale)
    if best is not None:
        ax.axvline(best, **GUIDE, label=f"best epoch, {best}")
    text, font = label(name)
    ax.set_xlabel("epoch")
    ax.set_ylabel(text, **font)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    clean(ax)
    if name != "learning rate":
        legend(ax)
