"""L-BFGS of SciPy, as scikit-learn calls it, on the compiled loss and gradient."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
import scipy.optimize

from .._jax import direct_options
from .._types import Tree
from ._sklearn import check_lbfgs
from .network import Batch, Network, loss_and_gradient


class Minimum(NamedTuple):
    """Where L-BFGS ended, the loss there, and the number of iterations."""

    vector: np.ndarray
    loss: float
    iterations: int


def minimize(
    network: Network,
    vector: np.ndarray,
    batch: Batch,
    *,
    alpha: float,
    tol: float,
    max_iter: int,
    max_fun: int,
    verbose: bool,
) -> Minimum:
    """Minimize the loss of all examples from a starting point, in float64."""
    with jax.enable_x64(True):
        data = jax.tree.map(jnp.asarray, batch)

        def evaluate(vector: np.ndarray) -> tuple[float, np.ndarray]:
            loss, gradient = _program()(network, vector, data, alpha)
            return float(loss), np.asarray(gradient)

        options = {"maxfun": max_fun, "maxiter": max_iter, "gtol": tol, **_printing(verbose)}
        found: Any = scipy.optimize.minimize(
            evaluate, vector.astype(np.float64), method="L-BFGS-B", jac=True, options=options
        )
    return Minimum(found.x, float(found.fun), check_lbfgs(found, max_iter))


def _printing(verbose: bool) -> dict[str, int]:
    """SciPy 1.15 and newer print nothing, and warn of the option."""
    version = tuple(map(int, scipy.__version__.split(".")[:2]))
    return {"iprint": 1 if verbose else -1} if version < (1, 15) else {}


@functools.cache
def _program() -> Callable[..., Tree]:
    return jax.jit(_loss_and_gradient, static_argnums=0, compiler_options=direct_options())


def _loss_and_gradient(network: Network, vector: Tree, batch: Batch, alpha: Tree) -> Tree:
    return loss_and_gradient(network, vector, batch, alpha, None)
