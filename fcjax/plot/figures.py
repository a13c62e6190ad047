"""Figures, and how they become files."""

import io
import math
from pathlib import Path

from .._arguments import brief, describe, is_number
from ._checks import require
from ._matplotlib import ConstrainedLayoutEngine, Figure, FigureCanvasAgg

_DPI = 150


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
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)  # inches around each Axes
    fig = Figure(figsize=(width, height), layout=layout)
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
    require("fig", fig, Figure)
    require("path", path, str | Path)
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(path, dpi=_DPI)
    except ValueError as error:
        raise ValueError(
            f"path must name a file that matplotlib can write, got {brief(str(path))}: {error}"
        ) from error
    return path


def png(fig: Figure) -> bytes:
    """Return the figure as the content of a PNG file. Equal figures give equal bytes.

    Raises:
        TypeError: `fig` is not a figure.

    >>> png(figure(2, 1))[1:4]
    b'PNG'
    """
    require("fig", fig, Figure)
    content = io.BytesIO()
    fig.savefig(content, format="png", dpi=_DPI, metadata={"Software": None})
    return content.getvalue()
