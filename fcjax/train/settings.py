"""The arguments of `fit` that a checkpoint records, and their comparison when a run resumes."""

import re
import warnings
from collections.abc import Mapping
from typing import Any, TypedDict

import jax
import optax

from .._types import Tree
from .step import extra_arguments

# A floating-point constant in the text of a jaxpr.
_CONSTANT = re.compile(r"(?<![\w.])-?\d[\d.]*(?:e[-+]?\d+)?(?=:b?f\d)")
_MAX_SHOWN = 3


class Settings(TypedDict):
    """The arguments that a checkpoint records; `figures` are the names of those of an epoch."""

    batch_size: int | None
    accumulate: int
    shuffle: bool
    seed: int
    examples: int | None
    optimizer: list[float] | None
    figures: list[str]


def constants_of(optimizer: optax.GradientTransformation, params: Tree) -> list[float]:
    """Return the constants of the optimizer's update, such as learning rate and decay rates.

    An Optax optimizer consists of functions, which cannot be compared, but their jaxprs can.
    Numbers in arrays or in the optimizer's state are not included.
    """

    def value_and_aux(params: Tree) -> tuple[Tree, None]:
        return optax.tree.sum(params), None

    def update(grads: Tree, opt_state: Tree, params: Tree) -> Tree:
        value = value_and_aux(params)[0]
        return optimizer.update(
            grads, opt_state, params, **extra_arguments(optimizer, value_and_aux, value, grads)
        )

    types = jax.eval_shape(lambda params: params, params)
    program = jax.make_jaxpr(update)(types, jax.eval_shape(optimizer.init, types), types)
    # Round to the digits of float32, in which 0.01 is 0.00999999977.
    return [float(f"{float(number):.6g}") for number in _CONSTANT.findall(str(program))]


def check_settings(saved: Mapping[str, Any], current: Settings, where: str) -> None:
    """Warn if settings changed; raise ValueError if the result would be wrong.

    Two kinds of change make it wrong. A figure that some epochs lack would be assigned to the wrong
    epochs of the history. And accumulation counts batches, continuing from the checkpoint's count.

    Args:
        saved: settings in the checkpoint; those of an older version may lack some.
        current: settings of this call of `fit`.
        where: name of the checkpoint in messages.
    """
    if sorted(saved["figures"]) != sorted(current["figures"]):
        raise ValueError(
            f"metrics and validation_data must give the same figures as the history of {where}, "
            f"{saved['figures']}, got {current['figures']}"
        )
    changed = [
        name
        for name in current
        if name != "figures" and saved.get(name, current[name]) != current[name]
    ]
    accumulates = max(saved.get("accumulate", 1), current["accumulate"]) > 1
    for name in changed:
        if name == "accumulate" or (accumulates and name in ("batch_size", "examples")):
            raise ValueError(
                f"{name} must stay {saved[name]}, as in {where}, because gradients are "
                f"accumulated, got {current[name]}"
            )
    if changed:
        words = "; ".join(_describe_change(name, saved[name], current[name]) for name in changed)
        warnings.warn(f"{where} was made with other arguments: {words}", stacklevel=4)


def _describe_change(name: str, saved: Any, current: Any) -> str:
    if name == "optimizer":
        return f"optimizer {_describe_optimizer_change(saved, current)}"
    if name == "seed":
        return f"seed was {saved}, now {current}, which has no effect: the key is the checkpoint's"
    what = f"{name} of data" if name == "examples" else name
    return f"{what} was {saved}, now {current}"


def _describe_optimizer_change(saved: list[float], current: list[float]) -> str:
    pairs = dict.fromkeys((a, b) for a, b in zip(saved, current, strict=False) if a != b)
    if len(saved) != len(current) or len(pairs) > _MAX_SHOWN:
        return "was another one"
    return "computed with " + ", ".join(f"{a:g}, now {b:g}" for a, b in pairs)
