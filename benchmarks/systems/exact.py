"""What mixed precision loses: dW beside the float32 gradient of the rounded operands."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import fcjax

from ..networks import Network
from ..program import Facts, Program
from .of_jax import product

BF16 = jnp.bfloat16


def weight_gradient(network: Network, way: str) -> Program:
    """The largest error of dW of the first hidden layer, relative to its largest entry."""
    layer = {
        "fcjax": lambda x, w: fcjax.dense(x, w, compute_dtype=BF16),
        "bf16 result": lambda x, w: product(x, w, "bfloat16", "bfloat16"),
        "f32 result": lambda x, w: product(x, w, "bfloat16", "float32"),
    }[way]

    def inspect() -> Facts:
        X, W = jnp.asarray(network.batches()[0][0]), jnp.asarray(network.weights()[0][0])
        dZ = jax.random.normal(jax.random.key(0), (len(X), W.shape[1]))
        dW = jax.jit(lambda X, W, dZ: jax.vjp(layer, X, W)[1](dZ)[1])(X, W, dZ)
        exact = _rounded(X).T @ _rounded(dZ)
        return {"error": float(np.abs(np.float64(dW) - exact).max() / np.abs(exact).max())}

    return Program(None, 1, inspect)


def _rounded(V: Array) -> np.ndarray:
    return np.float64(V.astype(BF16))
