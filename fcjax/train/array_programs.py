"""What `fit` compiles for an epoch over arrays.

Small data are put in order, trained on and evaluated by one program, one call per epoch. The order
of large data is a program by itself, whose result serves all parts of an epoch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import NamedSharding

from .._arguments import count_examples
from .._types import Tree
from .batches import epoch_batches, sharding_of_examples
from .compiled import StateFunction
from .evaluation import Evaluation
from .nonfinite import StepLoss, is_healthy
from .reuse import Reused
from .state import TrainState
from .step import key_at

# To put so many bytes in order takes some milliseconds, next to a part of an epoch of a second.
_SMALL = 2**24
# Compiles a function of state and data; with `uses_key`, the function gets the key of the state.
Compile = Callable[..., StateFunction]


class ArrayData(NamedTuple):
    """The examples, and how they are visited."""

    arrays: Tree
    batch_size: int
    shuffle: bool
    drop_last: bool

    @property
    def examples(self) -> int:
        """The number of examples."""
        return count_examples(self.arrays)

    @property
    def full(self) -> int:
        """The number of batches of `batch_size`, those that come first."""
        return self.examples // self.batch_size

    @property
    def steps(self) -> int:
        """The number of steps of an epoch."""
        return steps_of_epoch(self.examples, self.batch_size, self.drop_last)

    @property
    def is_small(self) -> bool:
        """Whether the data may be put in order again for each part of an epoch."""
        sizes = [leaf.nbytes for leaf in jax.tree.leaves(self.arrays)]
        return not self.shuffle or sum(sizes) <= _SMALL


class Taken(NamedTuple):
    """What some steps leave: the state, a loss for each of them, and whether the state is fine.

    `figures` are those at the end of an epoch, if the program computes them.
    """

    state: TrainState
    losses: StepLoss
    healthy: bool
    figures: dict[str, float] | None = None


def steps_of_epoch(examples: int, batch_size: int, drop_last: bool) -> int:
    """Return the number of batches of an epoch."""
    return examples // batch_size if drop_last else -(-examples // batch_size)


class OneCall:
    """Order, steps and figures in one program."""

    def __init__(
        self, step: StateFunction, compile_: Compile, data: ArrayData, evaluation: Evaluation
    ):
        """Compile nothing yet. Figures over several batches are left to the evaluation."""
        self._data, self._held_out = data, evaluation.only_batch
        self._prefix, self.has_figures = evaluation.prefix, self._held_out is not None
        figures = None if self._held_out is None else evaluation.figures
        program = compile_(_one_call(step, data, figures), also_uses_key=data.shuffle)
        self._program = Reused(program)

    def runs(self, first: int, count: int) -> list[range]:
        """Return the steps as they are taken: together."""
        return [range(first, first + count)]

    def take(self, state: TrainState, start: int, steps: range) -> Taken:
        """Take some steps of the epoch that began at a step."""
        bounds = np.int32(start), np.int32(steps.start), np.int32(steps.stop)
        data = self._data.arrays, self._held_out, bounds
        state, (losses, healthy, figures) = self._program(state, data)
        named = {f"{self._prefix}{name}": float(value) for name, value in figures.items()}
        is_end = steps.stop == self._data.steps
        return Taken(state, _on_host(losses, steps), bool(healthy), named if is_end else None)


def _one_call(
    step: StateFunction, data: ArrayData, figures: Callable[..., dict[str, Any]] | None
) -> StateFunction:
    loop = _loop(step)

    def program(state: TrainState, given: Tree) -> tuple[TrainState, Any]:
        arrays, held_out, (start, first, last) = given
        key = key_at(state.key, start, "shuffle") if data.shuffle else None
        full, rest = epoch_batches(arrays, data.batch_size, key, None)
        state, losses = loop(state, (full, first, jnp.minimum(last, data.full)))
        if data.steps > data.full:
            bounds = jnp.maximum(first - data.full, 0), jnp.maximum(last - data.full, 0)
            rest = jax.tree.map(lambda V: V[None], rest)
            state, of_rest = loop(state, (rest, *bounds))
            losses = jax.tree.map(lambda *V: jnp.concatenate(V), losses, of_rest)
        found = {}
        if figures is not None:
            shapes = jax.eval_shape(figures, state.params, held_out)
            none = jax.tree.map(lambda V: jnp.zeros(V.shape, V.dtype), shapes)
            is_end = last == data.steps
            found = lax.cond(is_end, figures, lambda *_: none, state.params, held_out)
        return state, (losses, is_healthy(state), found)

    return program


class InParts:
    """The order of an epoch, made once, and loops over its batches, of two sizes."""

    has_figures = False

    def __init__(self, step: StateFunction, compile_: Compile, data: ArrayData):
        """Compile nothing yet."""

        def loop(state: TrainState, given: Tree) -> tuple[TrainState, Any]:
            state, losses = _loop(step)(state, given)
            return state, (losses, is_healthy(state))

        self._data = data
        self._loops = Reused(compile_(loop)), Reused(compile_(loop))
        self._batches: tuple[int, tuple[Tree, Tree]] | None = None

    def runs(self, first: int, count: int) -> list[range]:
        """Cut steps where the batches get smaller."""
        cut = min(max(self._data.full, first), first + count)
        return [steps for steps in (range(first, cut), range(cut, first + count)) if steps]

    def take(self, state: TrainState, start: int, steps: range) -> Taken:
        """Take some steps of the epoch that began at a step, all on batches of the same size."""
        full, rest = self._batches_of(state, start)
        if steps.start == self._data.full:
            loop, batches, steps = self._loops[1], jax.tree.map(lambda V: V[None], rest), range(1)
        else:
            loop, batches = self._loops[0], full
        bounds = np.int32(steps.start), np.int32(steps.stop)
        state, (losses, healthy) = loop(state, (batches, *bounds))
        return Taken(state, _on_host(losses, steps), bool(healthy))

    def _batches_of(self, state: TrainState, start: int) -> tuple[Tree, Tree]:
        """Return the batches of the epoch that began at a step, made once per epoch."""
        data = self._data
        start = start if data.shuffle else 0
        if self._batches is None or self._batches[0] != start:
            self._batches = None  # so that two epochs are never in memory
            key = state.key if data.shuffle else None
            sharding = sharding_of_examples(data.arrays)
            batches = _arranged(data.arrays, key, np.int32(start), data.batch_size, sharding)
            self._batches = start, batches
        return self._batches[1]


def _on_host(losses: StepLoss, steps: range) -> StepLoss:
    return jax.tree.map(lambda V: np.asarray(V)[steps.start : steps.stop], losses)


@partial(jax.jit, static_argnums=(3, 4))
def _arranged(
    data: Tree, key: Array | None, start: Array, batch_size: int, sharding: NamedSharding | None
) -> tuple[Tree, Tree]:
    key = None if key is None else key_at(key, start, "shuffle")
    return epoch_batches(data, batch_size, key, sharding)


def _loop(step: StateFunction) -> StateFunction:
    """Return a loop over some of the batches.

    Where it begins and ends are arguments of the program, so one program serves all parts.
    """

    def loop(state: TrainState, data: tuple[Tree, Array, Array]) -> tuple[TrainState, StepLoss]:
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
        return lax.fori_loop(first, last, body, (state, results))

    return loop
