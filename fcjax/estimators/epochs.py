"""The compiled program: some epochs, each with its loss, its validation and the stopping rule.

JAX keeps the programs of `run_epochs`, one per plan and shapes. So estimators with equal shapes
share them, those of a grid search too, and an estimator holds none.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._jax import direct_options
from .._types import Tree
from .network import (
    Batch,
    Entry,
    Network,
    layers,
    loss_and_gradient,
    outputs,
    penalized_loss,
    total_loss,
)
from .solvers import Numbers, Slope, Solver
from .stopping import STOP, Patience, Rule, accuracy, after_epoch, r2


class Plan(NamedTuple):
    """What a program is compiled for, besides shapes.

    Attributes:
        network, solver: see there.
        batch_size: rows of a batch, padding included.
        shuffle: whether each epoch has an order of its own.
        weighted: whether a batch may have no weight at all.
        validated: whether the validation score, not the loss, decides.
        schedule: "constant", "invscaling" or "adaptive".
    """

    network: Network
    solver: Solver
    batch_size: int
    shuffle: bool
    weighted: bool
    validated: bool
    schedule: str


class Data(NamedTuple):
    """The examples, padded with rows of weight 0, and how many rows are not padding."""

    train: Batch
    rows: Entry
    validation: Batch | None


class Given(NamedTuple):
    """What changes from one call to the next without another program.

    Attributes:
        alpha: strength of the penalty.
        rule: the numbers of the stopping rule.
        numbers: those of the solver.
        rates: the learning rate after each epoch, for "invscaling".
        orders: the order of the rows in each epoch.
        epochs: how many to train, at most.
        key: PRNG key of dropout, or None.
    """

    alpha: Entry
    rule: Rule
    numbers: Numbers
    rates: Entry
    orders: Entry
    epochs: Entry
    key: Entry | None


class State(NamedTuple):
    """The parameters, the solver's state, the best parameters if validated, and the patience."""

    vector: Entry
    solver: Tree
    best: Entry | None
    patience: Patience
    step: Entry


class History(NamedTuple):
    """One entry per epoch; those of epochs that were not trained mean nothing."""

    loss: Entry
    score: Entry
    validation_loss: Entry
    event: Entry
    rate: Entry


def run_epochs(
    plan: Plan, state: State, data: Data, given: Given
) -> tuple[State, History, Array, Array]:
    """Train until an epoch stops the training, or the given number of epochs is reached.

    Returns:
        The state, the history, the number of epochs, and whether the last one stopped the training.
    """
    return _program()(plan, state, data, given)


@functools.cache
def _program() -> Callable[..., Tree]:
    return jax.jit(_run, static_argnums=0, compiler_options=direct_options())


def _run(plan: Plan, state: State, data: Data, given: Given) -> Tree:
    most = len(given.rates)
    empty = jnp.zeros(most, state.vector.dtype)
    history = History(empty, empty, empty, jnp.zeros(most, jnp.int32), empty)

    def goes_on(carry: tuple[Array, Array, State, History]) -> Array:
        epoch, stopped, _, _ = carry
        return (epoch < given.epochs) & ~stopped

    def one(carry: tuple[Array, Array, State, History]) -> tuple[Array, Array, State, History]:
        epoch, _, state, history = carry
        state, entry = _epoch(plan, state, data, given, epoch)
        history = jax.tree.map(lambda V, v: V.at[epoch].set(v), history, entry)
        return epoch + 1, entry.event == STOP, state, history

    start = jnp.int32(0), jnp.asarray(False), state, history
    epoch, stopped, state, history = lax.while_loop(goes_on, one, start)
    return state, history, epoch, stopped


def _epoch(
    plan: Plan, state: State, data: Data, given: Given, epoch: Array
) -> tuple[State, History]:
    state, loss = _all_batches(plan, state, data, given, epoch)
    score = validation_loss = jnp.zeros_like(loss)
    if data.validation is not None:
        score, validation_loss = _validate(plan.network, state.vector, data.validation)
    value = -score if plan.validated else loss
    adaptive = plan.schedule == "adaptive"
    patience, event, is_best = after_epoch(state.patience, value, given.rule, adaptive=adaptive)
    best = state.best
    if best is not None:
        best = jnp.where(is_best, state.vector, best)
    if plan.schedule == "invscaling":
        patience = patience._replace(rate=given.rates[epoch])
    entry = History(loss, score, validation_loss, event.astype(jnp.int32), patience.rate)
    return state._replace(best=best, patience=patience), entry


def _all_batches(
    plan: Plan, state: State, data: Data, given: Given, epoch: Array
) -> tuple[State, Array]:
    """Take the steps of an epoch; return the mean loss of its rows, each before its own step."""
    B = plan.batch_size
    steps = len(data.train.X) // B

    def one(i: Array, carry: tuple[Array, Tree, Array]) -> tuple[Array, Tree, Array]:
        vector, solver, total = carry
        i = i.astype(jnp.int32)  # with float64 enabled it has 64 bits
        batch = _batch(plan, data, given, epoch, i)
        key = None if given.key is None else jax.random.fold_in(given.key, state.step + i)
        vector, solver, loss = _step(plan, (vector, solver), state.patience.rate, batch, given, key)
        return vector, solver, total + loss * jnp.minimum(B, data.rows - i * B)

    start = state.vector, state.solver, jnp.zeros((), state.vector.dtype)
    vector, solver, total = lax.fori_loop(0, steps, one, start)
    state = state._replace(vector=vector, solver=solver, step=state.step + steps)
    return state, total / data.rows


def _batch(plan: Plan, data: Data, given: Given, epoch: Array, i: Array) -> Batch:
    B = plan.batch_size
    if not plan.shuffle:
        return jax.tree.map(lambda V: lax.dynamic_slice_in_dim(V, i * B, B), data.train)
    rows = lax.dynamic_slice(given.orders, (epoch, i * B), (1, B))[0]
    return jax.tree.map(lambda V: jnp.take(V, rows, axis=0, mode="clip"), data.train)


def _step(
    plan: Plan,
    at: tuple[Array, Tree],
    rate: Array,
    batch: Batch,
    given: Given,
    key: Array | None,
) -> tuple[Array, Tree, Array]:
    def loss_of(vector: Array) -> Array:
        return penalized_loss(plan.network, vector, batch, given.alpha, key)

    def take(vector: Array, solver: Tree) -> tuple[Array, Tree, Array]:
        loss, gradient = loss_and_gradient(plan.network, vector, batch, given.alpha, key)
        slope = Slope(loss, gradient, loss_of)
        return *plan.solver.step(vector, solver, slope, rate, given.numbers), loss

    if not plan.weighted:
        return take(*at)

    # The mean over a batch without weight is 0/0. Such a batch says nothing: it is left out.
    def skip(vector: Array, solver: Tree) -> tuple[Array, Tree, Array]:
        return vector, solver, jnp.zeros((), vector.dtype)

    return lax.cond(jnp.sum(batch.w) != 0, take, skip, *at)


def _validate(network: Network, vector: Array, batch: Batch) -> tuple[Array, Array]:
    """Return the score and the mean loss, without penalty, of the validation examples."""
    Z = outputs(network, layers(network, vector), batch.X)
    score = accuracy if network.loss in ("softmax", "sigmoid") else r2
    loss = total_loss(network, Z, batch.Y, batch.w) / jnp.sum(batch.w)
    return score(network, Z, batch.Y, batch.w).astype(vector.dtype), loss
