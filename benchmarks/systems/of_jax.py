"""JAX alone: a network in six lines, and `jax.grad`."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..networks import LEARNING_RATE, Network
from ..program import Program, memory_of

Params = list[tuple[Array, Array]]


def product(x: Array, w: Array, compute_dtype: str | None, result: str) -> Array:
    """Return x @ w, with operands and the result in the dtypes asked for, in x's own dtype."""
    if compute_dtype is None:
        return x @ w
    operands = x.astype(compute_dtype), w.astype(compute_dtype)
    return jnp.matmul(*operands, preferred_element_type=result).astype(x.dtype)


def loss(params: Params, batch: Any, compute_dtype: str | None, result: str) -> Array:
    """Mean softmax cross-entropy of a relu network."""
    A, y = batch
    for w, b in params[:-1]:
        A = jax.nn.relu(product(A, w, compute_dtype, result) + b)
    w, b = params[-1]
    logits = product(A, w, compute_dtype, result) + b
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1))


def step(
    params: Params, batch: Any, compute_dtype: str | None, result: str
) -> tuple[Params, Array]:
    """One step of gradient descent."""
    value, grads = jax.value_and_grad(loss)(params, batch, compute_dtype, result)
    return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, grads), value


def grad(
    network: Network,
    scan: bool = False,
    compute_dtype: str | None = None,
    result: str = "float32",
) -> Program:
    """`jax.grad` of the plain network, one jitted call per step, or per pass over the data."""
    one = partial(step, compute_dtype=compute_dtype, result=result)
    call = jax.jit(partial(lax.scan, one) if scan else one, donate_argnums=0)
    params = jax.tree.map(jnp.asarray, network.weights())
    batches = jax.tree.map(jnp.asarray, network.batches())
    if scan:
        batches = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)]

    def run() -> list[Array]:
        nonlocal params
        losses = []
        for batch in batches:
            params, value = call(params, batch)
            losses.append(value)
        jax.block_until_ready(params)
        return losses[0] if scan else losses

    return Program(run, network.steps, lambda: memory_of(call, params, batches[0]))
