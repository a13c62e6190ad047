"""Many points at once: which of them may show a mistake.

One compiled program loops over the points, so that a point costs little more than its arithmetic.
Most points agree in everything and need no more; the others go to the judge, one by one.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..point import Leaves
from ..precision import Precision
from ..program import Refused
from ..sample import Sample
from ..subject import OfLeaves, ValuesAndGrads, pullback_of
from .arithmetic import any_of, differs, has_lost, is_subnormal, sizes_of
from .judge import Judge
from .neighbours import directions, moved_by
from .outcome import Values, cast, value_at, values_of
from .slope import OFFSETS, quotient_of

# Points in one call, fewer where the leaves have many entries or the function takes long.
CHUNK = 64
ENTRIES = 2**21
# What is compared at a point takes the time of so many values.
PASSES = 7 + len(OFFSETS)


class Seen(NamedTuple):
    """What a screen says of each point.

    Attributes:
        suspicious: whether it may show a mistake.
        outside: whether an output is not a number.
    """

    suspicious: np.ndarray
    outside: np.ndarray


class Screen:
    """The screen of one sample, whose judge has been at the given point.

    Attributes:
        cost: the CPU time of one point, in seconds.
        chunk: the number of points in one call.
    """

    def __init__(self, sample: Sample, judge: Judge, seconds: float):
        self.sample, self.judge = sample, judge
        entries = sum(x.size for x in judge.base)
        self._us = directions(sample, judge.base, 800)
        value_at(sample, sample.wide, judge.base)  # compiles
        start = time.process_time()
        value_at(sample, sample.wide, judge.base)
        self.cost = PASSES * (time.process_time() - start)
        in_time = int(seconds / 2 / max(self.cost, 1e-9))
        self.chunk = max(1, min(CHUNK, ENTRIES // max(entries * len(OFFSETS), 1), in_time))

    def look(self, points: Sequence[Values]) -> Seen:
        """Screen at most `chunk` points; if that does not work, all of them are suspicious."""
        # the program takes a fixed number of points
        padded = [*points, *[self.judge.base] * (self.chunk - len(points))]
        try:
            seen = self._screened(tuple(np.stack(leaves) for leaves in zip(*padded, strict=True)))
        except Refused:
            seen = Seen(np.ones(self.chunk, bool), np.zeros(self.chunk, bool))
        return Seen(*(mask[: len(points)] for mask in seen))

    def _screened(self, points: Values) -> Seen:
        sample, wide = self.sample, self.sample.wide
        ends = [moved_by(points, self.judge.base, self._us, h) for h in OFFSETS]
        moved = tuple(np.stack(leaves, 1) for leaves in zip(*ends, strict=True))
        types = sample.point.types(wide)
        program = sample.subject.program("screen", self._looped)
        inputs = cast(points, types), cast(moved, types), sample.dys(wide)
        by_rule, plain, dys, products = program(wide, *inputs)
        dxs = values_of(by_rule.dxs)
        mask, outside = np.zeros(self.chunk, bool), np.zeros(self.chunk, bool)
        for got, want in zip(values_of(by_rule.ys), values_of(plain.ys), strict=True):
            outside |= any_of(np.isnan(got))
            mask |= any_of(
                differs(got, want, sizes_of(want), rtol=self.judge.rtol) & np.isfinite(want)
            )
        for k, (got, want) in enumerate(zip(dxs, values_of(plain.dxs), strict=True)):
            if k not in self.judge.skipped:
                atol = self.judge.nothing(k)
                mask |= any_of(
                    ~np.isfinite(got) | differs(got, want, sizes_of(want), atol, self.judge.rtol)
                )
        mask |= self._slopes(points, dxs, values_of(products))
        if self.judge.compares_digits:
            mask |= self._digits(points, dxs, values_of(dys))
        return Seen(mask, outside)

    def _looped(self, points: Leaves, moved: Leaves, dys: Leaves) -> Any:
        return lax.map(lambda each: self._one(each, dys), (points, moved))

    def _one(self, inputs: tuple[Leaves, Leaves], dys: Leaves) -> Any:
        """Return all that is compared at one point, and at the points to which it is moved."""
        xs, moved = inputs
        subject = self.sample.subject
        by_rule, masked = _masked(subject.rule.function, xs, dys)
        plain = by_rule
        if subject.has_oracle:
            plain = pullback_of(subject.plain.function)(xs, masked)
        return by_rule, plain, masked, lax.map(_weighted(subject.rule.function, masked), moved)

    def _slopes(self, points: Values, dxs: Values, products: Values) -> np.ndarray:
        """Return the points at which the gradients differ from difference quotients."""
        eps = self.sample.subject.computed_eps(self.sample.wide)
        steps = self.judge.steps(points, self._us)
        mask = np.zeros(self.chunk, bool)
        for i in range(self.chunk):
            terms = max(float(np.max(products[1][i])), self.judge.terms)
            quotient = quotient_of(products[0][i], terms, eps)
            here, along = [dx[i] for dx in dxs], [step[i] for step in steps]
            mask[i] = quotient is not None and not self.judge.agrees(here, along, quotient)
        return mask

    def _digits(self, points: Values, exact: Values, dys: Values) -> np.ndarray:
        """Return the points at which no digit is right in the dtypes of the arguments."""
        sample, own = self.sample, Precision.OWN
        program = sample.subject.program("screen in own dtypes", self._looped_in_own)
        inputs = cast(points, sample.point.types(own)), cast(dys, sample.subject.ys(own))
        found = values_of(program(own, *inputs))
        mask = np.zeros(self.chunk, bool)
        for k, (got, want) in enumerate(zip(found, exact, strict=True)):
            if k not in self.judge.skipped:
                dtype, usual = sample.point.xs[k].dtype, self.judge.sizes[k]
                mask |= any_of(has_lost(got, want, sizes_of(want), usual, dtype))
        for values, x in zip(points, sample.point.xs, strict=True):
            mask &= ~any_of(is_subnormal(values, x.dtype))
        return mask

    def _looped_in_own(self, points: Leaves, dys: Leaves) -> Any:
        pullback = pullback_of(self.sample.subject.rule.function)
        return lax.map(lambda each: pullback(*each).dxs, (points, dys))


def _masked(function: OfLeaves, xs: Leaves, dys: Leaves) -> tuple[ValuesAndGrads, Leaves]:
    """Return values and gradients, with cotangents of 0 where an output is not finite."""
    ys, _ = function(*xs)
    masked = tuple(jnp.where(jnp.isfinite(y), dy, 0) for y, dy in zip(ys, dys, strict=True))
    return pullback_of(function)(xs, masked), masked


def _weighted(function: OfLeaves, dys: Leaves) -> Callable[[Leaves], tuple[Array, Array]]:
    """Return the function that gives ⟨dy, y⟩ and the sum of its absolute terms."""

    def weighted(xs: Leaves) -> tuple[Array, Array]:
        ys, _ = function(*xs)
        terms = [jnp.where(dy == 0, 0, dy * y) for dy, y in zip(dys, ys, strict=True)]
        flat = jnp.concatenate([jnp.ravel(t).astype(jnp.result_type(float)) for t in terms])
        return jnp.sum(flat), jnp.sum(jnp.abs(flat))

    return weighted
