"""fcjax: one network, or many of one shape."""

from collections.abc import Callable
from operator import attrgetter, itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

import fcjax

from ..networks import LEARNING_RATE, Network
from ..program import Program, memory_of
from .of_jax import training

MEMBERS = 32
OPTIMIZER = optax.sgd(LEARNING_RATE)


def classification(**options: Any) -> Callable[[Any, Any], Array]:
    """Return the loss; `options` are those of `fcjax.mlp`."""
    return lambda params, batch: fcjax.softmax_cross_entropy(
        fcjax.mlp(params, batch[0], **options), batch[1]
    )


def parts(
    network: Network, single: bool = False, shuffle: bool = False, compute_dtype: str | None = None
) -> tuple[Any, fcjax.TrainState, list[Any]]:
    """Return a jitted call, for every single step or for an epoch; and its state and batches."""
    loss = classification(compute_dtype=compute_dtype)
    if single:
        call, batches = fcjax.make_train_step(loss, OPTIMIZER), network.batches()
    else:
        options = {"batch_size": network.batch, "shuffle": shuffle}
        call, batches = fcjax.make_train_epoch(loss, OPTIMIZER, **options), [network.data()]
    params = tuple(fcjax.Layer(jnp.asarray(w), jnp.asarray(b)) for w, b in network.weights())
    return call, fcjax.init_state(params, OPTIMIZER), jax.tree.map(jnp.asarray, batches)


def train(network: Network, shuffle: bool = False, **options: Any) -> Program:
    """One call per pass over the data, or per step."""
    program = training(
        *parts(network, shuffle=shuffle, **options), network.steps, attrgetter("loss")
    )
    return program._replace(comparable=not shuffle)


def ensemble(network: Network, together: bool = False, shuffle: bool = True) -> Program:
    """An epoch of the first, an epoch of the second and so on, or all under one `jax.vmap`."""
    epoch, _, (data,) = parts(network, shuffle=shuffle)

    def start(key: Array) -> fcjax.TrainState:
        return fcjax.init_state(fcjax.init(key, network.sizes), OPTIMIZER, key=key)

    states = [jax.vmap(start)(jax.random.split(jax.random.key(0), MEMBERS))]
    if together:
        epoch = jax.jit(jax.vmap(epoch, in_axes=(0, None)), donate_argnums=0)
    else:
        states = [jax.tree.map(itemgetter(i), states[0]) for i in range(MEMBERS)]

    def run() -> list[Array]:
        for i, state in enumerate(states):
            states[i], info = epoch(state, data)
        jax.block_until_ready(states)
        return [info.loss.mean()]

    return Program(run, network.steps, lambda: memory_of(epoch, states[0], data), False)
