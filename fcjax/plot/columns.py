"""Which columns of a table a network needs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import check_same_size, describe
from ._checks import numbers, require
from ._labels import label, labels
from ._matplotlib import Axes
from ._sizes import size_of_labels
from ._style import BLUE, clean, drawable
from ._ticks import round_numbers

# The most columns that have a bar.
MOST_COLUMNS = 20


def importance(
    ax: Axes, names: Sequence[str], losses: ArrayLike, *, what: str = "how much worse the metric is"
) -> dict[str, str]:
    """Draw how much a metric gets worse when a column is permuted, as a bar with its spread.

    Of more than 20 columns, those with the largest means are drawn.

    Args:
        ax: where to draw.
        names: names of the columns, the first at the top. One that no font can draw is shown by its
            number, as in "#3" of the third.
        losses: how much the metric gets worse `(columns, repeats)`, in each repeat. The bar is the
            mean, with one standard deviation over the repeats on both sides. NaN and numbers beyond
            1e200 count as 0.
        what: the label of the axis.

    Returns:
        The names of the columns that have another label in the picture, by label.

    Raises:
        TypeError: `ax` is not an Axes, or `losses` are not numbers `(columns, repeats)`.
        ValueError: there are no columns, or names and losses differ in number.

    Source: Fisher, Rudin & Dominici, All models are wrong, but many are useful, Journal of Machine
    Learning Research 20 (2019).

    >>> from fcjax.plot import figure
    >>> importance(figure(4, 2).subplots(), ["age", "town"], [[0.2, 0.3], [0.0, 0.01]])
    {}
    """
    require("ax", ax, Axes)
    require("names", names, Sequence)
    require("what", what, str)
    found = numbers("losses", losses).astype(np.float64)
    if found.ndim != 2:
        raise TypeError(f"losses must be (columns, repeats) numbers, got {describe(losses)}")
    check_same_size("losses", len(found), "names", len(names))
    found = np.where(drawable(found), found, 0.0)
    means, spread = found.mean(axis=1), found.std(axis=1)
    shown = np.sort(np.argsort(-means, kind="stable")[:MOST_COLUMNS])
    at = np.arange(len(shown))
    error = {"elinewidth": 1, "capsize": 2, "ecolor": "black"}
    ax.barh(at, means[shown], xerr=spread[shown], height=0.7, color=BLUE, error_kw=error)
    ax.axvline(0, color="black", linewidth=0.8)
    of_shown = [names[i] for i in shown]
    texts = labels(of_shown, numbers=[int(i) + 1 for i in shown])
    ax.set_yticks(at, texts.literal, size=size_of_labels(ax, len(shown)), **texts.font)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    text, font = label(what, 80)
    ax.set_xlabel(text, wrap=True, **font)
    if len(shown) < len(names):
        said = f"{len(shown)} of {len(names):,} columns, with the largest means"
        ax.set_title(said, fontsize=10, wrap=True)
    ax.xaxis.set_major_locator(round_numbers())
    clean(ax)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    return texts.key_to(of_shown)
