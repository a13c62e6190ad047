"""Ticks that do not overlap: of linear axes, and of axes on which numbers span decades."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ._matplotlib import (
    Axis,
    Formatter,
    Locator,
    MaxNLocator,
    NullFormatter,
    XAxis,
)

# With fewer ticks than this, a logarithmic axis has some between the powers of ten, too.
ENOUGH = 4
_STRIDES = (1, 2, 3, 5, 10, 20, 50, 100)
# The room between two labels, and the height of one, in the size of the font.
_GAP, _HEIGHT = 0.6, 1.4


def set_ticks(axis: Axis, scale: dict[str, Any]) -> None:
    """Set the ticks of an axis of a scale, as `scale_of` returns it."""
    if scale["value"] == "linear":
        axis.set_major_locator(round_numbers(5 if isinstance(axis, XAxis) else 7))
        return
    linear = scale.get("linthresh", 0.0)
    axis.set_major_locator(Decades(linear))
    axis.set_major_formatter(PowersOfTen())
    axis.set_minor_locator(BetweenDecades(linear))
    axis.set_minor_formatter(NullFormatter())


def round_numbers(most: int = 5) -> MaxNLocator:
    """Return where to put ticks, at least three, and about as many as given."""
    return MaxNLocator(most, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3)


class Decades(Locator):
    """Ticks at powers of ten whose labels do not overlap.

    An axis that is linear from `-linear` to `linear` has a tick at 0, and none nearer to it.
    """

    def __init__(self, linear: float = 0.0):
        self.linear = linear

    def __call__(self) -> Sequence[float]:
        return self.tick_values(*self._axis.get_view_interval())

    @property
    def _axis(self) -> Axis:
        assert isinstance(self.axis, Axis)
        return self.axis

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Return as many ticks as have room, also between the powers of ten if these are few."""
        low, high = sorted((vmin, vmax))
        best: Sequence[float] = []
        for choice in self._choices(low, high):
            ticks = self._that_fit([v for v in choice if low <= v <= high], low, high)
            best = max(best, ticks, key=len)
            if len(best) >= ENOUGH:
                break
        return best

    def _choices(self, low: float, high: float) -> Iterator[Sequence[float]]:
        """Return every power of ten, every second one, ..., and what lies between them."""
        powers = self._powers(low, high)
        for stride in _STRIDES:
            # rather 10^-20, 1, 10^20 than 10^-23, 10^-3, 10^17
            for start in sorted(range(stride), key=lambda i: (powers[0] + i) % stride):
                yield self._multiples(powers[start::stride])
        yield self._multiples(powers, (1, 3))
        yield self._multiples(powers, (1, 2, 5))

    def _powers(self, low: float, high: float) -> range:
        ends = self.linear or low, max(abs(low), abs(high))
        first, last = (math.floor(math.log10(end)) for end in ends)
        return range(first, last + 1)

    def _multiples(self, powers: Sequence[int], factors: Sequence[int] = (1,)) -> Sequence[float]:
        sizes = [float(f"{factor}e{power}") for power in powers for factor in factors]
        return [*(-v for v in reversed(sizes)), 0.0, *sizes] if self.linear else sizes

    def _that_fit(self, ticks: Sequence[float], low: float, high: float) -> Sequence[float]:
        """Return the ticks without those whose labels overlap that of 0; none if others overlap."""
        is_flat = isinstance(self._axis, XAxis)
        # in the size of the font, of which matplotlib's own ticks have 3 or 2 as their room
        length = self._axis.get_tick_space() * (3 if is_flat else 2)
        if len(ticks) > length:
            return []
        at = self._axis.get_transform().transform(np.array([low, high, *ticks]))
        places = (at[2:] - at[0]) / (at[1] - at[0]) * length
        sizes = np.array([_width(text) if is_flat else _HEIGHT for text in in_powers(ticks)])
        shown = np.arange(len(ticks))
        if 0.0 in ticks:
            zero = ticks.index(0.0)
            apart = np.abs(places - places[zero]) >= (sizes + sizes[zero]) / 2 + _GAP
            shown = np.flatnonzero(apart | (shown == zero))
        room = np.diff(places[shown]) - (sizes[shown][1:] + sizes[shown][:-1]) / 2
        return [ticks[int(i)] for i in shown] if np.all(room >= _GAP) else []


class BetweenDecades(Decades):
    """Ticks without labels between powers of ten, unless these are many."""

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Return all that there are, if powers of ten are at most twelve."""
        powers = self._powers(*sorted((vmin, vmax)))
        return [] if len(powers) > 12 else self._multiples(powers, range(2, 10))


class PowersOfTen(Formatter):
    """Labels of ticks at powers of ten, all as decimals or all as powers."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return in_powers([x])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Return the labels of all ticks of an axis."""
        return in_powers(values)


def in_powers(values: Sequence[float]) -> list[str]:
    r"""Return numbers as decimals if all are short, else as powers of ten in mathtext.

    >>> in_powers([0.0, 20.0, -1000.0])
    ['0', '20', '−1000']
    >>> in_powers([0.0, 2e7])
    ['0', '$\\mathdefault{2\\times10^{7}}$']
    """
    if all(v == 0 or 1e-3 <= abs(v) < 1e5 for v in values):
        return [f"{v:g}".replace("-", "−") for v in values]
    return [_power(v) if v else "0" for v in values]


def _power(value: float) -> str:
    digits, power = f"{value:.0e}".split("e")
    factor = {"1": "", "-1": "-"}.get(digits, rf"{digits}\times")
    return rf"$\mathdefault{{{factor}10^{{{int(power)}}}}}$"


def _width(text: str) -> float:
    """Return about how wide a label of `in_powers` is, in the size of the font."""
    plain, _, raised = text.replace(r"$\mathdefault{", "").replace(r"\times", "×").partition("^")
    return 0.65 * len(plain) + 0.45 * len(raised.strip("{}$"))
