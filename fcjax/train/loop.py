"""One epoch of `fit`: one compiled call for arrays, step by step for iterables of batches.

A loss that is not finite raises `NonFiniteLossError`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from .._types import Tree
from .arguments import Metrics, check_one_number
from .batches import count_examples, each_batch, epoch_batches, sharding_of_examples
from .compiled import StateFunction
from .state import StepInfo, TrainState, copy_arrays
from .step import key_for


class EpochEnd(NamedTuple):
    """The argument of callbacks: the number of the epoch, from 1, the state and the figures."""

    epoch: int
    state: TrainState
    figures: Mapping[str, float]


class NonFiniteLossError(FloatingPointError):
    """The loss became infinite or NaN. `state` is the last good state, so no training is lost.

    `loss` is that loss, and `step` the number of steps completed before it. `state` is the newest
    state with finite parameters and a finite loss on the preceding batch: usually the state after
    `step` steps, or the previous one if the last update was already too large.
    """

    def __init__(self, step: int, loss: float, state: TrainState):
        """Store the arguments, and make a message with the step and the usual causes."""
        self.step, self.loss, self.state = step, loss, state
        super().__init__(
            f"the loss of step {step} is {loss}; the last good state, after {int(state.step)} "
            "steps, is in this exception's .state. Usual causes: a learning rate that is too "
            "large, or NaN or infinity in the data"
        )


class ArrayEpochs(NamedTuple):
    """Epochs over arrays: one compiled call each, repeated step by step if a loss is not finite."""

    train_epoch: StateFunction
    step: StateFunction
    data: Tree
    batch_size: int
    shuffle: bool

    def one_epoch(self, state: TrainState) -> tuple[TrainState, float]:
        """Return the state after one epoch, and the mean loss over its examples."""
        end, infos = self.train_epoch(copy_arrays(state), self.data)
        losses = np.asarray(infos.loss)
        if not np.isfinite(losses).all():
            take_steps(self.step, state, self._batches(state))
            raise NonFiniteLossError(int(state.step), float(losses[~np.isfinite(losses)][0]), state)
        sizes = np.full(len(losses), self.batch_size)
        sizes[-1] = count_examples(self.data) - sizes[:-1].sum()
        return end, float(np.average(losses, weights=sizes))

    def _batches(self, state: TrainState) -> Iterator[Tree]:
        key = key_for(state, "shuffle") if self.shuffle else None
        sharding = sharding_of_examples(self.data)
        return each_batch(epoch_batches(self.data, self.batch_size, key, sharding))


class BatchEpochs(NamedTuple):
    """Epochs over any iterable of batches."""

    step: StateFunction
    batches: Iterable[Tree]

    def one_epoch(self, state: TrainState) -> tuple[TrainState, float]:
        """Return the state after one epoch, and the mean loss over its examples."""
        end, losses, sizes = take_steps(self.step, state, self.batches)
        if not losses:
            raise ValueError(
                "data yielded no batch in this epoch; a generator can be iterated only once: pass "
                "an iterable that can be iterated repeatedly, such as a list, or epochs=1"
            )
        return end, float(np.average(losses, weights=sizes))


def take_steps(
    step: StateFunction, state: TrainState, batches: Iterable[Tree]
) -> tuple[TrainState, list[float], list[int]]:
    """Take one step per batch; return the state, the losses and the batch sizes.

    `step` must not overwrite its input state. The loss of a step is read while the next step is
    being computed.
    """
    history = _RecentSteps(step)
    sizes: list[int] = []
    for batch in batches:
        sizes.append(count_examples(batch, "batch"))
        history.check_last()
        start = state
        state, info = step(start, batch)
        history.add(start, batch, info)
    history.check_last()
    return state, history.losses, sizes


class _RecentSteps:
    """The inputs and results of the last two steps, from which the last good state is found."""

    def __init__(self, step: StateFunction):
        self._step = step
        self._steps: list[tuple[TrainState, Tree, StepInfo]] = []
        self.losses: list[float] = []

    def add(self, state: TrainState, batch: Tree, info: StepInfo) -> None:
        self._steps = [*self._steps[-1:], (state, batch, info)]

    def check_last(self) -> None:
        """Record the loss of the last step, or raise if it is not finite."""
        if not self._steps:
            return
        state, _, info = self._steps[-1]
        loss = float(info.loss)
        if not np.isfinite(loss):
            raise NonFiniteLossError(int(state.step), loss, self._last_good())
        self.losses.append(loss)

    def _last_good(self) -> TrainState:
        state = self._steps[-1][0]
        if len(self._steps) == 1:
            return state
        before, batch, _ = self._steps[0]
        finite = all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.params))
        return state if finite and np.isfinite(self._step(state, batch)[1].loss) else before


def evaluate(
    loss: Callable[[Tree, Tree, Array | None], tuple[Array, Tree]], metrics: Metrics
) -> Callable[[Tree, Iterable[Tree]], dict[str, float]]:
    """Return `f(params, batches)`: loss and metrics, averaged over the examples of all batches."""

    @jax.jit
    def figures(params: Tree, batch: Tree) -> dict[str, ArrayLike]:
        value = {"loss": loss(params, batch, None)[0]}
        return value | {
            n: check_one_number(n, metric(params, batch)) for n, metric in metrics.items()
        }

    def evaluate_batches(params: Tree, batches: Iterable[Tree]) -> dict[str, float]:
        rows: list[dict[str, Array]] = []
        sizes: list[int] = []
        for batch in batches:
            rows.append(figures(params, batch))
            sizes.append(count_examples(batch, "batch"))
        if not rows:
            raise ValueError(
                "validation_data yielded no batch; pass an iterable that can be iterated repeatedly"
            )
        return {name: float(np.average([r[name] for r in rows], weights=sizes)) for name in rows[0]}

    return evaluate_batches
