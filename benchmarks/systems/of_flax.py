"""Flax NNX, as its performance guide trains: `nnx.jit`, `nnx.cached_partial`, `nnx.Optimizer`."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

from ..networks import LEARNING_RATE, Network
from ..program import Program


class MLP(nnx.Module):
    """Linear layers with relu between them."""

    def __init__(self, network: Network):
        rngs = nnx.Rngs(0)
        self.layers = nnx.List([nnx.Linear(*shape, rngs=rngs) for shape in pairwise(network.sizes)])
        for layer, (w, b) in zip(self.layers, network.weights(), strict=True):
            layer.kernel[...], layer.bias[...] = jnp.asarray(w), jnp.asarray(b)

    def __call__(self, A: Array) -> Array:
        """Return the logits."""
        *hidden, last = self.layers
        for layer in hidden:
            A = nnx.relu(layer(A))
        return last(A)


def mlp(network: Network) -> Program:
    """One jitted call per step."""
    model = MLP(network)
    optimizer = nnx.Optimizer(model, optax.sgd(LEARNING_RATE), wrt=nnx.Param)
    batches = jax.tree.map(jnp.asarray, network.batches())

    def loss(model: MLP, X: Array, y: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(X), y).mean()

    @nnx.jit(donate_argnames=("model", "optimizer"), graph=True, graph_updates=True)
    def step(model: MLP, optimizer: nnx.Optimizer, X: Array, y: Array) -> Array:
        value, grads = nnx.value_and_grad(loss)(model, X, y)
        optimizer.update(model, grads)
        return value

    with nnx.set_graph_mode(True), nnx.set_graph_updates(True):
        step = nnx.cached_partial(step, model, optimizer)

    def run() -> list[Array]:
        losses = [step(*batch) for batch in batches]
        jax.block_until_ready(nnx.state(model))
        return losses

    return Program(run, network.steps)
