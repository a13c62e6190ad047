"""Hand-written rules of quadax.

A rule by `equinox.filter_custom_jvp` goes by the name `fn_wrapper`.
"""

from ..cases.arrays import uniform
from . import Case, collector

PACKAGE = "quadax"
CASES: list[Case] = []
case = collector(CASES)


@case
def fn_wrapper__direct():
    import jax.numpy as jnp
    import quadax

    def fun(a, limits):
        integrand = lambda t, a: jnp.exp(-a * t) * jnp.sin(2 * t)
        return quadax.quadgk(integrand, limits, (a,), epsabs=1e-6, epsrel=1e-6)[0]

    return fun, (jnp.asarray(0.7), jnp.asarray([0.2, 1.9])), {"rtol": 1e-5, "atol": 1e-5}


@case
def fn_wrapper__direct_vector():
    import jax.numpy as jnp
    import quadax

    def fun(a):
        integrand = lambda t: jnp.sqrt(1 + a * t**2)
        return quadax.quadcc(integrand, jnp.asarray([0.0, 1.0]), epsabs=1e-6, epsrel=1e-6)[0]

    return fun, (uniform(0, 0.5, 2, 3),), {"rtol": 1e-5, "atol": 1e-5}


@case
def fn_wrapper__leibniz():
    import jax.numpy as jnp
    import quadax

    def fun(a, limits):
        integrand = lambda t, a: jnp.exp(-a * t) * jnp.cos(t)
        adjoint = quadax.LeibnizAdjoint()
        return quadax.quadgk(integrand, limits, (a,), epsabs=1e-6, epsrel=1e-6, adjoint=adjoint)[0]

    return fun, (jnp.asarray(0.7), jnp.asarray([0.2, 1.9])), {"rtol": 1e-5, "atol": 1e-5}


@case
def fn_wrapper__leibniz_infinite():
    import jax.numpy as jnp
    import quadax

    def fun(a):
        integrand = lambda t: jnp.exp(-a * t**2)
        limits = jnp.asarray([0.0, jnp.inf])
        adjoint = quadax.LeibnizAdjoint()
        return quadax.quadgk(integrand, limits, epsabs=1e-6, epsrel=1e-6, adjoint=adjoint)[0]

    return fun, (uniform(1, 0.5, 2, 3),), {"rtol": 1e-5, "atol": 1e-5}


@case
def fn_wrapper__romberg():
    import jax.numpy as jnp
    import quadax

    def fun(a, limits):
        integrand = lambda t, a: jnp.exp(-a * t) * jnp.cos(t)
        return quadax.romberg(integrand, limits, (a,), epsabs=1e-5, epsrel=1e-5)[0]

    return fun, (jnp.asarray(0.7), jnp.asarray([0.2, 1.9])), {"rtol": 1e-4, "atol": 1e-4}
