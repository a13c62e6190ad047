"""The weight gradient of a dense layer, alone: what its product takes, and what rounding costs."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

import fcjax

from ..cases import Product
from ..networks import Network
from ..program import Facts, Program
from . import limit
from .of_jax import product

# Enough that launching the loop does not count.
OPERATIONS = 1e9


def timed(case: Product, way: str) -> Program:
    """`Xᵀ dZ`, again and again, of an X that was computed just before, as activations are."""
    keys = jax.random.split(jax.random.key(0))
    X = jax.random.normal(keys[0], (case.examples, case.n_in)).astype(case.dtype)
    dZ = jax.random.normal(keys[1], (case.examples, case.n_out)).astype(case.dtype)
    steps = math.ceil(OPERATIONS / (2 * case.examples * case.n_in * case.n_out))
    by_xla = partial(limit.weight_gradient, order=way, dtype=X.dtype)
    contract = _of_the_rule if way == "fcjax" else by_xla

    def step(dW: Array, _: None) -> tuple[Array, None]:
        return contract(X + dW[0, 0].astype(X.dtype), dZ), None

    start = jnp.zeros((case.n_in, case.n_out))
    loop = jax.jit(lambda dW: lax.scan(step, dW, None, length=steps)[0])

    def run() -> list[float]:
        loop(start).block_until_ready()
        return [0.0]

    return Program(run, steps, comparable=False)


def _of_the_rule(X: Array, dZ: Array) -> Array:
    """Return dW as `fcjax.dense` does, from float32 weights; XLA drops what is not used."""
    W = jnp.zeros((X.shape[1], dZ.shape[1]))
    narrow = X.dtype if X.dtype != W.dtype else None
    pull = jax.vjp(lambda W: fcjax.dense(X, W, compute_dtype=narrow), W)[1]
    return pull(dZ.astype(jnp.float32))[0]


def rounded(network: Network, way: str) -> Program:
    """The error of the first hidden layer's dW in bfloat16, relative to its largest entry.

    It is measured against the exact gradient of the rounded operands.
    """
    layer = {
        "fcjax": partial(fcjax.dense, compute_dtype=jnp.bfloat16),
        "bf16 result": partial(product, compute_dtype="bfloat16", result="bfloat16"),
        "f32 result": partial(product, compute_dtype="bfloat16", result="float32"),
    }[way]

    def inspect() -> Facts:
        X, W = jnp.asarray(network.batches()[0][0]), jnp.asarray(network.weights()[0][0])
        dZ = jax.random.normal(jax.random.key(0), (len(X), W.shape[1]))
        dW = jax.jit(lambda X, W, dZ: jax.vjp(layer, X, W)[1](dZ)[1])(X, W, dZ)
        operands = (np.float64(V.astype(jnp.bfloat16)) for V in (X.T, dZ))
        exact = np.matmul(*operands)
        return {"error": float(np.abs(np.float64(dW) - exact).max() / np.abs(exact).max())}

    return Program(None, 1, inspect)
