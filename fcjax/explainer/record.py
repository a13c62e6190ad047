"""Training steps of a network, with every array of the forward and the backward pass.

The arrays are those of the network's own hand-written rules: what `forward` keeps, and what the
backward function of each rule returns.
"""

import functools
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ..activations import rule_of
from ..network import BackwardStep, Cache, Layer, LayerCache, Params, backward_steps, forward
from .mixing import mixing_of

Function = Callable[[Array], Array]
Backward = Callable[[Params, Cache, Array], Sequence[BackwardStep]]

# A unit is saturated if its slope is below this part of the steepest slope of its activation.
SATURATED = 0.1
# It can be only if the slope vanishes far from 0: to less than this part of the steepest slope.
FAR, VANISHED = 1e3, 1e-3


class LayerStep(NamedTuple):
    """The arrays of one layer, `Z = X W + b` and `A = g(Z)`, and the gradients of the loss."""

    X: np.ndarray
    W: np.ndarray
    b: np.ndarray | None
    Z: np.ndarray
    A: np.ndarray
    dA: np.ndarray
    dZ: np.ndarray
    dW: np.ndarray
    db: np.ndarray | None
    dX: np.ndarray


class Step(NamedTuple):
    """One training step.

    Attributes:
        number: how many steps were made before it.
        loss: the loss before it.
        layers: the arrays of each layer, from the first to the last.
        states: for each layer, the state of each unit over the whole batch: "dead" if its slope is
            0 for each example, "saturated" if it is small for each, else "".
        p: the probabilities of a cross-entropy of logits, whose gradient is `(p - y)/m`.
        y: the target, in rows and columns.
    """

    number: int
    loss: float
    layers: tuple[LayerStep, ...]
    states: tuple[tuple[str, ...], ...]
    p: np.ndarray | None = None
    y: np.ndarray | None = None


class Task(NamedTuple):
    """What is trained: a network, its batch and its loss.

    Attributes:
        activations: the activation of each layer.
        x: the batch, `(m, n_in)`.
        loss: the function of the network's output that returns the loss.
        learning_rate: the factor of gradient descent, `W ← W − learning_rate dW`.
        probabilities: the function of the output that returns p, if the loss has it.
        y: the target, in rows and columns, if there is one; classes beside p are one-hot.
        given: the loss as it was given, with its target as an argument.
    """

    activations: tuple[Function, ...]
    x: Array
    loss: Function
    learning_rate: float
    probabilities: Function | None = None
    y: np.ndarray | None = None
    given: Callable[..., Array] | None = None

    def forward(self, params: Params) -> tuple[Array, Cache]:
        """Return the output of the network, and what is kept."""
        *hidden, output = self.activations
        return forward(params, self.x, activations=hidden, output_activation=output)

    def step(
        self, params: Params, backward: Backward = backward_steps
    ) -> tuple[Params, tuple[Array, Cache, Array, tuple[BackwardStep, ...]]]:
        """Return the next parameters; then the loss, what was kept, dA_L, and the gradients."""
        A, cache = self.forward(params)
        value, dA = jax.value_and_grad(self.loss)(A)
        steps = tuple(backward(params, cache, dA))
        after = tuple(self._moved(layer, step) for layer, step in zip(params, steps, strict=True))
        return after, (value, cache, dA, steps)

    def _moved(self, layer: Layer, step: BackwardStep) -> Layer:
        w = (layer.w - self.learning_rate * step.dW).astype(layer.w.dtype)
        if layer.b is None or step.db is None:
            return Layer(w, None)
        return Layer(w, (layer.b - self.learning_rate * step.db).astype(layer.b.dtype))


def record(
    task: Task, params: Params, numbers: Collection[int], backward: Backward = backward_steps
) -> tuple[Step, ...]:
    """Train by gradient descent, and return the steps with these numbers.

    `backward` is the backward pass, which may have a mistake.
    """
    train = jax.jit(lambda params: task.step(params, backward))
    steps: list[Step] = []
    for number in range(max(numbers) + 1):
        after, (value, cache, dA, found) = train(params)
        if number in numbers:
            layers = _layers(params, cache, dA, found)
            p = None if task.probabilities is None else task.probabilities(cache[-1].A)
            states = tuple(map(states_of, cache))
            steps.append(Step(number, float(value), layers, states, optional(p), task.y))
        params = after
    return tuple(steps)


def losses(
    task: Task, params: Params, steps: int, backward: Backward = backward_steps
) -> np.ndarray:
    """Return the loss before each step of gradient descent."""

    def step(params: Params, _: None) -> tuple[Params, Array]:
        after, found = task.step(params, backward)
        return after, found[0]

    return np.asarray(jax.jit(lambda p: jax.lax.scan(step, p, None, steps)[1])(params))


def _layers(
    params: Params, cache: Cache, dA: Array, found: Sequence[BackwardStep]
) -> tuple[LayerStep, ...]:
    gradients = [*(step.dX for step in found[1:]), dA]
    layers: list[LayerStep] = []
    for layer, kept, gradient, step in zip(params, cache, gradients, found, strict=True):
        X, W, Z, A, dA_l, dZ, dW, dX = map(
            np.asarray, (kept.X, layer.w, kept.Z, kept.A, gradient, step.dZ, step.dW, step.dX)
        )
        b, db = optional(layer.b), optional(step.db)
        layers.append(LayerStep(X, W, b, Z, A, dA_l, dZ, dW, db, dX))
    return tuple(layers)


def optional(array: ArrayLike | None) -> np.ndarray | None:
    """Return an array as NumPy has it, None if there is none."""
    return None if array is None else np.asarray(array)


def states_of(kept: LayerCache) -> tuple[str, ...]:
    """Return the state of each unit of a layer, by the slopes of its activation.

    Units of an activation that mixes them, such as softmax, have no slope of their own.
    """
    Z = kept.Z
    if mixing_of(kept.activation, Z.shape, Z.dtype) != "entry":
        return ("",) * kept.A.shape[-1]
    slopes = np.abs(slopes_of(kept.activation, Z)).max(0)
    steepest, is_bounded = _shape_of(kept.activation, Z.shape[-1], Z.dtype)
    return tuple(
        "dead" if slope == 0 else "saturated" if bounded and slope < SATURATED * most else ""
        for slope, most, bounded in zip(slopes, steepest, is_bounded, strict=True)
    )


def slopes_of(activation: Function, Z: ArrayLike) -> np.ndarray:
    """Return g'(Z) of an activation that mixes no entries."""
    rule = rule_of(activation)
    A, kept = rule.fwd(jnp.asarray(Z))
    return np.asarray(rule.bwd(kept, jnp.ones_like(A)), np.float64)


@functools.lru_cache(32)
def _shape_of(activation: Function, units: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return the steepest slope of each unit between -8 and 8, and whether it ends at slope 0.

    A leaky unit has a small slope, which does not vanish, on one side: it is not saturated there.
    """
    near, far = jnp.linspace(-8, 8, 321, dtype=dtype), jnp.asarray([-FAR, FAR], dtype)
    of_near, of_far = (
        np.abs(slopes_of(activation, jnp.broadcast_to(line[:, None], (len(line), units))))
        for line in (near, far)
    )
    steepest = of_near.max(0)
    return steepest, of_far.min(0) < VANISHED * steepest
