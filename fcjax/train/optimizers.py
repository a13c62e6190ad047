"""Optax's optimizers by name."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import optax
import optax.contrib

from .._arguments import check_one_of, describe, is_number

_DEFAULT_LEARNING_RATE = 1e-3


@cache
def optimizers() -> Mapping[str, Callable[..., optax.GradientTransformation]]:
    """Return every optimizer that Optax exports, contrib included, that needs no more than a rate.

    An optimizer is a public function that returns a gradient transformation and takes a learning
    rate, required or not, while all its other arguments have defaults.

    >>> {"adam", "sgd", "lbfgs", "muon", "prodigy"} <= set(optimizers())
    True
    """
    found = {}
    for module in (optax.contrib, optax):
        for name, function in vars(module).items():
            if inspect.isfunction(function) and _is_optimizer(name, function):
                found[name] = function
    return MappingProxyType(found)


def _is_optimizer(name: str, function: Callable[..., Any]) -> bool:
    if name.startswith(("_", "scale_by_")) or _rate(function) is None:
        return False
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.default is p.empty} <= {"learning_rate"}


def _rate(function: Callable[..., Any]) -> inspect.Parameter | None:
    """The parameter that is the learning rate, by its name."""
    parameters = inspect.signature(function).parameters.values()
    return next((p for p in parameters if p.name.endswith("learning_rate")), None)


def optimizer_named(name: str, lr: float | None = None) -> optax.GradientTransformation:
    """Return the optimizer of that name.

    Args:
        name: an optimizer of `optax` or `optax.contrib`.
        lr: learning rate; None takes the optimizer's own default, or 0.001 where it has none.

    Raises:
        ValueError: the name is unknown (the nearest are offered), or `lr` is not positive.

    >>> isinstance(optimizer_named("adam", 0.01), optax.GradientTransformation)
    True
    """
    check_one_of("optimizer", name, optimizers())
    if lr is not None and not (is_number(lr) and lr > 0):
        raise ValueError(f"lr must be a positive number, got {describe(lr)}")
    make = optimizers()[name]
    rate = _rate(make)
    assert rate is not None
    # Without a rate Optax leaves out the last step, and with it the sign of the update; only a
    # line search finds its own.
    has_default = rate.default is not rate.empty and rate.default is not None
    if lr is None and (has_default or "linesearch" in inspect.signature(make).parameters):
        return make()
    return make(**{rate.name: _DEFAULT_LEARNING_RATE if lr is None else lr})
