"""Hand-written rules of jaxbessel."""

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "jaxbessel"
CASES: list[Case] = []
case = collector(CASES)


@case
def j0():
    import jaxbessel

    return jaxbessel.j0, (3 * normal(0, 5, 3),)


@case
def j1():
    import jaxbessel

    return jaxbessel.j1, (3 * normal(0, 5, 3),)


@case
def _bessel_jn():
    import jaxbessel

    return lambda x: jaxbessel.bessel_jn(3, x), (uniform(0, 0.5, 9.0, 5),)


@case
def _spherical_bessel_jn():
    import jaxbessel

    return lambda x: jaxbessel.spherical_bessel_jn(3, x), (uniform(0, 0.5, 9.0, 5),)


@case
def _bessel_jv_over_xv():
    import jaxbessel

    return lambda x: jaxbessel.bessel_jv_over_xv(1.3, x), (uniform(0, 0.5, 9.0, 5),)
