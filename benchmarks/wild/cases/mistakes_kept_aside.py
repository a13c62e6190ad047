"""More functions whose gradients are wrong somewhere, which nothing was adjusted to."""

from .arrays import normal, uniform

CASES = []


def case(f):
    CASES.append(f)
    return f


@case
def bernoulli_logpmf_edge():
    """bernoulli.logpmf(0,p=0) and (1,p=1): NaN. Truth -1 and +1 (log(1-p), log p)."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda p: st.bernoulli.logpmf(jnp.array([0, 1, 1]), p),
        "ordinary": (uniform(42, 0.1, 0.9, 4, 3),),
        "at_point": (jnp.array([0.0, 1.0, 0.5]),),
        "got": "nan",
        "want": "-1, 1",
        "rule": None,
    }


@case
def beta_negative():
    """jax.scipy.special.beta for negative arguments: value finite, gradient NaN at (-1.5, 0.7). Truth by finite differences/mpmath: beta*(digamma(a)-digamma(a+b))."""
    import jax.numpy as jnp
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": sp.beta,
        "ordinary": (uniform(23, 0.5, 3.0, 4, 3), uniform(24, 0.5, 3.0, 4, 3)),
        "at_point": (jnp.array([-1.5]), jnp.array([0.7])),
        "got": "nan",
        "want": "beta(a,b)*(psi(a)-psi(a+b))",
        "rule": None,
    }


@case
def betainc_a1_x0():
    """betainc(1,b,x) at x=0: rule computes 0*log(0). Truth b (=2)."""
    import jax.numpy as jnp
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": lambda x: sp.betainc(1.0, 2.0, x),
        "ordinary": (uniform(19, 0.1, 0.9, 4, 3),),
        "at_point": (jnp.array([0.0, 0.5]),),
        "got": "nan",
        "want": "2",
        "rule": "custom_jvp",
    }


@case
def betainc_b1_x1():
    """betainc(a,1,x) at x=1: rule computes 0*log1p(-1). Truth a (=2)."""
    import jax.numpy as jnp
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": lambda x: sp.betainc(2.0, 1.0, x),
        "ordinary": (uniform(20, 0.1, 0.9, 4, 3),),
        "at_point": (jnp.array([1.0, 0.5]),),
        "got": "nan",
        "want": "2",
        "rule": "custom_jvp",
    }


@case
def chi2_logpdf_x0():
    """jax.scipy.stats.chi2.logpdf(x, 2) at x=0: NaN. Truth -1/2 (right-sided)."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda x: st.chi2.logpdf(x, 2.0),
        "ordinary": (uniform(39, 0.1, 3.0, 4, 3),),
        "at_point": (jnp.array([0.0, 1.0]),),
        "got": "nan",
        "want": "-0.5",
        "rule": None,
    }


@case
def distrax_beta_edge():
    """distrax.Beta(1,2).log_prob(0), Beta(3,1).log_prob(1): NaN. Truth -1 and 2."""
    import distrax
    import jax.numpy as jnp

    return {
        "package": "distrax",
        "fun": lambda x: distrax.Beta(
            jnp.array([1.0, 2.0, 3.0]), jnp.array([2.0, 3.0, 1.0])
        ).log_prob(x),
        "ordinary": (uniform(68, 0.2, 0.8, 4, 3),),
        "at_point": (jnp.array([0.0, 0.5, 1.0]),),
        "got": "nan",
        "want": "-1, ., 2",
        "rule": None,
    }


@case
def distrax_multinomial_zero():
    """distrax.Multinomial.log_prob with count 0 and prob 0: NaN for all. Truth: finite."""
    import distrax
    import jax.numpy as jnp

    return {
        "package": "distrax",
        "fun": lambda q: distrax.Multinomial(total_count=3, probs=q).log_prob(
            jnp.array([1.0, 2.0, 0.0])
        ),
        "ordinary": (uniform(67, 0.2, 0.8, 3, 3),),
        "at_point": (jnp.array([0.3, 0.7, 0.0]),),
        "got": "nan",
        "want": "finite",
        "rule": None,
    }


@case
def distrax_power_no_nan_negative_forward():
    """Distrax power_no_nan(x, 2) at negative x: forward mode (jvp) NaN (log(x)*zero tangent). Truth 2x."""
    import jax.numpy as jnp
    from distrax._src.utils import math as dm

    return {
        "package": "distrax",
        "fun": lambda x: dm.power_no_nan(x, 2.0),
        "ordinary": (uniform(93, 0.5, 2.0, 4, 3),),
        "at_point": (jnp.array([-1.0, 2.0, -3.0]),),
        "got": "jvp nan",
        "want": "2x",
        "rule": "custom_jvp",
    }


@case
def distrax_power_no_nan_x0_dy():
    """Distrax power_no_nan(0, 2) derivative in y: NaN (0*log 0). Truth 0."""
    import jax.numpy as jnp
    from distrax._src.utils import math as dm

    return {
        "package": "distrax",
        "fun": dm.power_no_nan,
        "ordinary": (uniform(60, 0.5, 2.0, 4, 3), uniform(61, 0.5, 2.0, 4, 3)),
        "at_point": (jnp.array([0.0, 2.0]), jnp.array([2.0, 3.0])),
        "got": "nan",
        "want": "0",
        "rule": "custom_jvp",
    }


@case
def distrax_power_no_nan_y0():
    """Distrax power_no_nan(x, 0) at x=0 (value 1 by design): NaN. Truth 0."""
    import jax.numpy as jnp
    from distrax._src.utils import math as dm

    return {
        "package": "distrax",
        "fun": lambda x: dm.power_no_nan(x, jnp.zeros_like(x)),
        "ordinary": (uniform(62, 0.5, 2.0, 4, 3),),
        "at_point": (jnp.array([0.0, 2.0]),),
        "got": "nan",
        "want": "0",
        "rule": "custom_jvp",
    }


@case
def distrax_sigmoid_fldj_f32():
    """distrax.Sigmoid().forward_log_det_jacobian at 100 in float32: NaN. Truth -1."""
    import distrax
    import jax.numpy as jnp

    return {
        "package": "distrax",
        "fun": distrax.Sigmoid().forward_log_det_jacobian,
        "ordinary": (normal(72, 4, 3),),
        "at_point": (jnp.array([100.0, 0.0]),),
        "got": "nan",
        "want": "-1",
        "rule": None,
    }


@case
def distrax_vonmises_conc_f32():
    """distrax.VonMises log_prob derivative in concentration at 100 (float32): NaN. Truth cos(x-loc) - I1/I0."""
    import distrax
    import jax.numpy as jnp

    return {
        "package": "distrax",
        "fun": lambda x, l, c: distrax.VonMises(l, c).log_prob(x),
        "ordinary": (normal(69, 4), normal(70, 4), uniform(71, 0.5, 3.0, 4)),
        "at_point": (jnp.array([0.4]), jnp.array([1.0]), jnp.array([100.0])),
        "got": "nan",
        "want": "cos(-.6)-I1(100)/I0(100) = -0.1697",
        "rule": None,
    }


@case
def eigh_matrix_exp_degenerate():
    """V exp(w) V^T via eigh at repeated eigenvalues: NaN.. Truth: matrix exponential is smooth, derivative e*dA at I."""
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda a: (lambda w, v: (v * jnp.exp(w)) @ v.T)(*jnp.linalg.eigh((a + a.T) / 2)),
        "ordinary": (normal(47, 4, 4),),
        "at_point": (jnp.eye(3),),
        "got": "nan",
        "want": "e * (dA+dA^T)/2",
        "rule": None,
    }


@case
def float_power_zero():
    """jnp.float_power(0, 0) derivative in x: NaN. Truth 0 (x**0 = 1)."""
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jnp.float_power(x, jnp.array([0.0, 1.0, 2.0])),
        "ordinary": (uniform(10, 0.5, 2.0, 4, 3),),
        "at_point": (jnp.array([0.0, 1.0, 2.0]),),
        "got": "nan",
        "want": "0",
        "rule": None,
    }


@case
def gamma_logsf_x0():
    """jax.scipy.stats.gamma.logsf(x, 1) = -x at x=0: NaN. Truth -1 (0 from outside)."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda x: st.gamma.logsf(x, 1.0),
        "ordinary": (uniform(91, 0.2, 3.0, 4, 3),),
        "at_point": (jnp.array([0.0, 1.0, 3.0]),),
        "got": "nan",
        "want": "-1",
        "rule": None,
    }


@case
def gamma_pdf_x0():
    """jax.scipy.stats.gamma.pdf(x, 2) at x=0 (x exp(-x)): NaN. Truth 1 from the right, 0 from the left."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda x: st.gamma.pdf(x, 2.0),
        "ordinary": (uniform(38, 0.1, 3.0, 4, 3),),
        "at_point": (jnp.array([0.0, 1.0]),),
        "got": "nan",
        "want": "1 (0 from outside)",
        "rule": None,
    }


@case
def gammaincc_a1_x0():
    """gammaincc(1,x) = exp(-x) at x=0: NaN. Truth -1."""
    import jax.numpy as jnp
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": lambda x: sp.gammaincc(1.0, x),
        "ordinary": (uniform(22, 0.1, 3.0, 4, 3),),
        "at_point": (jnp.array([0.0, 1.0]),),
        "got": "nan",
        "want": "-1",
        "rule": "custom_jvp",
    }


@case
def gennorm_cdf_zero():
    """jax.scipy.stats.gennorm.cdf at x=0: NaN (sign * gammainc at 0). Truth: pdf(0) = beta/(2 Gamma(1/beta)) = 0.5642 for beta=2."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda x, b: st.gennorm.cdf(x, b),
        "ordinary": (normal(80, 4, 3), uniform(81, 1.2, 3.0, 4, 3)),
        "at_point": (jnp.array([0.0, 1.0, -2.0]), jnp.array([2.0, 1.0, 3.0])),
        "got": "nan",
        "want": "0.5642 in x, 0 in beta",
        "rule": None,
    }


@case
def geom_logpmf_p1():
    """geom.logpmf(1,p) = log p at p=1: NaN. Truth 1."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda p: st.geom.logpmf(jnp.array([1, 5, 2]), p),
        "ordinary": (uniform(44, 0.1, 0.9, 4, 3),),
        "at_point": (jnp.array([1.0, 0.5, 0.3]),),
        "got": "nan",
        "want": "1",
        "rule": None,
    }


@case
def hyp1f1_a_zero():
    """hyp1f1 derivative in a at a=0 is 0. Truth sum_{n>=1} x^n/((b)_n n) = 0.764 at b=2.5, x=1.5."""
    import jax.numpy as jnp
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": lambda a: sp.hyp1f1(a, 2.5, 1.5),
        "ordinary": (uniform(32, 0.5, 3.0, 4),),
        "at_point": (jnp.array([0.0, 1.0]),),
        "got": "0",
        "want": "0.7643",
        "rule": "custom_jvp",
    }


@case
def interpax_akima_linear_data():
    """interpax.interp1d(method='akima') at exactly linear data (all Akima weights 0): gradient in f[0] 0.581 (cotangent .5+rand); both one-sided slopes are 0.591."""
    import interpax
    import jax.numpy as jnp

    return {
        "package": "interpax",
        "fun": lambda f: interpax.interp1d(
            jnp.array([0.3, 2.5, 4.9]), jnp.arange(6.0), f, method="akima"
        ),
        "ordinary": (normal(180, 6),),
        "at_point": (jnp.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),),
        "got": "outside the one-sided slopes",
        "want": "one-sided slopes (agree)",
        "rule": None,
    }


@case
def jaxopt_group_lasso_zero():
    """jaxopt.prox.prox_group_lasso at 0 (locally constant 0): NaN. Truth 0."""
    import jax.numpy as jnp
    from jaxopt import prox as jx

    return {
        "package": "jaxopt",
        "fun": lambda x: jx.prox_group_lasso(x, 1.0),
        "ordinary": (3 * normal(125, 5),),
        "at_point": (jnp.zeros(2),),
        "got": "nan",
        "want": "0",
        "rule": None,
    }


@case
def jaxopt_l2_ball_zero():
    """jaxopt.projection.projection_l2_ball at 0 (identity inside the ball): NaN. Truth identity."""
    import jax.numpy as jnp
    from jaxopt import projection as jp

    return {
        "package": "jaxopt",
        "fun": lambda x: jp.projection_l2_ball(x, 1.0),
        "ordinary": (normal(124, 5),),
        "at_point": (jnp.zeros(2),),
        "got": "nan",
        "want": "identity",
        "rule": None,
    }


@case
def logsumexp_b_zero():
    """jax.scipy.special.logsumexp(a, b=b): derivative in b is 0 where b == 0. Truth exp(a_i)/sum(b exp a) (also at b_i=0)."""
    import jax.numpy as jnp
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": lambda a, b: sp.logsumexp(a, axis=-1, b=b),
        "ordinary": (normal(12, 3, 4), uniform(13, 0.5, 2.0, 3, 4)),
        "at_point": (jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 0.0]])),
        "got": "0",
        "want": "exp(1) = 2.718",
        "rule": None,
    }


@case
def lstsq_equal_singular():
    """jnp.linalg.lstsq solution for a full-rank matrix with equal singular values: NaN in A. Truth: finite (pinv smooth)."""
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda a, b: jnp.linalg.lstsq(a, b)[0],
        "ordinary": (normal(50, 5, 3), normal(51, 5)),
        "at_point": (jnp.eye(5, 3), jnp.arange(1.0, 6.0)),
        "got": "nan",
        "want": "finite (derivative of pinv(A) b)",
        "rule": None,
    }


@case
def multinomial_logpmf_zero():
    """multinomial.logpmf with count 0 and probability 0: NaN. Truth 0 for that p (0*log p)."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda p: st.multinomial.logpmf(jnp.array([2, 0, 1]), 3, p),
        "ordinary": (jnp.array([0.5, 0.2, 0.3]),),
        "at_point": (jnp.array([0.5, 0.0, 0.5]),),
        "got": "nan",
        "want": "0 in entry 1",
        "rule": None,
    }


@case
def nbinom_logpmf_p1():
    """nbinom.logpmf(0,3,p) = 3 log p at p=1: NaN. Truth 3."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda p: st.nbinom.logpmf(jnp.array([0, 5, 2]), 3.0, p),
        "ordinary": (uniform(45, 0.1, 0.9, 4, 3),),
        "at_point": (jnp.array([1.0, 0.5, 0.3]),),
        "got": "nan",
        "want": "3",
        "rule": None,
    }


@case
def norm_overflow_f32():
    """jnp.linalg.norm at huge float32 entries: squares overflow, gradient 0 (value inf); float64 right. Truth x/|x| = 0.7071."""
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jnp.linalg.norm(x),
        "ordinary": (normal(5, 5),),
        "at_point": (jnp.array([1e25, 1e25]),),
        "got": "0",
        "want": "0.7071",
        "rule": None,
    }


@case
def norm_row_zero():
    """jnp.linalg.norm(axis=-1): gradient NaN for a zero row. jax-ml/jax#26248 (open), PR #39792. Truth: subgradient 0 by convention (norm is even)."""
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jnp.linalg.norm(x, axis=-1),
        "ordinary": (normal(0, 4, 3),),
        "at_point": (jnp.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]),),
        "got": "nan",
        "want": "0 (row 0)",
        "rule": None,
    }


@case
def norm_underflow_f32():
    """jnp.linalg.norm at tiny float32 entries: squares underflow, gradient inf/nan. Truth x/|x| = 0.7071."""
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jnp.linalg.norm(x),
        "ordinary": (normal(6, 5),),
        "at_point": (jnp.array([1e-25, 1e-25]),),
        "got": "inf/nan",
        "want": "0.7071",
        "rule": None,
    }


@case
def numpyro_beta_edge():
    """Numpyro Beta(1,2).log_prob at 0 and Beta(3,1) at 1: gradient 0 (since pyro-ppl/numpyro#2089). Truth -1 and 2."""
    import jax.numpy as jnp
    import numpyro.distributions as nd

    return {
        "package": "numpyro",
        "fun": lambda x: nd.Beta(jnp.array([1.0, 2.0, 3.0]), jnp.array([2.0, 3.0, 1.0])).log_prob(
            x
        ),
        "ordinary": (uniform(122, 0.2, 0.8, 4, 3),),
        "at_point": (jnp.array([0.0, 0.5, 1.0]),),
        "got": "0",
        "want": "-1, ., 2",
        "rule": None,
    }


@case
def numpyro_poisson_rate0():
    """Numpyro Poisson(rate).log_prob(0) = -rate at rate=0: NaN (xlogy). Truth -1."""
    import jax.numpy as jnp
    import numpyro.distributions as nd

    return {
        "package": "numpyro",
        "fun": lambda r: nd.Poisson(r).log_prob(jnp.array([0, 3, 2])),
        "ordinary": (uniform(130, 0.5, 3.0, 4, 3),),
        "at_point": (jnp.array([0.0, 3.0, 1.0]),),
        "got": "nan",
        "want": "-1",
        "rule": None,
    }


@case
def numpyro_powerlaw_cdf_minus1():
    """Numpyro DoublyTruncatedPowerLaw.cdf at alpha=-1: derivative in high has the wrong sign (+0.112). Truth -0.112 (cdf = log(x/low)/log(high/low))."""
    import jax.numpy as jnp
    import numpyro.distributions as nd

    return {
        "package": "numpyro",
        "fun": lambda x, al, lo, hi: nd.DoublyTruncatedPowerLaw(al, lo, hi).cdf(x),
        "ordinary": (
            uniform(114, 1.2, 2.0, 4),
            uniform(115, 0.3, 2.0, 4),
            uniform(116, 0.5, 1.0, 4),
            uniform(117, 2.5, 4.0, 4),
        ),
        "at_point": (jnp.array([1.5]), jnp.array([-1.0]), jnp.array([1.0]), jnp.array([3.0])),
        "got": "+0.112 in high",
        "want": "-0.112",
        "rule": "custom_jvp",
    }


@case
def numpyro_powerlaw_logprob_bounds():
    """Numpyro DoublyTruncatedPowerLaw.log_prob: hand-written derivatives in low and high are wrong at EVERY ordinary point (0.157 cf. 0.357 in low, +0.27 cf. -0.62 in high at alpha=.5, low=1, high=3). Truth: finite differences / closed form (a+1) low^a/(high^(a+1)-low^(a+1))."""
    import jax.numpy as jnp
    import numpyro.distributions as nd

    return {
        "package": "numpyro",
        "fun": lambda x, al, lo, hi: nd.DoublyTruncatedPowerLaw(al, lo, hi).log_prob(x),
        "ordinary": (
            uniform(110, 1.2, 2.0, 4),
            uniform(111, 0.3, 2.0, 4),
            uniform(112, 0.5, 1.0, 4),
            uniform(113, 2.5, 4.0, 4),
        ),
        "at_point": (jnp.array([1.5]), jnp.array([0.5]), jnp.array([1.0]), jnp.array([3.0])),
        "got": "wrong in low, high (always)",
        "want": "(a+1) low^a/(high^(a+1)-low^(a+1)); minus with high",
        "rule": "custom_jvp",
    }


@case
def optax_global_norm_zero():
    """optax.global_norm at zero: NaN. Truth: subgradient 0."""
    import jax.numpy as jnp
    import optax

    return {
        "package": "optax",
        "fun": lambda x, y: optax.global_norm([x, y]),
        "ordinary": (normal(55, 4, 3), normal(56, 5)),
        "at_point": (jnp.zeros((2, 3)), jnp.zeros(3)),
        "got": "nan",
        "want": "0",
        "rule": None,
    }


@case
def ott_softmin_gamma():
    """ott.math.utils.softmin: hand-written vjp returns None (zero) for gamma at EVERY point. Truth: -lse(-x/g) - sum(softmax*x)/g etc. (finite differences -0.383 at x=(1,2), g=.5)."""
    import jax.numpy as jnp
    from ott.math import utils as ou

    return {
        "package": "ott-jax",
        "fun": lambda x, g: ou.softmin(x, g, None),
        "ordinary": (normal(150, 5), uniform(151, 0.5, 2.0)),
        "at_point": (jnp.array([1.0, 2.0]), jnp.array(0.5)),
        "got": "0 in gamma (always)",
        "want": "-0.365 (d/dgamma)",
        "rule": "custom_vjp",
    }


@case
def pix_adjust_hue_gray():
    """dm_pix.adjust_hue at a gray pixel: gradient does not match the partial derivatives, which exist (both sides agree)."""
    import dm_pix
    import jax.numpy as jnp

    return {
        "package": "dm-pix",
        "fun": lambda x: dm_pix.adjust_hue(x, 0.1),
        "ordinary": (uniform(137, 0.1, 0.9, 3, 4, 3),),
        "at_point": (jnp.full((1, 1, 3), 0.5),),
        "got": "wrong (0.84 for rand cotangent)",
        "want": "1.778 ...",
        "rule": None,
    }


@case
def poch_zero():
    """poch(z,2)=z(z+1) at z=0: NaN. Truth 1."""
    import jax.numpy as jnp
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": lambda z: sp.poch(z, 2.0),
        "ordinary": (uniform(33, 0.5, 3.0, 4, 3),),
        "at_point": (jnp.array([0.0]),),
        "got": "nan",
        "want": "1",
        "rule": "custom_jvp",
    }


@case
def power_zero_exponent_array():
    """jnp.power(x, array exponent) at x=0 with exponent 0: NaN. x**0 == 1 so derivative 0 (cf. jax-ml/jax#18450)."""
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jnp.power(x, jnp.array([2.0, 0.0, 1.0], x.dtype)),
        "ordinary": (uniform(8, 0.5, 2.0, 4, 3),),
        "at_point": (jnp.array([0.0, 0.0, 0.0]),),
        "got": "nan in entry 1",
        "want": "0",
        "rule": None,
    }


@case
def rlax_signed_expm1_zero():
    """rlax.signed_expm1: gradient 0 at exactly 0, because sign(0)=0 multiplies. Truth 1 (smooth there, both sides agree)."""
    import jax.numpy as jnp
    import rlax

    return {
        "package": "rlax",
        "fun": rlax.signed_expm1,
        "ordinary": (normal(69, 4, 3),),
        "at_point": (jnp.array([0.0, 0.5, -3.0]),),
        "got": "0",
        "want": "1",
        "rule": None,
    }


@case
def rlax_signed_logp1_zero():
    """rlax.signed_logp1: gradient 0 at exactly 0, because sign(0)=0 multiplies. Truth 1 (smooth there, both sides agree)."""
    import jax.numpy as jnp
    import rlax

    return {
        "package": "rlax",
        "fun": rlax.signed_logp1,
        "ordinary": (normal(69, 4, 3),),
        "at_point": (jnp.array([0.0, 0.5, -3.0]),),
        "got": "0",
        "want": "1",
        "rule": None,
    }


@case
def rlax_signed_parabolic_zero():
    """rlax.signed_parabolic: gradient 0 at exactly 0, because sign(0)=0 multiplies. Truth about 1.996 (smooth there, both sides agree)."""
    import jax.numpy as jnp
    import rlax

    return {
        "package": "rlax",
        "fun": rlax.signed_parabolic,
        "ordinary": (normal(73, 4, 3),),
        "at_point": (jnp.array([0.0, 0.5, -3.0]),),
        "got": "0",
        "want": "about 1.996",
        "rule": None,
    }


@case
def rotation_from_rotvec_zero():
    """Rotation.from_rotvec(0).as_matrix(): NaN. Truth: generators of so(3)."""
    import jax.numpy as jnp
    from jax.scipy.spatial.transform import Rotation as Ro

    return {
        "package": "jax",
        "fun": lambda r: Ro.from_rotvec(r).as_matrix(),
        "ordinary": (normal(52, 4, 3),),
        "at_point": (jnp.zeros(3),),
        "got": "nan",
        "want": "skew generators (+-1)",
        "rule": None,
    }


@case
def spence_one():
    """jax.scipy.special.spence at x=1: gradient 0. Truth log(x)/(1-x) -> -1."""
    import jax.numpy as jnp
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": sp.spence,
        "ordinary": (uniform(17, 0.55, 0.95, 4, 3),),
        "at_point": (jnp.array([1.0, 0.7]),),
        "got": "0",
        "want": "-1",
        "rule": None,
    }


@case
def squareplus_b_zero():
    """jax.nn.squareplus(x, b=0) = relu(x): NaN at x=0. Truth: any value in [0,1] (relu convention)."""
    import jax
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jax.nn.squareplus(x, b=0.0),
        "ordinary": (normal(14, 4, 3),),
        "at_point": (jnp.array([0.0, 1.0]),),
        "got": "nan",
        "want": "in [0,1]",
        "rule": None,
    }


@case
def std_constant():
    """jnp.std of a constant column: gradient NaN. jax-ml/jax#4177-like. Truth: subgradient 0 (std is a seminorm)."""
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jnp.std(x, axis=0),
        "ordinary": (normal(1, 5, 3),),
        "at_point": (jnp.array([[2.0, 1.0], [2.0, 3.0], [2.0, 4.0]]),),
        "got": "nan",
        "want": "0 in column 0",
        "rule": None,
    }


@case
def tfp_bernoulli_logprob_edge():
    """Tfp Bernoulli(probs).log_prob(0) at 0, (1) at 1: NaN. Truth -1, 1."""
    import jax.numpy as jnp
    import tensorflow_probability.substrates.jax as tfp

    D = tfp.distributions
    return {
        "package": "tfp-nightly",
        "fun": lambda q: D.Bernoulli(probs=q).log_prob(jnp.array([0, 1, 1])),
        "ordinary": (uniform(159, 0.2, 0.8, 4, 3),),
        "at_point": (jnp.array([0.0, 1.0, 0.5]),),
        "got": "nan",
        "want": "-1, 1",
        "rule": None,
    }


@case
def tfp_beta_logprob_x0():
    """Tfp Beta(1,2).log_prob(0): NaN. Truth -1."""
    import jax.numpy as jnp
    import tensorflow_probability.substrates.jax as tfp

    D = tfp.distributions
    return {
        "package": "tfp-nightly",
        "fun": lambda x: D.Beta(1.0, 2.0).log_prob(x),
        "ordinary": (uniform(154, 0.2, 0.8, 4, 3),),
        "at_point": (jnp.array([0.0, 0.5]),),
        "got": "nan",
        "want": "-1",
        "rule": None,
    }


@case
def tfp_categorical_probs_zero():
    """Tfp Categorical(probs).log_prob(1) with a zero in another class: NaN there. Truth finite."""
    import jax.numpy as jnp
    import tensorflow_probability.substrates.jax as tfp

    D = tfp.distributions
    return {
        "package": "tfp-nightly",
        "fun": lambda q: D.Categorical(probs=q).log_prob(1),
        "ordinary": (uniform(158, 0.2, 1.0, 3, 4),),
        "at_point": (jnp.array([0.0, 0.5, 0.5]),),
        "got": "nan",
        "want": "finite (-1 in entry 0)",
        "rule": None,
    }


@case
def tfp_dirichlet_alpha1_zero():
    """Tfp Dirichlet([1,2,3]).log_prob(x) at x_0=0: NaN. Truth 0 for that entry (exponent 0)."""
    import jax.numpy as jnp
    import tensorflow_probability.substrates.jax as tfp

    D = tfp.distributions
    return {
        "package": "tfp-nightly",
        "fun": lambda x: D.Dirichlet([1.0, 2.0, 3.0]).log_prob(x),
        "ordinary": (jnp.array([[0.2, 0.3, 0.5], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]]),),
        "at_point": (jnp.array([0.0, 0.4, 0.6]),),
        "got": "nan",
        "want": "0",
        "rule": None,
    }


@case
def tfp_gpd_concentration0():
    """Tfp GeneralizedPareto(0,1,c).log_prob(.5) derivative in concentration at 0: 0. Truth -0.375 (= x^2/2 - x)."""
    import jax.numpy as jnp
    import tensorflow_probability.substrates.jax as tfp

    D = tfp.distributions
    return {
        "package": "tfp-nightly",
        "fun": lambda c: D.GeneralizedPareto(0.0, 1.0, c).log_prob(0.5),
        "ordinary": (uniform(161, 0.2, 0.8, 4),),
        "at_point": (jnp.array(0.0),),
        "got": "0",
        "want": "-0.375",
        "rule": None,
    }


@case
def tfp_reduce_weighted_lse_w0():
    """tfp.math.reduce_weighted_logsumexp: NaN in the weights where w == 0. Truth exp(x_i)/sum w exp x."""
    import jax.numpy as jnp
    import tensorflow_probability.substrates.jax as tfp

    return {
        "package": "tfp-nightly",
        "fun": lambda x, w: tfp.math.reduce_weighted_logsumexp(x, w),
        "ordinary": (normal(142, 5), uniform(143, 0.5, 2.0, 5)),
        "at_point": (jnp.array([1.0, 2.0, 3.0]), jnp.array([0.0, 1.0, 2.0])),
        "got": "nan",
        "want": "exp(x_0-lse) = 0.0572",
        "rule": None,
    }


@case
def truncnorm_logcdf_tail():
    """truncnorm.logcdf at (11; 10, 12): NaN gradient, value finite. Truth pdf/cdf = 2.8e-4."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda x, a, b: st.truncnorm.logcdf(x, a, b),
        "ordinary": (
            uniform(85, -0.5, 0.5, 4),
            uniform(86, -2.0, -1.0, 4),
            uniform(87, 1.0, 2.0, 4),
        ),
        "at_point": (jnp.array([11.0, 0.5]), jnp.array([10.0, 0.0]), jnp.array([12.0, 1.0])),
        "got": "nan",
        "want": "finite",
        "rule": None,
    }


@case
def truncnorm_logpdf_tail():
    """truncnorm.logpdf with bounds far in a tail (10,12): NaN in a and b, value finite. Truth finite (d/da = phi(a)/Z, about 10.1)."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda x, a, b: st.truncnorm.logpdf(x, a, b),
        "ordinary": (
            uniform(82, -0.5, 0.5, 4),
            uniform(83, -2.0, -1.0, 4),
            uniform(84, 1.0, 2.0, 4),
        ),
        "at_point": (jnp.array([11.0, -21.0]), jnp.array([10.0, -22.0]), jnp.array([12.0, -20.0])),
        "got": "nan",
        "want": "finite (10.098 in a)",
        "rule": None,
    }
