"""Points at which the function takes a branch that it does not take at the given point."""

from collections.abc import Iterator, Sequence

import jax
import numpy as np

from ..._types import Function
from ..branches import Branches, branches_of
from ..precision import Precision
from ..program import Refused
from ..sample import Sample
from .outcome import Values, cast, rounded

# Random points among which branches are looked for, where numbers are few enough.
POINTS = 512
ENTRIES = 2**20


def points_in_other_branches(
    sample: Sample, base: Values, constants: Sequence[float]
) -> Iterator[Values]:
    """Yield the points at which a `cond` or `switch` takes a branch for the first time.

    Conditions of several numbers (`x[0] > 3 and x[1] < -3`) hold at none of the usual candidates,
    so the points are random mixtures of them. Branches that the backward rule has by itself are
    looked for too.
    """
    subject, own = sample.subject, Precision.OWN
    moved = len(sample.point.wrt)
    types = sample.point.types(own)
    dys = sample.dys(own)
    for number, program in enumerate((subject.value_program, subject.traced(subject.rule, own))):
        branches = branches_of(program)
        if not branches.equations:
            continue
        rng = np.random.default_rng([*sample.seed, 75])
        count = max(1, min(POINTS, ENTRIES // max(1, sum(x.size for x in base))))
        points = [base, *(_random(base, moved, constants, rng) for _ in range(count))]
        points = [rounded(sample, values) for values in points]
        stacked = cast(tuple(np.stack(leaves) for leaves in zip(*points, strict=True)), types)
        rest = dys if number else ()
        looped = _looped(branches, rest)
        try:
            taken = subject.program(f"branches of points {number}", looped)(own, stacked)
        except Refused:
            continue
        seen: set[tuple[int, int]] = set()
        for i, values in enumerate(points):
            here = {(cond, int(index[i])) for cond, index in enumerate(taken)}
            if i and here - seen:
                yield values
            seen |= here
        if not number:
            sample.searched |= seen


def _looped(branches: Branches, rest: Sequence[jax.Array]) -> Function:
    def looped(points: Sequence[jax.Array]) -> list[jax.Array]:
        return jax.lax.map(lambda xs: branches.indices(*xs, *rest), points)

    return looped


def _random(
    base: Values, moved: int, constants: Sequence[float], rng: np.random.Generator
) -> Values:
    """Return a mixture of the given numbers, others of any size, and numbers of the program."""
    special = np.array([0.0, 1.0, -1.0, *constants, *(-c for c in constants)])
    share = rng.choice([0.1, 0.5, 1.0])

    def mixed(x: np.ndarray) -> np.ndarray:
        sizes = 10.0 ** rng.uniform(-6, 6, x.shape)
        kinds = [
            x * rng.choice([-1.0, 10.0 ** rng.uniform(-6, 6)]),
            sizes * rng.choice([-1, 1], x.shape),
            # on either side of a number of the program, or at it
            rng.choice(special, x.shape) * (1 + 0.1 * rng.integers(-1, 2, x.shape)),
            np.full(x.shape, rng.choice(special)) + rng.choice([-1, 0, 1]),
        ]
        other = kinds[rng.integers(len(kinds))]
        return np.where(rng.random(x.shape) < share, other, x)

    return (*(mixed(x) for x in base[:moved]), *base[moved:])
