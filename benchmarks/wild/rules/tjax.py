"""Hand-written rules of tjax."""

from ..cases.arrays import normal
from . import Case, collector

PACKAGE = "tjax"
CASES: list[Case] = []
case = collector(CASES)

# All of these return their first argument, and change only the gradient, on purpose.


@case
def scale_cotangent():
    import tjax

    return lambda x: tjax.scale_cotangent(x, 0.5, None), (normal(0, 5, 3),)


@case
def print_cotangent():
    import tjax

    return lambda x: tjax.print_cotangent(x, "x"), (normal(0, 5, 3),)


@case
def replace_cotangent():
    import tjax

    return tjax.replace_cotangent, (normal(0, 5, 3), normal(1, 5, 3))


@case
def copy_cotangent():
    import tjax

    return tjax.copy_cotangent, (normal(0, 5, 3), normal(1, 5, 3))
