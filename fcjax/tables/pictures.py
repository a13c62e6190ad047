"""Pictures of a model: its training, its predictions, and what its columns are worth."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import plot
from .card import Pictures
from .importance import Importance
from .model import TableModel
from .report import HeldOut

# The most targets that have panels.
MOST_TARGETS = 4
# A figure, and the labels in it that are not the names they stand for, with these names.
Drawn = tuple[plot.Figure, dict[str, str]]


def draw(model: TableModel, held_out: HeldOut, importance: Importance) -> Pictures:
    """Return the pictures of a model as PNG files by name.

    These are `history.png`, `importance.png`, and `predictions.png` of numbers, or `confusion.png`
    and `calibration.png` of classes. A picture that cannot be drawn is left out with a warning,
    because the model that it shows may have taken long to train.
    """
    drawings: dict[str, Callable[[], Drawn]] = {
        "history.png": lambda: (_history(model), {}),
        "importance.png": lambda: _importance(importance, model),
    }
    if model.target.classes is None:
        drawings["predictions.png"] = lambda: _predictions(model, held_out)
    else:
        drawings["confusion.png"] = lambda: _confusion(model, held_out)
        drawings["calibration.png"] = lambda: (_calibration(held_out), {})
    files = Pictures()
    for name, drawing in drawings.items():
        try:
            fig, stands_for = drawing()
            files[name] = plot.png(fig)
            files.keys_to[name] = stands_for
        except Exception as error:  # whatever matplotlib makes of numbers or names
            warnings.warn(f"{name} could not be drawn: {error}", stacklevel=3)
    return files


def _history(model: TableModel) -> plot.Figure:
    training = model.report["training"]
    # the report has None for numbers that are not finite
    figures = {
        name: [np.nan if value is None else value for value in values]
        for name, values in training["history"].items()
    }
    metric = training["metric"]
    values = figures.pop(f"val_{metric}")
    if training["in_deviations"]:
        metric = f"{metric}, in deviations"
    figures[f"val_{metric}"] = values
    fig = plot.figure(11, 3.4)
    plot.history(fig, figures, metric=metric, best=training["best epoch"])
    return fig


def _predictions(model: TableModel, held_out: HeldOut) -> Drawn:
    names = model.target.names[:MOST_TARGETS]
    titles = plot.short_names(names)
    targets, predictions = (model.target.decoded(V) for V in (held_out.y, held_out.outputs))
    fig = plot.figure(8 if len(names) == 1 else 1 + 3.4 * len(names), 3.8 if len(names) == 1 else 7)
    shape = (1, 2) if len(names) == 1 else (2, len(names))
    axes = fig.subplots(*shape, squeeze=False).reshape(2, -1)
    for i, title in enumerate(titles):
        pair = targets[:, i], predictions[:, i]
        plot.predicted_against_true(axes[0, i], *pair, name=title)
        plot.residuals(axes[1, i], *pair, name=title)
    if len(names) < len(model.target.names):
        fig.suptitle(f"{len(names)} of {len(model.target.names)} targets")
    return fig, {title: name for title, name in zip(titles, names, strict=True) if title != name}


def _confusion(model: TableModel, held_out: HeldOut) -> Drawn:
    classes = [str(value) for value in model.target.classes or ()]
    size = 3 + 0.34 * min(len(classes), plot.MOST_CLASSES)
    fig = plot.figure(size + 0.5, size)
    predicted = held_out.outputs.argmax(axis=1)
    return fig, plot.confusion(fig.subplots(), held_out.y, predicted, classes)


def _calibration(held_out: HeldOut) -> plot.Figure:
    fig = plot.figure(5, 4.6)
    plot.calibration(fig, *confidence(held_out))
    return fig


def _importance(importance: Importance, model: TableModel) -> Drawn:
    names = importance.columns[: plot.MOST_COLUMNS]
    fig = plot.figure(7, 1 + 0.28 * len(names))
    unit = "" if len(model.target.names) == 1 else ", in deviations of the targets"
    what = f"{importance.change} of {importance.metric} when the column is shuffled{unit}"
    ax = fig.subplots()
    key = plot.importance(ax, names, importance.losses[: len(names)], what=what)
    if len(names) < (columns := len(importance.columns) + importance.not_measured):
        ax.set_title(f"{len(names)} of {columns:,} columns", fontsize=10)
    return fig, key


def confidence(held_out: HeldOut) -> tuple[Any, Any]:
    """Return the probability of the predicted class of each row, and whether it is right."""
    return held_out.outputs.max(axis=1), held_out.outputs.argmax(axis=1) == held_out.y
