"""The learning rate of a run, where it can be known."""

import jax
import numpy as np

from .._types import Tree

_NAME = "learning_rate"


def learning_rate_of(opt_state: Tree) -> float | None:
    """Return the learning rate of the last update, if the optimizer's state holds it, or None.

    The state of `optax.inject_hyperparams` does, whether the rate is a number or a schedule. Other
    optimizers have it in a function, which cannot be read. Where parameters have different rates,
    there is no one to return.

    >>> import jax.numpy as jnp, optax
    >>> params = {"w": jnp.ones(2)}
    >>> learning_rate_of(optax.inject_hyperparams(optax.adam)(0.25).init(params))
    0.25
    >>> learning_rate_of(optax.adam(0.25).init(params)) is None
    True
    """
    parts = jax.tree.leaves(opt_state, is_leaf=lambda part: hasattr(part, "hyperparams"))
    known = [part.hyperparams[_NAME] for part in parts if _NAME in getattr(part, "hyperparams", ())]
    # networks that are trained together have an array of rates
    rates = {float(rate) for rates in known for rate in np.ravel(np.asarray(rates))}
    return rates.pop() if len(rates) == 1 else None
