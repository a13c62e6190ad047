"""The gradients of one step by two other ways: autodiff and differences, both in float64.

Each array of the backward pass is the derivative of the loss in something that can be moved: the
parameters, the input, and an offset added to each Z and each A. So autodiff of the plain formulas,
without any hand-written rule, and central differences see all of them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from .._types import Function, Tree
from ..verify import without_rules
from .record import LayerStep, Task, optional

# Relative to the size of each array; the error of central differences is its square.
STEP = 1e-5
# So many points are evaluated at once, or fewer where these have more numbers than fit in memory.
CHUNK = 256
NUMBERS = 2**25
# With more multiplications than these in all, differences are computed at some entries only.
WORK = 2e10
FEWEST = 8


class Oracle(NamedTuple):
    """The gradients of one layer; None where the layer has no such array."""

    dA: np.ndarray
    dZ: np.ndarray
    dW: np.ndarray
    db: np.ndarray | None
    dX: np.ndarray


def autodiff(task: Task, layers: Sequence[LayerStep]) -> tuple[Oracle, ...]:
    """Return all gradients by autodiff of the plain formulas."""
    with jax.enable_x64(True):
        value = _value_of(task)
        gradients = jax.jit(jax.grad(value))(_points(task, layers))
    return _oracles(gradients)


def differences(task: Task, layers: Sequence[LayerStep]) -> tuple[Oracle, ...]:
    """Return all gradients by central differences of the loss.

    In large networks, they are computed at evenly spaced entries, and are NaN at the others.
    """
    multiplications = len(task.x) * sum(layer.W.size for layer in layers)
    with jax.enable_x64(True):
        value, points = _value_of(task), _points(task, layers)
        leaves, tree = jax.tree.flatten(points)
        most = max(FEWEST, int(WORK / (2 * multiplications * len(leaves))))
        places = [_spaced(leaf.size, most) for leaf in leaves]
        steps = [np.full(len(at), _step(leaf)) for at, leaf in zip(places, leaves, strict=True)]
        starts = np.cumsum([0, *(leaf.size for leaf in leaves)])
        moved = [at + start for at, start in zip(places, starts, strict=False)]
        quotients = _quotients(value, points, np.concatenate(moved), np.concatenate(steps))
    parts = np.split(quotients, np.cumsum([len(at) for at in places])[:-1])
    found = [np.full(leaf.shape, np.nan) for leaf in leaves]
    for array, at, part in zip(found, places, parts, strict=True):
        array.flat[at] = part
    return _oracles(jax.tree.unflatten(tree, found))


def _spaced(size: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(int))


def _step(leaf: Array) -> float:
    return STEP * max(1.0, float(jnp.max(jnp.abs(leaf), initial=0.0)))


def _quotients(value: Function, points: Tree, places: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the difference quotients in these entries of all that can be moved, in a row.

    One program moves any entry: one for each array would take minutes to compile for many layers.
    """
    flat, unravel = ravel_pytree(points)

    def quotient(place: Array, step: Array) -> Array:
        ends = [value(unravel(flat.at[place].add(h))) for h in (step, -step)]
        return (ends[0] - ends[1]) / (2 * step)

    chunk = max(1, min(CHUNK, NUMBERS // flat.size))
    program = jax.jit(
        lambda at, h: jax.lax.map(lambda one: quotient(*one), (at, h), batch_size=chunk)
    )
    return np.asarray(program(jnp.asarray(places), jnp.asarray(steps)))


def _points(task: Task, layers: Sequence[LayerStep]) -> dict[str, Any]:
    """Return what can be moved: parameters, input, and offsets of 0, in float64."""
    wide = jnp.float64
    return {
        "x": jnp.asarray(np.asarray(task.x), wide),
        "W": [jnp.asarray(layer.W, wide) for layer in layers],
        "b": [None if layer.b is None else jnp.asarray(layer.b, wide) for layer in layers],
        "Z": [jnp.zeros(layer.Z.shape, wide) for layer in layers],
        "A": [jnp.zeros(layer.A.shape, wide) for layer in layers],
    }


def _value_of(task: Task) -> Function:
    """Return the loss as a function of all that can be moved, by the plain formulas."""

    def value(points: dict[str, Any]) -> Array:
        A = points["x"]
        for l, g in enumerate(task.activations):
            Z = A @ points["W"][l] + points["Z"][l]
            if points["b"][l] is not None:
                Z = Z + points["b"][l]
            A = g(Z) + points["A"][l]
        return task.loss(A)

    return without_rules(value)


def _oracles(gradients: dict[str, Any]) -> tuple[Oracle, ...]:
    """Sort gradients by layer; dX is the gradient of the input, or dA of the layer before."""
    inputs = [gradients["x"], *gradients["A"][:-1]]
    rows = zip(gradients["A"], gradients["Z"], gradients["W"], gradients["b"], inputs, strict=True)
    return tuple(
        Oracle(np.asarray(dA), np.asarray(dZ), np.asarray(dW), optional(db), np.asarray(dX))
        for dA, dZ, dW, db, dX in rows
    )
