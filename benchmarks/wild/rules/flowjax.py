"""Hand-written rules of FlowJAX.

The rule goes by the name `fn_wrapper` that `equinox.filter_custom_jvp` gives it.
"""

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "flowjax"
CASES: list[Case] = []
case = collector(CASES)


@case
def fn_wrapper__numerical_inverse():
    from functools import partial

    import equinox as eqx
    import jax.numpy as jnp
    from flowjax.bijections import Affine, Chain, NumericalInverse, SoftPlus
    from flowjax.root_finding import bisect_check_expand_search, root_finder_to_inverter

    search = partial(bisect_check_expand_search, midpoint=jnp.zeros(3), width=5, atol=1e-6)
    bijection = Chain([Affine(jnp.zeros(3), jnp.ones(3)), SoftPlus((3,))])

    def inverse(y, loc):
        moved = eqx.tree_at(lambda chain: chain.bijections[0].loc, bijection, loc)
        return NumericalInverse(moved, root_finder_to_inverter(search)).inverse(y)

    options = {"rtol": 1e-5, "atol": 1e-5}  # of the search for the root
    return inverse, (uniform(0, 0.5, 2.0, 3), normal(1, 3)), options
