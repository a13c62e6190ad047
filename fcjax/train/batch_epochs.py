"""Epochs of `fit` over any iterable of batches: a part of an epoch is a number of steps."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import jax
import numpy as np

from .._arguments import count_examples, describe
from .._errors import Portable
from .._types import Tree
from ..distributed import OutOfStepError, of_all_processes
from .data_check import check_dtypes
from .nonfinite import NonFiniteLossError, StepLoss, is_healthy
from .pace import Pace
from .position import Part, Position
from .reuse import Reused
from .state import TrainState

_MAX_LENGTH = 200


class BatchError(Portable, RuntimeError):
    """The data raised, or a batch did not fit the loss.

    `epoch` and `batch` count from 1; `result` is the `FitResult` of the batches before this one.
    """

    def __init__(self, message: str, batch: int):
        """Store the number of the batch; `fit` adds the epoch and the result."""
        super().__init__(message)
        self.batch, self.epoch = batch, 0
        self.result: Any = None


class BatchEpochs:
    """Epochs over any iterable of batches. A part is a number of steps."""

    def __init__(self, step: Reused, batches: Iterable[Tree], check: Callable[[], None]):
        """Take the compiled step, which must not overwrite its input, and the batches.

        To go on in the middle of an epoch, batches are skipped, and `check` is called after each.
        """
        self._step, self._batches, self._check, self._length = step, batches, check, 0
        self._history = _RecentSteps(step)

    @property
    def steps(self) -> int | None:
        """Number of steps of an epoch; None until it is known."""
        return len(self._batches) if isinstance(self._batches, list) else self._length or None

    def figures(self, state: TrainState, at: Position) -> None:
        """Return None: the figures at the end of an epoch are another program's."""

    def parts(
        self, state: TrainState, at: Position, pace: Pace, loader: Any = None
    ) -> Iterator[Part]:
        """Train from a position to the end of the epoch; raise NonFiniteLossError."""
        batches = _Batches(self._batches, at.steps, loader, self._check)
        count = pace.begin(at.start + at.steps)  # reading a batch may take most of the time
        while batches.more():
            before = at.steps
            state, at, failure = self._part(state, at, batches, pace, count)
            more = batches.more()
            pace.end(max(at.steps - before, 1))
            loader = batches.state()
            # a loader has read on, so its state is not that of an earlier step
            known = loader is None or not isinstance(failure, NonFiniteLossError)
            if at.steps > before and known:
                yield Part(state, at, not failure and not more, loader)
            if failure:
                raise failure
            count = pace.begin(at.start + at.steps)
        self._check_length(at)

    def _check_length(self, at: Position) -> None:
        """Raise if an epoch had no batch, and warn if it was shorter than the one before."""
        if not at.steps:
            message = (
                "data yielded no batch in this epoch; a generator can be iterated only once: pass "
                "an iterable that can be iterated repeatedly, such as a list, or epochs=1"
            )
            raise BatchError(message, 1) if at.start else ValueError(message)
        if at.steps < self._length:
            warnings.warn(
                f"data ended after {at.steps} batches in this epoch; the one before had "
                f"{self._length}",
                stacklevel=2,
            )
        self._length = at.steps

    def _part(
        self, state: TrainState, at: Position, batches: "_Batches", pace: Pace, count: int
    ) -> tuple[TrainState, Position, BatchError | NonFiniteLossError | None]:
        """Take some steps; if one fails, return what came before it, and the error."""
        start, history, sizes = state, self._history, list[int]()
        history.begin(state)
        try:
            state, failure = self._steps(state, at, islice(batches, count), sizes, pace)
            taken = len(sizes)
        except NonFiniteLossError as error:
            failure, taken = error, int(error.state.step) - at.start - at.steps
            if taken < 0:  # this part began at a state that was already too large
                return start, at, error
            state = error.state
        losses, skipped = np.array(history.losses, float), np.array(history.skipped, bool)
        return state, at.after(losses[:taken], skipped[:taken], np.array(sizes[:taken])), failure

    def _steps(
        self, state: TrainState, at: Position, batches: Iterable[Tree], sizes: list[int], pace: Pace
    ) -> tuple[TrainState, BatchError | None]:
        history, failure = self._history, None
        try:
            for number, batch in enumerate(batches, at.steps + 1):
                start = state
                size, state, result = self._one(start, batch, at, number)
                history.check_last()
                history.add(start, batch, result)
                sizes.append(size)
                if pace.is_over():
                    break
        except BatchError as error:
            failure = error
        history.check_last()
        if not _healthy(state):
            raise history.unhealthy()
        return state, failure

    def _one(
        self, state: TrainState, batch: Tree, at: Position, number: int
    ) -> tuple[int, TrainState, StepLoss]:
        try:
            return count_examples(batch, "batch"), *self._step(state, batch)
        except jax.errors.JaxRuntimeError:  # of the device, such as too little memory
            raise
        except Exception as error:  # whatever the loss raises for a batch of another structure
            why = _with_names(error, batch)
            if number == 1 and not at.start:  # nothing is lost, and an argument is to blame
                raise why from None
            what = f"batch {number} of data does not fit: {_in_short(why)}"
            raise BatchError(what, number) from error


def _with_names(error: Exception, batch: Tree) -> Exception:
    """Return the error of a step, or one that names the array of the batch that is to blame."""
    try:
        check_dtypes("batch", batch)
    except TypeError as named:
        return named
    return error


def _in_short(error: Exception) -> str:
    """Return the beginning of a message; JAX's can be long. The rest is in the error's cause."""
    kind = "" if isinstance(error, TypeError | ValueError) else f"{type(error).__name__}: "
    line = next(iter(str(error).splitlines()), "")
    return kind + (line if len(line) <= _MAX_LENGTH else f"{line[:_MAX_LENGTH]} ...")


class _Batches:
    """An iterator of batches that knows whether there are more, and the state of a loader."""

    def __init__(self, batches: Iterable[Tree], skip: int, loader: Any, check: Callable[[], None]):
        """Begin at the state of a loader, or else after `skip` batches."""
        self._iterator: Any = iter(batches)
        self._done = skip
        self._next: list[Tree] = []
        self._failure: BatchError | None = None
        self._state: Any = None
        if loader is not None:
            if not hasattr(self._iterator, "set_state"):
                raise ValueError(
                    "data must be a loader whose iterator has set_state, as that of the "
                    f"checkpoint had, got {describe(batches)}"
                )
            self._iterator.set_state(loader)
            return
        for _ in islice(self._iterator, skip):
            check()

    def __iter__(self) -> "_Batches":
        return self

    def __next__(self) -> Tree:
        if not self._next:
            self._read()
        if self._failure:
            raise self._failure
        if not self._next:
            raise StopIteration
        self._done += 1
        return self._next.pop()

    def more(self) -> bool:
        """Whether there is another batch, or an error instead. To know this, it is read."""
        if not self._next and not self._failure:
            self._state = self.state()
            self._read()
        return bool(self._next or self._failure)

    def state(self) -> Any:
        """Return the state of a loader that has one, as it was before the next batch."""
        if self._next:
            return self._state
        return self._iterator.get_state() if hasattr(self._iterator, "get_state") else None

    def _read(self) -> None:
        number, ended = self._done + 1, False
        try:
            self._next = [next(self._iterator)]
        except StopIteration:
            ended = True
        except OutOfStepError as error:  # placing a batch, while another process has none to place
            self._failure = _other_number_of_batches(number, ended, error)
            return
        except Exception as error:
            what = f"data raised at batch {number}: {type(error).__name__}: {error}"
            self._failure = BatchError(what, number)
            self._failure.__cause__ = error
            return
        try:
            elsewhere = len(set(of_all_processes(ended, "the next batch of data"))) > 1
        except OutOfStepError:
            elsewhere = True
        if elsewhere:
            self._next, self._failure = [], _other_number_of_batches(number, ended)


def _other_number_of_batches(
    number: int, ended: bool, cause: OutOfStepError | None = None
) -> BatchError:
    here, there = (f"{number - 1}", "more") if ended else (f"at least {number}", "fewer")
    error = BatchError(
        f"data must yield as many batches in all processes, got {here} in process "
        f"{jax.process_index()} and {there} in another",
        number,
    )
    error.__cause__ = cause
    return error


_healthy = jax.jit(is_healthy)


class _RecentSteps:
    """The inputs and results of the last two steps, from which the last good state is found."""

    def __init__(self, step: Callable[..., Any]):
        self._step = step
        self._steps: list[tuple[TrainState, Tree, StepLoss]] = []
        self.losses: list[float] = []
        self.skipped: list[bool] = []

    def begin(self, state: TrainState) -> None:
        """Begin a part at a state that is good; the steps before it are kept."""
        self._start, self._unread = state, False
        self.losses, self.skipped = [], []

    def add(self, state: TrainState, batch: Tree, result: StepLoss) -> None:
        self._steps = [*self._steps[-1:], (state, batch, result)]
        self._unread = True

    def check_last(self) -> None:
        """Record the loss of the last step, or raise if it is not finite.

        The loss of a step is read while the next step is being computed.
        """
        if not self._unread:
            return
        self._unread = False
        result = self._steps[-1][2]
        loss, skipped = float(result.loss), bool(result.skipped)
        if not (np.isfinite(loss) or skipped):
            raise self._error(loss)
        self.losses.append(loss)
        self.skipped.append(skipped)

    def _error(self, loss: float) -> NonFiniteLossError:
        """Return the error for the last step, whose loss is not finite."""
        state = self._steps[-1][0]
        if not _healthy(state):
            return self._error_of_update(*self._steps[0])
        if len(self._steps) > 1:
            before, batch, _ = self._steps[0]
            if not np.isfinite(self._step(state, batch)[1].loss):
                return NonFiniteLossError(int(state.step), loss, before)
        return NonFiniteLossError(int(state.step), loss, state)

    def unhealthy(self) -> NonFiniteLossError:
        """Return the error for a last step that left parameters that are not finite."""
        return self._error_of_update(*self._steps[-1])

    def _error_of_update(self, state: TrainState, _: Tree, result: StepLoss) -> NonFiniteLossError:
        """Return the error for a step with a finite loss after which the state is not."""
        good = state if _healthy(state) else self._start
        return NonFiniteLossError(int(state.step), float(result.loss), good)
