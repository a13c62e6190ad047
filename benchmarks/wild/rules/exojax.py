"""Hand-written rules of ExoJAX."""

import jax

from ..cases.arrays import uniform
from . import Case, collector

PACKAGE = "exojax"
CASES: list[Case] = []
case = collector(CASES)


@case
def safe_sqrt():
    from exojax.rt import chord

    def fun(height):
        # The radii of the lower boundaries, from the top of the atmosphere to the bottom.
        radius = 1.0 + height[::-1].cumsum()[::-1] - height
        return chord.chord_geometric_matrix(height, radius)

    return fun, (uniform(0, 0.1, 0.3, 5),)


@case
def rewofzx():
    from exojax.special.faddeeva import rewofzx

    return jax.vmap(rewofzx), (uniform(0, 0.1, 2, 5), uniform(1, 0.2, 2, 5))


@case
def hjert():
    from exojax.opacity.lpf import lpf

    # a series that is accurate to about 1e-7
    args = uniform(0, -2, 2, 5), uniform(1, 0.5, 1, 1)[0], uniform(2, 0.2, 1, 1)[0]
    return lpf.voigt, args, {"rtol": 1e-6}


@case
def rotkernel_Gimenez():
    from exojax.postproc.spin_rotation import rotkernel

    args = uniform(0, -0.9, 0.9, 5), uniform(1, 0.1, 0.5, 1)[0], uniform(2, 0.1, 0.5, 1)[0]
    return rotkernel, args


@case
def integrated_rotkernel_trans():
    from exojax.postproc.spin_rotation import integrated_rotkernel_trans

    return integrated_rotkernel_trans, (uniform(0, -0.9, 0, 5), uniform(1, 0, 0.9, 5))
