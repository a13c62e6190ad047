"""fcjax."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

import fcjax

from ..networks import LEARNING_RATE, Network
from ..program import Program
from .of_jax import training

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
