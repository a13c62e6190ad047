"""Points at the edge of the domain of a function, where its value stops being finite."""

import numpy as np

from ..sample import Sample
from .outcome import Values, rounded, value_at

STEPS = 40


def is_defined(sample: Sample, values: Values) -> bool:
    """Whether every output is finite."""
    ys = value_at(sample, sample.wide, values)
    return ys is not None and all(np.isfinite(y).all() for y in ys)


def edge(sample: Sample, inside: Values, outside: Values) -> Values | None:
    """Return the last point with finite outputs on the way from one point to another."""
    if not all(np.isfinite(v).all() for v in outside):
        return None
    low, high = 0.0, 1.0

    def at(t: float) -> Values:
        with np.errstate(over="ignore", invalid="ignore"):
            pairs = zip(inside, outside, strict=True)
            return rounded(sample, tuple((1 - t) * a + t * b for a, b in pairs))

    for _ in range(STEPS):
        middle = (low + high) / 2
        if is_defined(sample, at(middle)):
            low = middle
        else:
            high = middle
    return at(low) if low else None
