"""Temporaries of an unrolled network for every activation, from shapes alone."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

import fcjax

from ..cases import ACTIVATIONS, Deep
from ..program import Program, compiled


def temporaries(deep: Deep, way: str) -> Program:
    """Compile loss and gradient with each activation, and run nothing."""
    network = {"fcjax": _fcjax, "jax.grad": _plain}[way]
    sizes = (deep.width,) * (deep.layers + 1)
    params = jax.eval_shape(lambda: fcjax.init(jax.random.key(0), sizes))
    X = jax.ShapeDtypeStruct((deep.batch, deep.width), jnp.float32)

    def temporary(activation: str) -> int:
        gradient = jax.value_and_grad(
            lambda params, X: jnp.mean(network(params, X, activation) ** 2)
        )
        return compiled(jax.jit(gradient), params, X)["memory"]["temp"]

    return Program(None, 1, lambda: {"temp": {name: temporary(name) for name in ACTIVATIONS}})


def _fcjax(params: Any, X: Array, activation: str) -> Array:
    return fcjax.mlp(params, X, activations=activation)


def _plain(params: Any, A: Array, activation: str) -> Array:
    for w, b in params[:-1]:
        A = getattr(jax.nn, activation)(A @ w + b)
    return A @ params[-1].w + params[-1].b
