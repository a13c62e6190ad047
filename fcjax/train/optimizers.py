"""Optax's optimizers by name."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType

import optax
import optax.contrib

from .._arguments import check_one_of, describe, is_number

_DEFAULT_LEARNING_RATE = 1e-3


@cache
def optimizers() -> Mapping[str, Callable[..., optax.GradientTransformation]]:
    """Return the optimizers of Optax, including contrib, that need only a learning rate.

    These are the public functions of Optax that return a gradient transformation and take a
    learning rate, required or optional, and whose other arguments all have defaults.

    >>> {"adam", "sgd", "lbfgs", "muon", "prodigy"} <= set(optimizers())
    True
    """
    found: dict[str, Callable[..., optax.GradientTransformation]] = {}
    for module in (optax.contrib, optax):
        for name, function in vars(module).items():
            if inspect.isfunction(function) and _is_optimizer(name, function):
                found[name] = function
    return MappingProxyType(found)


def _is_optimizer(name: str, function: Callable[..., object]) -> bool:
    if name.startswith(("_", "scale_by_")) or _rate(function) is None:
        return False
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.default is p.empty} <= {"learning_rate"}


def _rate(function: Callable[..., object]) -> inspect.Parameter | None:
    """Return the parameter that is the learning rate, found by its name, or None."""
    parameters = inspect.signature(function).parameters.values()
    return next((p for p in parameters if p.name.endswith("learning_rate")), None)


def optimizer_named(name: str, lr: float | None = None) -> optax.GradientTransformation:
    """Return the optimizer with the given name.

    Args:
        name: name of an optimizer in `optax` or `optax.contrib`.
        lr: learning rate; None uses the optimizer's default, or 0.001 if it has none.

    Raises:
        ValueError: the name is unknown (the error suggests similar ones), or `lr` is not positive.

    >>> isinstance(optimizer_named("adam", 0.01), optax.GradientTransformation)
    True
    """
    check_one_of("optimizer", name, optimizers())
    if lr is not None and not (is_number(lr) and lr > 0):
        raise ValueError(f"lr must be a positive number, got {describe(lr)}")
    make = optimizers()[name]
    rate = _rate(make)
    assert rate is not None
    # Without a learning rate, Optax omits the final scaling, and with it the sign of the update.
    # Only optimizers with a line search determine the rate themselves.
    has_default = rate.default is not rate.empty and rate.default is not None
    if lr is None and (has_default or "linesearch" in inspect.signature(make).parameters):
        return make()
    return make(**{rate.name: _DEFAULT_LEARNING_RATE if lr is None else lr})
