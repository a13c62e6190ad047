"""Points at which gradients break, made from the point that was given."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from .outcome import Values

# Unit vectors are tried along axes of at most this size.
AXES = 8
# A mixture comes after so many points of each leaf, and there are so many of them.
EVERY = 3
MIXTURES = 200


def candidates(
    base: Values, moved: int, constants: Sequence[float], largest: float, seed: Sequence[int]
) -> Iterator[Values]:
    """Yield the points, those first at which most published mistakes show.

    Args:
        base: the numbers of the leaves at the given point.
        moved: how many leaves are moved, the first ones; the function closes over the others.
        constants: numbers in the traced program.
        largest: the largest number of the dtype.
        seed: the seed of random choices.
    """
    rng = np.random.default_rng([*seed, 70])
    sets: list[list[Values | None]] = [
        [(*base[:k], x, *base[k + 1 :]) for x in _of_one(base[k], constants, largest, rng)]
        for k in range(moved)
    ]
    sets.append(list(_of_several(base, moved, rng)))
    mixed = mixtures(base, moved, constants, np.random.default_rng([*seed, 75]))
    sets.append([next(mixed) if i % EVERY == EVERY - 1 else None for i in range(EVERY * MIXTURES)])
    seen: set[bytes] = set()
    # in turns, so that a small budget reaches every leaf
    for point in itertools.chain.from_iterable(itertools.zip_longest(*sets)):
        bits = b"".join(value.tobytes() for value in point or ())
        if point is not None and bits not in seen:
            seen.add(bits)
            yield point


def idle_points(base: Values, idle: Sequence[np.ndarray], largest: float) -> Iterator[Values]:
    """Yield points with infinite and with large numbers where a function does not look.

    A rule that multiplies what it masks by 0 shows there. `idle` are the entries of each leaf whose
    gradient is 0 at the given point.
    """
    for number in (-np.inf, np.inf, largest / 4):
        for k, where in enumerate(idle):
            if where.any() and not where.all():
                yield (*base[:k], np.where(where, number, base[k]), *base[k + 1 :])


def mixtures(
    base: Values, moved: int, constants: Sequence[float], rng: np.random.Generator
) -> Iterator[Values]:
    """Yield mixtures of the given numbers, others of any size, and numbers of the program."""
    special = np.array([0.0, 1.0, -1.0, *constants, *(-c for c in constants)])

    def mixed(x: np.ndarray, share: float) -> np.ndarray:
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

    while True:
        share = rng.choice([0.1, 0.5, 1.0])
        yield (*(mixed(x, share) for x in base[:moved]), *base[moved:])


def _of_one(
    x: np.ndarray, constants: Sequence[float], largest: float, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield other numbers for one leaf."""
    if not x.size:
        return
    root = float(np.sqrt(largest))
    parts = _parts(x.shape, rng)
    whole, some = parts[0], parts[1:]

    def filled(part: np.ndarray, number: float) -> np.ndarray:
        return np.where(part, number, x)

    yield filled(whole, 0.0)
    yield from (filled(part, 0.0) for part in some)
    yield from _arrangements(x, rng)
    yield from (filled(part, -np.inf) for part in some)
    yield -x
    for number in (1.0, -1.0, 0.5, 2.0):
        yield filled(whole, number)
    for number in constants:
        for near in (number, np.nextafter(number, np.inf), np.nextafter(number, -np.inf)):
            yield filled(whole, near)
        yield filled(some[0], number) if some else filled(whole, number)
    yield -np.abs(x)
    yield np.abs(x)
    yield from (x + number for number in (1e4, 100.0))
    for scale in (1e-4, 10.0, 1e-8, 100.0, 1e3, 1e4, 1e-20, 1e8):
        yield x * scale
        yield -x * scale
    for number in (20.0, -20.0, 100.0, -100.0, 1e4, -1e4):
        yield filled(whole, number)
        yield from (filled(part, number) for part in some[:2])
    yield np.round(x)
    yield np.floor(x) + 0.5
    yield from (filled(part, sign * 1.0) for part in some for sign in (1, -1))
    yield from (filled(part, np.inf) for part in some)
    yield filled(whole, -np.inf)
    yield filled(whole, np.inf)
    yield filled(whole, -0.0)
    for number in (1e-300, 1e-37, 1e-40, 0.5 * root, 2 * root, largest / 4):
        yield filled(whole, number)
        yield filled(whole, -number)
        yield from (filled(part, number) for part in some[:1])


def _parts(shape: tuple[int, ...], rng: np.random.Generator) -> list[np.ndarray]:
    """Return masks: everything, one entry, and one slice along each axis."""
    masks = [np.ones(shape, bool)]
    if masks[0].size == 1:
        return masks
    one = np.zeros(shape, bool)
    one.flat[int(rng.integers(one.size))] = True
    masks.append(one)
    for axis, size in enumerate(shape):
        if size > 1 and len(shape) > 1:
            mask = np.zeros(shape, bool)
            np.moveaxis(mask, axis, 0)[int(rng.integers(size))] = True
            masks.append(mask)
    return masks


def _arrangements(x: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield points whose entries are equal, sorted or repeated, and special matrices."""
    if x.size > 1:
        yield np.full(x.shape, x.flat[0])
    for axis, size in enumerate(x.shape):
        if size < 2:
            continue
        first = np.take(x, [0], axis)
        if x.ndim > 1:
            yield np.broadcast_to(first, x.shape).copy()
        two = x.copy()
        i, j = rng.choice(size, 2, replace=False)
        np.moveaxis(two, axis, 0)[i] = np.moveaxis(x, axis, 0)[j]
        yield two
        yield np.sort(x, axis)
        # the largest and the smallest of each slice occur twice
        for extreme in (np.max, np.min):
            tied = np.moveaxis(x.copy(), axis, 0)
            tied[i] = tied[j] = extreme(tied, axis=0)
            yield np.moveaxis(tied, 0, axis)
    if x.ndim and 1 < x.shape[-1] <= AXES:
        for axis in np.eye(x.shape[-1]):
            yield np.broadcast_to(axis, x.shape).copy()
    if x.ndim > 1 and x.shape[-1] == x.shape[-2] > 1:
        yield from _matrices(x)


def _matrices(x: np.ndarray) -> Iterator[np.ndarray]:
    """Yield symmetric, singular and degenerate matrices."""
    n = x.shape[-1]
    yield (x + np.swapaxes(x, -1, -2)) / 2
    eye = np.broadcast_to(np.eye(n), x.shape)
    yield eye.copy()
    yield eye * x
    yield eye * x * (np.arange(n) != 1)
    yield np.ones_like(x)
    yield np.tril(x)
    yield x @ np.swapaxes(x, -1, -2)
    half = x.copy()
    half[..., -1] = 0
    yield half @ np.swapaxes(half, -1, -2)
    twice = np.ones(n)
    twice[-1] = 2
    yield eye * twice


def _of_several(base: Values, moved: int, rng: np.random.Generator) -> Iterator[Values]:
    """Yield points at which several leaves are special at once."""
    for number in (0.0, 1.0, -1.0):
        yield (*(np.full(x.shape, number) for x in base[:moved]), *base[moved:])
    for i, j in itertools.permutations(range(moved), 2):
        if base[i].shape != base[j].shape or not base[i].size:
            continue
        for factor in (1.0, 2.0, -1.0):
            equal = list(base)
            equal[j] = factor * base[i]
            yield tuple(equal)
        part = _parts(base[i].shape, rng)[-1]
        one, zero = list(base), list(base)
        one[j] = np.where(part, base[i], base[j])
        zero[i], zero[j] = np.where(part, 0.0, base[i]), np.where(part, 0.0, base[j])
        yield tuple(one)
        yield tuple(zero)
    for i, j in itertools.combinations(range(moved), 2):
        zero = list(base)
        zero[i], zero[j] = np.zeros_like(base[i]), np.zeros_like(base[j])
        yield tuple(zero)
