"""Many networks of one shape, from different seeds."""

from operator import itemgetter

import jax
import jax.numpy as jnp
from jax import Array

import fcjax

from ..networks import Network
from ..program import Program, memory_of
from .of_fcjax import OPTIMIZER, classification

MEMBERS = 32


def ensemble(network: Network, together: bool = False, shuffle: bool = True) -> Program:
    """An epoch of the first, an epoch of the second and so on, or all under one `jax.vmap`."""
    options = {"batch_size": network.batch, "shuffle": shuffle}
    epoch = fcjax.make_train_epoch(classification(), OPTIMIZER, **options)
    data = jax.tree.map(jnp.asarray, network.data())

    def start(key: Array) -> fcjax.TrainState:
        return fcjax.init_state(fcjax.init(key, network.sizes), OPTIMIZER, key=key)

    stacked = jax.vmap(start)(jax.random.split(jax.random.key(0), MEMBERS))
    if together:
        epoch = jax.jit(jax.vmap(epoch, in_axes=(0, None)), donate_argnums=0)
        states = [stacked]
    else:
        states = [jax.tree.map(itemgetter(i), stacked) for i in range(MEMBERS)]

    def run() -> list[Array]:
        for i, state in enumerate(states):
            states[i], info = epoch(state, data)
        jax.block_until_ready(states)
        return [info.loss.mean()]

    return Program(run, network.steps, lambda: memory_of(epoch, states[0], data), False)
