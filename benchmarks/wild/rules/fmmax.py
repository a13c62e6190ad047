"""Hand-written rules of FMMAX."""

import jax.numpy as jnp

from ..cases.arrays import normal
from . import Case, collector

PACKAGE = "fmmax"
CASES: list[Case] = []
case = collector(CASES)


@case
def eig():
    from fmmax.eig import eig

    # The phases of the eigenvectors are arbitrary.
    def fun(a):
        values, vectors = eig(a)
        return values, jnp.abs(vectors)

    return fun, (normal(0, 3, 3) + 1j * normal(1, 3, 3),)


@case
def eig__real():
    from fmmax.eig import eig

    # Three real eigenvalues.
    def fun(a):
        values, vectors = eig(a)
        return jnp.real(values), jnp.abs(vectors)

    return fun, (0.3 * normal(0, 3, 3) + jnp.diag(jnp.array([1.0, 3.0, 5.0])),)
