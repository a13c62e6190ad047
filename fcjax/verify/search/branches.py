"""Points at which the function takes a branch that it does not take at the given point."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import jax
import numpy as np

from ..._jax import ClosedJaxpr
from ..branches import branches_of, masks_of
from ..point import Leaves
from ..precision import Precision
from ..program import Refused
from ..sample import Sample
from .outcome import Values, cast, rounded

# So many borders between the two sides of a mask are looked for, each in so many rounds.
BORDERS = 8
ROUNDS = 5


def points_in_other_branches(
    sample: Sample, base: Values, points: Sequence[Values]
) -> Iterator[Values]:
    """Yield those points at which a `cond` or `switch` takes a branch for the first time.

    Conditions of several numbers (`x[0] > 3 and x[1] < -3`) hold at none of the usual candidates,
    so the points are random mixtures of them. Branches that the backward rule has by itself are
    looked for too.
    """
    for number, (program, rest) in enumerate(_programs(sample)):
        branches = branches_of(program)
        if branches.equations:
            indices = branches.indices
            look = _Look(sample, f"branches {number}", indices, rest, len(points) + 1)
            taken = look.at([base, *points])
            yield from (v for v, _ in _new(taken, points))
            if not number:
                sample.searched |= {(i, int(k)) for row in taken for i, k in enumerate(row)}


def points_beyond_masks(sample: Sample, base: Values, points: Sequence[Values]) -> Iterator[Values]:
    """Yield points on both sides of the masks of the function and of its backward rule.

    Where a mask changes from one side to the other, one formula replaces another: the points on
    either side of the border are yielded too.
    """
    for number, (program, rest) in enumerate(_programs(sample)):
        masks = masks_of(program)
        if masks:
            look = _Look(sample, f"masks {number}", masks, rest, len(points) + 1)
            for values, mask in islice(_new(look.at([base, *points]), points), BORDERS):
                yield values
                yield from _border(look, sample, base, values, mask)


def _programs(sample: Sample) -> Iterator[tuple[ClosedJaxpr, Leaves]]:
    """Yield the programs of the function and of its rule, with the inputs after the arguments."""
    own = Precision.OWN
    yield sample.subject.value_program, ()
    yield sample.subject.traced(sample.subject.rule, own), sample.dys(own)


class _Look(NamedTuple):
    """A program that gives the states of branches or masks at a fixed number of points, `size`."""

    sample: Sample
    name: str
    states: Callable[..., Sequence[jax.Array]]
    rest: Leaves
    size: int

    def at(self, points: Sequence[Values]) -> np.ndarray:
        """Return a row of states for each point; no rows if the program does not run."""
        own = Precision.OWN
        padded = [*points, *[points[0]] * (self.size - len(points))]
        stacked = tuple(np.stack(leaves) for leaves in zip(*padded, strict=True))
        inputs = cast(stacked, self.sample.point.types(own))
        try:
            found = self.sample.subject.program(self.name, self._looped)(own, inputs)
        except Refused:
            return np.zeros((0, 0), int)
        return np.stack([np.asarray(state) for state in found], 1)[: len(points)]

    def _looped(self, points: Leaves) -> Sequence[jax.Array]:
        return jax.lax.map(lambda xs: self.states(*xs, *self.rest), points)


def _new(taken: np.ndarray, points: Sequence[Values]) -> Iterator[tuple[Values, int]]:
    """Yield the points with a state that none before has, and which it is.

    The first row is that of the given point.
    """
    seen: set[tuple[int, int]] = set()
    for row, values in zip(taken, (None, *points), strict=False):
        fresh = set(enumerate(map(int, row))) - seen
        if values is not None and fresh:
            yield values, min(fresh)[0]
        seen |= fresh


def _border(
    look: _Look, sample: Sample, base: Values, values: Values, mask: int
) -> Iterator[Values]:
    """Yield the last point before a mask changes on the way to another point, and the first after.

    Each round looks at all points of a program, so that a few rounds reach neighbours.
    """
    low, high = 0.0, 1.0
    if not all(np.isfinite(v).all() for v in (*base, *values)):
        return

    def at(t: float) -> Values:
        pairs = zip(base, values, strict=True)
        return rounded(sample, tuple((1 - t) * a + t * b for a, b in pairs))

    for _ in range(ROUNDS):
        ts: list[float] = np.linspace(low, high, look.size).tolist()
        states = look.at(list(map(at, ts)))[:, mask]
        changed = np.flatnonzero(states != states[0])
        if not changed.size:
            return
        low, high = ts[changed[0] - 1], ts[changed[0]]
    yield at(low)
    yield at(high)
