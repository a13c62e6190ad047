"""Hand-written rules of optax."""

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "optax"
CASES: list[Case] = []
case = collector(CASES)


@case
def _scale_gradient():
    import optax

    # Only the gradient is scaled, on purpose.
    return lambda x: optax.scale_gradient(x, 0.5), (normal(0, 5, 3),)


@case
def _projection_unit_simplex():
    import optax

    return optax.projections.projection_simplex, (normal(0, 5),)


@case
def _projection_unit_simplex__ball():
    import optax

    return optax.projections.projection_l1_ball, (2 * normal(0, 5),)


@case
def weighted_logsoftmax():
    import optax

    return optax.losses.safe_softmax_cross_entropy, (normal(0, 5, 3), uniform(1, 0.1, 1.0, 5, 3))
