"""What a network is applied to: checked at the call, and named in the error."""

from collections.abc import Callable, Sequence
from typing import Any

from jax import Array

from .._arguments import describe, floating, matrix_product
from ..activations import activation_named
from .layers import Layer, Params

Activation = str | Callable[[Array], Array]


def prepare(
    params: Params, x: Any, activations: Any, output_activation: Any
) -> tuple[Array, tuple[Callable[[Array], Array], ...]]:
    """Check what a network is applied to; return x and one function per layer."""
    x = floating("x", x)
    if not params or not all(isinstance(layer, Layer) for layer in params):
        raise TypeError(
            f"params must be a tuple of one or more Layers, as from init, got {describe(params)}"
        )
    n_in = x.shape[-1:]
    for i, layer in enumerate(params):
        if i and layer.w.shape[:1] != n_in:
            raise ValueError(
                f"params[{i}].w must have {n_in[0]} rows, the units of the layer before, "
                f"got {describe(layer.w)}"
            )
        n_in = layer.w.shape[1:]
    matrix_product(x, params[0].w, params[0].b)
    return x, (*_hidden(activations, len(params) - 1), _output(output_activation))


def _hidden(activations: Any, layers: int) -> tuple[Callable[[Array], Array], ...]:
    if isinstance(activations, str) or callable(activations):
        return (activation_named("activations", activations),) * layers
    if not isinstance(activations, Sequence):
        raise TypeError(
            "activations must be a name, a function, or a sequence of these, "
            f"got {describe(activations)}"
        )
    if len(activations) != layers:
        raise ValueError(
            f"activations must name one for each of the {layers} hidden layers, "
            f"got {len(activations)}: {activations!r}"
        )
    return tuple(activation_named(f"activations[{i}]", a) for i, a in enumerate(activations))


def _output(activation: Any) -> Callable[[Array], Array]:
    return activation_named("output_activation", activation)
