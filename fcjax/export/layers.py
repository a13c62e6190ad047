"""A model as other libraries see it: a list of layers with arrays of NumPy and activations."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._arguments import check_arrays, describe, named_leaves
from ..activations import ACTIVATIONS
from ..model import Model
from ..model.activation import Configured
from ..model.saving import check_here
from ..network import unstack
from ..tables import TableModel


class DenseLayer(NamedTuple):
    """One layer, `g(x w + b)`: its arrays, and the name and all options of g."""

    w: Float[np.ndarray, "n_in n_out"]
    b: Float[np.ndarray, " n_out"] | None
    activation: str
    options: Mapping[str, Any]


# What writers take that know models for tables too.
ACCEPTED = "a Model or a TableModel"


def checked_model(model: object, accepted: str = "a Model") -> Model:
    """Return a model with NumPy's arrays; raise unless this process can read and apply it."""
    if not isinstance(model, Model):
        raise TypeError(f"model must be {accepted}, got {describe(model)}{_hint(model)}")
    check_arrays("model", model)
    for name, leaf in named_leaves("model", model):
        check_here(name, leaf)
    host: Model = jax.tree.map(np.asarray, model)
    outputs_of(host)
    return host


def _hint(model: object) -> str:
    if isinstance(model, TableModel):
        return "; write a model for tables as ONNX (--to onnx), with the treatment of its table"
    return (
        "; wrap parameters as Model(params, activations)" if isinstance(model, tuple | list) else ""
    )


def input_dtype(model: Model) -> np.dtype:
    """Return float64 if a parameter is, and JAX has it enabled, otherwise float32."""
    wide = any(leaf.dtype == np.float64 for leaf in jax.tree.leaves(model))
    return jax.dtypes.canonicalize_dtype(jnp.float64 if wide else jnp.float32)


def outputs_of(model: Model) -> int:
    """Return how many numbers the model gives for a row; raise as it does when it is called."""
    rows = jax.ShapeDtypeStruct((2, model.sizes[0]), input_dtype(model))
    return jax.eval_shape(Model.__call__, model, rows).shape[-1]


def dense_layers(model: Model) -> list[DenseLayer]:
    """Return the layers of a checked model, the stacked ones one by one.

    Raises TypeError for an activation that is not of fcjax, and ValueError for one that another
    library does not have, because it reads several rows or a mask.
    """
    layers = unstack(model.params)
    activations = _activations(model, len(layers))
    return [
        DenseLayer(
            np.asarray(w),
            None if b is None else np.asarray(b),
            *_name_and_options(argument, activation),
        )
        for (w, b), (argument, activation) in zip(layers, activations, strict=True)
    ]


def _activations(model: Model, layers: int) -> Iterator[tuple[str, Any]]:
    """Yield the activation of each layer, with the name of the argument that it comes from."""
    hidden = layers - 1
    if isinstance(model.activations, tuple):
        yield from ((f"activations[{i}]", g) for i, g in enumerate(model.activations))
    else:
        yield from (("activations", model.activations) for _ in range(hidden))
    yield "output_activation", model.output_activation


def _name_and_options(argument: str, activation: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(activation, Configured):
        name, given = activation.name, dict(activation.options)
    elif isinstance(activation, str):
        name, given = activation, {}
    else:
        raise TypeError(
            f"{argument} must be an activation of fcjax, by name or as "
            "functools.partial(fcjax.leaky_relu, negative_slope=0.2), because another library "
            f"cannot call a function of yours; got {describe(activation)}"
        )
    _, *parameters = inspect.signature(ACTIVATIONS[name]).parameters.values()
    options = {p.name: given.get(p.name, p.default) for p in parameters}
    if options.get("axis", -1) not in (-1, 1):
        raise ValueError(
            f"{argument} must work along the features of each row, axis=-1, got {activation!r}"
        )
    if options.get("where") is not None:
        raise ValueError(f"{argument} must be without a mask to be exported, got {activation!r}")
    return name, options
