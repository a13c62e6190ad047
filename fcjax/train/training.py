"""The loop of `fit` over the epochs: figures, callbacks, saves, signals, and how it ends."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from .._progress import tqdm
from .._types import Tree
from ..distributed import is_first_process, largest_of_all_processes
from .array_epochs import ArrayEpochs
from .batch_epochs import BatchEpochs, BatchError
from .figures import History
from .interrupts import Interrupts, SignalError, TrainingInterrupted, name_of
from .nonfinite import NonFiniteLossError
from .pace import Pace
from .progress import Progress
from .state import TrainState
from .store import Store


class EpochEnd(NamedTuple):
    """The argument of callbacks: the number of the epoch, from 1, the state and the figures."""

    epoch: int
    state: TrainState
    figures: Mapping[str, float]


Callback = Callable[[EpochEnd], object]


class FitResult(NamedTuple):
    """The trained parameters, the final state, and the figures of each epoch.

    `params` are the parameters after the last epoch, or, with `patience`, after the best one.
    `history` maps "loss", "val_loss" and the names of the metrics to lists with one number per
    epoch. "loss" is the mean over the epoch, during which the parameters change.
    """

    params: Tree
    state: TrainState
    history: History


class Limits(NamedTuple):
    """When training ends."""

    epochs: int
    patience: int | None

    def reached(self, run: Progress) -> bool:
        """Whether training is at its end."""
        return run.epochs >= self.epochs or run.out_of_patience(self.patience)


def result_of(run: Progress, limits: Limits) -> FitResult:
    return FitResult(
        run.best if limits.patience else run.state.params, run.state, run.figures.history()
    )


@dataclass
class Training:
    """The loop over the epochs, and what it has reached."""

    reached: Progress
    train: ArrayEpochs | BatchEpochs
    score: Callable[[Tree], dict[str, float]]
    store: Store
    interrupts: Interrupts
    pace: Pace
    raises: bool  # whether a validation loss that is not finite is an error
    before: Progress | None = None  # a part earlier, if the state reached may be too large

    def run(self, limits: Limits, callbacks: Sequence[Callback], progress: bool | None) -> Progress:
        """Train until the limits, a callback or a signal end it."""
        options = {"unit": "epoch", "disable": _tqdm_disable(progress)}
        with tqdm(total=limits.epochs, initial=self.reached.epochs, **options) as bar:
            try:
                while not limits.reached(self.reached):
                    if self._epoch(limits, callbacks, bar):
                        break
                self.store.save(self.reached)
                self.store.wait()
                self.interrupts.check()
            except SignalError as stop:  # in which all processes agree
                self.store.save(self.reached)
                self.store.wait()
                raise self._explained(stop, limits) from None
            except BatchError as stop:
                self._save_if_alone(self.reached)
                raise self._explained(stop, limits) from stop.__cause__
            except NonFiniteLossError as error:
                self._go_back_to(self._good(error))  # the loss is the same in all processes
                raise
            except BaseException:  # such as what a handler of a signal raises
                self._save_if_alone(self.reached)
                raise
        return self.reached

    def _epoch(self, limits: Limits, callbacks: Sequence[Callback], bar: Any) -> bool:
        """Train for the rest of an epoch; return whether a callback ends training."""
        run = self.reached
        for part in self.train.parts(run.state, run.position, self.pace, run.loader):
            self.before = run if self.store.is_open else None  # only a checkpoint needs its memory
            self.reached = run = run.after_part(part)
            if not part.complete:
                self.store.save_if_due(run, complete=False)
            self.interrupts.check()
        figures = {"loss": run.position.mean_loss} | self._scored(run.state)
        self.reached = run = run.after_epoch(figures)
        bar.set_postfix(figures)
        bar.update()
        end = EpochEnd(run.epochs, run.state, figures)
        answers = [_is_true(call(end)) for call in callbacks]
        self.store.save_if_due(run, complete=True)
        self.interrupts.check()
        return bool(largest_of_all_processes(any(answers), "the answers of callbacks"))

    def _scored(self, state: TrainState) -> dict[str, float]:
        figures = self.score(state.params)
        loss = figures.get("val_loss", 0.0)
        if self.raises and not np.isfinite(loss):
            what = f"the validation loss of epoch {self.reached.epochs + 1} is {loss}"
            raise NonFiniteLossError(int(state.step), loss, state, what)
        return figures

    def _save_if_alone(self, reached: Progress) -> None:
        """Save what was reached, unless other processes, which go on, must take part."""
        if jax.process_count() == 1:
            self._go_back_to(reached)

    def _go_back_to(self, good: Progress | None) -> None:
        """Make what is good the newest checkpoint. All processes must take part."""
        if good is not None:
            with suppress(OSError, TypeError):  # another error is on its way
                self.store.back_to(good)

    def _good(self, error: NonFiniteLossError) -> Progress | None:
        """Return the newest progress up to the last good state."""
        run = self.reached if self.reached.step <= int(error.state.step) else self.before
        return run if run is None or run.step <= int(error.state.step) else None

    def _explained(
        self, stop: BatchError | SignalError, limits: Limits
    ) -> BatchError | TrainingInterrupted:
        """Return the error to raise, which holds the result so far."""
        run, result = self.reached, result_of(self.reached, limits)
        where = f"after {run.position.steps} steps of epoch {run.epochs + 1}"
        kept = f"; {self.store.where}" if self.store.where else ""
        if isinstance(stop, BatchError):
            error = BatchError(f"epoch {run.epochs + 1}: {stop}; the result so far, {where}, is in "
                               f"this exception's .result{kept}", stop.batch)  # fmt: skip
            error.epoch, error.result = run.epochs + 1, result
            return error
        message = f"fcjax.fit: ended by {name_of(stop.number)} {where}{kept}"
        if is_first_process():
            print(message, file=sys.stderr)
        return TrainingInterrupted(stop.number, message, result)


def _is_true(value: object) -> bool:
    """Whether a callback returned True; 1, which `write` returns, is not."""
    return isinstance(value, bool | np.bool_) and bool(value)


def _tqdm_disable(progress: bool | None) -> bool | None:
    """Return tqdm's `disable`, where None means: disable unless on a terminal."""
    if not is_first_process():
        return True
    return None if progress is None else not progress
