"""Many networks of one shape, from different seeds."""

from operator import itemgetter

import jax
import jax.numpy as jnp
import optax
from jax import Array

import fcjax

from ..networks import LEARNING_RATE, Network
from ..program import Program, memory_of
from .of_fcjax import classification

MEMBERS = 32


def together(network: Network, shuffle: bool = True) -> Program:
    """`jax.vmap` of `train_epoch` over the states."""
    epoch, states, data = _ensemble(network, shuffle)
    epochs = jax.jit(jax.vmap(epoch, in_axes=(0, None)), donate_argnums=0)

    def run() -> list[Array]:
        nonlocal states
        states, info = epochs(states, data)
        jax.block_until_ready(states)
        return [info.loss.mean()]

    return Program(run, network.steps, lambda: memory_of(epochs, states, data), False)


def one_by_one(network: Network, shuffle: bool = True) -> Program:
    """An epoch of the first, an epoch of the second, and so on."""
    epoch, stacked, data = _ensemble(network, shuffle)
    states = [jax.tree.map(itemgetter(i), stacked) for i in range(MEMBERS)]

    def run() -> list[Array]:
        for i in range(MEMBERS):
            states[i], info = epoch(states[i], data)
        jax.block_until_ready(states)
        return [info.loss.mean()]

    return Program(run, network.steps, lambda: memory_of(epoch, states[0], data), False)


def _ensemble(network: Network, shuffle: bool):
    optimizer = optax.sgd(LEARNING_RATE)
    epoch = fcjax.make_train_epoch(
        classification(), optimizer, batch_size=network.batch, shuffle=shuffle
    )

    def start(key: Array) -> fcjax.TrainState:
        return fcjax.init_state(fcjax.init(key, network.sizes), optimizer, key=key)

    states = jax.vmap(start)(jax.random.split(jax.random.key(0), MEMBERS))
    return epoch, states, jax.tree.map(jnp.asarray, network.data())
