"""Checks of the arguments of networks."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jax import Array

from .._arguments import (
    as_integer,
    brief,
    check_input,
    check_one_of,
    describe,
    floating,
)
from ..activations import ACTIVATIONS
from .layers import Layer, Params, depth, is_stacked

Function = Callable[[Array], Array]
Activation = str | Function


def check_layers(params: Params) -> None:
    """Raise unless `params` is a tuple of layers, single or stacked, with valid shapes."""
    if not _are_layers(params):
        raise TypeError(
            f"params must be a tuple of one or more Layers, as from init, got {describe(params)}"
        )
    for i, layer in enumerate(params):
        _check_layer(f"params[{i}]", layer)
    if is_stacked(params[-1]):
        raise ValueError(
            "params must end with a single layer, the output layer, got stacked layers "
            f"{describe(params[-1].w)}; stack(params) leaves the output layer unstacked"
        )


def _are_layers(entries: Any) -> bool:
    is_sequence = isinstance(entries, tuple | list) and len(entries) > 0
    return is_sequence and all(isinstance(entry, Layer) for entry in entries)


def _check_layer(name: str, layer: Layer) -> None:
    for place, V in zip((f"{name}.w", f"{name}.b"), layer, strict=True):
        # the lists that other functions take as arrays are trees of parameters here
        if not hasattr(V, "ndim") and not (place.endswith(".b") and V is None):
            raise TypeError(f"{place} must be a floating-point array, got {describe(V)}")
        if V is not None:
            floating(place, V)
    if layer.w.ndim not in (2, 3):
        raise ValueError(
            f"{name}.w must have shape (n_in, n_out), or (L, n, n) for stacked layers, "
            f"got {describe(layer.w)}"
        )
    if is_stacked(layer):
        _check_stacked(name, layer)
    elif layer.b is not None and layer.b.shape != layer.w.shape[1:]:
        raise ValueError(
            f"{name}.b must have shape ({layer.w.shape[1]},) to match w {describe(layer.w)}, "
            f"got {describe(layer.b)}"
        )


def _check_stacked(name: str, stacked: Layer) -> None:
    layers, n_in, n_out = stacked.w.shape
    if not layers or n_in != n_out:
        raise ValueError(
            f"{name}.w of stacked layers must have shape (L, n, n) with L at least 1, "
            f"got {describe(stacked.w)}"
        )
    if stacked.b is not None and stacked.b.shape != (layers, n_out):
        raise ValueError(
            f"{name}.b must have shape ({layers}, {n_out}) to match w {describe(stacked.w)}, "
            f"got {describe(stacked.b)}"
        )


def prepare(
    params: Params, x: object, activations: object, output_activation: object
) -> tuple[Array, tuple[Function, ...]]:
    """Check the arguments of a network; return x, and one activation per entry of params."""
    x = floating("x", x)
    functions = check_network(params, activations, output_activation)
    check_input(x, params[0].w, "params[0].w")
    return x, functions


def check_network(
    params: Params, activations: object, output_activation: object
) -> tuple[Function, ...]:
    """Check the description of a network; return one activation per entry of params."""
    check_layers(params)
    check_sizes(params)
    hidden = _hidden(activations, sum(depth(layer) for layer in params[:-1]))
    return (*_by_entry(params[:-1], hidden), _output(output_activation))


def check_sizes(params: Params) -> None:
    """Raise ValueError unless each layer takes as many inputs as the previous one has units."""
    for i, (before, layer) in enumerate(itertools.pairwise(params), 1):
        units = before.w.shape[-1]
        if layer.w.shape[-2] != units:
            raise ValueError(
                f"params[{i}].w must have {units} rows, the units of the previous layer, "
                f"got {describe(layer.w)}"
            )


def checked_remat(remat_every: object, params: Params) -> int | None:
    """Return `remat_every`; raise unless it is None, or positive with stacked layers to run on."""
    if remat_every is None:
        return None
    every = as_integer(remat_every)
    if every is None:
        raise TypeError(f"remat_every must be an integer or None, got {describe(remat_every)}")
    if every < 1:
        raise ValueError(f"remat_every must be positive, got {brief(every)}")
    if not any(is_stacked(layer) for layer in params):
        raise ValueError(
            f"remat_every={brief(every)} needs stacked layers in params, as from stack(params), "
            "got none"
        )
    return every


def _by_entry(hidden: Params, functions: Sequence[Function]) -> Iterator[Function]:
    """Yield the activation of each entry, which all its layers must share."""
    start = 0
    for i, layer in enumerate(hidden):
        of_layer = functions[start : start + depth(layer)]
        if any(g is not of_layer[0] for g in of_layer):
            names = ", ".join(dict.fromkeys(getattr(g, "__name__", repr(g)) for g in of_layer))
            raise ValueError(
                f"activations must be the same for the {len(of_layer)} stacked layers "
                f"params[{i}], which are activations[{start}] to "
                f"activations[{start + len(of_layer) - 1}], got {names}; "
                "call unstack(params), or stack the layers of each activation separately"
            )
        yield of_layer[0]
        start += len(of_layer)


def _hidden(activations: object, layers: int) -> tuple[Function, ...]:
    if isinstance(activations, str) or callable(activations):
        return (_function("activations", activations),) * layers
    if not isinstance(activations, Sequence) or isinstance(activations, bytes | bytearray):
        raise TypeError(
            "activations must be a name, a function, or a sequence of these, "
            f"got {describe(activations)}"
        )
    if len(activations) != layers:
        raise ValueError(
            f"activations must have one entry for each of the {layers} hidden layers, "
            f"got {len(activations)}: {brief(activations)}"
        )
    return tuple(_function(f"activations[{i}]", a) for i, a in enumerate(activations))


def _output(activation: object) -> Function:
    return _function("output_activation", activation)


def _function(argument: str, activation: object) -> Function:
    """Return the activation that was passed by name or as a function; errors name `argument`."""
    if isinstance(activation, str):
        check_one_of(argument, activation, ACTIVATIONS)
        return ACTIVATIONS[activation]
    if callable(activation):
        return _hashable(activation)
    raise TypeError(
        f"{argument} must be the name of an activation or a function, got {describe(activation)}"
    )


def _hashable(g: Callable[..., Any]) -> Function:
    """Return `g` if it is hashable, as static arguments must be, else a function that calls it."""
    try:
        hash(g)
    except TypeError:
        return lambda Z: g(Z)
    return g
