"""Temporaries of the unrolled 8 × 1024 network at batch 2048, for every activation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

import fcjax

from ..program import Facts, Program, memory
from .stacks import plain

SIZES, BATCH = (1024,) * 9, 2048


def temporaries(activations: tuple[str, ...], system: str) -> Program:
    """Compile loss and gradient with each activation, and run nothing."""
    network = {"fcjax": _fcjax, "jax.grad": _plain}[system]

    def inspect() -> Facts:
        return {"temp": {name: _temporaries(network(name)) for name in activations}}

    return Program(None, 1, inspect)


def _temporaries(network: Callable[[Any, Array], Array]) -> int:
    params = jax.eval_shape(lambda: fcjax.init(jax.random.key(0), SIZES))
    X = jax.ShapeDtypeStruct((BATCH, SIZES[0]), jnp.float32)
    loss = jax.jit(jax.value_and_grad(lambda params, X: jnp.mean(network(params, X) ** 2)))
    return memory(loss.lower(params, X).compile())["temp"]


def _fcjax(activation: str) -> Callable[[Any, Array], Array]:
    return lambda params, X: fcjax.mlp(params, X, activations=activation)


def _plain(activation: str) -> Callable[[Any, Array], Array]:
    g = plain(activation)

    def network(params: Any, A: Array) -> Array:
        for w, b in params[:-1]:
            A = g(A @ w + b)
        return A @ params[-1].w + params[-1].b

    return network
