"""JAX alone: a network in six lines and `jax.grad`, and how any jitted function is run."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..networks import LEARNING_RATE, Network
from ..program import Program, memory_of

Params = list[tuple[Array, Array]]


def training(
    call: Any, state: Any, batches: Sequence[Any], steps: int, read: Callable = lambda value: value
) -> Program:
    """Give a state to one call after another; `read` finds a call's losses in what it returns."""

    def run() -> Sequence[Array]:
        nonlocal state
        losses = []
        for batch in batches:
            state, value = call(state, batch)
            losses.append(read(value))
        jax.block_until_ready(state)
        return losses[0] if len(batches) == 1 else losses

    return Program(run, steps, lambda: memory_of(call, state, batches[0]))


def gradient(loss: Callable[..., Array], *args: Any, loss_only: bool = False) -> Program:
    """Loss and gradient in one call; the gradient is its output and counts as no temporary."""
    call: Any = jax.jit(loss if loss_only else jax.value_and_grad(loss))

    def run() -> list[Array]:
        result = jax.block_until_ready(call(*args))
        return [result if loss_only else result[0]]

    return Program(run, 1, partial(memory_of, call, *args))


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


def step(params: Params, batch: Any, **dtypes: str | None) -> tuple[Params, Array]:
    """One step of gradient descent."""
    value, grads = jax.value_and_grad(partial(loss, **dtypes))(params, batch)
    return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, grads), value


def parts(
    network: Network, scan: bool = False, compute_dtype: str | None = None, result: str = "float32"
) -> tuple[Any, Params, list[Any]]:
    """Return a jitted call, and the state and batches for it."""
    one = partial(step, compute_dtype=compute_dtype, result=result)
    call = jax.jit(partial(lax.scan, one) if scan else one, donate_argnums=0)
    params = jax.tree.map(jnp.asarray, network.weights())
    batches = jax.tree.map(jnp.asarray, network.batches())
    if scan:
        batches = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)]
    return call, params, batches


def grad(network: Network, **options: Any) -> Program:
    """One jitted call per step, or per pass over the data."""
    return training(*parts(network, **options), network.steps)
