"""The networks that every system trains, with the same weights and examples for each."""

import math
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np

LEARNING_RATE = 0.01
Pairs = list[tuple[np.ndarray, np.ndarray]]


class Network(NamedTuple):
    """Sizes of the layers, examples per step, and steps per pass over the data."""

    sizes: tuple[int, ...]
    batch: int
    steps: int

    def __str__(self) -> str:
        """For example `784-1024×3-10, batch 512`."""
        runs = [(size, len(list(run))) for size, run in groupby(self.sizes)]
        layers = "-".join(f"{size}×{n}" if n > 2 else "-".join([str(size)] * n) for size, n in runs)
        return f"{layers}, batch {self.batch}"

    @property
    def flops(self) -> int:
        """Multiplications and additions of a step's matrix products."""
        first, *others = [2 * self.batch * m * n for m, n in pairwise(self.sizes)]
        return 2 * first + 3 * sum(others)

    def weights(self) -> Pairs:
        """Return (W, b) of each layer: He's normal weights, small biases."""
        draw = np.random.default_rng(0).standard_normal
        return [
            (np.float32(draw((m, n)) * math.sqrt(2 / m)), np.float32(draw(n) / 100))
            for m, n in pairwise(self.sizes)
        ]

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return examples (steps · batch, n_in) and their classes."""
        generator = np.random.default_rng(1)
        examples = self.steps * self.batch
        X = generator.standard_normal((examples, self.sizes[0]), dtype=np.float32)
        return X, generator.integers(self.sizes[-1], size=examples, dtype=np.int32)

    def batches(self) -> Pairs:
        """Return the same examples step by step."""
        X, y = self.data()
        return list(zip(np.split(X, self.steps), np.split(y, self.steps), strict=True))


TINY = Network((64, 128, 10), 32, 64)
NARROW = Network((1000, 100, 10), 64, 64)
MIDDLE = Network((784, 512, 512, 10), 128, 64)
WIDE = Network((784, 1024, 1024, 1024, 10), 512, 16)
DEEP = Network((*(512,) * 17, 10), 256, 16)
WIDEST = Network((4096, 4096, 4096), 512, 4)

MAIN = (TINY, NARROW, MIDDLE, WIDE, DEEP)
MIXED = (WIDE, DEEP, WIDEST, MIDDLE)
# Where products are so small that all else counts.
SMALL = tuple(Network((64, width, width, 10), 32, 64) for width in (16, 32, 64, 128))
