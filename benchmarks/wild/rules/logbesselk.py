"""Hand-written rules of logbesselk."""

from ..cases.arrays import uniform
from . import Case, collector

PACKAGE = "logbesselk"
CASES: list[Case] = []
case = collector(CASES)


@case
def log_bessel_k():
    import jax
    import jax.numpy as jnp
    from logbesselk.jax import log_bessel_k

    # The gradient for the order is 0, so it is a constant number.
    return jax.vmap(lambda x: log_bessel_k(jnp.float32(1.3), x)), (uniform(1, 0.5, 4.0, 5),)


@case
def log_bessel_k__order():
    import jax
    from logbesselk.jax import log_bessel_k

    # The gradient for the order is 0, and the documentation does not say so.
    return jax.vmap(log_bessel_k), (uniform(0, 0.2, 3.0, 5), uniform(1, 0.5, 4.0, 5))


@case
def log_abs_deriv_bessel_k():
    import jax
    from logbesselk.jax import log_abs_deriv_bessel_k

    args = (uniform(0, 0.2, 3.0, 5), uniform(1, 0.5, 4.0, 5))
    return jax.vmap(lambda v, x: log_abs_deriv_bessel_k(v, x, 0, 0)), args


@case
def log_abs_deriv_bessel_k__derivatives():
    import jax
    from logbesselk.jax import log_abs_deriv_bessel_k

    args = (uniform(0, 0.2, 3.0, 5), uniform(1, 0.5, 4.0, 5))
    return jax.vmap(lambda v, x: log_abs_deriv_bessel_k(v, x, 1, 1)), args


@case
def func__log_sinh():
    from logbesselk.jax import math

    return math.log_sinh, (uniform(0, 0.2, 4.0, 5, 3),)


@case
def func__log_cosh():
    from logbesselk.jax import math

    return math.log_cosh, (uniform(0, 0.2, 4.0, 5, 3),)
