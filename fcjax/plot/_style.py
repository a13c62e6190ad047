"""One look for all pictures."""

import math
from typing import Any, Literal

import numpy as np

from ._matplotlib import Axes
from ._ticks import in_powers, set_ticks

# Colours that the colour-blind can tell apart, from Okabe & Ito, Color universal design (2008).
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
COLORS = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")
GREY = "0.45"
GUIDE: dict[str, Any] = {"color": GREY, "linewidth": 1, "linestyle": (0, (4, 3)), "zorder": 1}

# From these ratios on, a scale is logarithmic: of the largest to the smallest of numbers that fall
# over decades, and of the largest to a typical one of numbers that have outliers.
DECADES, OUTLYING = 30, 20
# It also needs that many, from the smallest number or from where a scale stops being linear, so
# that there are decades to show: on fewer, a kink at 0 would look like a pattern.
SPANNED = 100
# A number would stretch a logarithmic scale if it is that many decades smaller than is typical, and
# that many times as far below as a quarter of the numbers are.
DECADES_BELOW, TIMES_BELOW = 6, 6
# Beyond this, matplotlib overflows when it makes room around what it draws.
LARGEST = 1e200


def clean(ax: Axes) -> None:
    """Leave the axes on the left and below, and a grid behind what is drawn."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3, linewidth=0.6)
    ax.set_axisbelow(True)


def legend(ax: Axes, place: Literal["best", "lower right"] = "best") -> None:
    """Name the lines, on a ground that keeps the names readable above other lines."""
    ax.legend(loc=place, facecolor="white", edgecolor="none", framealpha=0.85)


def spans_decades(*arrays: np.ndarray) -> bool:
    """Whether all finite numbers are positive, and some are many times as large as others."""
    values = _finite(*arrays)
    return bool(len(values)) and bool(0 < values.min() < values.max() / DECADES)


def scale_of(*arrays: np.ndarray) -> dict[str, Any]:
    """Return the scale of an axis: linear, or logarithmic where outliers span decades.

    Numbers are as large as is typical of one of the arrays. If not all are positive, or some are
    near 0, a logarithmic scale is linear around 0.
    """
    finite = [_finite(array) for array in arrays]
    sizes = [np.abs(values[values != 0]) for values in finite]
    typical = max((float(np.median(some)) for some in sizes if len(some)), default=0.0)
    largest = max(float(some.max(initial=0)) for some in sizes)
    if not typical or largest / OUTLYING <= typical:
        return {"value": "linear"}
    values = np.concatenate(finite)
    smallest = float(values.min())
    if smallest > 0 and not _some_are_near_0(values, typical):
        return {"value": "log" if largest / SPANNED >= smallest else "linear"}
    linear = 10.0 ** math.ceil(math.log10(2 * typical))
    if largest / SPANNED < linear:
        return {"value": "linear"}
    return {"value": "symlog", "linthresh": linear}


def _some_are_near_0(values: np.ndarray, typical: float) -> bool:
    """Whether some positive numbers are far smaller than the others."""
    below = np.log10(typical) - np.log10(values)  # the ratio may overflow
    return bool(below.max() > max(DECADES_BELOW, TIMES_BELOW * np.quantile(below, 0.75)))


def named(name: str, scale: dict[str, Any]) -> str:
    """Return the label of an axis, which says how it is to be read if it is not linear."""
    if scale["value"] == "log":
        return f"{name} (log scale)"
    if scale["value"] == "symlog":
        (end,) = in_powers([scale["linthresh"]])
        return f"{name}\n(symmetric log, linear within ±{end})"
    return name


def drawable(values: np.ndarray) -> np.ndarray:
    """Return which numbers can be drawn."""
    return np.abs(values.astype(np.float64)) <= LARGEST  # not NaN either


def rescale(ax: Axes, x: dict[str, Any], y: dict[str, Any]) -> None:
    """Set the scales of both axes, with ticks that can be read."""
    ax.set_xscale(**x)
    ax.set_yscale(**y)
    set_ticks(ax.xaxis, x)
    set_ticks(ax.yaxis, y)


def _finite(*arrays: np.ndarray) -> np.ndarray:
    values = np.concatenate([array.ravel() for array in arrays])
    return values[np.isfinite(values)]
