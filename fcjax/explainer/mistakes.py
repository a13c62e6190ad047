"""Mistakes that are easily made in a backward pass, and what becomes of them.

Each is made in one place, `broken`: in the gradient of the loss, in one of the four formulas, or in
its sign. The words with which `check_rule` finds it are those of a check of that rule alone.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..activations import rule_of
from ..network import BackwardStep, Cache, LayerCache, Params
from ..verify import check_rule
from .record import Function, LayerStep, Task


class Mistake(NamedTuple):
    """A mistake.

    Attributes:
        key: its short name.
        title: what it is, in a few words.
        formula: the formula with the mistake, in LaTeX.
        rule: the rule that it is made in: "loss", "activation" or "dense".
        argument: the argument of that rule whose gradient is wrong.
    """

    key: str
    title: str
    formula: str
    rule: str
    argument: str


MISTAKES = (
    Mistake("mean", "1/m is lost", r"dA_L = m \frac{\partial \ell}{\partial A_L}", "loss", "A"),
    Mistake("derivative", "g' is forgotten", r"dZ = dA", "activation", "Z"),
    Mistake(
        "transpose",
        "A transpose is misread",
        r"dW = dZ^{T} X, \; \text{read as } n_{in} \times n_{out}",
        "dense",
        "W",
    ),
    Mistake("sum", "The sum over the batch is missing", r"db = (dZ)_1", "dense", "b"),
    Mistake("sign", "A sign is wrong", r"dW = -X^{T} dZ", "dense", "W"),
)


def mistakes_for(params: Params, *, is_mean: bool) -> tuple[Mistake, ...]:
    """Return the mistakes that can be made: in a gradient of biases, and in that of a mean."""
    impossible = {"mean": not is_mean, "sum": all(layer.b is None for layer in params)}
    return tuple(one for one in MISTAKES if not impossible.get(one.key))


def is_mean(loss: Callable[[Array, slice], Array], A: Array) -> bool:
    """Whether a loss is the mean over the examples, and not their sum, by its value for parts.

    Args:
        loss: a function of rows of the output, and of the slice that they are.
        A: the output.

    A loss that cannot be computed for parts, as it holds a target of the whole batch, is none.
    """
    m = len(A)
    try:
        whole, first, rest = (
            float(loss(A[part], part)) for part in (slice(m), slice(1), slice(1, m))
        )
    except Exception:  # whatever somebody's loss raises
        return False
    is_sum = np.isclose(whole, first + rest, rtol=1e-3)
    return not is_sum and bool(np.isclose(m * whole, first + (m - 1) * rest, rtol=1e-3))


def backward_with(mistake: str) -> Callable[[Params, Cache, Array], Sequence[BackwardStep]]:
    """Return the backward pass with a mistake in each layer."""

    def backward(params: Params, cache: Cache, dA: Array) -> Sequence[BackwardStep]:
        dA = dA * dA.shape[0] if mistake == "mean" else dA
        steps: list[BackwardStep] = []
        for layer, kept in zip(reversed(params), reversed(cache), strict=True):
            dZ = _activation_bwd(kept, dA, mistake)
            dX, dW, db = _dense_bwd(kept.X, layer.w, dZ, mistake)
            steps.append(BackwardStep(dZ, dW, None if layer.b is None else db, dX))
            dA = dX
        return tuple(reversed(steps))

    return backward


def _activation_bwd(kept: LayerCache, dA: Array, mistake: str) -> Array:
    if mistake == "derivative" and kept.A.shape == kept.Z.shape:
        return dA
    return rule_of(kept.activation).bwd(kept.kept, dA)


def _dense_bwd(X: Array, W: Array, dZ: Array, mistake: str) -> tuple[Array, Array, Array]:
    dX, dW, db = dZ @ W.T, X.T @ dZ, dZ.sum(0)
    if mistake == "transpose":
        dW = (dZ.T @ X).reshape(W.shape)  # (n_out, n_in), which is not transposed but read as is
    if mistake == "sign":
        dW = -dW
    if mistake == "sum":
        db = dZ[0]
    return dX, dW, db


def words(mistake: Mistake, task: Task, layers: Sequence[LayerStep]) -> tuple[str, ...]:
    """Return what `check_rule` says of the rule with the mistake, of the first layer that shows it.

    Nothing if the mistake makes no difference in any layer.
    """
    calls = zip(task.activations, layers, strict=True)
    for g, layer in [(task.activations[-1], layers[-1])] if mistake.rule == "loss" else calls:
        fun, args = _rule_with(mistake, task, g, layer)
        report = check_rule(
            fun, args, checks=["vjp", "structure"], search=False, key=jax.random.key(0)
        )
        if report.failures:
            return tuple(str(failure) for failure in report.failures)
    return ()


def _rule_with(
    mistake: Mistake, task: Task, g: Function, layer: LayerStep
) -> tuple[Callable[..., Array], tuple[Array, ...]]:
    """Return the function whose rule has the mistake, and its arguments."""
    if mistake.rule == "loss":
        return _loss_without_mean(task.loss), (jnp.asarray(layer.A),)
    if mistake.rule == "activation":
        return _without_derivative(g), (jnp.asarray(layer.Z),)
    b = np.zeros(layer.W.shape[1], layer.W.dtype) if layer.b is None else layer.b
    return _dense_with(mistake.key), tuple(map(jnp.asarray, (layer.X, layer.W, b)))


def _loss_without_mean(loss: Function) -> Function:
    @jax.custom_vjp
    def rule(A: Array) -> Array:
        return loss(A)

    def bwd(pull: Function, dy: Array) -> tuple[Array]:
        (dA,) = pull(dy)
        return (dA * dA.shape[0],)

    rule.defvjp(lambda A: jax.vjp(loss, A), bwd)
    return rule


def _without_derivative(g: Function) -> Function:
    @jax.custom_vjp
    def activation(Z: Array) -> Array:
        return g(Z)

    activation.defvjp(lambda Z: (g(Z), None), lambda _, dA: (dA,))
    return activation


def _dense_with(mistake: str) -> Callable[..., Array]:
    @jax.custom_vjp
    def dense(X: Array, W: Array, b: Array) -> Array:
        return X @ W + b

    def fwd(X: Array, W: Array, b: Array) -> tuple[Array, tuple[Array, Array]]:
        return X @ W + b, (X, W)

    dense.defvjp(fwd, lambda kept, dZ: _dense_bwd(kept[0], kept[1], dZ, mistake))
    return dense
