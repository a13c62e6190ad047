"""The loop of `fit` over the epochs: figures, callbacks, saves, signals, and how it ends."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from .._types import Tree
from ..distributed import is_first_process, largest_of_all_processes
from .array_epochs import ArrayEpochs
from .batch_epochs import BatchEpochs, BatchError
from .evaluation import Evaluation
from .figures import History
from .interrupts import Interrupts, SignalError, TrainingInterrupted, name_of
from .learning_rate import learning_rate_of
from .line import Line
from .nonfinite import NonFiniteLossError
from .pace import Pace
from .progress import Progress
from .state import TrainState
from .store import Store


class EpochEnd(NamedTuple):
    """The argument of callbacks: the number of the epoch, from 1, the state and the figures.

    `seconds` is how long the epoch took, with its validation, but without callbacks and saves; of a
    run that was resumed within the epoch, the rest of it. `settings` holds the arguments of `fit`
    that are numbers or texts, and the number of parameters, for those who keep a record.
    """

    epoch: int
    state: TrainState
    figures: Mapping[str, float]
    seconds: float = float("nan")
    settings: Mapping[str, Any] = {}

    @property
    def learning_rate(self) -> float | None:
        """The learning rate of the last update; None unless the optimizer's state holds it.

        That of `optax.inject_hyperparams` does, whether the rate is a number or a schedule.
        """
        return learning_rate_of(self.state.opt_state)

    @property
    def numbers(self) -> dict[str, float]:
        """What a tracker records of an epoch: seconds, learning rate if it is known, figures."""
        rate = self.learning_rate
        known = {} if rate is None else {"learning_rate": rate}
        figures = {name: float(value) for name, value in self.figures.items()}
        return {"seconds": self.seconds, **known, **figures}


Callback = Callable[[EpochEnd], object]


class FitResult(NamedTuple):
    """The trained parameters, the final state, and the figures of each epoch.

    `params` are the parameters after the last epoch, or, with `patience` or `monitor`, after the
    best one.
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
    returns_best: bool

    def reached(self, run: Progress) -> bool:
        """Whether training is at its end."""
        return run.epochs >= self.epochs or run.out_of_patience(self.patience)


def result_of(run: Progress, limits: Limits) -> FitResult:
    return FitResult(
        run.best if limits.returns_best else run.state.params, run.state, run.figures.history()
    )


@dataclass
class Training:
    """The loop over the epochs, and what it has reached."""

    reached: Progress
    train: ArrayEpochs | BatchEpochs
    evaluation: Evaluation
    store: Store
    interrupts: Interrupts
    pace: Pace
    raises: bool  # whether a validation loss that is not finite is an error
    settings: Mapping[str, Any]  # for callbacks
    before: Progress | None = None  # a part earlier, if the state reached may be too large

    def run(self, limits: Limits, callbacks: Sequence[Callback], progress: bool | None) -> Progress:
        """Train until the limits, a callback or a signal end it."""
        line = Line(limits.epochs, self.reached, progress, limits.returns_best)
        try:
            while not limits.reached(self.reached):
                if self._epoch(callbacks, line):
                    break
            self.store.save(self.reached)
            self.store.wait()
            self.interrupts.check()
        except SignalError as stop:  # in which all processes agree
            line.close(self.reached)  # before a message is printed
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
        finally:
            line.close(self.reached)
        return self.reached

    def _epoch(self, callbacks: Sequence[Callback], line: Line) -> bool:
        """Train for the rest of an epoch; return whether a callback ends training."""
        run, start = self.reached, time.perf_counter()
        for part in self.train.parts(run.state, run.position, self.pace, run.loader):
            self.before = run if self.store.is_open else None  # only a checkpoint needs its memory
            self.reached = run = run.after_part(part)
            if not part.complete:
                line.show(run, self.train.steps)
                self.store.save_if_due(run, complete=False)
            self.interrupts.check()
        figures = {"loss": run.position.mean_loss} | self._scored(run)
        self.reached = run = run.after_epoch(figures)
        line.show(run, self.train.steps)
        seconds = time.perf_counter() - start
        end = EpochEnd(run.epochs, run.state, figures, seconds, self.settings)
        answers = [_is_true(call(end)) for call in callbacks]
        self.store.save_if_due(run, complete=True)
        self.interrupts.check()
        return bool(largest_of_all_processes(any(answers), "the answers of callbacks"))

    def _scored(self, run: Progress) -> dict[str, float]:
        state = run.state
        figures = self.train.figures(state, run.position)
        figures = self.evaluation(state.params) if figures is None else figures
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


def _is_true(value: Any) -> bool:
    """Whether a callback returned True, of any library; 1, which `write` returns, is not."""
    is_boolean = isinstance(value, bool) or getattr(value, "dtype", None) == np.bool_
    return is_boolean and np.ndim(value) == 0 and bool(value)
