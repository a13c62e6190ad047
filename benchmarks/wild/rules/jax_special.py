"""Hand-written rules of the special functions of jax.lax and jax.scipy.special."""

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "jax"
CASES: list[Case] = []
case = collector(CASES)


# --- primitives of jax.lax ------------------------------------------------------------------------


@case
def lgamma():
    from jax import lax

    return lax.lgamma, (uniform(2001, 0.3, 5, 5, 3),)


@case
def lgamma__negative():
    from jax import lax

    return lax.lgamma, (uniform(2002, -1.9, -1.1, 5),)


@case
def digamma():
    from jax import lax

    return lax.digamma, (uniform(2003, 0.3, 5, 5, 3),)


@case
def polygamma():
    import jax.numpy as jnp
    from jax import lax

    return lambda x: lax.polygamma(jnp.full_like(x, 2.0), x), (uniform(2004, 0.5, 5, 5, 3),)


@case
def igamma():
    from jax import lax

    return lax.igamma, (uniform(2005, 0.5, 4, 5), uniform(2006, 0.5, 4, 5))


@case
def igammac():
    from jax import lax

    return lax.igammac, (uniform(2007, 0.5, 4, 5), uniform(2008, 0.5, 4, 5))


@case
def random_gamma():
    # the gradient of the sample keeps its distribution function, P(a, sample), and so holds for
    # the distribution, not for the sampler: it differs from the slope of one sample
    import jax

    return lambda a: jax.random.gamma(jax.random.key(0), a), (uniform(2009, 0.5, 4, 5),)


@case
def bessel_i0e():
    from jax import lax

    return lax.bessel_i0e, (uniform(2010, -9, 9, 5, 3),)


@case
def bessel_i1e():
    from jax import lax

    return lax.bessel_i1e, (uniform(2011, -9, 9, 5, 3),)


@case
def erf():
    from jax import lax

    return lax.erf, (normal(2012, 5, 3),)


@case
def erfc():
    from jax import lax

    return lax.erfc, (normal(2013, 5, 3),)


@case
def erf_inv():
    from jax import lax

    return lax.erf_inv, (uniform(2014, -0.9, 0.9, 5, 3),)


@case
def regularized_incomplete_beta():
    # the gradient is defined for x alone
    import jax.numpy as jnp
    from jax import lax

    a, b = jnp.array([0.7, 2.0, 3.5, 1.2, 5.0]), jnp.array([1.5, 0.6, 2.5, 4.0, 3.0])
    return lambda x: lax.betainc(a, b, x), (uniform(2015, 0.1, 0.9, 5),)


# --- functions of jax.scipy.special ---------------------------------------------------------------


@case
def exp_neg_sq():
    # a factor of the derivative of erf
    from jax._src.lax.erf import exp_neg_sq

    return exp_neg_sq, (normal(2101, 5),)


@case
def _erfcinv():
    import jax

    return jax.scipy.special.erfcinv, (uniform(2102, 0.1, 1.9, 5, 3),)


@case
def _erfcinv_grad():
    # the derivative of erfcinv, from an argument and the value there
    from jax._src.scipy.special import _erfcinv, _erfcinv_grad

    return lambda x: _erfcinv_grad(x, _erfcinv(x)), (uniform(2103, 0.1, 1.9, 5),)


@case
def _wofz():
    import jax
    from jax import lax

    args = (normal(2104, 5), uniform(2105, 0.1, 2, 5))
    return lambda x, y: jax.scipy.special.wofz(lax.complex(x, y)), args


@case
def _wofz__lower():
    # below the real axis, where the function is computed by reflection
    import jax
    from jax import lax

    args = (normal(2106, 5), uniform(2107, -1, -0.1, 5))
    return lambda x, y: jax.scipy.special.wofz(lax.complex(x, y)), args


@case
def _erfcx():
    import jax

    return jax.scipy.special.erfcx, (uniform(2108, -1.5, 4, 5, 3),)


@case
def _erfcx_grad():
    # the derivative of erfcx, from an argument and the value there
    from jax._src.scipy.special import _erfcx, _erfcx_grad

    return lambda x: _erfcx_grad(x, _erfcx(x)), (uniform(2109, -1.5, 4, 5),)


@case
def _dawsn():
    import jax

    return jax.scipy.special.dawsn, (uniform(2110, -4, 4, 5, 3),)


@case
def logit():
    import jax

    return jax.scipy.special.logit, (uniform(2111, 0.1, 0.9, 5, 3),)


@case
def xlogy():
    import jax

    return jax.scipy.special.xlogy, (normal(2112, 5, 3), uniform(2113, 0.2, 3, 5, 3))


@case
def xlog1py():
    import jax

    return jax.scipy.special.xlog1py, (normal(2114, 5, 3), uniform(2115, -0.8, 3, 5, 3))


@case
def _xlogx():
    import jax

    return jax.scipy.special.entr, (uniform(2116, 0.2, 3, 5, 3),)


@case
def _rel_entr():
    import jax

    args = (uniform(2117, 0.2, 3, 5, 3), uniform(2118, 0.2, 3, 5, 3))
    return jax.scipy.special.rel_entr, args


@case
def _rel_entr__kl_div():
    import jax

    args = (uniform(2119, 0.2, 3, 5, 3), uniform(2120, 0.2, 3, 5, 3))
    return jax.scipy.special.kl_div, args


@case
def zeta():
    import jax

    return jax.scipy.special.zeta, (uniform(2121, 1.5, 5, 5), uniform(2122, 0.5, 4, 5))


@case
def _ndtri():
    import jax

    return jax.scipy.special.ndtri, (uniform(2123, 0.05, 0.95, 5, 3),)


@case
def _ndtri_grad():
    # the derivative of ndtri, from an argument and the value there
    from jax._src.scipy.special import _ndtri, _ndtri_grad

    return lambda x: _ndtri_grad(x, _ndtri(x)), (uniform(2124, 0.05, 0.95, 5),)


@case
def log_ndtr():
    import jax

    return jax.scipy.special.log_ndtr, (uniform(2125, -4, 4, 5, 3),)


@case
def expi():
    import jax

    return jax.scipy.special.expi, (uniform(2126, 0.5, 4, 5),)


@case
def expi__negative():
    import jax

    return jax.scipy.special.expi, (uniform(2127, -4, -0.5, 5),)


@case
def sici():
    import jax

    return jax.scipy.special.sici, (uniform(2128, 0.5, 9, 5),)


@case
def _expn():
    import jax

    def integrals(x):
        return [jax.scipy.special.expn(n, x) for n in (0, 1, 3)]

    return integrals, (uniform(2129, 0.3, 4, 5),)


@case
def poch():
    import jax

    return jax.scipy.special.poch, (uniform(2130, 0.5, 4, 5), uniform(2131, 0.5, 3, 5))


@case
def hyp1f1():
    import jax

    args = (uniform(2132, 0.5, 3, 5), uniform(2133, 1, 4, 5), uniform(2134, 0.2, 3, 5))
    return jax.scipy.special.hyp1f1, args


@case
def hyp2f1():
    import jax

    a, b = uniform(2135, 0.3, 1, 5), uniform(2136, 0.3, 1, 5)
    return jax.scipy.special.hyp2f1, (a, b, uniform(2137, 2.5, 4, 5), uniform(2138, 0.1, 0.6, 5))


@case
def _owens_t_impl():
    import jax

    return jax.scipy.special.owens_t, (normal(2139, 5, 3), normal(2140, 5, 3))


@case
def fresnel():
    import jax

    return jax.scipy.special.fresnel, (uniform(2141, -3, 3, 5, 3),)


@case
def i0_impl():
    import jax

    return jax.scipy.special.i0, (normal(2142, 5, 3),)


@case
def _i1():
    import jax

    return jax.scipy.special.i1, (normal(2143, 5, 3),)
