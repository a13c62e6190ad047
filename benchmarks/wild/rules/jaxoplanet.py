"""Hand-written rules of jaxoplanet."""

from ..cases.arrays import uniform
from . import Case, collector

PACKAGE = "jaxoplanet"
CASES: list[Case] = []
case = collector(CASES)


@case
def _kepler():
    from jaxoplanet.core.kepler import kepler

    return kepler, (uniform(0, 0.5, 2.5, 5), uniform(1, 0.1, 0.7, 5))


@case
def _p_integral():
    from jaxoplanet.core.limb_dark import light_curve

    # The occultor lies inside the disk.
    args = (uniform(0, 0.1, 0.4, 3), uniform(1, 0.2, 0.6), uniform(2, 0.1, 0.3))
    return light_curve, args


@case
def _p_integral__grazing():
    from jaxoplanet.core.limb_dark import light_curve

    args = (uniform(0, 0.1, 0.4, 4), uniform(1, 0.9, 1.0), uniform(2, 0.2, 0.3))
    return light_curve, args


@case
def zero_safe_sqrt():
    from jaxoplanet.utils import zero_safe_sqrt

    # Near 0 the gradient is bounded on purpose.
    return zero_safe_sqrt, (uniform(0, 0.2, 3.0, 5, 3),)
