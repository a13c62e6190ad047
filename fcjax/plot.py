"""Plots of training: loss curves, misclassified images, confusion matrices, regression.

Every function draws into a matplotlib Axes or Figure of the caller, and needs no display.

Needs the extra `fcjax[app]`.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._arguments import describe, is_number

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure, SubFigure
except ImportError as error:
    raise ImportError("plots need matplotlib: pip install 'fcjax[app]'") from error


def figure(width: float, height: float) -> Figure:
    """Return an empty figure of the given size in inches, which can be saved without a display.

    Raises:
        ValueError: the width or the height is not a positive number.

    >>> figure(6, 4).subplots().get_xlabel()
    ''
    """
    for name, size in (("width", width), ("height", height)):
        if not (is_number(size) and 0 < size < math.inf):
            raise ValueError(f"{name} must be a positive number of inches, got {describe(size)}")
    fig = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(fig)
    return fig


def save(fig: Figure, path: str | Path) -> Path:
    """Write the figure, create its folder if needed, and return the path.

    The suffix of the path selects the format.

    Raises:
        TypeError: `fig` is not a figure, or `path` is not a path.
        ValueError: the path has an unknown suffix, or cannot be the name of a file.

    >>> import tempfile
    >>> save(figure(2, 1), Path(tempfile.mkdtemp()) / "new" / "empty.png").name
    'empty.png'
    """
    _require("fig", fig, Figure)
    _require("path", path, str | Path)
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(path, dpi=150)
    except ValueError as error:
        raise ValueError(f"path {describe(path)}: {error}") from error
    return path


def _require(name: str, value: object, kind: Any) -> None:
    if not isinstance(value, kind):
        wanted = getattr(kind, "__name__", str(kind))
        raise TypeError(f"{name} must be of type {wanted}, got {describe(value)}")


def _as_numpy(values: object) -> np.ndarray:
    try:
        return np.asarray(values)
    except Exception:  # a ragged list, keys of JAX, or an array that has been deleted
        return np.asarray(None)


def _numbers(name: str, values: object, kinds: str = "iuf") -> np.ndarray:
    """Return an array of real numbers, not empty; raise TypeError or ValueError for all else."""
    array = _as_numpy(values)
    if array.dtype.kind not in kinds:
        wanted = "integers" if kinds == "iu" else "numbers"
        raise TypeError(f"{name} must be an array of {wanted}, got {describe(values)}")
    if array.size == 0:
        raise ValueError(f"{name} must hold at least one number, got {describe(array)}")
    return array


def _check_same_size(name: str, other_name: str, sizes: tuple[int, int]) -> None:
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"{name} must have as many entries as {other_name}, {sizes[1]}, got {sizes[0]}"
        )


def loss_curve(ax: Axes, history: Mapping[str, Sequence[float]]) -> None:
    """Draw the training and validation loss of each epoch, on a logarithmic scale.

    Args:
        ax: where to draw.
        history: `FitResult.history`, with "loss" and optionally "val_loss".

    Raises:
        TypeError: `ax` is not an Axes, or `history` does not map names to numbers.

    Source: Goodfellow, Bengio & Courville, Deep Learning (2016), figure 7.3.

    >>> loss_curve(figure(4, 3).subplots(), {"loss": [1.0, 0.5], "val_loss": [1.1, 0.7]})
    """
    _require("ax", ax, Axes)
    _require("history", history, Mapping)
    labels = {"loss": "training", "val_loss": "held out"}
    for name, label in labels.items():
        if name in history:
            losses = _numbers(f"history[{name!r}]", history[name])
            if losses.ndim != 1:
                raise TypeError(
                    f"history[{name!r}] must have one number per epoch, got {describe(losses)}"
                )
            ax.plot(range(1, len(losses) + 1), losses, label=label)
    ax.set_yscale("log")
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    ax.set_title("Loss")
    ax.grid(alpha=0.3, which="both")
    ax.legend()


def wrong_images(
    fig: Figure | SubFigure,
    images: ArrayLike,
    labels: Sequence[str],
    predictions: Sequence[str],
    *,
    title: str,
    most: int = 24,
) -> None:
    """Draw misclassified images, with prediction and label above each.

    Args:
        fig: figure or subfigure to fill.
        images: `(k, height, width)`.
        labels: names of the k labels.
        predictions: names of the k predicted classes.
        title: title of the figure.
        most: largest number of images to draw.

    Raises:
        TypeError: `fig` is not a figure, the images are not numbers, or `most` is not an integer.
        ValueError: `images` has other than three dimensions, or another length than the names.

    >>> wrong_images(figure(4, 3), np.zeros((1, 8, 8)), ["3"], ["8"], title="1 wrong")
    """
    _require("fig", fig, Figure | SubFigure)
    _require("title", title, str)
    _require("most", most, int)
    # a network that is always right leaves no images, which have no shape to check
    images = _numbers("images", images) if _as_numpy(images).size else np.zeros((0, 1, 1))
    if images.ndim != 3 or most < 0:
        wrong = f"images must have shape (k, height, width), got {describe(images)}"
        raise ValueError(f"most must not be negative, got {most}" if most < 0 else wrong)
    for name, names in (("labels", labels), ("predictions", predictions)):
        _require(name, names, Sequence)
        _check_same_size(name, "images", (len(names), len(images)))
    fig.suptitle(title)
    count = min(len(images), most)
    columns = max(1, int(np.ceil(np.sqrt(count * 1.5))))
    rows = max(1, -(-count // columns))
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, image, label, prediction in zip(axes, images, labels, predictions, strict=False):
        ax.imshow(image, cmap="gray_r")
        ax.set_title(f"predicted {prediction}\nlabel {label}", fontsize=8)


def confusion(ax: Axes, labels: ArrayLike, predictions: ArrayLike, classes: Sequence[str]) -> None:
    """Draw the confusion matrix: how often each label was predicted as each class.

    Args:
        ax: where to draw.
        labels: true classes, integers `(m,)`.
        predictions: predicted classes, integers `(m,)`.
        classes: names of the classes.

    Raises:
        TypeError: `ax` is not an Axes, or labels or predictions are not integers.
        ValueError: there are no classes, labels and predictions differ in number, or one of them is
            not a class.

    Source: Hastie, Tibshirani & Friedman, The Elements of Statistical Learning (2009), table 9.3.

    >>> confusion(figure(3, 3).subplots(), [0, 1, 1], [0, 1, 0], ["a", "b"])
    """
    _require("ax", ax, Axes)
    _require("classes", classes, Sequence)
    rows, columns = (
        _classes(name, values, len(classes))
        for name, values in (("labels", labels), ("predictions", predictions))
    )
    _check_same_size("predictions", "labels", (len(columns), len(rows)))
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (rows, columns), 1)
    ax.imshow(counts, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if count > counts.max() / 2 else "black"
        ax.text(column, row, str(count), ha="center", va="center", color=color)
    ax.set_xticks(range(len(classes)), classes, rotation=30, ha="right")
    ax.set_yticks(range(len(classes)), classes)
    ax.set_xlabel("predicted")
    ax.set_ylabel("label")


def _classes(name: str, values: ArrayLike, number: int) -> np.ndarray:
    """Return integer classes (m,), or raise unless all of them are from 0 to `number` − 1."""
    array = _numbers(name, values, "iu")
    outside = array[(array < 0) | (array >= number)]
    if array.ndim != 1 or outside.size:
        got = f"{outside.flat[0]}" if outside.size else describe(array)
        raise ValueError(
            f"{name} must be (m,) integers from 0 to {number - 1}, as classes, got {got}"
        )
    return array


def predicted_against_true(ax: Axes, targets: ArrayLike, predictions: ArrayLike) -> None:
    """Draw predictions against targets, with the diagonal on which they are equal.

    Args:
        ax: where to draw.
        targets: numbers `(m,)`.
        predictions: numbers `(m,)`.

    Raises:
        TypeError: `ax` is not an Axes, or targets or predictions are not numbers.
        ValueError: there are none, or they differ in number.

    Source: Piñeiro et al., How to evaluate models: observed vs. predicted or predicted vs.
    observed?, Ecological Modelling 216 (2008).

    >>> predicted_against_true(figure(3, 3).subplots(), [1.0, 2.0], [1.1, 1.8])
    """
    _require("ax", ax, Axes)
    targets = _numbers("targets", targets).ravel()
    predictions = _numbers("predictions", predictions).ravel()
    _check_same_size("predictions", "targets", (len(predictions), len(targets)))
    ax.scatter(targets, predictions, s=14, alpha=0.6)
    ends = [min(targets.min(), predictions.min()), max(targets.max(), predictions.max())]
    ax.plot(ends, ends, color="black", linewidth=1)
    ax.set_xlabel("target")
    ax.set_ylabel("prediction")
