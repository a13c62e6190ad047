"""Predicted numbers beside the true ones."""

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import check_same_size
from ._checks import numbers, require
from ._labels import label
from ._matplotlib import Axes
from ._style import BLUE, GUIDE, LARGEST, clean, drawable, named, rescale, scale_of

# The most letters of a name in a title, which is above a panel of three inches.
MOST_LETTERS = 28


def predicted_against_true(
    ax: Axes, targets: ArrayLike, predictions: ArrayLike, *, name: str = ""
) -> None:
    """Draw predictions against targets, with the diagonal on which they are equal.

    With outliers that span decades, the scales are logarithmic, and linear near 0 unless all
    numbers are positive and none is far nearer to 0 than the others; the labels of the axes say so.
    Rows with NaN, or numbers beyond 1e200, are left out, and counted in the title.

    Args:
        ax: where to draw.
        targets: numbers `(m,)`.
        predictions: numbers `(m,)`.
        name: of the target, for the title.

    Raises:
        TypeError: `ax` is not an Axes, or targets or predictions are not numbers.
        ValueError: there are none, or they differ in number.

    Source: Piñeiro et al., How to evaluate models: observed vs. predicted or predicted vs.
    observed?, Ecological Modelling 216 (2008).

    >>> from fcjax.plot import figure
    >>> predicted_against_true(figure(3, 3).subplots(), [1.0, 2.0], [1.1, 1.8])
    """
    t, p = _pair(ax, targets, predictions, name)
    scale = scale_of(t, p)
    rescale(ax, scale, scale)
    _points(ax, t, p)
    if len(t):
        ends = [min(t.min(), p.min()), max(t.max(), p.max())]
        ax.plot(ends, ends, **GUIDE)
    ax.set_xlabel(named("target", scale))
    ax.set_ylabel(named("prediction", scale))


def residuals(ax: Axes, targets: ArrayLike, predictions: ArrayLike, *, name: str = "") -> None:
    """Draw residuals, target − prediction, against predictions.

    Of a good fit, they have no pattern but noise around 0. With outliers that span decades, the
    scale is linear near 0 and logarithmic beyond; the label of the axis says so. Rows with NaN, or
    numbers beyond 1e200, are left out, and counted in the title.

    Args:
        ax: where to draw.
        targets: numbers `(m,)`.
        predictions: numbers `(m,)`.
        name: of the target, for the title.

    Raises:
        TypeError: `ax` is not an Axes, or targets or predictions are not numbers.
        ValueError: there are none, or they differ in number.

    Source: Anscombe & Tukey, The examination and analysis of residuals, Technometrics 5 (1963).

    >>> from fcjax.plot import figure
    >>> residuals(figure(3, 3).subplots(), [1.0, 2.0], [1.1, 1.8])
    """
    t, p = _pair(ax, targets, predictions, name)
    r = t - p
    x, y = scale_of(p), scale_of(r, -np.abs(r))
    rescale(ax, x, y)
    _points(ax, p, r)
    ax.axhline(0, **GUIDE)
    ax.set_xlabel(named("prediction", x))
    ax.set_ylabel(named("target − prediction", y))


def _pair(
    ax: Axes, targets: ArrayLike, predictions: ArrayLike, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of both that can be drawn, and write the title."""
    require("ax", ax, Axes)
    require("name", name, str)
    t, p = (
        numbers(which, values).ravel().astype(np.float64)
        for which, values in (("targets", targets), ("predictions", predictions))
    )
    check_same_size("predictions", len(p), "targets", len(t))
    shown = drawable(t) & drawable(p)
    text, font = label(name, MOST_LETTERS)
    left_out = f"without {np.sum(~shown):,} of {len(t):,} rows,\nNaN or beyond {LARGEST:g}"
    ax.set_title("\n".join(filter(None, (text, "" if shown.all() else left_out))), size=10, **font)
    return t[shown], p[shown]


def _points(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Draw points, the more transparent the more there are."""
    many = len(x) / 500
    alpha, size = float(np.clip(0.6 / max(many, 1) ** 0.5, 0.05, 1)), 5 if many < 4 else 3
    ax.plot(x, y, "o", color=BLUE, alpha=alpha, markersize=size, markeredgewidth=0)
    clean(ax)
