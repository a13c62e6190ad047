"""Plots of training: loss curves, misclassified images, confusion matrices, regression.

Every function draws into a matplotlib Axes or Figure of the caller, and needs no display.

Needs the extra `fcjax[app]`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure, SubFigure
except ImportError as error:
    raise ImportError("plots need matplotlib: pip install 'fcjax[app]'") from error


def figure(width: float, height: float) -> Figure:
    """Return an empty figure of the given size in inches, which can be saved without a display.

    >>> figure(6, 4).subplots().get_xlabel()
    ''
    """
    fig = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(fig)
    return fig


def save(fig: Figure, path: str | Path) -> Path:
    """Write the figure, create its folder if needed, and return the path.

    The suffix of the path selects the format.

    >>> import tempfile
    >>> save(figure(2, 1), Path(tempfile.mkdtemp()) / "new" / "empty.png").name
    'empty.png'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=150)
    return path


def loss_curve(ax: Axes, history: Mapping[str, Sequence[float]]) -> None:
    """Draw the training and validation loss of each epoch, on a logarithmic scale.

    Args:
        ax: where to draw.
        history: `FitResult.history`, with "loss" and optionally "val_loss".

    Source: Goodfellow, Bengio & Courville, Deep Learning (2016), figure 7.3.

    >>> loss_curve(figure(4, 3).subplots(), {"loss": [1.0, 0.5], "val_loss": [1.1, 0.7]})
    """
    labels = {"loss": "training", "val_loss": "held out"}
    for name, label in labels.items():
        if name in history:
            ax.plot(range(1, len(history[name]) + 1), history[name], label=label)
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

    >>> wrong_images(figure(4, 3), np.zeros((1, 8, 8)), ["3"], ["8"], title="1 wrong")
    """
    images = np.asarray(images)
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

    Source: Hastie, Tibshirani & Friedman, The Elements of Statistical Learning (2009), table 9.3.

    >>> confusion(figure(3, 3).subplots(), [0, 1, 1], [0, 1, 0], ["a", "b"])
    """
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (np.asarray(labels), np.asarray(predictions)), 1)
    ax.imshow(counts, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if count > counts.max() / 2 else "black"
        ax.text(column, row, str(count), ha="center", va="center", color=color)
    ax.set_xticks(range(len(classes)), classes, rotation=30, ha="right")
    ax.set_yticks(range(len(classes)), classes)
    ax.set_xlabel("predicted")
    ax.set_ylabel("label")


def predicted_against_true(ax: Axes, targets: ArrayLike, predictions: ArrayLike) -> None:
    """Draw predictions against targets, with the diagonal on which they are equal.

    Args:
        ax: where to draw.
        targets: numbers `(m,)`.
        predictions: numbers `(m,)`.

    Source: Piñeiro et al., How to evaluate models: observed vs. predicted or predicted vs.
    observed?, Ecological Modelling 216 (2008).

    >>> predicted_against_true(figure(3, 3).subplots(), [1.0, 2.0], [1.1, 1.8])
    """
    targets, predictions = np.ravel(targets), np.ravel(predictions)
    ax.scatter(targets, predictions, s=14, alpha=0.6)
    ends = [min(targets.min(), predictions.min()), max(targets.max(), predictions.max())]
    ax.plot(ends, ends, color="black", linewidth=1)
    ax.set_xlabel("target")
    ax.set_ylabel("prediction")
