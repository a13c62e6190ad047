"""Hand-written rules of Brax."""

from ..cases.arrays import uniform
from . import Case, collector

PACKAGE = "brax"
CASES: list[Case] = []
case = collector(CASES)


@case
def safe_arccos():
    from brax import math

    return math.safe_arccos, (uniform(0, -0.9, 0.9, 5),)


@case
def safe_arcsin():
    from brax import math

    return math.safe_arcsin, (uniform(0, -0.9, 0.9, 5),)
