"""One epoch of `fit`: one call on arrays, batch by batch on anything else; a bad loss stops it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .arguments import Metrics, one_number
from .compiled import Run
from .epoch import batches_of, count_examples, in_order
from .state import StepInfo, TrainState, copy_arrays


class EpochEnd(NamedTuple):
    """What a callback sees after each epoch: its number from 1 on, the state, and the figures."""

    epoch: int
    state: TrainState
    figures: Mapping[str, float]


class NonFiniteLossError(FloatingPointError):
    """The loss became infinite or NaN. Nothing is lost: `state` is the last good one.

    `step` is the number of steps done before the loss of the next one was `loss`. `state` is the
    newest state with finite parameters that gives a finite loss on the batch before; usually the
    one after `step` steps, and the one before that if the last update was already too large.
    """

    def __init__(self, step: int, loss: float, state: TrainState):
        """Keep the three; the message names the step and offers the usual remedies."""
        self.step, self.loss, self.state = step, loss, state
        super().__init__(
            f"the loss of step {step} is {loss}; the last good state, after {int(state.step)} "
            "steps, is in this exception's .state. Usual causes: a learning rate that is too "
            "large, or NaN or infinity in the data"
        )


class ArrayEpochs(NamedTuple):
    """Epochs over arrays: one compiled call each; gone through again step by step if it fails."""

    train_epoch: Run
    step: Run
    data: Any
    batch_size: int
    shuffle: bool

    def run(self, state: TrainState) -> tuple[TrainState, float]:
        """Return the state after one epoch, and the mean loss over its examples."""
        end, infos = self.train_epoch(copy_arrays(state), self.data)
        losses = np.asarray(infos.loss)
        if not np.isfinite(losses).all():
            data = in_order(state, self.data, self.shuffle)
            run_steps(self.step, state, batches_of(data, self.batch_size))
            raise NonFiniteLossError(int(state.step), float(losses[~np.isfinite(losses)][0]), state)
        sizes = np.full(len(losses), self.batch_size)
        sizes[-1] = count_examples(self.data) - sizes[:-1].sum()
        return end, float(np.average(losses, weights=sizes))


class BatchEpochs(NamedTuple):
    """Epochs over any iterable of batches."""

    step: Run
    batches: Iterable[Any]

    def run(self, state: TrainState) -> tuple[TrainState, float]:
        """Return the state after one epoch, and the mean loss over its examples."""
        end, losses, sizes = run_steps(self.step, state, self.batches)
        if not losses:
            raise ValueError(
                "data gave no batch in this epoch; a generator can be gone through only once: "
                "pass something that starts anew each time, or epochs=1"
            )
        return end, float(np.average(losses, weights=sizes))


def run_steps(
    step: Run, state: TrainState, batches: Iterable[Any]
) -> tuple[TrainState, list[float], list[int]]:
    """Step through the batches; return the state, the losses and the batch sizes.

    `step` must leave its state intact. The loss of a step is looked at while the next one runs.
    """
    history = _History(step)
    sizes = []
    for batch in batches:
        sizes.append(count_examples(batch, "batch"))
        history.check_last()
        start = state
        state, info = step(start, batch)
        history.add(start, batch, info)
    history.check_last()
    return state, history.losses, sizes


class _History:
    """The last two steps, in case that the last one has to be undone."""

    def __init__(self, step: Run):
        self._step = step
        self._steps: list[tuple[TrainState, Any, StepInfo]] = []
        self.losses: list[float] = []

    def add(self, state: TrainState, batch: Any, info: StepInfo) -> None:
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
    loss: Callable[[Any, Any, Array | None], tuple[Array, Any]], metrics: Metrics
) -> Callable[[Any, Iterable[Any]], dict[str, float]]:
    """Return `f(params, batches)`: loss and metrics, averaged over the examples of all batches."""

    @jax.jit
    def figures(params: Any, batch: Any) -> dict[str, Array]:
        value = {"loss": loss(params, batch, None)[0]}
        return value | {n: one_number(n, metric(params, batch)) for n, metric in metrics.items()}

    def evaluate_batches(params: Any, batches: Iterable[Any]) -> dict[str, float]:
        rows, sizes = [], []
        for batch in batches:
            rows.append(figures(params, batch))
            sizes.append(count_examples(batch, "batch"))
        if not rows:
            raise ValueError("validation_data gave no batch; pass something that starts anew")
        return {name: float(np.average([r[name] for r in rows], weights=sizes)) for name in rows[0]}

    return evaluate_batches
