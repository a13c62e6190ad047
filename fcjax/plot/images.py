"""Images that a network gets wrong."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import check_same_size, describe
from ._checks import as_numpy, numbers, require
from ._matplotlib import Figure, SubFigure


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

    >>> from fcjax.plot import figure
    >>> wrong_images(figure(4, 3), np.zeros((1, 8, 8)), ["3"], ["8"], title="1 wrong")
    """
    require("fig", fig, Figure | SubFigure)
    require("title", title, str)
    require("most", most, int)
    # a network that is always right leaves no images, which have no shape to check
    images = numbers("images", images) if as_numpy(images).size else np.zeros((0, 1, 1))
    if images.ndim != 3 or most < 0:
        wrong = f"images must have shape (k, height, width), got {describe(images)}"
        raise ValueError(f"most must not be negative, got {most}" if most < 0 else wrong)
    for name, names in (("labels", labels), ("predictions", predictions)):
        require(name, names, Sequence)
        check_same_size(name, len(names), "images", len(images))
    fig.suptitle(title)
    count = min(len(images), most)
    columns = max(1, int(np.ceil(np.sqrt(count * 1.5))))
    rows = max(1, -(-count // columns))
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, image, label, prediction in zip(
        axes, images[:count], labels, predictions, strict=False
    ):
        ax.imshow(image, cmap="gray_r")
        ax.set_title(f"predicted {prediction}\nlabel {label}", fontsize=8)
