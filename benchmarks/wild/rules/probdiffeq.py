"""Hand-written rules of ProbDiffEq."""

from ..cases.arrays import normal
from . import Case, collector

PACKAGE = "probdiffeq"
CASES: list[Case] = []
case = collector(CASES)


@case
def qr_r():
    from probdiffeq.backend import linalg

    # The orthogonal factor counts as constant, on purpose: the gradient is right for functions that
    # do not change if the triangular factor is multiplied by an orthogonal matrix.
    return linalg.qr_r, (normal(0, 5, 3),)


@case
def qr_r__gram():
    from probdiffeq.util import cholesky_util

    def gram(a, b):
        root = cholesky_util.sum_of_sqrtm_factors((a, b))
        return root.T @ root

    return gram, (normal(0, 5, 3), normal(1, 2, 3))
