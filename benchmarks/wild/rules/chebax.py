"""Hand-written rules of chebax."""

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "chebax"
CASES: list[Case] = []
case = collector(CASES)


@case
def _chebval_impl():
    import chebax

    return lambda x, c: chebax.ChebSeries(c)(x), (uniform(0, -0.9, 0.9, 5), normal(1, 3))


@case
def _pw_chebval_impl():
    import chebax

    breaks = (-1.0, 0.0, 1.0)
    return lambda x, c: chebax.PiecewiseCheb(c, breaks)(x), (
        uniform(0, -0.9, 0.9, 5),
        normal(1, 2, 3),
    )


@case
def _w0():
    import chebax

    return chebax.lambertw, (uniform(0, 0.2, 3.0, 5),)


@case
def _wm1():
    import chebax

    return lambda x: chebax.lambertw(x, k=-1), (uniform(0, -0.3, -0.05, 5),)


@case
def _besseli_fn():
    import chebax

    return chebax.besseli_fn, (uniform(0, 0.5, 3.0), uniform(1, 0.5, 4.0, 5))


@case
def edge_slope():
    import chebax

    # Only at the two ends of the interval the rule adds a slope, on purpose.
    return chebax.betainc_fn, (uniform(0, 0.5, 4.0), uniform(1, 0.5, 4.0), uniform(2, 0.2, 0.8, 5))


@case
def betaincinv():
    import chebax

    return chebax.betaincinv, (uniform(0, 1.0, 4.0), uniform(1, 1.0, 4.0), uniform(2, 0.2, 0.8, 5))


@case
def _stdtr_cj():
    import chebax

    return chebax.stdtr, (uniform(0, 1.5, 6.0), normal(1, 5))


@case
def _log_stdtr_cj():
    import chebax

    return chebax.log_stdtr, (uniform(0, 1.5, 6.0), normal(1, 5))


@case
def _stdtrit_cj():
    import chebax

    return chebax.stdtrit, (uniform(0, 1.5, 6.0), uniform(1, 0.1, 0.9, 5))


@case
def _vonmises_cdf_cj():
    import chebax

    return chebax.vonmises_cdf, (uniform(0, 0.5, 6.0), normal(1, 5))


@case
def _vonmises_icdf_cj():
    import chebax

    return chebax.vonmises_icdf, (uniform(0, 0.5, 6.0), uniform(1, 0.2, 0.8, 5))
