"""fcjax."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

import fcjax

from ..networks import LEARNING_RATE, Network
from ..program import Program, memory_of


def parameters(network: Network) -> tuple[fcjax.Layer, ...]:
    """Return the network's starting weights."""
    return tuple(fcjax.Layer(jnp.asarray(w), jnp.asarray(b)) for w, b in network.weights())


def classification(**options: Any) -> Callable[[Any, Any], Array]:
    """Return the loss; `options` are those of `fcjax.mlp`."""

    def loss(params: Any, batch: Any) -> Array:
        X, y = batch
        return fcjax.softmax_cross_entropy(fcjax.mlp(params, X, **options), y)

    return loss


def train_epoch(
    network: Network, shuffle: bool = False, compute_dtype: str | None = None
) -> Program:
    """One call per pass over the data."""
    optimizer = optax.sgd(LEARNING_RATE)
    loss = classification(compute_dtype=compute_dtype)
    epoch = fcjax.make_train_epoch(loss, optimizer, batch_size=network.batch, shuffle=shuffle)
    state = fcjax.init_state(parameters(network), optimizer)
    data = jax.tree.map(jnp.asarray, network.data())

    def run() -> Array:
        nonlocal state
        state, info = epoch(state, data)
        jax.block_until_ready(state)
        return info.loss

    return Program(run, network.steps, lambda: memory_of(epoch, state, data), not shuffle)


def train_step(network: Network, compute_dtype: str | None = None) -> Program:
    """One call per step."""
    optimizer = optax.sgd(LEARNING_RATE)
    step = fcjax.make_train_step(classification(compute_dtype=compute_dtype), optimizer)
    state = fcjax.init_state(parameters(network), optimizer)
    batches = jax.tree.map(jnp.asarray, network.batches())

    def run() -> list[Array]:
        nonlocal state
        losses = []
        for batch in batches:
            state, info = step(state, batch)
            losses.append(info.loss)
        jax.block_until_ready(state)
        return losses

    return Program(run, network.steps, lambda: memory_of(step, state, batches[0]))
