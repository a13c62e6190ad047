"""Training block by block: each block of epochs is one call of a compiled program.

Between blocks, what has been reached is stored, messages are printed, and Ctrl-C is noticed.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._types import Tree
from .epochs import Data, Given, Plan, State, run_epochs
from .network import Batch
from .solvers import Optax
from .stopping import LOWER_RATE, Patience, Rule

# A block takes some tenths of a second: so many products of a row and a parameter. The orders of
# its rows take a few megabytes.
_PRODUCTS, _ORDERS, _MOST = 10**9, 2**21, 256
# Numbers of rows are rounded up to multiples of this, so that folds of almost equal size share
# programs.
_ROWS = 32


class Settings(NamedTuple):
    """The numbers of a training: those of the parameters with these names.

    `numbers` are those of the solver, `seen` the rows that it has seen before this training.
    """

    alpha: float
    tol: float
    n_iter_no_change: float
    max_iter: int
    learning_rate_init: float
    power_t: float
    numbers: dict[str, float]
    seen: int
    key: Any


@dataclass
class Training:
    """What training has reached. It is replaced as a whole after each block of epochs."""

    state: State
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    epochs: int = 0
    stopped: bool = False
    interrupted: bool = False


class Report(NamedTuple):
    """An epoch as messages tell of it."""

    epoch: int
    loss: float
    score: float
    event: int
    rate: float


class Orders:
    """The order of the rows in each epoch: that of scikit-learn for the same random state."""

    def __init__(self, random: np.random.RandomState, rows: int, padded: int, shuffle: bool):
        """Start with the rows in order; the rows of padding follow in each epoch."""
        self._random, self._rows, self._shuffle = random, rows, shuffle
        self._order = np.arange(rows)
        self._padding = np.full(padded - rows, min(rows, padded - 1))
        self._before: tuple[Any, np.ndarray] | None = None

    def draw(self, epochs: int, most: int) -> np.ndarray:
        """Return the orders of the next epochs, followed by unused rows."""
        if not self._shuffle:
            return np.zeros((1, 1), np.int32)
        orders = np.zeros((most, self._rows + len(self._padding)), np.int32)
        self._before = self._random.get_state(), self._order
        for order in orders[:epochs]:
            self._next()
            order[: self._rows], order[self._rows :] = self._order, self._padding
        return orders

    def take_back(self, used: int) -> None:
        """Leave the random state as if only the first epochs of the block had been drawn."""
        if self._before is not None:
            state, self._order = self._before
            self._random.set_state(state)
            for _ in range(used):
                self._next()

    def _next(self) -> None:
        places = np.arange(self._rows)
        self._random.shuffle(places)
        self._order = self._order[places]


def train(
    plan: Plan,
    training: Training,
    data: Data,
    settings: Settings,
    orders: Orders,
    report: Callable[[Report], None],
) -> Training:
    """Train until the rule, the number of epochs or Ctrl-C ends it."""
    try:
        while training.epochs < settings.max_iter and not training.stopped:
            training = _block(plan, training, data, settings, orders, report)
    except KeyboardInterrupt:
        training.interrupted = True
    return training


def _block(
    plan: Plan,
    training: Training,
    data: Data,
    settings: Settings,
    orders: Orders,
    report: Callable[[Report], None],
) -> Training:
    most = _epochs_of_block(plan, len(data.train.X), settings.max_iter)
    count = min(most, settings.max_iter - training.epochs)
    drawn = orders.draw(count, most)
    given = _given(training, settings, data, most, count, drawn)
    state, history, done, stopped = run_epochs(plan, training.state, data, given)
    epochs = int(done)  # waits for the program
    if epochs < count:
        orders.take_back(epochs)
    history = jax.tree.map(lambda V: np.asarray(V)[:epochs].tolist(), history)
    for number, entry in enumerate(zip(*history, strict=True), training.epochs + 1):
        loss, score, _, event, rate = entry
        report(Report(number, loss, score, event, rate))
    return Training(
        state,
        training.losses + history.loss,
        training.scores + history.score,
        training.validation_losses + history.validation_loss,
        training.epochs + epochs,
        bool(stopped),
    )


def _epochs_of_block(plan: Plan, rows: int, max_iter: int) -> int:
    if max_iter == 1:
        return 1
    parameters = plan.network.weights + sum(plan.network.sizes[1:])
    return int(np.clip(min(_PRODUCTS // (rows * parameters), _ORDERS // rows), 1, _MOST))


def _given(
    training: Training, settings: Settings, data: Data, most: int, count: int, orders: np.ndarray
) -> Given:
    dtype = data.train.X.dtype
    number = functools.partial(np.asarray, dtype=dtype)
    rows = int(data.rows)
    seen = settings.seen + rows * (training.epochs + 1 + np.arange(most))
    return Given(
        alpha=number(settings.alpha),
        rule=Rule(number(settings.tol), number(settings.n_iter_no_change)),
        numbers={name: number(value) for name, value in settings.numbers.items()},
        # "invscaling", as scikit-learn has it: t counts rows
        rates=number(settings.learning_rate_init / (seen + 1.0) ** settings.power_t),
        orders=orders,
        epochs=np.int32(count),
        key=settings.key,
    )


def batch_sizes(rows: int, batch_size: int) -> tuple[int, int]:
    """Return the rows of a batch, and those of all batches, both with padding."""
    if batch_size >= rows:
        padded = rounded_up(rows, _ROWS)
        return padded, padded
    return batch_size, rounded_up(rows, batch_size)


def rounded_up(rows: int, multiple: int = _ROWS) -> int:
    """Return the number of rows with padding to a multiple."""
    return -(-rows // multiple) * multiple


def on_device(batch: Batch, rows: int) -> Batch:
    """Return examples on the device, followed by examples of weight 0.

    Unlike `jnp.asarray`, `device_put` compiles nothing.
    """

    def padded(V: Any) -> Any:
        V = np.asarray(V)
        if len(V) == rows:
            return jax.device_put(V)
        result = np.zeros((rows, *V.shape[1:]), V.dtype)
        result[: len(V)] = V
        return jax.device_put(result)

    return Batch(*map(padded, batch))


def first_state(
    plan: Plan,
    vector: np.ndarray,
    stored: Sequence[np.ndarray] | None,
    patience: Patience,
    step: int,
) -> State:
    """Return the state in which training begins, with the solver's stored state if there is one."""
    solver = _initial(plan, vector)
    if stored is not None:
        solver = _restored(solver, stored)
    best = vector if plan.validated else None
    return State(vector, solver, best, patience, np.int32(step % 2**31))


def _initial(plan: Plan, vector: np.ndarray) -> Tree:
    # operation by operation, each one would be compiled
    return (
        _init_program()(plan.solver, vector)
        if isinstance(plan.solver, Optax)
        else (plan.solver.init(vector))
    )


@functools.cache
def _init_program() -> Callable[..., Tree]:
    return jax.jit(lambda solver, vector: solver.init(vector), static_argnums=0)


def stored_state(state: Tree) -> list[np.ndarray]:
    """Return the arrays of a solver's state, to be pickled."""
    return [np.asarray(_raw(leaf)) for leaf in jax.tree.leaves(state)]


def _restored(fresh: Tree, stored: Sequence[np.ndarray]) -> Tree:
    """Return the stored state in the form of a fresh one, or this if they do not fit."""
    leaves, structure = jax.tree.flatten(fresh)
    if [np.shape(_raw(leaf)) for leaf in leaves] != [np.shape(V) for V in stored]:
        return fresh
    return structure.unflatten([_typed(leaf, V) for leaf, V in zip(leaves, stored, strict=True)])


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _raw(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _typed(leaf: Any, stored: Any) -> Any:
    return (
        jax.random.wrap_key_data(stored, impl=jax.random.key_impl(leaf))
        if _is_key(leaf)
        else stored
    )


def message_of(report: Report, plan: Plan, settings: Settings) -> list[str]:
    """Return what scikit-learn prints after an epoch."""
    lines = [f"Iteration {report.epoch}, loss = {report.loss:.8f}"]
    if plan.validated:
        lines.append(f"Validation score: {report.score:f}")
    if report.event:
        what = "Validation score" if plan.validated else "Training loss"
        lines.append(
            f"{what} did not improve more than tol={settings.tol:f} for "
            f"{settings.n_iter_no_change:g} consecutive epochs. {_consequence(report, plan)}"
        )
    return lines


def _consequence(report: Report, plan: Plan) -> str:
    if report.event == LOWER_RATE:
        return f"Setting learning rate to {report.rate:f}"
    return "Learning rate too small. Stopping." if plan.schedule == "adaptive" else "Stopping."
