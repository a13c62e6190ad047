"""Hand-written rules of Distrax."""

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "distrax"
CASES: list[Case] = []
case = collector(CASES)


@case
def multiply_no_nan():
    import distrax

    return distrax.multiply_no_nan, (normal(0, 5, 3), normal(1, 5, 3))


@case
def multiply_no_nan__entropy():
    import distrax

    return lambda logits: distrax.Bernoulli(logits=logits).entropy(), (normal(0, 5, 3),)


@case
def power_no_nan():
    from distrax._src.utils import math

    return math.power_no_nan, (uniform(0, 0.5, 2.0, 5, 3), normal(1, 5, 3))


@case
def _von_mises_cdf():
    import distrax

    def cdf(x, loc, concentration):
        return distrax.VonMises(loc, concentration).cdf(x)

    return cdf, (uniform(0, -1.0, 1.0, 5), uniform(1, -1.0, 1.0, 5), uniform(2, 0.5, 6.0, 5))


@case
def _von_mises_sample():
    import distrax
    import jax

    # The gradient is implicit: it keeps the quantile of the sample, and on purpose is not that of
    # the rejection that draws it.
    def sample(loc, concentration):
        law = distrax.VonMises(loc, concentration)
        return law.sample(seed=jax.random.key(0), sample_shape=3)

    return sample, (uniform(0, -0.3, 0.3, 5), uniform(1, 1.0, 4.0, 5))
