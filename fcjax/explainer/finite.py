"""The check that a step has finite numbers, and the argument that is named if it has not."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array

from .._arguments import named_leaves
from ..losses import softmax_cross_entropy
from ..network import Params
from .record import Task


def check_finite(
    task: Task, params: Params, loss: Callable[..., Array], target: Array | None
) -> None:
    """Raise ValueError unless x, the parameters and the loss are finite.

    A target may hold anything if the loss is finite. If it is not, the error names the first number
    of the target that is not finite, or that is no class.
    """
    for name, array in (("x", task.x), *named_leaves("params", params)):
        _check_numbers(name, array)
    found = float(task.loss(task.forward(params)[0]))
    if np.isfinite(found):
        return
    if target is not None:
        _check_numbers("target", target)
        _check_classes(loss, target, params[-1].w.shape[1])
    raise ValueError(f"loss must be finite for these arguments, got {found}")


def _check_numbers(name: str, array: Array) -> None:
    for place in np.argwhere(~np.asarray(jnp.isfinite(array)))[:1].tolist():
        raise ValueError(f"{name} must hold finite numbers, got {array[tuple(place)]} at {place}")


def _check_classes(loss: Callable[..., Array], target: Array, classes: int) -> None:
    """Raise ValueError if a label of softmax cross-entropy is no class."""
    is_labels = jnp.issubdtype(target.dtype, jnp.integer)
    if getattr(loss, "func", loss) is not softmax_cross_entropy or not is_labels:
        return
    is_class = (target >= 0) & (target < classes)
    ignored = getattr(loss, "keywords", {}).get("ignore_index")
    if ignored is not None:
        is_class |= target == ignored
    for place in np.argwhere(~np.asarray(is_class))[:1].tolist():
        raise ValueError(
            f"target must hold classes from 0 to {classes - 1}, the outputs of the network, "
            f"got {target[tuple(place)]} at {place}"
        )
