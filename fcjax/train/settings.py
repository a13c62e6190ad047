"""What a checkpoint remembers of the arguments of `fit`, and what is said where they change."""

import re
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import optax

from .step import extras

# A floating-point constant in the text of a program.
_CONSTANT = re.compile(r"(?<![\w.])-?\d[\d.]*(?:e[-+]?\d+)?(?=:b?f\d)")
_MOST = 3

Settings = Mapping[str, Any]


def constants_of(optimizer: optax.GradientTransformation, params: Any) -> list[float]:
    """Return the numbers that the update computes with, in order: learning rate, decays and so on.

    A transformation is nothing but functions, which cannot be compared; their programs can. Numbers
    that it takes from arrays, or keeps in its state, are not among them.
    """

    def value_and_aux(params: Any) -> tuple[Any, None]:
        return optax.tree.sum(params), None

    def update(grads: Any, opt_state: Any, params: Any) -> Any:
        value = value_and_aux(params)[0]
        return optimizer.update(
            grads, opt_state, params, **extras(optimizer, value_and_aux, value, grads)
        )

    types = jax.eval_shape(lambda params: params, params)
    program = jax.make_jaxpr(update)(types, jax.eval_shape(optimizer.init, types), types)
    # to the digits that float32 holds: 0.01 is 0.00999999977 there
    return [float(f"{float(number):.6g}") for number in _CONSTANT.findall(str(program))]


def compare(there: Settings, here: Settings, where: str) -> None:
    """Warn of what a run changes; raise ValueError where its result would be wrong.

    Figures that some epochs lack would be taken for those of other epochs, and gradients are
    accumulated by a count of the batches that goes on from the checkpoint's.

    Args:
        there: what the checkpoint holds.
        here: what `fit` was called with.
        where: what the checkpoint is called.
    """
    if sorted(there["figures"]) != sorted(here["figures"]):
        raise ValueError(
            f"metrics and validation_data must give the figures in the history of {where}, "
            f"{there['figures']}, got {here['figures']}"
        )
    changed = [
        name for name in here if name != "figures" and there.get(name, here[name]) != here[name]
    ]
    accumulates = max(there.get("accumulate", 1), here["accumulate"]) > 1
    for name in changed:
        if name == "accumulate" or (accumulates and name in ("batch_size", "examples")):
            raise ValueError(
                f"{name} must stay {there[name]}, as in {where}, because gradients are "
                f"accumulated, got {here[name]}"
            )
    if changed:
        words = "; ".join(_words(name, there[name], here[name]) for name in changed)
        warnings.warn(f"{where} was made with other arguments: {words}", stacklevel=4)


def _words(name: str, there: Any, here: Any) -> str:
    if name == "optimizer":
        return f"optimizer, {_of_constants(there, here)}"
    if name == "seed":
        return f"seed {there}, got {here}, which has no effect: the key is the checkpoint's"
    what = f"{name} of data" if name == "examples" else name
    return f"{what} {there}, got {here}"


def _of_constants(there: list[float], here: list[float]) -> str:
    pairs = dict.fromkeys((a, b) for a, b in zip(there, here, strict=False) if a != b)
    if len(there) != len(here) or len(pairs) > _MOST:
        return "another one"
    return "which computed with " + ", ".join(f"{a:g} and now with {b:g}" for a, b in pairs)
