"""Predicted classes beside the true ones, and predicted probabilities beside what happened."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import diagnostics
from .._arguments import check_same_size, describe
from ._checks import as_numpy, numbers, require
from ._labels import labels as as_labels
from ._matplotlib import Axes, Figure, FuncFormatter, MaxNLocator, SubFigure
from ._sizes import CellText, size_of_labels
from ._style import BLUE, GUIDE, clean, legend

# The most classes that a matrix shows.
MOST_CLASSES = 20


def confusion(
    ax: Axes, labels: ArrayLike, predictions: ArrayLike, classes: Sequence[str]
) -> dict[str, str]:
    """Draw the confusion matrix: how often each label was predicted as each class.

    The numbers are counts, and a cell is the darker the more of its row it holds. Of more than 20
    classes, those with the most errors are drawn. A class whose name no font can draw is shown by
    its number, as in "#3" of the third.

    Args:
        ax: where to draw.
        labels: true classes, integers `(m,)`.
        predictions: predicted classes, integers `(m,)`.
        classes: names of the classes.

    Returns:
        The names of the classes that have another label in the picture, by label.

    Raises:
        TypeError: `ax` is not an Axes, or labels or predictions are not integers.
        ValueError: there are no classes, labels and predictions differ in number, or one of them is
            not a class.

    Source: Hastie, Tibshirani & Friedman, The Elements of Statistical Learning (2009), table 9.3.

    >>> from fcjax.plot import figure
    >>> confusion(figure(3, 3).subplots(), [0, 1, 1], [0, 1, 0], ["a", "b"])
    {}
    """
    require("ax", ax, Axes)
    require("classes", classes, Sequence)
    rows, columns = numbers("labels", labels, "iu"), numbers("predictions", predictions, "iu")
    counts = diagnostics.confusion_matrix(rows, columns, len(classes))
    shown = diagnostics.most_confused(counts, MOST_CLASSES)
    parts = counts[np.ix_(shown, shown)]
    # of all rows with the label, also those that were predicted as a class that is not drawn
    _draw_cells(ax, parts, parts / np.maximum(counts.sum(axis=1)[shown, None], 1))
    of_shown = [classes[i] for i in shown]
    names = as_labels(of_shown, 16, [int(i) + 1 for i in shown])
    turned: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    is_long = max(map(_width, names.texts)) > max(3, 24 // len(shown))
    size = size_of_labels(ax, len(shown))
    ax.set_xticks(range(len(shown)), names.literal, **names.font, **(turned if is_long else {}))
    ax.set_yticks(range(len(shown)), names.literal, **names.font)
    ax.tick_params(length=0, labelsize=size)
    ax.set_xlabel("predicted")
    ax.set_ylabel("label")
    if len(shown) < len(classes):
        ax.set_title(f"{len(shown)} of {len(classes)} classes, with the most errors", fontsize=10)
    return names.key_to(of_shown)


def _width(text: str) -> int:
    """Return about how wide a text is, in Latin letters."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _draw_cells(ax: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    is_large = len(counts) > 10
    texts = [_short(int(count), 4 if is_large else 5) for count in counts.ravel()]
    longest = max(map(len, texts))
    for (row, column), text in zip(np.ndindex(counts.shape), texts, strict=True):
        if text != "0" or not is_large:  # zeros would fill a large matrix
            color = "white" if shares[row, column] > 0.5 else "black"
            ax.add_artist(CellText(column, row, text, longest=longest, color=color))
    # thin white lines between cells
    ax.set_xticks(np.arange(len(counts) + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(counts) + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1)
    ax.tick_params(which="minor", length=0)
    ax.spines[:].set_visible(False)


def _short(count: int, most: int) -> str:
    """Return a count in at most so many letters, if it is below a million millions."""
    for unit, size in (("", 1), ("k", 10**3), ("M", 10**6)):
        text = f"{count / size:.0f}{unit}"
        if len(text) <= most:
            break
    return text


def calibration(
    fig: Figure | SubFigure, probabilities: ArrayLike, happened: ArrayLike, *, bins: int = 10
) -> None:
    """Draw how often events happened against their predicted probability, and a histogram.

    For a classifier, the probability is that of the predicted class, and the event is that this
    class is right. On the diagonal, 70 % of the predictions with a probability of 70 % are right. A
    bar is the 95 % confidence interval of a bin. The axes reach over the bins that hold rows, so
    that rare events with many narrow bins can be read.

    Args:
        fig: figure or subfigure to fill.
        probabilities: numbers `(m,)` from 0 to 1. A row whose probability is NaN is left out, and
            counted in the title.
        happened: whether the event happened, booleans `(m,)`.
        bins: number of bins of equal width.

    Raises:
        TypeError: `fig` is not a figure, `happened` is not boolean, or `probabilities` are not
            numbers.
        ValueError: a probability is not from 0 to 1, the two differ in number, or `bins` is not
            positive.

    Source: Guo, Pleiss, Sun & Weinberger, On calibration of modern neural networks, ICML 2017.

    >>> from fcjax.plot import figure
    >>> calibration(figure(4, 4), [0.6, 0.6, 0.9, 0.9], [True, False, True, True])
    """
    require("fig", fig, Figure | SubFigure)
    p, event = numbers("probabilities", probabilities), as_numpy(happened)
    if event.dtype != bool:
        raise TypeError(f"happened must be an array of booleans, got {describe(happened)}")
    check_same_size("happened", event.size, "probabilities", p.size)
    found = diagnostics.calibration(p.ravel(), event.ravel(), bins=bins)
    upper, lower = fig.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_curve(upper, found, p.size)
    lower.bar(found.edges[:-1], found.counts, np.diff(found.edges), align="edge", color=BLUE,
              alpha=0.6, edgecolor="white")  # fmt: skip
    lower.set_ylabel("rows")
    lower.set_xlabel("predicted probability")
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    lower.xaxis.set_major_formatter(_percent())
    lower.set_xlim(_around(*_ends(found)))
    clean(lower)


def _ends(found: diagnostics.Calibration) -> tuple[float, float]:
    """Return the outer edges of the bins that hold rows."""
    filled = np.flatnonzero(found.counts)
    if not len(filled):
        return 0.0, 1.0
    return float(found.edges[filled[0]]), float(found.edges[filled[-1] + 1])


def _around(low: float, high: float) -> tuple[float, float]:
    margin = 0.03 * (high - low)
    return low - margin, high + margin


def _percent() -> FuncFormatter:
    """Write a part of 1 in percent, with as many digits as it needs."""
    return FuncFormatter(lambda part, _: f"{100 * part:.4g}%")


def _draw_curve(ax: Axes, found: diagnostics.Calibration, rows: int) -> None:
    filled = found.counts > 0
    x, y = found.probability[filled], found.frequency[filled]
    low, high = found.low[filled], found.high[filled]
    spread = y - low, high - y
    ax.plot([0, 1], [0, 1], **GUIDE, label="calibrated")
    ax.errorbar(x, y, spread, color=BLUE, marker="o", markersize=5, linewidth=1.5, elinewidth=1,
                capsize=3, label="observed", zorder=3)  # fmt: skip
    seen = [*_ends(found), *low, *high]  # the diagonal between the ends, and every bar
    ax.set_ylim(_around(min(seen), max(seen)))
    ax.yaxis.set_major_formatter(_percent())
    ax.set_ylabel("observed frequency")
    known = found.counts.sum()
    error = f"expected calibration error {found.error:.3g}" if known else ""
    left_out = f"without {rows - known:,} of {rows:,} rows, NaN" if known < rows else ""
    ax.set_title("\n".join(filter(None, (error, left_out))), fontsize=10)
    legend(ax, "lower right")
    clean(ax)
