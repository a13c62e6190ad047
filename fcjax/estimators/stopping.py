"""The end of training: when the loss or the validation score no longer improves."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from .network import Entry, Network

# What happened at the end of an epoch.
NOTHING, STOP, LOWER_RATE = range(3)
# The learning rate at which "adaptive" stops, and the factor by which it lowers a larger one.
LOWEST_RATE, FACTOR = 1e-6, 5


class Patience(NamedTuple):
    """How far the training has come.

    Attributes:
        best: the lowest loss, or the highest validation score with a minus.
        bad: number of epochs in a row that did not improve it by the tolerance.
        rate: the learning rate.
    """

    best: Entry
    bad: Entry
    rate: Entry


class Rule(NamedTuple):
    """The numbers of the rule: the tolerance, and how many bad epochs are allowed in a row."""

    tol: Entry
    allowed: Entry


def after_epoch(
    patience: Patience, value: Array, rule: Rule, *, adaptive: bool
) -> tuple[Patience, Array, Array]:
    """Return the patience after an epoch, what happened, and whether the value is the best yet.

    NaN is no improvement and no bad epoch either, as in scikit-learn.
    """
    is_best = value < patience.best
    bad = jnp.where(value > patience.best - rule.tol, patience.bad + 1, 0)
    is_over = bad > rule.allowed
    can_lower = adaptive & (patience.rate > LOWEST_RATE)
    event = jnp.where(is_over, jnp.where(can_lower, LOWER_RATE, STOP), NOTHING)
    lowered = event == LOWER_RATE
    after = Patience(
        jnp.where(is_best, value, patience.best),
        jnp.where(lowered, 0, bad).astype(patience.bad.dtype),
        jnp.where(lowered, patience.rate / FACTOR, patience.rate),
    )
    return after, event, is_best


def accuracy(network: Network, Z: Array, Y: Array, w: Array) -> Array:
    """Return the weighted fraction of examples of which every label is predicted."""
    right = jnp.argmax(Z, -1) == Y if network.loss == "softmax" else jnp.all((Z > 0) == (Y > 0), -1)
    return jnp.sum(w * right) / jnp.sum(w)


def r2(network: Network, Z: Array, Y: Array, w: Array) -> Array:
    """Return the mean of R² over the outputs, or NaN if a prediction is not finite.

    R² of a constant target is 1 where the prediction is exact, else 0, as in scikit-learn.
    """
    P = jnp.exp(Z) if network.loss == "poisson" else Z
    w = w[:, None]
    mean = jnp.sum(w * Y, 0) / jnp.sum(w)
    error, spread = jnp.sum(w * (Y - P) ** 2, 0), jnp.sum(w * (Y - mean) ** 2, 0)
    constant = spread == 0
    scores = jnp.where(
        constant, jnp.where(error == 0, 1.0, 0.0), 1 - error / jnp.where(constant, 1, spread)
    )
    return jnp.where(jnp.all(jnp.isfinite(P)), jnp.mean(scores), jnp.nan).astype(Z.dtype)
