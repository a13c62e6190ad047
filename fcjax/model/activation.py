"""Activations in the form in which a model compares them and a file names them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from jax import Array

from .._arguments import brief, check_one_of, describe, is_number
from ..activations import ACTIVATIONS


@dataclass(frozen=True)
class Configured:
    """An activation of fcjax with options, such as `leaky_relu(negative_slope=0.2)`.

    Two of equal name and options are equal, as two of `functools.partial` are not.
    """

    name: str
    options: tuple[tuple[str, bool | int | float], ...]

    def __call__(self, Z: Array) -> Array:
        """Apply the activation."""
        return ACTIVATIONS[self.name](Z, **dict(self.options))

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value}' for name, value in self.options)})"


Named = str | Configured


def normal_form(argument: str, activation: Any) -> Any:
    """Return the name of an activation of fcjax, or a `Configured`; others stay as they are."""
    if isinstance(activation, str):
        check_one_of(argument, activation, ACTIVATIONS)
        return activation
    if isinstance(activation, partial) and _name_of(activation.func) and not activation.args:
        return _configured(argument, _name_of(activation.func), activation.keywords)
    if callable(activation):
        return _name_of(activation) or activation
    raise TypeError(
        f"{argument} must be the name of an activation or a function, got {describe(activation)}"
    )


def to_json(argument: str, activation: Any) -> Any:
    """Return what a file holds of an activation, or raise TypeError if another must be imported."""
    if isinstance(activation, str):
        return activation
    if isinstance(activation, Configured):
        return {"name": activation.name, **dict(activation.options)}
    raise TypeError(
        f"{argument} must be an activation of fcjax to be saved, by name or as "
        "functools.partial(fcjax.leaky_relu, negative_slope=0.2), because a folder holds no code; "
        f"got {describe(activation)}"
    )


def from_json(argument: str, stored: Any) -> Named:
    """Return the activation that a file holds."""
    given = cast("Mapping[str, Any]", stored) if isinstance(stored, Mapping) else {"name": stored}
    options = dict(given)
    name = options.pop("name", None)
    check_one_of(argument, name, ACTIVATIONS)
    return _configured(argument, name, options)


def _name_of(function: Callable[..., Any]) -> str:
    return next((name for name, g in ACTIVATIONS.items() if g is function), "")


def _configured(argument: str, name: str, options: Mapping[str, Any]) -> Named:
    accepted = [*inspect.signature(ACTIVATIONS[name]).parameters][1:]
    for option, value in options.items():
        check_one_of(f"an option of {argument}", option, accepted)
        if not (is_number(value) or isinstance(value, bool)):
            raise TypeError(
                f"{argument}: {option} must be a number or a boolean, got {brief(value)}"
            )
    return Configured(name, tuple(sorted(options.items()))) if options else name
