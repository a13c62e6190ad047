"""Epochs of `fit` over arrays: a part of an epoch is one call of a compiled loop."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import NamedSharding

from .._arguments import count_examples
from .._types import Tree
from .batches import epoch_batches, sharding_of_examples
from .compiled import StateFunction
from .nonfinite import NonFiniteLossError, StepLoss, is_healthy
from .pace import Pace
from .position import Part, Position
from .reuse import Reused
from .state import TrainState
from .step import key_at


class ArrayEpochs:
    """Epochs over arrays. A part is one compiled call."""

    def __init__(self, step: StateFunction, compile_: Callable[[StateFunction], StateFunction],
                 data: Tree, batch_size: int, shuffle: bool):  # fmt: skip
        """Take the observed step, and what compiles a function of state and data."""
        self._data, self._shuffle = data, shuffle
        self._batch_size = min(batch_size, count_examples(data))
        # Batches of two sizes are loops of two programs.
        self._loops = (Reused(compile_(_loop(step))), Reused(compile_(_loop(step))))
        self._batches: tuple[int, tuple[Tree, Tree]] | None = None
        # Where the previous part began: the state that it left may already be too large.
        self._previous: tuple[TrainState, Position] | None = None

    @property
    def steps(self) -> int:
        """Number of steps of an epoch."""
        return -(-count_examples(self._data) // self._batch_size)

    def parts(
        self, state: TrainState, at: Position, pace: Pace, loader: Any = None
    ) -> Iterator[Part]:
        """Train from a position to the end of the epoch; raise NonFiniteLossError."""
        del loader
        while at.steps < self.steps:
            count = pace.begin(at.start + at.steps, self.steps - at.steps)
            before = (state, at)
            try:
                state, at = self._part(state, at, count)
            except NonFiniteLossError as error:
                good = int(error.state.step) - at.start - at.steps
                if good > 0:  # the part up to the last good state
                    yield Part(*self._part(state, at, good), complete=False)
                raise
            self._previous = before
            pace.end(count)
            yield Part(state, at, at.steps == self.steps)

    def _part(self, state: TrainState, at: Position, count: int) -> tuple[TrainState, Position]:
        examples = count_examples(self._data)
        full = examples // self._batch_size
        results: list[StepLoss] = []
        end = state
        for steps in _runs(at.steps, count, full):
            end, result, healthy = self._take(end, at.start, steps)
            results.append(result)
            fine = np.isfinite(result.loss) | result.skipped
            if not fine.all() or not healthy:
                raise self._located(state, at, at.steps + count)
        losses, skipped = (np.concatenate(parts) for parts in zip(*results, strict=True))
        sizes = np.full(count, self._batch_size)
        if at.steps + count > full:
            sizes[-1] = examples - full * self._batch_size
        return end, at.after(losses, skipped, sizes)

    def _take(
        self, state: TrainState, start: int, steps: range
    ) -> tuple[TrainState, StepLoss, bool]:
        """Take some steps of the epoch, all on batches of the same size."""
        full, rest = self._batches_of(state, start)
        whole = len(jax.tree.leaves(full)[0])
        if steps.start == whole:
            loop, batches, first = self._loops[1], jax.tree.map(lambda a: a[None], rest), 0
        else:
            loop, batches, first = self._loops[0], full, steps.start
        bounds = np.int32(first), np.int32(first + len(steps))
        state, (losses, healthy) = loop(state, (batches, *bounds))
        losses = jax.tree.map(lambda V: np.asarray(V)[first : first + len(steps)], losses)
        return state, losses, bool(healthy)

    def _batches_of(self, state: TrainState, start: int) -> tuple[Tree, Tree]:
        """Return the batches of the epoch that began at a step, made once per epoch."""
        start = start if self._shuffle else 0
        if self._batches is None or self._batches[0] != start:
            self._batches = None  # so that two epochs are never in memory
            key = key_at(state.key, start, "shuffle") if self._shuffle else None
            sharding = sharding_of_examples(self._data)
            self._batches = start, _arranged(self._data, key, self._batch_size, sharding)
        return self._batches[1]

    def _located(self, state: TrainState, at: Position, last: int) -> NonFiniteLossError:
        """Repeat two parts step by step, and return the error of the step that fails."""
        parts = [(at.start, range(at.steps, last))]
        if self._previous is not None:
            state, before = self._previous
            end = at.steps if before.start == at.start else self.steps
            parts.insert(0, (before.start, range(before.steps, end)))
        previous = None
        for start, i in [(start, i) for start, steps in parts for i in steps]:
            step = start, range(i, i + 1)
            end, result, healthy = self._take(state, *step)
            loss = float(result.loss[0])
            if not (np.isfinite(loss) or result.skipped[0]):
                good = state
                if previous is not None:
                    again = self._take(state, *previous[1])[1]
                    good = state if np.isfinite(again.loss[0]) else previous[0]
                return NonFiniteLossError(int(state.step), loss, good)
            if not healthy:
                return NonFiniteLossError(int(state.step), loss, state)
            previous, state = (state, step), end
        what = f"the loss or the parameters are not finite after step {int(state.step) - 1}"
        good = state if previous is None else previous[0]
        return NonFiniteLossError(int(state.step), float("nan"), good, what)


def _runs(first: int, count: int, full: int) -> list[range]:
    """Cut steps where the batches get smaller."""
    cut = min(max(full, first), first + count)
    return [steps for steps in (range(first, cut), range(cut, first + count)) if steps]


@partial(jax.jit, static_argnums=(2, 3))
def _arranged(
    data: Tree, key: Array | None, batch_size: int, sharding: NamedSharding | None
) -> tuple[Tree, Tree]:
    return epoch_batches(data, batch_size, key, sharding)


def _loop(step: StateFunction) -> StateFunction:
    """Return a loop over some of the batches.

    Where it begins and ends are arguments of the program, so one program serves all parts.
    """

    def loop(
        state: TrainState, data: tuple[Tree, Array, Array]
    ) -> tuple[TrainState, tuple[StepLoss, Array]]:
        batches, first, last = data

        def batch(i: Array | int) -> Tree:
            return jax.tree.map(lambda V: lax.dynamic_index_in_dim(V, i, keepdims=False), batches)

        def body(i: Array, carry: tuple[TrainState, StepLoss]) -> tuple[TrainState, StepLoss]:
            state, results = carry
            state, result = step(state, batch(i))
            put = partial(lax.dynamic_update_index_in_dim, index=i, axis=0)
            return state, jax.tree.map(put, results, result)

        one = jax.eval_shape(step, state, batch(0))[1]
        steps = len(jax.tree.leaves(batches)[0])
        results = jax.tree.map(lambda V: jnp.zeros((steps, *V.shape), V.dtype), one)
        state, results = lax.fori_loop(first, last, body, (state, results))
        return state, (results, is_healthy(state))

    return loop
