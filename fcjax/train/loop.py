"""One epoch of `fit`, in parts: compiled loops over arrays, step by step for iterables of batches.

Between two parts, everything that the rest of the epoch needs is the state and a `Position`.
"""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import NamedSharding
from jax.typing import ArrayLike

from .._types import Tree
from .arguments import Metrics, check_one_number
from .batches import count_examples, epoch_batches, sharding_of_examples
from .compiled import StateFunction
from .nonfinite import NonFiniteLossError, StepLoss, is_healthy
from .pace import Pace
from .reuse import Reused
from .state import TrainState
from .step import key_at


class EpochEnd(NamedTuple):
    """The argument of callbacks: the number of the epoch, from 1, the state and the figures."""

    epoch: int
    state: TrainState
    figures: Mapping[str, float]


class Position(NamedTuple):
    """Where training is in an epoch.

    `start` is the number of steps completed when the epoch began, from which the order of its
    examples follows. `loss` is the sum of the losses so far, times their `examples`.
    """

    start: int
    steps: int = 0
    loss: float = 0.0
    examples: int = 0

    def after(self, losses: np.ndarray, skipped: np.ndarray, sizes: np.ndarray) -> "Position":
        """Return the position after some more steps, of which the skipped ones have no loss."""
        taken = ~skipped
        terms = (losses.astype(np.float64) * sizes)[taken]
        # one by one, so that the sum does not depend on how an epoch is cut into parts
        total = np.cumsum([self.loss, *terms])[-1]
        examples = self.examples + int(sizes[taken].sum())
        return Position(self.start, self.steps + len(losses), float(total), examples)


class Part(NamedTuple):
    """The state after a part of an epoch, the position, and whether the epoch is complete.

    `loader` is the state of the iterator of batches, if it has one.
    """

    state: TrainState
    position: Position
    complete: bool
    loader: Any = None


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
            state, at = self._part(state, at, count)
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
        if self._previous is not None and self._previous[1].start == at.start:
            state, at = self._previous
        previous = None
        for i in range(at.steps, last):
            end, result, healthy = self._take(state, at.start, range(i, i + 1))
            loss = float(result.loss[0])
            if not (np.isfinite(loss) or result.skipped[0]):
                good = state
                if previous is not None:
                    again = self._take(state, at.start, range(i - 1, i))[1]
                    good = state if np.isfinite(again.loss[0]) else previous
                return NonFiniteLossError(int(state.step), loss, good)
            if not healthy:
                return NonFiniteLossError(int(state.step), loss, state)
            previous, state = state, end
        what = f"the loss or the parameters are not finite after step {int(state.step) - 1}"
        return NonFiniteLossError(int(state.step), float("nan"), previous or state, what)


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


class BatchError(RuntimeError):
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

    def __init__(self, step: Reused, batches: Iterable[Tree]):
        """Take the compiled step, which must not overwrite its input, and the batches."""
        self._step, self._batches, self._length = step, batches, 0

    def parts(
        self, state: TrainState, at: Position, pace: Pace, loader: Any = None
    ) -> Iterator[Part]:
        """Train from a position to the end of the epoch; raise NonFiniteLossError."""
        batches, history = _Batches(self._batches, at.steps, loader), _RecentSteps(self._step)
        while batches.more():
            count = pace.begin(at.start + at.steps)
            before = at.steps
            state, at, failure = self._part(state, at, batches, history, count)
            pace.end(max(at.steps - before, 1))
            yield Part(state, at, not failure and not batches.more(), batches.state())
            if failure:
                raise failure
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
        self,
        state: TrainState,
        at: Position,
        batches: "_Batches",
        history: "_RecentSteps",
        count: int,
    ) -> tuple[TrainState, Position, BatchError | None]:
        """Take some steps; if a batch fails, return what came before it, and the error."""
        history.begin(state)
        sizes: list[int] = []
        failure = None
        try:
            for number, batch in enumerate(islice(batches, count), at.steps + 1):
                start = state
                size, state, result = self._one(start, batch, number)
                history.check_last()
                history.add(start, batch, result)
                sizes.append(size)
        except BatchError as error:
            failure = error
        history.check_last()
        if not _healthy(state):
            raise history.unhealthy()
        losses, skipped = np.array(history.losses, float), np.array(history.skipped, bool)
        return state, at.after(losses, skipped, np.array(sizes)), failure

    def _one(self, state: TrainState, batch: Tree, number: int) -> tuple[int, TrainState, StepLoss]:
        try:
            return count_examples(batch, "batch"), *self._step(state, batch)
        except (TypeError, ValueError) as error:
            if number == 1:  # nothing is lost, and the message is about an argument
                raise
            raise BatchError(f"batch {number} of data does not fit: {error}", number) from error


class _Batches:
    """An iterator of batches that knows whether there are more, and the state of a loader."""

    def __init__(self, batches: Iterable[Tree], skip: int, loader: Any):
        """Begin at the state of a loader, or else after `skip` batches."""
        self._iterator: Any = iter(batches)
        self._done = skip
        self._next: list[Tree] = []
        self._failure: BatchError | None = None
        self._state: Any = None
        if loader is not None:
            self._iterator.set_state(loader)
        else:
            deque(islice(self._iterator, skip), maxlen=0)

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
        if not self._next:
            self._state = self.state()
            self._read()
        return bool(self._next or self._failure)

    def state(self) -> Any:
        """Return the state of a loader that has one, as it was before the next batch."""
        if self._next:
            return self._state
        return self._iterator.get_state() if hasattr(self._iterator, "get_state") else None

    def _read(self) -> None:
        try:
            self._next = [next(self._iterator)]
        except StopIteration:
            return
        except Exception as error:
            number = self._done + 1
            what = f"{type(error).__name__}: {error}"
            self._failure = BatchError(f"data raised at batch {number}: {what}", number)
            self._failure.__cause__ = error


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

    reused = Reused(figures)

    def evaluate_batches(params: Tree, batches: Iterable[Tree]) -> dict[str, float]:
        rows: list[dict[str, Array]] = []
        sizes: list[int] = []
        for batch in batches:
            rows.append(reused(params, batch))
            sizes.append(count_examples(batch, "batch"))
        if not rows:
            raise ValueError(
                "validation_data yielded no batch; pass an iterable that can be iterated repeatedly"
            )
        return {name: float(np.average([r[name] for r in rows], weights=sizes)) for name in rows[0]}

    return evaluate_batches
