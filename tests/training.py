"""A small training problem that several test files share."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import fcjax

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(23, 3)), jnp.float32)
Y = jnp.sin(X @ jnp.asarray(RNG.normal(size=(3, 2)), jnp.float32))
PARAMS = fcjax.init(jax.random.key(1), (3, 8, 2))
BATCHES = [(X[i : i + 5], Y[i : i + 5]) for i in range(0, 23, 5)]


def loss_fn(params, batch):
    x, y = batch
    return fcjax.half_squared_error(fcjax.mlp(params, x, activations="tanh"), y)


def fit(**changes):
    arguments = {
        "params": PARAMS,
        "data": (X, Y),
        "loss": loss_fn,
        "optimizer": optax.adam(1e-2),
        "epochs": 3,
        "batch_size": 5,
    }
    return fcjax.fit(**(arguments | changes))


def fit_batches(**changes):
    return fit(**({"data": BATCHES, "batch_size": None} | changes))


def assert_same_bits(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def all_finite(tree):
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))
