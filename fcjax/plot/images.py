"""Images that a network gets wrong."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import check_same_size, describe
from ._checks import as_numpy, numbers, require
from ._labels import labels as as_labels
from ._matplotlib import Figure, SubFigure

# A title above an image has room for "predicted ", a name of at least so many letters, and a gap.
_PREDICTED, _FEWEST, _GAP = len("predicted "), 6, 1


def wrong_images(
    fig: Figure | SubFigure,
    images: ArrayLike,
    labels: Sequence[str],
    predictions: Sequence[str],
    *,
    title: str,
    most: int = 24,
) -> dict[str, str]:
    """Draw misclassified images, with prediction and label above each.

    A name that is too long for its image is shortened.

    Args:
        fig: figure or subfigure to fill.
        images: `(k, height, width)`.
        labels: names of the k labels.
        predictions: names of the k predicted classes.
        title: title of the figure.
        most: largest number of images to draw.

    Returns:
        The names of the classes that have another label in the picture, by label.

    Raises:
        TypeError: `fig` is not a figure, the images are not numbers, or `most` is not an integer.
        ValueError: `images` has other than three dimensions, or another length than the names.

    >>> from fcjax.plot import figure
    >>> wrong_images(figure(4, 3), np.zeros((1, 8, 8)), ["3"], ["8"], title="1 wrong")
    {}
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
    # each line of the title is one of its own
    heading = as_labels(title.split("\n"), 160)
    fig.suptitle("\n".join(heading.literal), wrap=True, **heading.font)
    count = min(len(images), most)
    columns = max(1, int(np.ceil(np.sqrt(count * 1.5))))
    rows = max(1, -(-count // columns))
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    # most letters are at most 0.6 times as wide as high
    room = 72 * fig.bbox.width / fig.dpi / columns / 0.6
    size = min(8.0, room / (_PREDICTED + _FEWEST + _GAP))
    names = list(dict.fromkeys(map(str, (*labels[:count], *predictions[:count]))))
    shown = as_labels(names, int(room / size) - _PREDICTED - _GAP)
    text_of = dict(zip(names, shown.literal, strict=True))
    for ax, image, label, prediction in zip(
        axes, images[:count], labels, predictions, strict=False
    ):
        ax.imshow(image, cmap="gray_r")
        text = f"predicted {text_of[str(prediction)]}\nlabel {text_of[str(label)]}"
        ax.set_title(text, fontsize=size, **shown.font)
    return shown.key_to(names)
