"""Hand-written rules of RLax."""

from ..cases.arrays import normal
from . import Case, collector

PACKAGE = "rlax"
CASES: list[Case] = []
case = collector(CASES)


@case
def clip_gradient():
    import rlax

    # The gradient is clipped on purpose.
    return lambda x: rlax.clip_gradient(x, -0.5, 0.5), (normal(0, 5, 3),)
