"""Hand-written rules of efax."""

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "efax"
CASES: list[Case] = []
case = collector(CASES)

# One rule serves the log-normalizers of all exponential families: the gradient is the expectation.


@case
def log_normalizer__gamma():
    import efax

    args = (uniform(0, -2.0, -0.5, 5), uniform(1, -0.5, 2.0, 5))
    return lambda rate, shape: efax.GammaNP(rate, shape).log_normalizer(), args


@case
def log_normalizer__normal():
    import efax

    args = (normal(0, 5), uniform(1, -2.0, -0.5, 5))
    return lambda a, b: efax.NormalNP(a, b).log_normalizer(), args


@case
def log_normalizer__beta():
    import efax

    return lambda a: efax.BetaNP(a).log_normalizer(), (uniform(0, 0.5, 3.0, 5, 2),)


@case
def log_normalizer__dirichlet():
    import efax

    return lambda a: efax.DirichletNP(a).log_normalizer(), (uniform(0, 0.5, 3.0, 5, 3),)


@case
def log_normalizer__poisson():
    import efax

    return lambda log_mean: efax.PoissonNP(log_mean).log_normalizer(), (normal(0, 5),)


@case
def log_normalizer__von_mises_fisher():
    import efax

    return lambda a: efax.VonMisesFisherNP(a).log_normalizer(), (normal(0, 5, 3),)


@case
def log_normalizer__negative_binomial():
    import efax
    import jax.numpy as jnp

    def log_normalizer(log_not_p):
        return efax.NegativeBinomialNP(log_not_p, jnp.full(5, 3)).log_normalizer()

    return log_normalizer, (uniform(0, -2.0, -0.5, 5),)


@case
def log_normalizer__bernoulli():
    import efax

    return lambda log_odds: efax.BernoulliNP(log_odds).log_normalizer(), (normal(0, 5),)
