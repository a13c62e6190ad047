"""Hand-written rules of distreqx."""

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "distreqx"
CASES: list[Case] = []
case = collector(CASES)


@case
def multiply_no_nan():
    from distreqx.utils import math

    return math.multiply_no_nan, (normal(0, 5, 3), normal(1, 5, 3))


@case
def power_no_nan():
    from distreqx.utils import math

    return math.power_no_nan, (uniform(0, 0.5, 2.0, 5, 3), normal(1, 5, 3))
