"""Hand-written rules of TensorFlow Probability on JAX."""

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "tfp-nightly"
CASES: list[Case] = []
case = collector(CASES)

# --- special functions ----------------------------------------------------------------------------


@case
def _betainc_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    a, b = uniform(0, 0.5, 4.0, 5), uniform(1, 0.5, 4.0, 5)
    return tfp.math.betainc, (a, b, uniform(2, 0.2, 0.8, 3, 5))


@case
def _betaincinv_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    a, b = uniform(0, 1.0, 4.0, 5), uniform(1, 1.0, 4.0, 5)
    return tfp.math.betaincinv, (a, b, uniform(2, 0.2, 0.8, 5))


@case
def _dawsn_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.math.dawsn, (normal(0, 5, 3),)


@case
def _erfcx_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.math.erfcx, (normal(0, 5, 3),)


@case
def _erfcx_custom_gradient__logerfcx():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.math.logerfcx, (normal(0, 5, 3),)


@case
def _igammainv_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.math.igammainv, (uniform(0, 0.5, 4.0, 5), uniform(1, 0.1, 0.9, 5))


@case
def _igammacinv_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.math.igammacinv, (uniform(0, 0.5, 4.0, 5), uniform(1, 0.1, 0.9, 5))


@case
def _lambert_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.math.lambertw, (uniform(0, 0.2, 3.0, 5, 3),)


@case
def _log_gamma_difference_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    # x is at most y.
    return tfp.math.log_gamma_difference, (uniform(0, 0.5, 3.0, 5), uniform(1, 9.0, 12.0, 3, 5))


@case
def _lbeta_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.math.lbeta, (uniform(0, 0.5, 4.0, 5), uniform(1, 0.5, 4.0, 3, 5))


@case
def _lbeta_custom_gradient__large():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.math.lbeta, (uniform(0, 9.0, 14.0, 5), uniform(1, 9.0, 14.0, 5))


@case
def _owens_t_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.math.owens_t, (normal(0, 5), normal(1, 3, 5))


@case
def _log_cosh_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.math.log_cosh, (normal(0, 5, 3),)


@case
def _variadic_reduce_custom_grad():
    from tensorflow_probability.substrates import jax as tfp

    return lambda x: tfp.math.reduce_kahan_sum(x, axis=0).total, (normal(0, 5, 3),)


# The gradients with respect to the order are 0, "currently not defined" in the documentation, so
# the order is a number of Python.


@case
def _bessel_ive_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    return lambda z: tfp.math.bessel_ive(1.3, z), (uniform(1, 0.5, 4.0, 5),)


@case
def _bessel_kve_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    return lambda z: tfp.math.bessel_kve(1.3, z), (uniform(1, 0.5, 4.0, 5),)


@case
def _log_bessel_ive_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    return lambda z: tfp.math.log_bessel_ive(1.3, z), (uniform(1, 0.5, 4.0, 5),)


@case
def _log_bessel_kve_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    return lambda z: tfp.math.log_bessel_kve(1.3, z), (uniform(1, 0.5, 4.0, 5),)


@case
def _bessel_iv_ratio_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    return lambda z: tfp.math.bessel_iv_ratio(1.3, z), (uniform(1, 0.5, 4.0, 5),)


@case
def _bessel_iv_ratio_custom_gradient__order():
    from tensorflow_probability.substrates import jax as tfp

    # The documentation of this function does not say that the gradient for the order is 0.
    return tfp.math.bessel_iv_ratio, (uniform(0, 1.2, 3.0, 5), uniform(1, 0.5, 4.0, 5))


# "Gradients with only respect to z are available", so the parameters are numbers.


@case
def hyp2f1_small_argument():
    import jax.numpy as jnp
    from tensorflow_probability.substrates.jax.math import hypergeometric

    def hyp2f1(z):
        a, b, c = (jnp.full_like(z, value) for value in (0.4, 1.2, 2.3))
        return hypergeometric.hyp2f1_small_argument(a, b, c, z)

    return hyp2f1, (uniform(0, 0.1, 0.6, 5),)


@case
def hyp2f1_small_argument__negative():
    import jax.numpy as jnp
    from tensorflow_probability.substrates.jax.math import hypergeometric

    def hyp2f1(z):
        a, b, c = (jnp.full_like(z, value) for value in (0.4, 1.2, 2.3))
        return hypergeometric.hyp2f1_small_argument(a, b, c, z)

    return hyp2f1, (uniform(0, -0.9, -0.6, 5),)


@case
def hyp2f1_small_argument__broadcast():
    from tensorflow_probability.substrates.jax.math import hypergeometric

    hyp2f1 = hypergeometric.hyp2f1_small_argument
    return lambda z: hyp2f1(0.4, 1.2, 2.3, z), (uniform(0, 0.1, 0.6, 5),)


# The rules are those of the exact functions, which the quotients of polynomials only approach.
PADE = {"rtol": 1e-6}


@case
def _exp_pade_4_4_impl():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.experimental.math.exp_pade_4_4, (normal(0, 5, 3),), PADE


@case
def _log_pade_4_4_impl():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.experimental.math.log_pade_4_4, (uniform(0, 0.3, 4.0, 5, 3),), PADE


@case
def _expm1_pade_4_4_impl():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.experimental.math.expm1_pade_4_4, (normal(0, 5, 3),), PADE


@case
def _log1p_pade_4_4_impl():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.experimental.math.log1p_pade_4_4, (uniform(0, -0.5, 4.0, 5, 3),), PADE


@case
def _maximum_():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.math.log_add_exp, (normal(0, 5), normal(1, 3, 5))


@case
def _minimum_():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.math.log_sub_exp, (normal(0, 5), normal(1, 3, 5))


@case
def sqrt_with_finite_grads():
    from tensorflow_probability.substrates.jax.math.psd_kernels.internal import util

    # At 0 the gradient is a large number on purpose.
    return util.sqrt_with_finite_grads, (uniform(0, 0.2, 3.0, 5, 3),)


# --- linear algebra and differential equations ----------------------------------------------------


@case
def _hpsd_logdet_custom_gradient():
    import jax.numpy as jnp
    from tensorflow_probability.substrates import jax as tfp

    return lambda a: tfp.math.hpsd_logdet(a @ a.T + 2 * jnp.eye(3)), (normal(0, 3, 5),)


@case
def _hpsd_solve_custom_gradient():
    import jax.numpy as jnp
    from tensorflow_probability.substrates import jax as tfp

    def solve(a, b):
        return tfp.math.hpsd_solve(a @ a.T + 2 * jnp.eye(3), b)

    return solve, (normal(0, 3, 5), normal(1, 3, 2))


@case
def _hpsd_solve_custom_gradient__vector():
    import jax.numpy as jnp
    from tensorflow_probability.substrates import jax as tfp

    def solve(a, b):
        return tfp.math.hpsd_solvevec(a @ a.T + 2 * jnp.eye(3), b)

    return solve, (normal(0, 3, 5), normal(1, 3))


@case
def _hpsd_quadratic_form_solve_custom_gradient():
    import jax.numpy as jnp
    from tensorflow_probability.substrates import jax as tfp

    def form(a, b):
        return tfp.math.hpsd_quadratic_form_solve(a @ a.T + 2 * jnp.eye(3), b)

    return form, (normal(0, 3, 5), normal(1, 3, 2))


@case
def _hpsd_quadratic_form_solvevec_custom_gradient():
    import jax.numpy as jnp
    from tensorflow_probability.substrates import jax as tfp

    def form(a, b):
        return tfp.math.hpsd_quadratic_form_solvevec(a @ a.T + 2 * jnp.eye(3), b)

    return form, (normal(0, 3, 5), normal(1, 3))


@case
def _retrying_cholesky_custom_gradient():
    import jax.numpy as jnp
    from tensorflow_probability.substrates import jax as tfp

    fns = tfp.experimental.distributions.marginal_fns
    return lambda a: fns.retrying_cholesky(a @ a.T + 2 * jnp.eye(3))[0], (normal(0, 3, 5),)


@case
def gradient_helper():
    import jax.numpy as jnp
    from tensorflow_probability.substrates import jax as tfp

    def states(y, rate):
        solver = tfp.math.ode.DormandPrince(rtol=1e-5, atol=1e-7)
        times = jnp.array([0.5, 1.0])
        field = lambda t, y, rate: -rate * y + jnp.sin(t)
        return solver.solve(field, 0.0, y, times, constants={"rate": rate}).states

    options = {"rtol": 1e-4, "atol": 1e-4}  # of the solver
    return states, (normal(0, 3), uniform(1, 0.5, 1.5, 3)), options


@case
def gradient_helper__bdf():
    import jax.numpy as jnp
    from tensorflow_probability.substrates import jax as tfp

    def states(y, rate):
        solver = tfp.math.ode.BDF(rtol=1e-4, atol=1e-5)
        field = lambda t, y, rate: -rate * y
        times = jnp.array([0.5, 1.0])
        return solver.solve(field, 0.0, y, times, constants={"rate": rate}).states

    options = {"rtol": 1e-2, "atol": 1e-2}  # of the solver
    return states, (normal(0, 3), uniform(1, 0.5, 1.5, 3)), options


@case
def rwb_psum():
    import jax
    from tensorflow_probability.substrates.jax.internal import distribute_lib

    # The rule is meant for gradients inside the mapped function: from outside, those of
    # second order are wrong.
    total = lambda x: distribute_lib.psum(x**2, "i")
    return jax.vmap(total, axis_name="i", out_axes=None), (normal(0, 5, 3),)


@case
def rwb_pbroadcast():
    import jax
    from tensorflow_probability.substrates.jax.internal import distribute_lib

    # The rule is meant for gradients taken inside the mapped function: from outside, the sum over
    # the axis is counted twice.
    scaled = lambda x, y: distribute_lib.pbroadcast(x, "i") * y
    fun = jax.vmap(scaled, axis_name="i", in_axes=(None, 0))
    return fun, (normal(0, 3), normal(1, 5, 3))


# --- bijectors and distributions ------------------------------------------------------------------


@case
def _inverse_with_gradient():
    import jax.numpy as jnp
    from tensorflow_probability.substrates import jax as tfp

    def inverse(y, a, b):
        curve = lambda x, a, b: a * x + b * jnp.sinh(x)
        bijector = tfp.experimental.bijectors.ScalarFunctionWithInferredInverse(
            curve, additional_scalar_parameters_requiring_gradients=[a, b]
        )
        return bijector.inverse(y)

    options = {"rtol": 1e-5, "atol": 1e-5}  # of the search for the root
    return inverse, (normal(0, 5), uniform(1, 0.5, 2.0, 5), uniform(2, 0.5, 2.0, 5)), options


@case
def _grad_fn_of_y_with_gradient():
    import jax.numpy as jnp
    from tensorflow_probability.substrates import jax as tfp

    def log_det(y, a, b):
        curve = lambda x, a, b: a * x + b * jnp.sinh(x)
        bijector = tfp.experimental.bijectors.ScalarFunctionWithInferredInverse(
            curve, additional_scalar_parameters_requiring_gradients=[a, b]
        )
        return bijector.inverse_log_det_jacobian(y)

    options = {"rtol": 1e-5, "atol": 1e-5}  # of the search for the root
    return log_det, (normal(0, 5), uniform(1, 0.5, 2.0, 5), uniform(2, 0.5, 2.0, 5)), options


@case
def _nc2_cdf_naive():
    from tensorflow_probability.substrates import jax as tfp

    # The gradient for the degrees of freedom is 0, so they are a number of Python.
    def cdf(x, noncentrality):
        return tfp.distributions.NoncentralChi2(2.5, noncentrality).cdf(x)

    return cdf, (uniform(1, 1.0, 6.0, 5), uniform(2, 0.5, 3.0, 5))


@case
def _nc2_cdf_naive__df():
    from tensorflow_probability.substrates import jax as tfp

    # The gradient for the degrees of freedom is 0, and the documentation does not say so.
    def cdf(x, df):
        return tfp.distributions.NoncentralChi2(df, 1.5).cdf(x)

    return cdf, (uniform(1, 1.0, 6.0, 5), uniform(0, 1.5, 4.0, 5))


@case
def _nc2_quantile_naive():
    from tensorflow_probability.substrates import jax as tfp

    # The gradients for the parameters are 0, so they are numbers of Python.
    def quantile(p):
        return tfp.distributions.NoncentralChi2(2.5, 1.5).quantile(p)

    return quantile, (uniform(1, 0.2, 0.8, 5),), {"rtol": 1e-5, "atol": 1e-5}


@case
def _nc2_quantile_naive__parameters():
    from tensorflow_probability.substrates import jax as tfp

    # The gradients for the parameters are 0, and the documentation does not say so.
    def quantile(df, noncentrality):
        return tfp.distributions.NoncentralChi2(df, noncentrality).quantile(0.4)

    args = (uniform(0, 1.5, 4.0, 5), uniform(2, 0.5, 3.0, 5))
    return quantile, args, {"rtol": 1e-5, "atol": 1e-5}


@case
def von_mises_cdf():
    from tensorflow_probability.substrates import jax as tfp

    def cdf(x, loc, concentration):
        return tfp.distributions.VonMises(loc, concentration).cdf(x)

    return cdf, (normal(0, 5), normal(1, 5), uniform(2, 0.5, 6.0, 5))


@case
def von_mises_cdf__concentrated():
    from tensorflow_probability.substrates import jax as tfp

    def cdf(x, concentration):
        return tfp.distributions.VonMises(0.0, concentration).cdf(x)

    return cdf, (uniform(0, -0.6, 0.6, 5), uniform(2, 12.0, 20.0, 5)), {"atol": 1e-4}


@case
def _stdtr_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    def cdf(x, df):
        return tfp.distributions.StudentT(df, 0.3, 1.5).cdf(x)

    return cdf, (normal(0, 3, 5), uniform(1, 1.5, 6.0, 5))


@case
def _stdtrit_custom_gradient():
    from tensorflow_probability.substrates import jax as tfp

    def quantile(p, df):
        return tfp.distributions.StudentT(df, 0.3, 1.5).quantile(p)

    return quantile, (uniform(0, 0.1, 0.9, 5), uniform(1, 1.5, 6.0, 5))


# A sample is drawn by rejection. The gradients for the parameters are implicit: they keep the
# quantile of the sample, and on purpose are not those of the program that draws it.


@case
def _random_gamma_gradient():
    import jax
    from tensorflow_probability.substrates import jax as tfp

    def sample(concentration, rate):
        return tfp.distributions.Gamma(concentration, rate).sample(3, seed=jax.random.key(0))

    return sample, (uniform(0, 0.5, 4.0, 5), uniform(1, 0.5, 2.0, 5))


@case
def _random_gamma_gradient__log():
    import jax
    from tensorflow_probability.substrates import jax as tfp

    def sample(concentration, log_rate):
        law = tfp.distributions.ExpGamma(concentration, log_rate=log_rate)
        return law.sample(3, seed=jax.random.key(0))

    return sample, (uniform(0, 0.5, 4.0, 5), normal(1, 5))


@case
def _random_gamma_gradient__rate():
    import jax
    from tensorflow_probability.substrates import jax as tfp

    # The gradient for the rate alone is that of the program.
    def sample(rate):
        return tfp.distributions.Gamma(1.5, rate).sample(3, seed=jax.random.key(0))

    return sample, (uniform(1, 0.5, 2.0, 5),)


@case
def _random_inverse_gaussian_gradient():
    import jax
    from tensorflow_probability.substrates import jax as tfp

    def sample(loc, concentration):
        law = tfp.distributions.InverseGaussian(loc, concentration)
        return law.sample(3, seed=jax.random.key(0))

    return sample, (uniform(0, 0.5, 2.0, 5), uniform(1, 0.5, 2.0, 5))


@case
def _two_piece_normal_sample_with_gradient():
    import jax
    from tensorflow_probability.substrates import jax as tfp

    def sample(loc, scale, skewness):
        law = tfp.distributions.TwoPieceNormal(loc, scale, skewness)
        return law.sample(3, seed=jax.random.key(0))

    return sample, (normal(0, 5), uniform(1, 0.5, 2.0, 5), uniform(2, 0.5, 2.0, 5))


@case
def _von_mises_sample_with_gradient():
    import jax
    from tensorflow_probability.substrates import jax as tfp

    def sample(loc, concentration):
        law = tfp.distributions.VonMises(loc, concentration)
        return law.sample(3, seed=jax.random.key(0))

    return sample, (uniform(0, -0.3, 0.3, 5), uniform(1, 1.0, 4.0, 5))


@case
def _prevent_2nd_derivative():
    import jax
    from tensorflow_probability.substrates import jax as tfp

    # The second derivative is refused on purpose.
    def sample(logits, loc):
        law = tfp.distributions.MixtureSameFamily(
            tfp.distributions.Categorical(logits=logits),
            tfp.distributions.Normal(loc, 1.0),
            reparameterize=True,
        )
        return law.sample(5, seed=jax.random.key(0))

    return sample, (normal(0, 3), normal(1, 3))
