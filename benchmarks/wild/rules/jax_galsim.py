"""Hand-written rules of JAX-GalSim."""

from ..cases.arrays import uniform
from . import Case, collector

PACKAGE = "jax-galsim"
CASES: list[Case] = []
case = collector(CASES)


@case
def kv():
    from jax_galsim.bessel import kv

    return lambda x: kv(1.3, x), (uniform(0, 0.5, 4, 5),)


@case
def kv__order():
    from jax_galsim.bessel import kv

    # The rule has no derivative by the order, as its docstring says.
    return kv, (uniform(0, 0.5, 2, 3), uniform(1, 0.5, 4, 3))
