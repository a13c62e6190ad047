"""Hand-written rules of jax-finufft."""

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "jax-finufft"
CASES: list[Case] = []
case = collector(CASES)
# Transforms are right to their parameter `eps`, by default 1e-6.
ACCURACY = {"rtol": 1e-5, "atol": 1e-5}
# The library corrupts the memory of its process at some points that a search tries, such as NaN.
NO_SEARCH = {**ACCURACY, "search": False}


@case
def nufft1():
    from jax_finufft import nufft1

    def fun(re, im, x):
        out = nufft1(5, re + 1j * im, x)
        return out.real, out.imag

    return fun, (normal(0, 7), normal(1, 7), uniform(2, -3, 3, 7)), NO_SEARCH


@case
def nufft1__plane():
    from jax_finufft import nufft1

    def fun(re, im, x, y):
        out = nufft1((5, 4), re + 1j * im, x, y, iflag=-1)
        return out.real, out.imag

    args = normal(3, 7), normal(4, 7), uniform(5, -3, 3, 7), uniform(6, -3, 3, 7)
    return fun, args, NO_SEARCH


@case
def nufft2():
    from jax_finufft import nufft2

    def fun(re, im, x):
        out = nufft2(re + 1j * im, x)
        return out.real, out.imag

    return fun, (normal(7, 5), normal(8, 5), uniform(9, -3, 3, 7)), NO_SEARCH


@case
def nufft2__plane():
    from jax_finufft import nufft2

    def fun(re, im, x, y):
        out = nufft2(re + 1j * im, x, y, iflag=1)
        return out.real, out.imag

    args = normal(10, 5, 4), normal(11, 5, 4), uniform(12, -3, 3, 7), uniform(13, -3, 3, 7)
    return fun, args, NO_SEARCH


@case
def nufft3():
    from jax_finufft import nufft3

    def fun(re, im, x, s):
        out = nufft3(re + 1j * im, x, s)
        return out.real, out.imag

    args = normal(14, 7), normal(15, 7), uniform(16, -3, 3, 7), uniform(17, -3, 3, 5)
    return fun, args, NO_SEARCH
