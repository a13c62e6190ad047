"""Hand-written rules of blackjax.

It calls `jax.lax.custom_root`, which JAX implements by the primitive `call_hi_primitive`.
"""

from ..cases.arrays import normal
from . import Case, collector

PACKAGE = "blackjax"
CASES: list[Case] = []
case = collector(CASES)


@case
def call_hi_primitive():
    import jax
    import jax.numpy as jnp
    from blackjax.mcmc.laplace_marginal import laplace_marginal_factory

    observed = normal(0, 5)

    # Normal numbers around the logarithm of a rate; the mode is the root of the slope.
    def log_joint(theta, phi):
        prior = jax.scipy.stats.norm.logpdf(theta, phi[0], jnp.exp(phi[1])).sum()
        return prior - 0.5 * jnp.sum((observed - theta) ** 2) - 0.1 * jnp.sum(theta**4)

    laplace = laplace_marginal_factory(log_joint, jnp.zeros(5), maxiter=100)
    return lambda phi: laplace(phi)[0], (jnp.asarray([0.3, -0.2]),), {"rtol": 1e-4, "atol": 1e-4}
