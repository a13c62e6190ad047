"""The matrix products of a step and nothing else: what no implementation can go below."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..networks import Network
from ..program import Program, memory_of


def limit(
    network: Network, order: str = "XᵀdZ", loop: bool = False, dtype: str = "float32"
) -> Program:
    """Train a network without biases, activations, loss and update; in a loop, or a call a step.

    The gradient of its output is its output, so that every product needs the one before and none
    can be merged, dropped, or moved out of the loop. The gradients of a step overwrite those of the
    step before, as updated weights would. Operands are in `dtype`, results in float32.
    """
    # Signals keep their size through any number of layers, so that none becomes denormal.
    weights = [jnp.asarray(W / np.sqrt(2), dtype) for W, _ in network.weights()]
    batches = [jnp.asarray(X) for X, _ in network.batches()]
    call = partial(_step, order=order)
    if loop:
        call, batches = partial(_epoch, call), [jnp.stack(batches)]
    call = jax.jit(call, donate_argnums=0, keep_unused=True)
    gradients = [jnp.zeros(shape, jnp.float32) for shape in pairwise(network.sizes)]

    def run() -> list[float]:
        nonlocal gradients
        for X in batches:
            gradients = call(gradients, weights, X)
        jax.block_until_ready(gradients)
        return [0.0]

    return Program(
        run, network.steps, lambda: memory_of(call, gradients, weights, batches[0]), False
    )


def _step(_: list[Array], weights: list[Array], X: Array, order: str) -> list[Array]:
    inputs = [X]
    for W in weights:
        inputs.append(_product(inputs[-1], W, (1, 0)))
    dZ = inputs.pop()
    gradients = []
    for X, W in zip(reversed(inputs), reversed(weights), strict=True):
        gradients.append(weight_gradient(X, dZ, order, W.dtype))
        if len(gradients) < len(weights):
            dZ = _product(dZ, W, (1, 1))
    return gradients[::-1]


def _epoch(step, gradients: list[Array], weights: list[Array], batches: Array) -> list[Array]:
    return lax.scan(lambda dWs, X: (step(dWs, weights, X), None), gradients, batches)[0]


def _product(left: Array, right: Array, axes: tuple[int, int]) -> Array:
    axes = (((axes[0],), (axes[1],)), ((), ()))
    left = left.astype(right.dtype)
    return lax.dot_general(left, right, axes, preferred_element_type=jnp.float32)


def weight_gradient(X: Array, dZ: Array, order: str, dtype: jnp.dtype) -> Array:
    """Return the product `Xᵀ dZ` of operands in `dtype`, contracted in either order."""
    if order == "XᵀdZ":
        return _product(X, dZ.astype(dtype), (0, 0))
    return _product(dZ, X.astype(dtype), (0, 0)).T
