"""Hand-written rules of nifty8."""

from ..cases.arrays import normal
from . import Case, collector

PACKAGE = "nifty8"
CASES: list[Case] = []
case = collector(CASES)


@case
def solve():
    import jax.numpy as jnp
    from nifty8.re.multi_grid.util import solve

    return lambda a, b: solve(a @ a.T + jnp.eye(5), b), (normal(0, 5, 5), normal(1, 5, 3))


@case
def sqrtm():
    import jax.numpy as jnp
    from nifty8.re.multi_grid.util import sqrtm

    return lambda a: sqrtm(a @ a.T + jnp.eye(5)), (normal(2, 5, 5),)
