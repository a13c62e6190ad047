"""A network whose parameters are one vector, and its loss and gradient.

The vector holds all weights, then all biases. An optimizer updates it in one pass over memory, and
its program is compiled in half the time that one with an array per layer takes.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import xlogy

from .._types import Tree
from ..activations import ACTIVATIONS
from ..losses import (
    absolute_error,
    half_squared_error,
    huber,
    poisson,
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
)
from ..network import Layer, Params, mlp

# An entry of what programs take and return: an array of NumPy outside of them, of JAX inside.
Entry: TypeAlias = Any

# scikit-learn's names of activations, where they are not those of fcjax.
OTHER_NAMES = {"logistic": "sigmoid"}
# `glu` returns half as many features as it takes, and here a layer has as many as its size says.
NAMES = frozenset(ACTIVATIONS) - {"glu"} | frozenset(OTHER_NAMES)


class Network(NamedTuple):
    """What a program is compiled for: everything but numbers that may change without compiling.

    Attributes:
        sizes: numbers of units, starting with the inputs.
        activations: fcjax's name of the activation of each hidden layer.
        loss: "softmax", "sigmoid", or a loss of the regressor.
        delta: that of the Huber loss.
        dropout: probability of zeroing each value of a hidden layer.
        compute_dtype: dtype of the operands of matrix products, None for that of the parameters.
    """

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    loss: str
    delta: float = 1.0
    dropout: float = 0.0
    compute_dtype: str | None = None

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shapes of the weights."""
        return [*itertools.pairwise(self.sizes)]

    @property
    def weights(self) -> int:
        """Number of weights, which are the first part of the vector."""
        return sum(math.prod(shape) for shape in self.shapes)


class Batch(NamedTuple):
    """Examples with their targets and weights; the weights of padding are 0."""

    X: Entry
    Y: Entry
    w: Entry


def pack(weights: Sequence[Any], biases: Sequence[Any]) -> np.ndarray:
    """Return all weights, then all biases, as one vector."""
    return np.concatenate([np.ravel(V) for V in (*weights, *biases)])


def unpack(network: Network, vector: Any) -> tuple[list[Any], list[Any]]:
    """Return the weights and the biases in a vector, of NumPy or of JAX."""
    shapes = [*network.shapes, *((n,) for n in network.sizes[1:])]
    ends = [*itertools.accumulate(math.prod(shape) for shape in shapes)]
    parts = [
        vector[start:end].reshape(shape)
        for start, end, shape in zip([0, *ends], ends, shapes, strict=False)
    ]
    return parts[: len(network.shapes)], parts[len(network.shapes) :]


def layers(network: Network, vector: Array) -> Tree:
    """Return the parameters as `mlp` takes them."""
    return tuple(Layer(W, b) for W, b in zip(*unpack(network, vector), strict=True))


def packed(params: Tree) -> Array:
    """Return the vector of parameters, or of their gradients."""
    return jnp.concatenate([layer.w.ravel() for layer in params] + [layer.b for layer in params])


def outputs(network: Network, params: Params, X: Array, key: Array | None = None) -> Array:
    """Return the last layer's Z, on which the loss is defined; a key draws masks of dropout."""
    return mlp(
        params,
        X,
        activations=network.activations,
        compute_dtype=network.compute_dtype,
        dropout=network.dropout,
        key=key,
    )


def total_loss(network: Network, Z: Array, Y: Array, w: Array) -> Array:
    """Return `Σᵢ wᵢ ℓᵢ`, where the loss ℓᵢ of an example sums over its outputs."""
    options: Any = {"weights": w, "reduction": "sum"}
    match network.loss:
        case "softmax":
            return softmax_cross_entropy(Z, Y, **options)
        case "sigmoid":
            return sigmoid_binary_cross_entropy(Z, Y, **options)
        case "squared_error":
            return half_squared_error(Z, Y, **options)
        case "poisson":
            # Half the deviance: what the likelihood leaves out is constant, so has no gradient.
            constant = jnp.sum(w * jnp.sum(xlogy(Y, Y) - Y, -1))
            return poisson(Z, Y, **options) + constant
        case "absolute_error":
            return absolute_error(Z, Y, **options)
        case _:
            return huber(Z, Y, delta=network.delta, **options)


def penalized_loss(
    network: Network, vector: Array, batch: Batch, alpha: Array, key: Array | None
) -> Array:
    """Return `L = (Σᵢ wᵢ ℓᵢ + ½ α ‖W‖²)/S` with `S = Σᵢ wᵢ`. Biases are not penalized."""
    W = vector[: network.weights]
    penalty = 0.5 * alpha / jnp.sum(batch.w) * jnp.vdot(W, W)
    return _mean_loss(network, layers(network, vector), batch, key) + penalty


def loss_and_gradient(
    network: Network, vector: Array, batch: Batch, alpha: Array, key: Array | None
) -> tuple[Array, Array]:
    """Return the loss of a batch with its penalty, and its gradient as a vector.

    L as above, hence `dW = (Σᵢ wᵢ ∂ℓᵢ/∂W + α W)/S`.
    """
    loss, gradients = jax.value_and_grad(functools.partial(_mean_loss, network))(
        layers(network, vector), batch, key
    )
    W, S = vector[: network.weights], jnp.sum(batch.w)
    penalized = jnp.where(jnp.arange(len(vector)) < network.weights, vector, 0)
    return loss + 0.5 * alpha / S * jnp.vdot(W, W), packed(gradients) + alpha / S * penalized


def _mean_loss(network: Network, params: Params, batch: Batch, key: Array | None) -> Array:
    Z = outputs(network, params, batch.X, key)
    return total_loss(network, Z, batch.Y, batch.w) / jnp.sum(batch.w)
