"""The gradient near a point: whether it has a limit, lies in a range, or grows without bound.

At the points of a search, autodiff itself is often wrong: `0 · ∞` in a branch that is not taken, a
`where` that returns a constant. Random points nearby do not have this problem. If the gradients
there agree, their limit is the gradient at the point. If they differ but are bounded, the point is
a kink, and any value in their range is a valid choice. If they grow as the distance shrinks, the
gradient does not exist.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from ..precision import eps_of
from ..sample import Sample
from .arithmetic import size_of
from .outcome import Outcome, Values, outcome_at

# Points at each distance in random directions, and towards the given point, which is inside of the
# domain where the other points may not be.
RANDOM = 8
INWARDS = 3
# Gradients that differ by less than this, relative to the largest, agree.
AGREEMENT = 1e-3
# Values that differ by more than this, relative to the largest, jump.
CONTINUOUS = 0.1
# Gradients that grow by more than this factor from the far points to the near ones are not bounded.
# A logarithm and any small negative power do; the directions are the same at both distances.
GROWTH = 1.05
# A range of gradients, from a few points, is widened by this multiple of its largest width: where
# many entries are at a kink, few of their combinations are seen.
WIDENED = 1.5
# If an entry of the output depends on one entry alone, all combinations are: those of both sides.
WIDENED_ELEMENTWISE = 0.05
# At an edge of the domain, all points lie on one side. Up to the edge, a gradient changes by this
# multiple, at most, of what its change from the far points to the near ones suggests.
BEYOND = 2.0


class Sums(NamedTuple):
    """The sum over all entries of each gradient nearby, and that of their absolute values.

    Where two entries, or two arguments, tie for a maximum, the gradients nearby differ in each of
    them and agree on the sum.
    """

    sums: np.ndarray
    sizes: np.ndarray

    def plus(self, other: "Sums") -> "Sums":
        """Return the sums over both."""
        return Sums(self.sums + other.sums, self.sizes + other.sizes)

    def admit(self, total: float) -> bool:
        """Whether this may be the sum of a gradient."""
        allowed = AGREEMENT * float(np.max(self.sizes))
        agree = np.isfinite(self.sums).all() and np.ptp(self.sums) <= allowed
        return not agree or bool(abs(total - np.mean(self.sums)) <= 2 * allowed + 1e-300)


class Limits(NamedTuple):
    """What the gradient of one leaf may be at a point.

    Attributes:
        low: the smallest gradient nearby.
        high: the largest gradient nearby.
        slack: how far outside a correct gradient may lie.
        exist: the entries where the gradients nearby are finite and bounded.
        sums: the sums of the gradients nearby.
    """

    low: np.ndarray
    high: np.ndarray
    slack: float
    exist: np.ndarray
    sums: Sums

    @property
    def middle(self) -> np.ndarray:
        """The gradient, or the middle of its range."""
        return (self.low + self.high) / 2

    @property
    def are_narrow(self) -> bool:
        """Whether the gradients agree, so that the point is no kink."""
        size = float(np.max(np.abs(self.middle), initial=0.0, where=self.exist))
        width = np.max(self.high - self.low, initial=0.0, where=self.exist)
        return bool(width <= AGREEMENT * size)

    def widened(self, slack: float) -> "Limits":
        """Return limits that allow more."""
        return self._replace(slack=self.slack + slack)

    def admit(self, gradient: np.ndarray) -> np.ndarray:
        """Return a mask of the entries that may be right, or about which nothing is known."""
        with np.errstate(invalid="ignore"):
            inside = (gradient >= self.low - self.slack) & (gradient <= self.high + self.slack)
        return inside | ~self.exist


def limits_at(
    sample: Sample,
    values: Values,
    base: Values,
    outcome: Outcome,
    usual: Sequence[float],
    sizes: Sequence[float],
    elementwise: Collection[int],
) -> list[Limits] | None:
    """Return the limits of each gradient, by autodiff of the reference; None if they are unknown.

    They are unknown where the function jumps.

    Args:
        sample: the sample.
        values: the point.
        base: the given point, which gives the scale of entries that are 0.
        outcome: values and gradients at the point, by autodiff.
        usual: the sizes of the outputs at the given point.
        sizes: the sizes of the gradients there.
        elementwise: the leaves of which each entry has an entry of the output for itself.
    """
    eps = max(eps_of(x.dtype) for x in sample.xs(sample.wide))
    far, near = eps**0.25, eps**0.6
    by_distance = [
        _around(sample, values, base, outcome, distance, usual) for distance in (far, near)
    ]
    if any(found is None for found in by_distance):
        return None
    wide, narrow = by_distance
    widened = [
        WIDENED_ELEMENTWISE if k in elementwise else WIDENED for k in range(len(outcome.dxs))
    ]
    each = zip(wide or (), narrow or (), outcome.dxs, sizes, widened, strict=True)
    return [_limits(*one, beyond=BEYOND * near / far) for one in each]


def moved_by(values: Values, base: Values, directions: Values, distance: float) -> Values:
    """Return the numbers moved along directions, in proportion to their size; not infinite ones."""
    return tuple(
        np.where(np.isfinite(v), v + distance * _scale(v, b) * u, v)
        for v, b, u in zip(values, base, directions, strict=True)
    )


def directions(sample: Sample, values: Values, stream: int) -> Values:
    """Return random directions; equal streams give equal ones."""
    streams = range(stream, stream + 32 * len(values), 32)
    pairs = zip(values, streams, strict=True)
    return tuple(np.tanh(sample.random(v.shape, number)) for v, number in pairs)


def near_in_norm(sample: Sample, values: Values, distance: float, stream: int) -> Values:
    """Return the numbers moved in random directions, in proportion to the largest of their leaf."""
    us = directions(sample, values, stream)
    return tuple(
        np.where(np.isfinite(v), v + distance * size_of(v) * u, v)
        for v, u in zip(values, us, strict=True)
    )


def _scale(value: np.ndarray, base: np.ndarray) -> np.ndarray:
    finite = np.where(np.isfinite(value), np.abs(value), 0)
    usual = np.where(np.isfinite(base), np.abs(base), 1) + 1e-3
    return np.where(finite > 1e-30, finite, usual)


def _around(
    sample: Sample,
    values: Values,
    base: Values,
    here: Outcome,
    distance: float,
    usual: Sequence[float],
) -> list[np.ndarray] | None:
    """Return the gradients at points around, stacked for each leaf."""
    found: list[Outcome] = []
    side = sample.subject.plain
    for i in range(RANDOM + INWARDS):
        # each direction and its opposite
        streams = (1000 + 64 * k + i // 2 for k in range(len(values)))
        us = [_signs(sample.random(v.shape, s)) for v, s in zip(values, streams, strict=True)]
        us = [-u for u in us] if i % 2 else us
        if i >= RANDOM:
            with np.errstate(invalid="ignore"):
                towards = (np.sign(b - v) for v, b in zip(values, base, strict=True))
                pairs = zip(us, towards, strict=True)
                us = [np.where(t == 0, u, np.abs(u) * t) for u, t in pairs]
        moved = moved_by(values, base, tuple(us), distance)
        outcome = outcome_at(sample, side, sample.wide, moved, here.dys)
        if outcome is None:
            return None
        # a point outside of the domain says nothing
        if all(np.isfinite(y[dy != 0]).all() for y, dy in zip(outcome.ys, here.dys, strict=True)):
            found.append(outcome)
    if len(found) < 2 or (distance < 1e-6 and any(_jumps(o, here, distance, usual) for o in found)):
        return None
    return [np.stack([o.dxs[k] for o in found]) for k in range(len(values))]


def _jumps(outcome: Outcome, here: Outcome, distance: float, usual: Sequence[float]) -> bool:
    """Whether the values at a point next to this one are others.

    A function that is not differentiable may be a root, which changes by the root of the distance.
    """
    for near, y, dy, scale in zip(outcome.ys, here.ys, here.dys, usual, strict=True):
        used = dy != 0
        size = float(np.max(np.abs(y), initial=0.0, where=used))
        allowed = CONTINUOUS * size + 10 * float(np.sqrt(distance)) * scale
        if used.any() and np.max(np.abs(near - y)[used]) > allowed:
            return True
    return False


def _signs(u: np.ndarray) -> np.ndarray:
    """Return random numbers that are not small, so that each entry moves."""
    return np.where(u < 0, -1, 1) * (0.5 + np.abs(np.tanh(u)))


def _limits(
    wide: np.ndarray,
    narrow: np.ndarray,
    here: np.ndarray,
    usual: float,
    widened: float,
    beyond: float,
) -> Limits:
    exist = np.isfinite(narrow).all(0) & np.isfinite(wide).all(0)
    with np.errstate(invalid="ignore", over="ignore"):
        largest = np.max(np.abs(narrow), 0), np.max(np.abs(wide), 0)
        size = float(np.max(largest[0], initial=0.0, where=exist))
        exist &= largest[0] <= GROWTH * largest[1] + 1e-12 * size + 1e-30
        # nor do they shrink: a small positive power has no limit at these distances
        size = max(float(np.max(largest[0], initial=0.0, where=exist)), usual)
        exist &= largest[1] <= GROWTH * largest[0] + AGREEMENT * size
        low, high = narrow.min(0), narrow.max(0)
        # unless autodiff is continuous here, which is smooth at a smaller distance
        change = np.max(np.abs(narrow - here), 0)
        is_near = np.isfinite(here) & (change <= AGREEMENT * (np.abs(here) + usual))
        low = np.where(is_near & ~exist, np.minimum(low, here), low)
        high = np.where(is_near & ~exist, np.maximum(high, here), high)
        exist |= is_near
        low, high = np.where(exist, low, 0), np.where(exist, high, 0)
        width = float(np.max(high - low, initial=0.0))
        if len(narrow) < RANDOM + INWARDS:
            low = low - np.where(exist, beyond * np.abs(wide.min(0) - low), 0)
            high = high + np.where(exist, beyond * np.abs(wide.max(0) - high), 0)
    size = float(np.max(largest[0], initial=0.0, where=exist))
    slack = widened * width + AGREEMENT * size
    rows = narrow.reshape(len(narrow), -1)
    return Limits(low, high, slack, exist, Sums(rows.sum(1), np.abs(rows).sum(1)))
