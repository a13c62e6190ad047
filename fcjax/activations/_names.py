"""Activations by name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

from jax import Array

from .._arguments import one_of
from . import gated, normalized, piecewise, smooth

Activation = Callable[[Array], Array]

ACTIVATIONS: Mapping[str, Callable[..., Array]] = MappingProxyType(
    {
        "celu": smooth.celu,
        "elu": smooth.elu,
        "gelu": gated.gelu,
        "glu": gated.glu,
        "hard_sigmoid": piecewise.hard_sigmoid,
        "hard_silu": gated.hard_silu,
        "hard_swish": gated.hard_swish,
        "hard_tanh": piecewise.hard_tanh,
        "identity": piecewise.identity,
        "leaky_relu": piecewise.leaky_relu,
        "log_sigmoid": smooth.log_sigmoid,
        "log_softmax": normalized.log_softmax,
        "mish": gated.mish,
        "relu": piecewise.relu,
        "relu6": piecewise.relu6,
        "selu": smooth.selu,
        "sigmoid": smooth.sigmoid,
        "silu": gated.silu,
        "soft_sign": smooth.soft_sign,
        "softmax": normalized.softmax,
        "softplus": smooth.softplus,
        "sparse_plus": piecewise.sparse_plus,
        "sparse_sigmoid": piecewise.sparse_sigmoid,
        "squareplus": smooth.squareplus,
        "swish": gated.swish,
        "tanh": smooth.tanh,
    }
)


def activation_named(argument: str, activation: Any) -> Activation:
    """Return the activation that a caller named or passed; `argument` is named in the error.

    >>> activation_named("activations", "tanh").__name__
    'tanh'
    """
    if not isinstance(activation, str):
        if callable(activation):
            return cast(Activation, activation)
        raise TypeError(
            f"{argument} must be the name of an activation or a function, "
            f"got {type(activation).__name__} {activation!r}"
        )
    one_of(argument, activation, ACTIVATIONS)
    return ACTIVATIONS[activation]
