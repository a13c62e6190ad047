"""The last layer with many classes and its loss: in one rule, in two, and by autodiff."""

import jax
import jax.numpy as jnp
import optax
from jax import Array

import fcjax

from ..cases import Vocabulary
from ..program import Program
from . import of_jax


def gradient(case: Vocabulary, way: str, loss_only: bool = False) -> Program:
    """Loss and gradient in one call, or the loss alone."""
    loss = {
        "one rule": fcjax.losses.dense_softmax_cross_entropy,
        "two rules": lambda x, w, b, y: fcjax.softmax_cross_entropy(fcjax.dense(x, w, b), y),
        "jax.grad": _plain,
    }[way]
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (case.batch, case.features))
    w = jax.random.normal(keys[1], (case.features, case.classes)) / case.features**0.5
    y = jax.random.randint(keys[2], (case.batch,), 0, case.classes)
    arguments = x, w, jnp.zeros(case.classes)
    return of_jax.gradient(lambda arguments: loss(*arguments, y), arguments, loss_only=loss_only)


def _plain(x: Array, w: Array, b: Array, labels: Array) -> Array:
    return optax.softmax_cross_entropy_with_integer_labels(x @ w + b, labels).mean()
