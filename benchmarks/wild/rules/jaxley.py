"""Hand-written rules of jaxley."""

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "jaxley"
CASES: list[Case] = []
case = collector(CASES)


def _tree():
    """Return the order in which the system of a neuron with two branches is solved."""
    import numpy as np

    # Each row is a compartment and its parent, level by level from the root, compartment 0.
    levels = [np.array([[1, 0], [2, 0]]), np.array([[3, 1], [4, 2]])]
    edges = np.concatenate(levels)
    return {
        "node_order_grouped": levels,
        "all_children": edges[:, 0],
        "all_parents": edges[:, 1],
        "parent_lookup": np.array([-1, 0, 0, 1, 2, -1]),
    }


@case
def _solve():
    from jaxley.solver_voltage import _make_dhs_solve

    args = uniform(0, 3, 4, 5), normal(1, 5), normal(2, 5), normal(3, 5)
    return _make_dhs_solve(_tree(), False, 5), args
