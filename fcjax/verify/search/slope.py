"""Difference quotients along a direction, an oracle that uses no derivatives."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Relative to the size of each number.
STEP = 1e-5
OFFSETS = (STEP, STEP / 2, -STEP / 2, -STEP)
# With a coarser eps, a difference quotient consists of rounding error.
MAX_EPS = 1e-9
# A gradient and a difference quotient that agree to this are equal.
AGREE = 1e-3
# Where the slopes on both sides differ by more than this, there is no slope.
SMOOTH = 1e-2


class Quotient(NamedTuple):
    """A difference quotient, and how far it may lie from the slope."""

    slope: float
    uncertainty: float


def quotient_of(values: Sequence[float], terms: float, eps: float) -> Quotient | None:
    """Return the slope of a function with these values at `OFFSETS`; None if there is none.

    Args:
        values: the values, sums of terms.
        terms: the sum of their absolute terms, to which rounding errors are relative.
        eps: the spacing at 1 of the dtype in which the function is computed.
    """
    one, two, three, four = map(float, values)
    with np.errstate(invalid="ignore", over="ignore"):
        wide, narrow = (one - four) / (2 * STEP), (two - three) / STEP
        right, left = (one - two) / (STEP / 2), (three - four) / (STEP / 2)
    noise = 256 * eps * terms / STEP
    if eps > MAX_EPS or not np.isfinite([wide, narrow, noise]).all():
        return None
    if abs(right - left) > SMOOTH * abs(narrow) + 2 * noise:
        return None  # a kink, or curved at this scale
    return Quotient(narrow, 4 * abs(wide - narrow) + noise)


def along(dxs: Sequence[np.ndarray], steps: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the slope of gradients along steps, and the sum of its absolute terms."""
    with np.errstate(over="ignore", invalid="ignore"):
        terms = [dx * step for dx, step in zip(dxs, steps, strict=True)]
        return sum(float(np.sum(t)) for t in terms), sum(float(np.sum(np.abs(t))) for t in terms)
