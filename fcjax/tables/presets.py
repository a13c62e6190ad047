"""The presets: which network, which loss, which optimizer, for how long."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._types import Tree
from .networks import Network, RealMLP, TabM

PRESETS = ("realmlp", "tabm")
Task = Literal["classification", "regression"]
Schedule = Callable[[Any], Any]


@dataclass(frozen=True)
class Recipe:
    """How a preset trains its network.

    `optimizer` makes an optimizer from the number of all steps, and `rate` its learning rate as a
    function of the step. `ties` says which of equally good epochs is the best.
    """

    optimizer: Callable[[int], optax.GradientTransformation]
    rate: Callable[[int], Schedule]
    epochs: int
    batch_size: int
    drop_last: bool
    patience: int | None
    ties: Literal["first", "last"]
    label_smoothing: float


def coslog(cycles: int, steps: int) -> Schedule:
    """Return a schedule of cosines, each about twice as long as the one before, from 0 to 0.

    `½ (1 − cos(2π log₂(1 + (2ᶜ − 1) t)))` at the progress `t = step/steps`. If there is one step
    alone, it gets 1: at t = 0 it would change nothing.

    Source: Holzmüller, Grinsztajn & Steinwart, NeurIPS 2024, section 3 (`coslog₄`).

    >>> schedule = coslog(4, 10)
    >>> [round(float(schedule(step)), 6) for step in (0, 1, 5, 9, 10)]
    [0.0, 0.718355, 0.073619, 0.186201, 0.0]
    """

    def schedule(step: Any) -> Any:
        # of a NumPy array for the history, for which JAX would compile each operation
        to = np if isinstance(step, np.ndarray) else jnp
        if steps == 1:
            return to.ones(to.shape(step))
        return 0.5 * (1 - to.cos(2 * np.pi * to.log2(1 + (2**cycles - 1) * (step / steps))))

    return schedule


def recipe_of(network: Network, task: Task) -> Recipe:
    """Return how a network is trained."""
    if isinstance(network, TabM):
        return Recipe(_tabm_optimizer, _tabm_rate, 1000, 256, False, 16, "first", 0.0)
    rate, smoothing = (0.04, 0.1) if task == "classification" else (0.07, 0.0)

    def optimizer(steps: int) -> optax.GradientTransformation:
        return _realmlp_optimizer(network, rate_of(steps))

    def rate_of(steps: int) -> Schedule:
        schedule = coslog(4, steps)
        return lambda step: rate * schedule(step)

    return Recipe(optimizer, rate_of, 256, 256, True, None, "last", smoothing)


def _realmlp_optimizer(network: RealMLP, rate: Schedule) -> optax.GradientTransformation:
    """Adam, with a rate for each kind of parameter.

    Its averages are those of one vector of all parameters, one loop instead of one for each, which
    compiles in three quarters of the time.
    """

    def by_kind(updates: Tree, params: Tree) -> Tree:
        return jax.tree.map(lambda update, factor: factor * update, updates, network.rates(params))

    return optax.chain(
        optax.flatten(optax.scale_by_adam(b1=0.9, b2=0.95)),
        optax.stateless(by_kind),
        _scale_by_rate(rate),
    )


_TABM_RATE = 2e-3


def _tabm_rate(steps: int) -> Schedule:
    del steps
    return lambda step: np.full(np.shape(step), _TABM_RATE)


def _tabm_optimizer(steps: int) -> optax.GradientTransformation:
    """AdamW, of clipped gradients."""
    del steps
    adam = optax.chain(
        optax.clip_by_global_norm(1.0), optax.scale_by_adam(), optax.add_decayed_weights(3e-4)
    )
    return optax.chain(optax.flatten(adam), _scale_by_rate(_TABM_RATE))


def _scale_by_rate(rate: float | Schedule) -> optax.GradientTransformation:
    """Keep the rate in the optimizer's state, where progress and trackers find it."""
    return optax.inject_hyperparams(optax.scale_by_learning_rate)(learning_rate=rate)


def network_of(
    preset: str, task: Task, groups: tuple[int, ...], outputs: int,
    edges: tuple[tuple[float, ...], ...] | None = None,
) -> Network:  # fmt: skip
    """Return the network of a preset, for inputs whose columns come in groups."""
    inputs = sum(groups)
    if preset == "realmlp":
        return RealMLP(inputs, outputs, "selu" if task == "classification" else "mish")
    # the authors take a block less with embeddings
    return TabM(inputs, outputs, groups, depth=3 if edges is None else 2, edges=edges)
