"""What goes on in a network: its decisions, both passes, its gradients, its units, its weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import diagnostics
from .._arguments import check_function, check_same_size, describe
from ._checks import numbers, require
from ._labels import labels as as_labels
from ._layers import draw_layers
from ._matplotlib import Axes, Figure, ListedColormap, MaxNLocator, SubFigure, colormaps
from ._style import BLUE, COLORS, GREEN, GREY, ORANGE, clean, drawable, legend, spans_decades
from ._ticks import set_ticks

# Points of the grid along each axis.
GRID = 201
# Layers that are drawn beside one another.
MOST_LAYERS = 8


def decision_boundary(
    ax: Axes,
    predict: Callable[[np.ndarray], Any],
    x: ArrayLike,
    labels: ArrayLike,
    *,
    names: Sequence[str] = ("x₁", "x₂"),
) -> None:
    """Draw the regions of the plane that a network puts into each class, and examples on top.

    The regions are coloured as the examples of their class. An example in a region of another
    colour is predicted wrong. Where a score is NaN, the plane stays blank.

    Args:
        ax: where to draw.
        predict: a function of points `(n, 2)` that returns a score for each class, `(n, classes)`,
            of which the largest is taken, or the probability of class 1, `(n,)` or `(n, 1)`.
        x: examples, points `(m, 2)`.
        labels: their classes, integers `(m,)` from 0 to 6.
        names: what the two columns are, two names.

    Raises:
        TypeError: `ax` is not an Axes, `predict` is not a function, `names` are not a sequence, or
            labels are not integers.
        ValueError: `x` is not `(m, 2)`, labels differ from it in number or are not classes, names
            are not two, or `predict` returns something else.

    Source: Hastie, Tibshirani & Friedman, The Elements of Statistical Learning (2009), figure 2.1.

    >>> from fcjax.plot import figure
    >>> x, labels = [[0.0, 0.0], [1.0, 1.0]], [0, 1]
    >>> decision_boundary(figure(3, 3).subplots(), lambda points: points[:, 0], x, labels)
    """
    require("ax", ax, Axes)
    check_function("predict", predict)
    require("names", names, Sequence)
    if len(names) != 2:
        raise ValueError(f"names must be two names, got {describe(names)}")
    points, classes = numbers("x", x).astype(np.float64), numbers("labels", labels, "iu").ravel()
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"x must be points in the plane, (m, 2), got {describe(points)}")
    if not drawable(points).all():
        raise ValueError(f"x must be finite, got {describe(points)} with NaN, or beyond 1e200")
    check_same_size("labels", classes.size, "x", len(points))
    outside = classes[(classes < 0) | (classes >= len(COLORS))]
    if outside.size:
        raise ValueError(f"labels must be from 0 to {len(COLORS) - 1}, got {outside[0]}")
    axes = [_around(column) for column in points.T]
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2).astype(np.float32)
    scores = _scores_of(predict(grid), len(grid)).reshape(GRID, GRID, -1)
    regions = np.ma.masked_where(np.isnan(scores).any(axis=2), scores.argmax(axis=2))
    count = max(scores.shape[2], int(classes.max()) + 1)
    shades = ListedColormap(COLORS[:count])
    ax.pcolormesh(*axes, regions, cmap=shades, vmin=-0.5, vmax=count - 0.5, alpha=0.25,
                  shading="nearest", rasterized=True)  # fmt: skip
    for k in range(1, scores.shape[2]):  # a line around each region but one
        others = np.delete(scores, k, axis=2).max(axis=2)
        if (regions == k).any() and (regions != k).any():
            ax.contour(*axes, scores[..., k] - others, [0.0], colors=[GREY], linewidths=1)
    for k in np.unique(classes):
        of_class = points[classes == k]
        ax.plot(*of_class.T, "o^sDvP*"[k], color=COLORS[k], markersize=5,
                markeredgecolor="white", markeredgewidth=0.5, label=f"class {k}")  # fmt: skip
    axis_labels = as_labels(names)
    ax.set_xlabel(axis_labels.literal[0], wrap=True, **axis_labels.font)
    ax.set_ylabel(axis_labels.literal[1], wrap=True, **axis_labels.font)
    legend(ax)


def _around(column: np.ndarray) -> np.ndarray:
    """Return evenly spaced numbers that reach beyond a column on both sides."""
    low, high = float(column.min()), float(column.max())
    margin = 0.1 * (high - low) or 1.0
    return np.linspace(low - margin, high + margin, GRID)


def _scores_of(scores: Any, number: int) -> np.ndarray:
    """Return a score of each class; of a probability, those of both classes."""
    scores = numbers("predict(x)", scores)
    if scores.ndim == 2 and scores.shape[1] > 1 and len(scores) == number:
        if scores.shape[1] > len(COLORS):
            raise ValueError(
                f"predict must return at most {len(COLORS)} scores, got {describe(scores)}"
            )
        return scores.astype(np.float64)
    if scores.shape not in ((number,), (number, 1)):
        raise ValueError(
            f"predict must return scores ({number}, classes), or probabilities ({number},), "
            f"got {describe(scores)}"
        )
    probability = scores.ravel().astype(np.float64)
    return np.stack([1 - probability, probability], axis=1)


def passes(
    fig: Figure | SubFigure,
    activations: Sequence[ArrayLike],
    deltas: Sequence[ArrayLike],
) -> None:
    r"""Draw both passes in one picture: the activations going forward, the errors δ coming back.

    Each matrix has a row for each example and a column for each unit. Orange is positive, purple
    negative, each relative to the largest entry of its matrix, which stands above it. Green is NaN
    or infinite. So a column without colour in both rows is a unit that is dead for this batch.

    Args:
        fig: figure or subfigure to fill.
        activations: the input and the output of each layer, `X, A₁, …, A_L`, each
            `(m, n_l)`.
        deltas: the gradient of the loss with respect to the affine part of each layer,
            `dZ₁, …, dZ_L`, each `(m, n_l)`.

    Raises:
        TypeError: `fig` is not a figure, or something is not a list of matrices.
        ValueError: the lists do not fit together, or there are more than 8 layers.

    Source: Rumelhart, Hinton & Williams, Learning representations by back-propagating errors,
    Nature 323 (1986).

    >>> from fcjax.plot import figure
    >>> fig = figure(6, 4)
    >>> passes(fig, [np.ones((5, 2)), np.ones((5, 3))], [np.ones((5, 3))])
    >>> [ax.get_title() for ax in fig.axes]
    ['X\nup to 1', 'A₁\nup to 1', 'dZ₁\nup to 1']
    """
    require("fig", fig, Figure | SubFigure)
    outputs, errors = _matrices("activations", activations), _matrices("deltas", deltas)
    if len(outputs) != len(errors) + 1:
        raise ValueError(
            f"activations must be X, A₁, …, A_L beside {len(errors)} deltas, got {len(outputs)}"
        )
    rows = {len(matrix) for matrix in (*outputs, *errors)}
    if len(rows) > 1:
        raise ValueError(f"all matrices must have a row for each example, got {sorted(rows)} rows")
    if len(errors) > MOST_LAYERS:
        raise ValueError(f"deltas must be of at most {MOST_LAYERS} layers, got {len(errors)}")
    axes = fig.subplots(2, len(outputs), squeeze=False)
    for l, matrix in enumerate(outputs):
        _draw_matrix(axes[0, l], matrix, f"A{_low(l)}" if l else "X")
    axes[1, 0].remove()
    for l, matrix in enumerate(errors, 1):
        _draw_matrix(axes[1, l], matrix, f"dZ{_low(l)}")
    axes[0, 0].set_ylabel("forward →\nexample")
    axes[1, 1].set_ylabel("← backward\nexample")


def _low(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _matrices(name: str, values: Sequence[ArrayLike]) -> list[np.ndarray]:
    require(name, values, Sequence)
    found = [numbers(f"{name}[{i}]", matrix) for i, matrix in enumerate(values)]
    if not found:
        raise ValueError(f"{name} must hold a matrix of each layer, got none")
    for i, matrix in enumerate(found):
        if matrix.ndim != 2:
            raise TypeError(f"{name}[{i}] must be a matrix, got {describe(matrix)}")
    return found


def _draw_matrix(ax: Axes, matrix: np.ndarray, name: str) -> None:
    finite = np.abs(matrix[np.isfinite(matrix)])
    largest = float(np.max(finite, initial=0.0))
    limit = largest or 1.0
    rows, columns = matrix.shape
    colors = colormaps["PuOr_r"].with_extremes(bad=GREEN)
    ax.imshow(matrix, cmap=colors, vmin=-limit, vmax=limit, aspect="auto",
              interpolation="nearest", extent=(0.5, columns + 0.5, rows + 0.5, 0.5))  # fmt: skip
    ax.set_title(f"{name}\nup to {largest:.3g}", fontsize=9)
    ax.set_xlabel("unit", fontsize=9)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
    ax.tick_params(labelsize=8)


def gradient_norms(ax: Axes, norms: Mapping[str, ArrayLike]) -> None:
    """Draw the norm of the gradient of each layer over training, on a logarithmic scale.

    Norms that shrink from the last layer to the first are gradients that vanish on their way back.
    Lines are the darker the later the layer; of many layers, a colour bar names some. Norms of 0,
    NaN, and numbers beyond 1e200 are left out.

    Args:
        ax: where to draw.
        norms: numbers of each step by layer, as `diagnostics.gradient_norms` returns for one step.

    Raises:
        TypeError: `ax` is not an Axes, or `norms` does not map names to numbers.
        ValueError: there are none, or lists differ in length.

    Source: Glorot & Bengio, Understanding the difficulty of training deep feedforward neural
    networks, AISTATS 2010, figure 7.

    >>> from fcjax.plot import figure
    >>> gradient_norms(figure(4, 3).subplots(), {"layer 1": [0.1, 0.2], "layer 2": [1.0, 0.5]})
    """
    require("ax", ax, Axes)
    require("norms", norms, Mapping)
    lines = {name: numbers(f"norms[{name!r}]", values) for name, values in norms.items()}
    if len({line.shape for line in lines.values()}) != 1 or next(iter(lines.values())).ndim != 1:
        shapes = {name: line.shape for name, line in lines.items()}
        raise ValueError(f"norms must have a number per step of each layer, got {shapes}")
    shown = {name: np.where(drawable(line) & (line > 0), line, np.nan) for name, line in
             lines.items()}  # fmt: skip
    draw_layers(ax, shown)
    scale = {"value": "log" if spans_decades(*shown.values()) else "linear"}
    ax.set_yscale(**scale)
    set_ticks(ax.yaxis, scale)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    ax.set_xlabel("step")
    ax.set_ylabel("norm of the gradient")


def activation_histograms(
    fig: Figure | SubFigure, activations: Sequence[ArrayLike], *, bins: int = 40
) -> None:
    r"""Draw how the outputs of each layer are distributed, and count the dead units.

    A unit is dead for this batch if its output is the same for each example: nothing that the
    layers after it compute depends on the input through it. NaN, and numbers beyond 1e200, are left
    out, and counted in the title.

    Args:
        fig: figure or subfigure to fill.
        activations: the outputs of each layer, `A₁, …, A_L`, each `(m, n_l)`.
        bins: number of bins of equal width.

    Raises:
        TypeError: `fig` is not a figure, or `activations` is not a list of matrices.
        ValueError: there are none, or more than 8 layers.

    Source: Glorot & Bengio, AISTATS 2010, figure 6.

    >>> from fcjax.plot import figure
    >>> fig = figure(4, 3)
    >>> activation_histograms(fig, [np.array([[0.0, 1.0], [0.0, 2.0]])])
    >>> fig.axes[0].get_title()
    'layer 1\n1 of 2 units dead'
    """
    require("fig", fig, Figure | SubFigure)
    layers = _matrices("activations", activations)
    if len(layers) > MOST_LAYERS:
        raise ValueError(f"activations must be of at most {MOST_LAYERS} layers, got {len(layers)}")
    axes = fig.subplots(1, len(layers), squeeze=False)[0]
    for l, (ax, A) in enumerate(zip(axes, layers, strict=True), 1):
        dead = diagnostics.dead_units(A)
        values = [part[drawable(part)] for part in (A[:, dead], A[:, ~dead])]
        left_out = A.size - sum(part.size for part in values)
        if left_out < A.size:
            edges = _edges(np.concatenate(values), bins)
            ax.hist(values, edges, stacked=True, color=[ORANGE, BLUE], alpha=0.8,
                    label=["dead", "live"])  # fmt: skip
            if dead.any():
                legend(ax)
        ax.set_title(_said_of(l, dead, left_out, A.size), fontsize=10)
        ax.set_xlabel("activation")
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        clean(ax)
    axes[0].set_ylabel("values")


def _said_of(layer: int, dead: np.ndarray, left_out: int, values: int) -> str:
    """Return a title, which calls no layer alive of which there is nothing to draw."""
    lines = [f"layer {layer}"]
    if dead.any() or left_out < values:
        lines += [f"{dead.sum()} of {dead.size} units dead" if dead.any() else "no unit dead"]
    if left_out:
        lines += [f"{left_out:,} values left out" if left_out < values else "all values left out"]
    return "\n".join(lines)


def _edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Return the edges of bins, which are wide enough to differ where all numbers are alike."""
    low, high = float(values.min()), float(values.max())
    size = max(abs(low), abs(high), 1e-30)
    if high - low < 1e-6 * size:
        low, high = low - 0.05 * size, high + 0.05 * size
    return np.linspace(low, high, bins + 1)


def weight_spectrum(ax: Axes, weights: Sequence[ArrayLike]) -> None:
    """Draw the singular values of each layer's weights, from the largest to the smallest.

    A layer multiplies lengths by at most its largest singular value, in both passes; where they
    fall off early, few directions pass. Lines are the darker the later the layer; of many layers, a
    colour bar names some. Values of 0 are left out.

    Args:
        ax: where to draw.
        weights: `W₁, …, W_L`, each `(n_in, n_out)`.

    Raises:
        TypeError: `ax` is not an Axes, or `weights` is not a list of matrices.
        ValueError: there are none, or they are not finite.

    Source: Saxe, McClelland & Ganguli, Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks, ICLR 2014.

    >>> from fcjax.plot import figure
    >>> ax = figure(4, 3).subplots()
    >>> weight_spectrum(ax, [np.diag([1.0, 2.0])])
    >>> ax.lines[0].get_ydata().tolist()
    [2.0, 1.0]
    """
    require("ax", ax, Axes)
    found = [diagnostics.singular_values(W) for W in _matrices("weights", weights)]
    shown = {f"layer {l}": np.where(s > 0, s, np.nan) for l, s in enumerate(found, 1)}
    draw_layers(ax, shown)
    scale = {"value": "log"}
    ax.set_yscale(**scale)
    set_ticks(ax.yaxis, scale)
    ax.set_xlabel("number of the singular value")
    ax.set_ylabel("singular value")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
