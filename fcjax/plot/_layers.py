"""Lines of layers, the darker the later."""

from collections.abc import Mapping, Sequence

import numpy as np

from ._labels import labels
from ._matplotlib import Axes, LinearSegmentedColormap, Normalize, ScalarMappable
from ._style import clean, legend

# Of more layers than this, a legend would cover the lines.
MOST_IN_LEGEND = 6
# The layers that a colour bar names.
_NAMED = 5
_SHADES = LinearSegmentedColormap.from_list("layers", [(0.62, 0.79, 0.93), (0.0, 0.2, 0.4)])


def draw_layers(ax: Axes, lines: Mapping[str, np.ndarray]) -> None:
    """Draw a line for each layer, with a legend, or of many layers with a colour bar."""
    names = labels(list(lines))
    for i, (text, line) in enumerate(zip(names.literal, lines.values(), strict=True)):
        color = _SHADES(i / max(len(lines) - 1, 1))
        marker = "o" if len(line) <= 30 else ""
        ax.plot(range(1, len(line) + 1), line, color=color, label=text, marker=marker,
                markersize=3, linewidth=1.5)  # fmt: skip
    clean(ax)
    if len(lines) <= MOST_IN_LEGEND:
        legend(ax)
    else:
        _draw_color_bar(ax, list(lines))


def _draw_color_bar(ax: Axes, names: Sequence[str]) -> None:
    at = np.linspace(0, len(names) - 1, _NAMED).round().astype(int)
    named = labels([names[i] for i in at], 16, [int(i) + 1 for i in at])
    shades = ScalarMappable(Normalize(0, len(names) - 1), _SHADES)
    bar = ax.figure.colorbar(shades, ax=ax)
    bar.set_ticks(at.tolist(), labels=named.literal, **named.font)
