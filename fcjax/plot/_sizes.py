"""Sizes of texts that have to fit between others."""

from typing import Any

from ._matplotlib import Axes, Text

_LARGEST = 10.0
# How wide a digit is, and how far apart lines have to be, in the size of the font.
_DIGIT, _LINE = 0.64, 1.4


def size_of_labels(ax: Axes, rows: int) -> float:
    """Return a size at which labels of so many rows do not overlap."""
    height = 72 * ax.bbox.height / ax.figure.dpi
    return min(_LARGEST, height / rows / _LINE)


class CellText(Text):
    """A text in a cell of width 1, in which `longest` digits have room.

    The size is found when it is drawn, because only then the layout of the figure is known.
    """

    def __init__(self, x: float, y: float, text: str, *, longest: int, **options: Any):
        super().__init__(x, y, text, ha="center", va="center", **options)
        self.longest = longest
        self.set_in_layout(False)  # it lies within the axes

    def draw(self, renderer: Any) -> None:
        """Draw the text as large as the cell allows."""
        assert self.axes is not None
        low, high = self.axes.get_xlim()
        cell = 72 * self.axes.bbox.width / self.axes.figure.dpi / abs(high - low)
        self.set_fontsize(min(_LARGEST, 0.9 * cell / (_DIGIT * self.longest)))
        super().draw(renderer)
