"""Equinox, as its documentation trains: `eqx.nn.MLP`, `filter_jit`, Optax."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax import Array

from ..networks import LEARNING_RATE, Network
from ..program import Program


def mlp(network: Network) -> Program:
    """One jitted call per step, its arguments donated."""
    optimizer = optax.sgd(LEARNING_RATE)
    model = _model(network)
    opt_state = optimizer.init(eqx.filter(model, eqx.is_array))
    batches = jax.tree.map(jnp.asarray, network.batches())

    def loss(model: eqx.nn.MLP, X: Array, y: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(model)(X), y).mean()

    @eqx.filter_jit(donate="all-except-first")
    def step(batch, model, opt_state):
        value, grads = eqx.filter_value_and_grad(loss)(model, *batch)
        updates, opt_state = optimizer.update(grads, opt_state)
        return value, eqx.apply_updates(model, updates), opt_state

    def run() -> list[Array]:
        nonlocal model, opt_state
        losses = []
        for batch in batches:
            value, model, opt_state = step(batch, model, opt_state)
            losses.append(value)
        jax.block_until_ready(eqx.filter(model, eqx.is_array))
        return losses

    return Program(run, network.steps)


def _model(network: Network) -> eqx.nn.MLP:
    n_in, *hidden, n_out = network.sizes
    model = eqx.nn.MLP(n_in, n_out, hidden[0], len(hidden), key=jax.random.key(0))
    leaves = [leaf for w, b in network.weights() for leaf in (jnp.asarray(w.T), jnp.asarray(b))]
    return eqx.tree_at(
        lambda m: [v for one in m.layers for v in (one.weight, one.bias)], model, leaves
    )
