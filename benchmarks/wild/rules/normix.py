"""Hand-written rules of normix."""

import numpy as np

from . import Case, collector

PACKAGE = "normix"
CASES: list[Case] = []
case = collector(CASES)


@case
def inverse():
    import jax.numpy as jnp
    from normix import Gamma

    # The natural parameters for given means of log x and x.
    def parameters(means):
        return Gamma.from_expectation(means, tol=1e-6).natural_params()

    options = {"rtol": 1e-4, "atol": 1e-4}  # of the search for the root
    return parameters, (jnp.asarray(np.array([0.2, 1.7]), jnp.float32),), options
