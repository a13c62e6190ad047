"""The arrays that a page shows: their names, their axes, and which entries of large ones."""

import base64
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .oracles import Oracle
from .record import LayerStep, Step

# An axis with more entries is sampled.
MOST = 64
GRADIENTS = ("dA", "dZ", "dW", "db", "dX")


class Axes(NamedTuple):
    """The entries of each axis that are shown: of the batch, and of the units of each layer.

    `units[0]` are those of the input.
    """

    batch: np.ndarray
    units: tuple[np.ndarray, ...]
    sizes: tuple[int, ...]
    m: int

    @property
    def is_sampled(self) -> bool:
        """Whether some entries are not shown."""
        return len(self.batch) < self.m or any(
            len(shown) < size for shown, size in zip(self.units, self.sizes, strict=True)
        )


def axes_of(step: Step) -> Axes:
    """Return the entries that are shown; evenly spaced ones if there are many."""
    m = len(step.layers[0].X)
    sizes = (step.layers[0].X.shape[1], *(layer.Z.shape[1] for layer in step.layers))
    return Axes(_spaced(m), tuple(map(_spaced, sizes)), sizes, m)


def _spaced(size: int) -> np.ndarray:
    return np.unique(np.linspace(0, size - 1, min(size, MOST)).round().astype(int))


def whole_of(step: Step) -> dict[str, np.ndarray]:
    """Return the arrays of a step by name: X, W1, b1, Z1, A1, …, p, y, dA2, dZ2, dW2, db2, …, dX.

    All have rows and columns, and a bias has one row. p and y are there if the task has them.
    """
    found = {"X": step.layers[0].X}
    for l, layer in enumerate(step.layers, 1):
        for name in ("W", "b", "Z", "A"):
            if (array := getattr(layer, name)) is not None:
                found[f"{name}{l}"] = np.atleast_2d(array)
    for name, array in (("p", step.p), ("y", step.y)):
        if array is not None:
            found[name] = array
    return found | _gradients_of(step.layers)


def _gradients_of(layers: Sequence[LayerStep] | Sequence[Oracle]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for l, layer in enumerate(layers, 1):
        for name in ("dA", "dZ", "dW", "db"):
            if (array := getattr(layer, name)) is not None:
                found[f"{name}{l}"] = np.atleast_2d(array)
    found["dX"] = layers[0].dX
    return found


def arrays_of(step: Step, axes: Axes) -> dict[str, np.ndarray]:
    """Return the entries that are shown of the arrays of a step, by name as in `whole_of`."""
    return {name: _shown(name, array, axes) for name, array in whole_of(step).items()}


def gradients_of(
    layers: Sequence[LayerStep] | Sequence[Oracle], axes: Axes
) -> dict[str, np.ndarray]:
    """Return the entries that are shown of the gradients of a step or of an oracle, by name."""
    return {name: _shown(name, array, axes) for name, array in _gradients_of(layers).items()}


def _shown(name: str, array: np.ndarray, axes: Axes) -> np.ndarray:
    return array[np.ix_(*entries_of(name, array.shape, axes))]


def entries_of(name: str, shape: tuple[int, ...], axes: Axes) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and the columns that are shown of an array of this name and shape."""
    kind = name.lstrip("d").rstrip("0123456789")
    l = int(name.lstrip("dXWbZApy") or 0)
    l = len(axes.sizes) - 1 if kind in ("p", "y") else l
    if kind == "W":
        rows = _units(l - 1, shape[0], axes)
    else:
        rows = axes.batch if shape[0] == axes.m else _spaced(shape[0])
    return rows, _units(l, shape[1], axes)


def _units(l: int, count: int, axes: Axes) -> np.ndarray:
    """Return the units of a layer that are shown; a gated layer has half as many outputs."""
    return axes.units[l] if count == axes.sizes[l] else _spaced(count)


def packed(arrays: Sequence[np.ndarray]) -> str:
    """Return arrays of one shape, one after the other, as float32 in base64."""
    return base64.b64encode(np.stack(arrays).astype("<f4").tobytes()).decode()


def largest_difference(
    found: Sequence[LayerStep], oracle: Sequence[Oracle], name: str, l: int
) -> float:
    """Return the largest difference of a gradient of layer l from an oracle's; NaN if one is."""
    got, want = getattr(found[l - 1], name), getattr(oracle[l - 1], name)
    is_known = ~np.isnan(want)  # differences are computed at some entries of large arrays
    return float(np.max(np.abs(got.astype(np.float64) - want)[is_known], initial=0.0))
