"""Hand-written rules of NumPyro."""

from ..cases.arrays import uniform
from . import Case, collector

PACKAGE = "numpyro"
CASES: list[Case] = []
case = collector(CASES)


@case
def log1mexp():
    from numpyro.distributions import util

    return util.log1mexp, (uniform(0, -3.0, -0.2, 5, 3),)


@case
def log1mexp__logdiffexp():
    from numpyro.distributions import util

    return util.logdiffexp, (uniform(0, 0.5, 2.0, 5), uniform(1, -2.0, 0.0, 5))


# The three rules of the power law between two bounds are all called `f`.


@case
def f__log_prob():
    import numpyro.distributions as dist

    def log_prob(x, alpha, low, high):
        return dist.DoublyTruncatedPowerLaw(alpha, low, high).log_prob(x)

    alpha, low, high = uniform(1, 0.5, 2.0, 5), uniform(2, 0.5, 1.0, 5), uniform(3, 2.0, 3.0, 5)
    return log_prob, (uniform(0, 1.2, 1.8, 5), alpha, low, high)


@case
def f__cdf():
    import numpyro.distributions as dist

    def cdf(x, alpha, low, high):
        return dist.DoublyTruncatedPowerLaw(alpha, low, high).cdf(x)

    alpha, low, high = uniform(1, 0.5, 2.0, 5), uniform(2, 0.5, 1.0, 5), uniform(3, 2.0, 3.0, 5)
    return cdf, (uniform(0, 1.2, 1.8, 5), alpha, low, high)


@case
def f__icdf():
    import numpyro.distributions as dist

    def icdf(q, alpha, low, high):
        return dist.DoublyTruncatedPowerLaw(alpha, low, high).icdf(q)

    alpha, low, high = uniform(1, 0.5, 2.0, 5), uniform(2, 0.5, 1.0, 5), uniform(3, 2.0, 3.0, 5)
    return icdf, (uniform(0, 0.2, 0.8, 5), alpha, low, high)
