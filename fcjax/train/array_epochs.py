"""Epochs of `fit` over arrays: a part of an epoch is one call of a compiled program."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .array_programs import ArrayData, Compile, InParts, OneCall
from .compiled import StateFunction
from .evaluation import Evaluation
from .nonfinite import NonFiniteLossError, StepLoss
from .pace import Pace
from .position import Part, Position
from .state import TrainState


class ArrayEpochs:
    """Epochs over arrays."""

    def __init__(
        self, step: StateFunction, compile_: Compile, data: ArrayData, evaluation: Evaluation,
        one_call: bool,
    ):  # fmt: skip
        """Take the observed step, and what compiles a function of state and data.

        With `one_call`, small data are trained on and evaluated by one program.
        """
        self._data = data
        is_one = one_call and data.is_small
        self._program = (
            OneCall(step, compile_, data, evaluation) if is_one else InParts(step, compile_, data)
        )
        # Where the previous part began: the state that it left may already be too large.
        self._previous: tuple[TrainState, Position] | None = None
        self._figures: tuple[TrainState, dict[str, float]] | None = None

    @property
    def steps(self) -> int:
        """Number of steps of an epoch."""
        return self._data.steps

    def figures(self, state: TrainState, at: Position) -> dict[str, float] | None:
        """Return the figures at the end of an epoch, None if another program has them."""
        if not self._program.has_figures:
            return None
        if self._figures is None or self._figures[0] is not state:
            # a run that was interrupted between the last step and its figures
            return self._program.take(state, at.start, range(self.steps, self.steps)).figures
        return self._figures[1]

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
        data = self._data
        results: list[StepLoss] = []
        end, self._figures = state, None
        for steps in self._program.runs(at.steps, count):
            end, result, healthy, figures = self._program.take(end, at.start, steps)
            results.append(result)
            fine = np.isfinite(result.loss) | result.skipped
            if not fine.all() or not healthy:
                raise self._located(state, at, at.steps + count)
            if figures:
                self._figures = end, figures
        losses, skipped = (np.concatenate(parts) for parts in zip(*results, strict=True))
        sizes = np.full(count, data.batch_size)
        if at.steps + count > data.full:
            sizes[-1] = data.examples - data.full * data.batch_size
        return end, at.after(losses, skipped, sizes)

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
            end, result, healthy, _ = self._program.take(state, *step)
            loss = float(result.loss[0])
            if not (np.isfinite(loss) or result.skipped[0]):
                good = state
                if previous is not None:
                    again = self._program.take(state, *previous[1]).losses
                    good = state if np.isfinite(again.loss[0]) else previous[0]
                return NonFiniteLossError(int(state.step), loss, good)
            if not healthy:
                return NonFiniteLossError(int(state.step), loss, state)
            previous, state = (state, step), end
        what = f"the loss or the parameters are not finite after step {int(state.step) - 1}"
        good = state if previous is None else previous[0]
        return NonFiniteLossError(int(state.step), float("nan"), good, what)
