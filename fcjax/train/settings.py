"""The arguments of `fit` that a checkpoint records, and their comparison when a run resumes."""

import re
from collections.abc import Mapping
from typing import Any, TypedDict

import jax
import numpy as np
import optax

from .._types import Tree
from .state import shapes_of
from .step import extra_arguments

# A floating-point constant in the text of a jaxpr.
_CONSTANT = re.compile(r"(?<![\w.])-?\d[\d.]*(?:e[-+]?\d+)?(?=:b?f\d)")
_MAX_SHOWN = 3
# The settings on which the batches of an epoch depend, and those on which their order does too.
_BATCHES = ("batch_size", "examples")
_ORDER = (*_BATCHES, "shuffle", "drop_last")


class Settings(TypedDict):
    """The arguments that a checkpoint records; `figures` are the names of those of an epoch."""

    batch_size: int | None
    accumulate: int
    shuffle: bool
    drop_last: bool
    monitor: list[str | bool]
    nonfinite: str
    seed: int
    examples: int | None
    optimizer: list[float] | None
    hyperparameters: dict[str, float]
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
    program = jax.make_jaxpr(update)(types, shapes_of(optimizer.init, types), types)
    return [_in_float32(number) for number in _CONSTANT.findall(str(program))]


def _in_float32(number: Any) -> float:
    """Round to the digits of float32, in which 0.01 is 0.00999999977."""
    return float(f"{float(number):.6g}")


def hyperparameters_of(opt_state: Tree) -> dict[str, float]:
    """Return the numbers that `optax.inject_hyperparams` keeps in a new optimizer's state."""
    parts = jax.tree.leaves(opt_state, is_leaf=lambda part: hasattr(part, "hyperparams"))
    return {
        name: _in_float32(value)
        for part in parts
        for name, value in getattr(part, "hyperparams", {}).items()
        if np.ndim(value) == 0
    }


def record_of(settings: Settings, params: Tree, **limits: int | None) -> dict[str, Any]:
    """Return what callbacks learn of a run: its arguments, as numbers and texts.

    >>> import jax.numpy as jnp
    >>> settings = {name: 0 for name in Settings.__annotations__}
    >>> settings |= {"monitor": ["loss", False, False], "hyperparameters": {"decay": 0.5}}
    >>> record = record_of(settings, {"w": jnp.ones(3)}, epochs=2)
    >>> record["monitor"], record["epochs"], record["parameters"], record["initial_decay"]
    ('lowest loss', 2, 3, 0.5)
    """
    figure, highest, _ = settings["monitor"]
    hidden = ("monitor", "optimizer", "figures", "hyperparameters")
    return {
        **limits,
        **{name: value for name, value in settings.items() if name not in hidden},
        "monitor": f"{'highest' if highest else 'lowest'} {figure}",
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        **{f"initial_{name}": value for name, value in settings["hyperparameters"].items()},
    }


def check_settings(saved: Mapping[str, Any], current: Settings, where: str, *, inside: bool) -> str:
    """Return what to say of changed settings; raise ValueError if the result would be wrong.

    Five kinds of change make it wrong. The best parameters so far are those of the figure that was
    monitored. A figure that some epochs lack would be assigned to the
    wrong epochs of the history. Accumulation counts batches, continuing from the checkpoint's
    count. The rest of an epoch is the rest of the order in which it began. And hyperparameters in
    the optimizer's state come from the checkpoint, so new ones would have no effect.

    Args:
        saved: settings in the checkpoint.
        current: settings of this call of `fit`.
        where: name of the checkpoint in messages.
        inside: whether the checkpoint was made in the middle of an epoch.
    """
    if sorted(saved["figures"]) != sorted(current["figures"]):
        raise ValueError(
            f"metrics and validation_data must give the same figures as the history of {where}, "
            f"{saved['figures']}, got {current['figures']}"
        )
    changed = [n for n in current if n != "figures" and saved[n] != current[n]]
    accumulates = max(saved["accumulate"], current["accumulate"]) > 1
    reasons = {
        "accumulate": "gradients are accumulated",
        "hyperparameters": "the optimizer's state holds it",
        "monitor": "the best parameters so far are those of that figure",
        **dict.fromkeys(_ORDER if inside else (), "it was made in the middle of an epoch"),
        **dict.fromkeys(_BATCHES if accumulates else (), "gradients are accumulated"),
    }
    for name in changed:
        if name in reasons:
            what, before, now = _change(name, saved[name], current[name])
            raise ValueError(
                f"{what} must stay {before}, as in {where}, because {reasons[name]}, got {now}"
            )
    return "; ".join(_describe_change(name, saved[name], current[name]) for name in changed)


def _change(name: str, saved: Any, current: Any) -> tuple[str, Any, Any]:
    """Return what an error calls a setting, and its two values."""
    if name == "examples":
        return "the number of examples of data", saved, current
    if name == "hyperparameters":
        one = next(n for n in {**saved, **current} if saved.get(n) != current.get(n))
        return f"{one} of optimizer", saved.get(one), current.get(one)
    return name, saved, current


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
