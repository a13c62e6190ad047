"""Measure the compiled gradient of a function: in bytes, in operations, and by the clock."""

import statistics
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from ..._jax import bytes_kept, compiled_cost
from ..point import Leaves, Point
from ..precision import Precision
from ..program import Refused, user_code
from ..subject import Side, pullback_of
from .report import Cost

# One round of the clock takes at least this long, in seconds, so that a call of some microseconds
# is measured; and there are so many rounds at least.
ROUND = 2e-3
ROUNDS = 9


class Measured:
    """One side: its compiled gradient, and the numbers that need no clock."""

    def __init__(self, name: str, side: Side, point: Point):
        self._inputs = point.xs
        try:
            with user_code():
                self._compile(side)
        except Refused as refusal:
            raise ValueError(f"{name} cannot be differentiated: {refusal}") from refusal
        self.timed(1)

    def _compile(self, side: Side) -> None:
        ys = side.value.shapes(Precision.OWN, *self._inputs)[0]
        dys = tuple(jnp.ones(y.shape, y.dtype) for y in ys)

        def gradient(xs: Leaves) -> tuple[Leaves, tuple[Array, ...]]:
            found = pullback_of(side.function)(xs, dys)
            return found.ys, found.dxs

        self._kept = bytes_kept(lambda *xs: side.function(*xs)[0], self._inputs)
        start = time.perf_counter()
        self._compiled = jax.jit(gradient).lower(self._inputs).compile()
        self._compile_seconds = time.perf_counter() - start

    def timed(self, calls: int) -> float:
        """Return the time of a call in seconds, as the mean of several."""
        start = time.perf_counter()
        jax.block_until_ready([self._compiled(self._inputs) for _ in range(calls)][-1])
        return (time.perf_counter() - start) / calls

    def gradients(self) -> Leaves:
        """Return the gradients of the sum of all outputs."""
        return self._compiled(self._inputs)[1]

    def cost(self, times: Sequence[float]) -> Cost:
        """Return all costs, with the times of the rounds."""
        temporary, operations = compiled_cost(self._compiled)
        return Cost(
            self._kept,
            temporary,
            operations,
            self._compile_seconds,
            statistics.median(times),
            quartiles(times),
        )


def in_turns(sides: Sequence[Measured], seconds: float) -> list[list[float]]:
    """Time the sides in turns, and return the times of each."""
    calls = [max(1, int(ROUND / max(side.timed(3), 1e-9))) for side in sides]
    times: list[list[float]] = [[] for _ in sides]
    start = time.perf_counter()
    while len(times[0]) < ROUNDS or time.perf_counter() - start < seconds:
        for own, side, count in zip(times, sides, calls, strict=True):
            own.append(side.timed(count))
    return times


def time_ratio(
    of_rule: Sequence[float], of_plain: Sequence[float]
) -> tuple[float, tuple[float, float]]:
    """Return the ratio of the median times, and the spread of that of single rounds.

    The spread contains the ratio, which may lie outside of the quartiles on a busy machine.
    """
    ratio = statistics.median(of_rule) / statistics.median(of_plain)
    low, high = quartiles([one / other for one, other in zip(of_rule, of_plain, strict=True)])
    return ratio, (min(low, ratio), max(high, ratio))


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(values, n=4)
    return low, high
