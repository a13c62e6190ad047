"""The last layer with many classes and its loss: in one rule, in two, and by autodiff."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

import fcjax

from ..cases import Vocabulary
from ..program import Program, Skip, memory_of

Arguments = tuple[Array, Array, Array]


def fused(case: Vocabulary, loss_only: bool = False) -> Program:
    """`fcjax.losses.dense_softmax_cross_entropy`."""
    rule = getattr(fcjax.losses, "dense_softmax_cross_entropy", None)
    if rule is None:
        raise Skip("this fcjax has no dense_softmax_cross_entropy")
    return _program(case, rule, loss_only)


def unfused(case: Vocabulary) -> Program:
    """`fcjax.dense`, then `fcjax.softmax_cross_entropy`."""
    return _program(case, _two_rules)


def autodiff(case: Vocabulary) -> Program:
    """JAX and Optax."""
    return _program(case, _plain)


def _two_rules(x: Array, w: Array, b: Array, labels: Array) -> Array:
    return fcjax.softmax_cross_entropy(fcjax.dense(x, w, b), labels)


def _plain(x: Array, w: Array, b: Array, labels: Array) -> Array:
    return optax.softmax_cross_entropy_with_integer_labels(x @ w + b, labels).mean()


def _program(case: Vocabulary, loss: Callable[..., Array], loss_only: bool = False) -> Program:
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (case.batch, case.features))
    w = jax.random.normal(keys[1], (case.features, case.classes)) / case.features**0.5
    labels = jax.random.randint(keys[2], (case.batch,), 0, case.classes)
    arguments: Arguments = x, w, jnp.zeros(case.classes)

    def total(arguments: Arguments) -> Array:
        return loss(*arguments, labels)

    call: Any = jax.jit(total if loss_only else jax.value_and_grad(total))

    def run() -> list[Array]:
        result = jax.block_until_ready(call(arguments))
        return [result if loss_only else result[0]]

    return Program(run, 1, partial(memory_of, call, arguments))
