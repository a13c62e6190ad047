"""Hand-written rules of CopulAX."""

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "copulax"
CASES: list[Case] = []
case = collector(CASES)


@case
def _log_kv_pos():
    from copulax import special

    return special.log_kv, (uniform(0, 0.5, 3.0), uniform(1, 0.5, 4.0, 5))


@case
def stdtr():
    from copulax import special

    # The gradient for the degrees of freedom is 0, as the documentation says.
    return lambda t: special.stdtr(3.5, t), (normal(1, 5),)
