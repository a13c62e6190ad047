"""Functions whose gradients are wrong somewhere, of JAX and of packages beside it."""

from .arrays import normal, uniform

CASES = []


def case(f):
    CASES.append(f)
    return f


@case
def bessel_jn_f32_mid():
    """bessel_jn in float32 at z=5, 8: value right, reverse gradient wrong (2.13 and -1.32), forward NaN; float64 right. Truth J0'(z) = -J1(z) (scipy)."""
    import jax.numpy as jnp
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": lambda z: sp.bessel_jn(z, v=0)[0],
        "ordinary": (uniform(34, 12.0, 25.0, 4),),
        "at_point": (jnp.array([5.0, 8.0]),),
        "got": "2.13, -1.32 (float32 only)",
        "want": "-J1(z) = 0.3276, -0.2346",
        "rule": None,
    }


@case
def beta_logpdf_x0():
    """jax.scipy.stats.beta.logpdf(x,1,2) at x=0 (value log 2): NaN. Truth -1 (right-sided)."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda x: st.beta.logpdf(x, 1.0, 2.0),
        "ordinary": (uniform(35, 0.1, 0.9, 4, 3),),
        "at_point": (jnp.array([0.0, 0.5]),),
        "got": "nan",
        "want": "-1",
        "rule": None,
    }


@case
def beta_logpdf_x1():
    """jax.scipy.stats.beta.logpdf(x,2,1) at x=1: NaN. Truth +1 (left-sided)."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda x: st.beta.logpdf(x, 2.0, 1.0),
        "ordinary": (uniform(36, 0.1, 0.9, 4, 3),),
        "at_point": (jnp.array([1.0, 0.5]),),
        "got": "nan",
        "want": "1",
        "rule": None,
    }


@case
def betaln_negative():
    """jax.scipy.special.betaln for negative arguments: value finite, gradient NaN at (-1.5, 0.7). Truth psi(a)-psi(a+b)."""
    import jax.numpy as jnp
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": sp.betaln,
        "ordinary": (uniform(25, 0.5, 3.0, 4, 3), uniform(26, 0.5, 3.0, 4, 3)),
        "at_point": (jnp.array([-1.5]), jnp.array([0.7])),
        "got": "nan",
        "want": "psi(-1.5)-psi(-.8)",
        "rule": None,
    }


@case
def binom_logpmf_edge():
    """binom.logpmf(0,5,p=0), (5,5,p=1): NaN. Truth -5 and +5."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda p: st.binom.logpmf(jnp.array([0, 5, 2]), 5, p),
        "ordinary": (uniform(43, 0.1, 0.9, 4, 3),),
        "at_point": (jnp.array([0.0, 1.0, 0.5]),),
        "got": "nan",
        "want": "-5, 5",
        "rule": None,
    }


@case
def boxcox1p_lambda0():
    """jax.scipy.special.boxcox1p derivative in lmbda at lmbda=0 is 0. Truth log1p(x)**2/2."""
    import jax.numpy as jnp
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": lambda x, l: sp.boxcox1p(x, l),
        "ordinary": (uniform(28, 0.5, 3.0, 4, 3), uniform(29, 0.5, 2.0, 4, 3)),
        "at_point": (jnp.array([1.0, 2.0]), jnp.array([0.0, 0.5])),
        "got": "0",
        "want": "log(2)^2/2 = 0.2402",
        "rule": None,
    }


@case
def boxcox_x0():
    """jax.scipy.special.boxcox(0, 2): derivative NaN. Truth x**(lmbda-1) = 0 in x, 1/lmbda**2 in lmbda."""
    import jax.numpy as jnp
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": lambda x, l: sp.boxcox(x, l),
        "ordinary": (uniform(30, 0.5, 3.0, 4, 3), uniform(31, 0.5, 2.0, 4, 3)),
        "at_point": (jnp.array([0.0, 2.0]), jnp.array([2.0, 1.0])),
        "got": "nan",
        "want": "0 in x; 1/4 in lmbda",
        "rule": None,
    }


@case
def det_singular_5x5():
    """jnp.linalg.det of a singular 5x5 diagonal matrix diag(1,0,2,3,4): gradient 0 in [1,1]. Truth cofactor 1*2*3*4 = 24 (the rule means to handle it: 4x4 is right)."""
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": jnp.linalg.det,
        "ordinary": (normal(46, 5, 5),),
        "at_point": (jnp.diag(jnp.array([1.0, 0.0, 2.0, 3.0, 4.0])),),
        "got": "0",
        "want": "24 at [1,1]",
        "rule": "custom_jvp",
    }


@case
def distrax_bernoulli_log_prob_edge():
    """distrax.Bernoulli(probs).log_prob(0) at p=0, (1) at p=1: NaN. Truth -1, 1."""
    import distrax
    import jax.numpy as jnp

    return {
        "package": "distrax",
        "fun": lambda q: distrax.Bernoulli(probs=q).log_prob(jnp.array([0, 1, 1])),
        "ordinary": (uniform(66, 0.2, 0.8, 4, 3),),
        "at_point": (jnp.array([0.0, 1.0, 0.5]),),
        "got": "nan",
        "want": "-1, 1",
        "rule": None,
    }


@case
def distrax_categorical_kl_probs_zero():
    """distrax.Categorical(probs).kl_divergence with a zero in the first: NaN also for the positive ones. Truth finite for these."""
    import distrax
    import jax.numpy as jnp

    return {
        "package": "distrax",
        "fun": lambda q, r: distrax.Categorical(probs=q).kl_divergence(
            distrax.Categorical(probs=r)
        ),
        "ordinary": (uniform(64, 0.2, 1.0, 3, 4), uniform(65, 0.2, 1.0, 3, 4)),
        "at_point": (jnp.array([0.0, 0.5, 0.5]), jnp.array([0.3, 0.2, 0.5])),
        "got": "nan",
        "want": "finite for positive entries",
        "rule": None,
    }


@case
def distrax_categorical_probs_zero():
    """distrax.Categorical(probs).log_prob with a zero probability in another class: NaN for all. Truth finite 1/p_k - 1/sum."""
    import distrax
    import jax.numpy as jnp

    return {
        "package": "distrax",
        "fun": lambda q: distrax.Categorical(probs=q).log_prob(jnp.array(1)),
        "ordinary": (uniform(63, 0.2, 1.0, 3, 4),),
        "at_point": (jnp.array([0.0, 0.5, 0.5]),),
        "got": "nan",
        "want": "(-1, 1, -1)",
        "rule": None,
    }


@case
def e3nn_log_coords_to_quaternion_zero():
    """e3nn_jax.log_coordinates_to_quaternion at 0: gradient 0. Truth 1/2 on x,y,z (both sides agree)."""
    import e3nn_jax as e3
    import jax.numpy as jnp

    return {
        "package": "e3nn-jax",
        "fun": e3.log_coordinates_to_quaternion,
        "ordinary": (normal(170, 4, 3),),
        "at_point": (jnp.zeros(3),),
        "got": "0",
        "want": "0.5 (d q_xyz / d x)",
        "rule": None,
    }


@case
def e3nn_quaternion_to_log_coords_identity():
    """e3nn_jax.quaternion_to_log_coordinates at the identity: NaN in the real part. Truth 0 there, 2 on the others."""
    import e3nn_jax as e3
    import jax.numpy as jnp

    return {
        "package": "e3nn-jax",
        "fun": e3.quaternion_to_log_coordinates,
        "ordinary": (
            jnp.array([[0.9, 0.1, 0.2, 0.3], [0.7, 0.5, -0.3, 0.2], [0.8, -0.2, 0.4, 0.1]]),
        ),
        "at_point": (jnp.array([1.0, 0.0, 0.0, 0.0]),),
        "got": "nan",
        "want": "0 in w",
        "rule": None,
    }


@case
def flax_groupnorm_large_mean():
    """flax.linen.GroupNorm (fast variance) at mean 1e4 in float32: gradient wrong. Truth: float64 gradient."""
    import flax.linen as fn
    import jax
    import jax.numpy as jnp

    ap = lambda mod: lambda x: mod.apply(mod.init(jax.random.PRNGKey(0), jnp.ones_like(x)), x)
    return {
        "package": "flax",
        "fun": ap(fn.GroupNorm(2)),
        "ordinary": (normal(140, 2, 5, 4),),
        "at_point": (1e4 + normal(141, 2, 5, 4),),
        "got": "wrong",
        "want": "as float64",
        "rule": None,
    }


@case
def flax_layernorm_large_mean():
    """flax.linen.LayerNorm (use_fast_variance=True, the default) at mean 1e4 in float32: variance by E[x^2]-E[x]^2 cancels; gradient wrong. Truth: float64 gradient, order 0.1."""
    import flax.linen as fn
    import jax
    import jax.numpy as jnp

    ap = lambda mod: lambda x: mod.apply(mod.init(jax.random.PRNGKey(0), jnp.ones_like(x)), x)
    return {
        "package": "flax",
        "fun": ap(fn.LayerNorm()),
        "ordinary": (normal(138, 3, 4),),
        "at_point": (1e4 + normal(139, 3, 4),),
        "got": "wrong (float32)",
        "want": "as float64",
        "rule": None,
    }


@case
def frobenius_zero_matrix():
    """jnp.linalg.norm of a zero matrix (Frobenius): NaN. jax-ml/jax#3058 family. Truth: subgradient 0."""
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jnp.linalg.norm(x),
        "ordinary": (normal(7, 4, 3),),
        "at_point": (jnp.zeros((3, 2)),),
        "got": "nan",
        "want": "0",
        "rule": None,
    }


@case
def gamma_logpdf_x0():
    """jax.scipy.stats.gamma.logpdf(x, 1) at x=0: NaN. Truth -1 (right-sided)."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda x: st.gamma.logpdf(x, 1.0),
        "ordinary": (uniform(37, 0.1, 3.0, 4, 3),),
        "at_point": (jnp.array([0.0, 1.0]),),
        "got": "nan",
        "want": "-1",
        "rule": None,
    }


@case
def gammainc_a1_x0():
    """gammainc(1,x) = 1-exp(-x) at x=0: NaN. Truth 1."""
    import jax.numpy as jnp
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": lambda x: sp.gammainc(1.0, x),
        "ordinary": (uniform(21, 0.1, 3.0, 4, 3),),
        "at_point": (jnp.array([0.0, 1.0]),),
        "got": "nan",
        "want": "1",
        "rule": "custom_jvp",
    }


@case
def gelu_tanh_huge_f32():
    """jax.nn.gelu (tanh approximation): gradient NaN for |x| >= 1e13 in float32 (inf*0). Truth 1 / 0."""
    import jax
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jax.nn.gelu(x),
        "ordinary": (normal(15, 4, 3),),
        "at_point": (jnp.array([1e20, -1e20]),),
        "got": "nan",
        "want": "1 and 0",
        "rule": None,
    }


@case
def hypot_zero():
    """jnp.hypot(0,0): NaN though the rule is hand written. Truth: subgradient 0 convention (as norm)."""
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": jnp.hypot,
        "ordinary": (normal(3, 4, 3), normal(4, 4, 3)),
        "at_point": (jnp.array([0.0, 3.0]), jnp.array([0.0, 4.0])),
        "got": "nan",
        "want": "0",
        "rule": "custom_jvp",
    }


@case
def interpax_monotonic_flat_data():
    """interpax.interp1d(method='monotonic') at data with a flat part: gradient outside the interval of the one-sided slopes."""
    import interpax
    import jax.numpy as jnp

    return {
        "package": "interpax",
        "fun": lambda f: interpax.interp1d(
            jnp.array([0.3, 2.5, 4.9]), jnp.arange(6.0), f, method="monotonic"
        ),
        "ordinary": (normal(181, 6),),
        "at_point": (jnp.array([1.0, 1.0, 1.0, 1.0, 4.0, 4.5]),),
        "got": "outside the one-sided slopes",
        "want": "within the one-sided slopes",
        "rule": None,
    }


@case
def jaxopt_projection_transport():
    """jaxopt.projection.projection_transport: gradient in the similarity matrix silently 0 at EVERY ordinary point. Truth: interior projection Jacobian (I-11'/2)x(I-11'/2), e.g. +-1/4 for 2x2."""
    import jax.numpy as jnp
    from jaxopt import projection as jp

    return {
        "package": "jaxopt",
        "fun": lambda x: jp.projection_transport(x, (jnp.array([0.4, 0.6]), jnp.array([0.5, 0.5]))),
        "ordinary": (uniform(131, 0.2, 0.6, 2, 2),),
        "at_point": (uniform(132, 0.2, 0.6, 2, 2),),
        "got": "0 (always)",
        "want": "+-0.25 pattern",
        "rule": None,
    }


@case
def jaxopt_tree_l2_norm_zero():
    """jaxopt.tree_util.tree_l2_norm at 0: NaN. Truth: subgradient 0."""
    import jax.numpy as jnp
    import jaxopt

    return {
        "package": "jaxopt",
        "fun": lambda x, y: jaxopt.tree_util.tree_l2_norm((x, y)),
        "ordinary": (normal(126, 5), normal(127, 4, 3)),
        "at_point": (jnp.zeros(2), jnp.zeros((2, 3))),
        "got": "nan",
        "want": "0",
        "rule": None,
    }


@case
def log_ndtr_far_tail():
    """jax.scipy.special.log_ndtr: gradient inaccurate below about -2000 in float32 (about 2980 at -1e4 cf. 1e4; in float64 1.2 at -1e10). Truth ~ -x."""
    import jax.numpy as jnp
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": sp.log_ndtr,
        "ordinary": (normal(27, 4, 3),),
        "at_point": (jnp.array([-1e4, -1e5]),),
        "got": "wrong (e.g. 2981)",
        "want": "10000, 100000",
        "rule": "custom_jvp",
    }


@case
def numpyro_kumaraswamy_edge():
    """Numpyro Kumaraswamy(1,2).log_prob at 0 (value log 2): NaN. Truth -1 (right-sided)."""
    import jax.numpy as jnp
    import numpyro.distributions as nd

    return {
        "package": "numpyro",
        "fun": lambda x: nd.Kumaraswamy(jnp.array([1.0, 2.0]), jnp.array([2.0, 3.0])).log_prob(x),
        "ordinary": (uniform(123, 0.2, 0.8, 4, 2),),
        "at_point": (jnp.array([0.0, 0.5]),),
        "got": "nan",
        "want": "-1",
        "rule": None,
    }


@case
def numpyro_powerlaw_icdf_near_minus1():
    """Numpyro DoublyTruncatedPowerLaw.icdf: derivative in alpha near -1 (-0.9995) in float32 0.046 (cancellation in the rule). Truth 0.2248 (float64)."""
    import jax.numpy as jnp
    import numpyro.distributions as nd

    return {
        "package": "numpyro",
        "fun": lambda x, al, lo, hi: nd.DoublyTruncatedPowerLaw(al, lo, hi).icdf(x),
        "ordinary": (
            uniform(118, 0.2, 0.8, 4),
            uniform(119, 0.3, 2.0, 4),
            uniform(120, 0.5, 1.0, 4),
            uniform(121, 2.5, 4.0, 4),
        ),
        "at_point": (jnp.array([0.4]), jnp.array([-0.9995]), jnp.array([1.0]), jnp.array([3.0])),
        "got": "0.046 (float32)",
        "want": "0.2248",
        "rule": "custom_jvp",
    }


@case
def optax_safe_sxent_forward():
    """optax.losses.safe_softmax_cross_entropy (rule of weighted_logsoftmax) with a -inf logit of zero label: forward mode (jvp/jacfwd) NaN, reverse mode right. google-deepmind/optax#1762 (open). Truth softmax - labels."""
    import jax.numpy as jnp
    import optax.losses as ol

    return {
        "package": "optax",
        "fun": lambda l: ol.safe_softmax_cross_entropy(l, jnp.array([0.0, 0.5, 0.5])),
        "ordinary": (normal(92, 4, 3),),
        "at_point": (jnp.array([[-jnp.inf, 1.0, 2.0]]),),
        "got": "jvp nan",
        "want": "softmax(l) - labels",
        "rule": "custom_jvp",
    }


@case
def ott_norm_zero_row():
    """ott.math.utils.norm(axis=-1): the custom rule promises 0 at 0 but only looks whether the WHOLE array is zero; NaN for one zero row. Truth 0 by its own documentation."""
    import jax.numpy as jnp
    from ott.math import utils as ou

    return {
        "package": "ott-jax",
        "fun": lambda x: ou.norm(x, axis=-1),
        "ordinary": (normal(160, 4, 3),),
        "at_point": (jnp.array([[0.0, 0.0, 0.0], [1.0, 2.0, 2.0]]),),
        "got": "nan",
        "want": "0",
        "rule": "custom_jvp",
    }


@case
def pix_rgb_to_hsl_gray():
    """dm_pix.rgb_to_hsl saturation and lightness at a gray pixel: NaN. Truth: lightness slope 1/2 for max/min, finite one-sided saturation."""
    import dm_pix
    import jax.numpy as jnp

    return {
        "package": "dm-pix",
        "fun": lambda x: dm_pix.rgb_to_hsl(x)[..., 1:],
        "ordinary": (uniform(133, 0.1, 0.9, 3, 4, 3),),
        "at_point": (jnp.full((1, 1, 3), 0.5),),
        "got": "nan",
        "want": "finite one-sided slopes",
        "rule": None,
    }


@case
def pix_rmse_identical():
    """dm_pix.rmse of identical images: NaN. Truth: subgradient 0."""
    import dm_pix

    return {
        "package": "dm-pix",
        "fun": lambda a, b: dm_pix.rmse(a, b),
        "ordinary": (uniform(134, 0.1, 0.9, 3, 4, 3), uniform(135, 0.1, 0.9, 3, 4, 3)),
        "at_point": (uniform(136, 0.1, 0.9, 1, 2, 3), uniform(136, 0.1, 0.9, 1, 2, 3)),
        "got": "nan",
        "want": "0",
        "rule": None,
    }


@case
def poisson_cdf_mu0():
    """poisson.cdf(0, mu) = exp(-mu) at mu=0: NaN. Truth -1."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda mu: st.poisson.cdf(jnp.array([0, 3, 2]), mu),
        "ordinary": (uniform(41, 0.5, 3.0, 4, 3),),
        "at_point": (jnp.array([0.0, 1.0, 1.0]),),
        "got": "nan",
        "want": "-1",
        "rule": "custom_jvp",
    }


@case
def poisson_logpmf_mu0():
    """poisson.logpmf(0, mu) = -mu at mu=0: NaN (xlogy(0,0)). Truth -1."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda mu: st.poisson.logpmf(jnp.array([0, 0, 2]), mu),
        "ordinary": (uniform(40, 0.5, 3.0, 4, 3),),
        "at_point": (jnp.array([0.0, 1.0, 1.0]),),
        "got": "nan",
        "want": "-1",
        "rule": None,
    }


@case
def power_const_zero():
    """jnp.power(x, 0.) at x=0 (constant function 1): NaN. Truth 0."""
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jnp.power(x, 0.0),
        "ordinary": (normal(9, 4, 3),),
        "at_point": (jnp.array([0.0, 2.0]),),
        "got": "nan",
        "want": "0",
        "rule": None,
    }


@case
def rlax_l2_project_aligned():
    """rlax.categorical_l2_project at z_p equal to an atom: gradient outside the one-sided slopes (ties of clip/where)."""
    import jax.numpy as jnp
    import rlax

    return {
        "package": "rlax",
        "fun": lambda zp: rlax.categorical_l2_project(
            zp, jnp.array([0.2, 0.3, 0.5]), jnp.array([-1.0, 0.0, 1.0])
        ),
        "ordinary": (jnp.array([-0.6, 0.1, 0.7]),),
        "at_point": (jnp.array([-1.3, 0.0, 1.8]),),
        "got": "-0.174 for cotangent (.5+rand)",
        "want": "between the one-sided slopes",
        "rule": None,
    }


@case
def rlax_signed_hyperbolic_zero():
    """rlax.signed_hyperbolic: gradient 1e-3 at exactly 0, because sign(0)=0 multiplies. Truth 0.501 (0.5+eps) (smooth there, both sides agree)."""
    import jax.numpy as jnp
    import rlax

    return {
        "package": "rlax",
        "fun": rlax.signed_hyperbolic,
        "ordinary": (normal(74, 4, 3),),
        "at_point": (jnp.array([0.0, 0.5, -3.0]),),
        "got": "1e-3",
        "want": "0.501 (0.5+eps)",
        "rule": None,
    }


@case
def rotation_as_rotvec_identity():
    """Rotation.from_quat(identity).as_rotvec(): NaN. Truth 2 (d rotvec / d q_xyz)."""
    import jax.numpy as jnp
    from jax.scipy.spatial.transform import Rotation as Ro

    return {
        "package": "jax",
        "fun": lambda q: Ro.from_quat(q).as_rotvec(),
        "ordinary": (normal(53, 4, 4),),
        "at_point": (jnp.array([0.0, 0.0, 0.0, 1.0]),),
        "got": "nan",
        "want": "2 on x,y,z",
        "rule": None,
    }


@case
def rotation_magnitude_identity():
    """Rotation.magnitude at identity: NaN. Truth: subgradient 0 convention."""
    import jax.numpy as jnp
    from jax.scipy.spatial.transform import Rotation as Ro

    return {
        "package": "jax",
        "fun": lambda q: Ro.from_quat(q).magnitude(),
        "ordinary": (normal(54, 4, 4),),
        "at_point": (jnp.array([0.0, 0.0, 0.0, 1.0]),),
        "got": "nan",
        "want": "0",
        "rule": None,
    }


@case
def spence_above():
    """jax.scipy.special.spence for x >= 1.5: gradient NaN (where-branches). Truth log(x)/(1-x): -0.811 at 1.5, -0.693 at 2."""
    import jax.numpy as jnp
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": sp.spence,
        "ordinary": (uniform(18, 0.55, 0.95, 4, 3),),
        "at_point": (jnp.array([1.5, 2.0]),),
        "got": "nan",
        "want": "-0.8109, -0.6931",
        "rule": None,
    }


@case
def squareplus_huge_f32():
    """jax.nn.squareplus: gradient 0.5 for |x| > 2e19 in float32 (square overflows). Truth 1 / 0."""
    import jax
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jax.nn.squareplus(x),
        "ordinary": (normal(16, 4, 3),),
        "at_point": (jnp.array([1e20, -1e20]),),
        "got": "0.5",
        "want": "1 and 0",
        "rule": None,
    }


@case
def std_single_sample():
    """jnp.std over an axis of length 1 (batch size 1) is identically 0; gradient NaN. Truth: 0 exactly (constant function)."""
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jnp.std(x, axis=0),
        "ordinary": (normal(2, 4, 3),),
        "at_point": (jnp.array([[1.0, 2.0, 3.0]]),),
        "got": "nan",
        "want": "0",
        "rule": None,
    }


@case
def svd_reconstruct_degenerate():
    """U S V^T via svd (identity map!) at repeated singular values: NaN. Truth: identity."""
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda a: (lambda u, s, v: (u * s) @ v)(*jnp.linalg.svd(a, full_matrices=False)),
        "ordinary": (normal(48, 4, 3),),
        "at_point": (jnp.eye(4, 3),),
        "got": "nan",
        "want": "identity",
        "rule": None,
    }


@case
def svd_reconstruct_rank1():
    """U S V^T via svd at a rank-deficient matrix: NaN. Truth: identity."""
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda a: (lambda u, s, v: (u * s) @ v)(*jnp.linalg.svd(a, full_matrices=False)),
        "ordinary": (normal(49, 3, 4),),
        "at_point": (jnp.ones((3, 2)),),
        "got": "nan",
        "want": "identity",
        "rule": None,
    }


@case
def tfp_bessel_ive_v1_zero():
    """tfp.math.bessel_ive(1, z) at z=0: NaN ((v/z)*0). Truth 1/2."""
    import jax.numpy as jnp
    import tensorflow_probability.substrates.jax as tfp

    return {
        "package": "tfp-nightly",
        "fun": lambda z: tfp.math.bessel_ive(1.0, z),
        "ordinary": (uniform(146, 0.5, 3.0, 4),),
        "at_point": (jnp.array([0.0, 1.0]),),
        "got": "nan",
        "want": "0.5",
        "rule": "custom_jvp",
    }


@case
def tfp_chi2_cdf_x0():
    """Tfp Chi2(2).cdf at 0: NaN. Truth 1/2 (right-sided)."""
    import jax.numpy as jnp
    import tensorflow_probability.substrates.jax as tfp

    D = tfp.distributions
    return {
        "package": "tfp-nightly",
        "fun": lambda x: D.Chi2(2.0).cdf(x),
        "ordinary": (uniform(156, 0.2, 3.0, 4, 3),),
        "at_point": (jnp.array([0.0, 0.5]),),
        "got": "nan",
        "want": "0.5",
        "rule": None,
    }


@case
def tfp_gamma_logprob_x0():
    """Tfp Gamma(1,1).log_prob(0): NaN. Truth -1."""
    import jax.numpy as jnp
    import tensorflow_probability.substrates.jax as tfp

    D = tfp.distributions
    return {
        "package": "tfp-nightly",
        "fun": lambda x: D.Gamma(1.0, 1.0).log_prob(x),
        "ordinary": (uniform(153, 0.2, 3.0, 4, 3),),
        "at_point": (jnp.array([0.0, 1.0]),),
        "got": "nan",
        "want": "-1",
        "rule": None,
    }


@case
def tfp_generalized_normal_cdf_zero():
    """Tfp GeneralizedNormal(0,1,3).cdf at 0: gradient 0. Truth pdf(0) = 3/(2 Gamma(1/3)) = 0.56."""
    import jax.numpy as jnp
    import tensorflow_probability.substrates.jax as tfp

    D = tfp.distributions
    return {
        "package": "tfp-nightly",
        "fun": lambda x: D.GeneralizedNormal(0.0, 1.0, 3.0).cdf(x),
        "ordinary": (normal(157, 4, 3),),
        "at_point": (jnp.array([0.0, 0.5]),),
        "got": "0",
        "want": "0.5600",
        "rule": None,
    }


@case
def tfp_geometric_p1():
    """Tfp Geometric(probs=1).log_prob(0) = log p: NaN. Truth 1."""
    import jax.numpy as jnp
    import tensorflow_probability.substrates.jax as tfp

    D = tfp.distributions
    return {
        "package": "tfp-nightly",
        "fun": lambda q: D.Geometric(probs=q).log_prob(jnp.array([0.0, 5.0, 2.0])),
        "ordinary": (uniform(163, 0.2, 0.8, 4, 3),),
        "at_point": (jnp.array([1.0, 0.5, 0.3]),),
        "got": "nan",
        "want": "1",
        "rule": None,
    }


@case
def tfp_gev_cdf_concentration0():
    """Tfp GeneralizedExtremeValueCDF bijector derivative in concentration at 0: 0. Truth by finite differences -0.0413 at x=.5."""
    import jax.numpy as jnp
    import tensorflow_probability.substrates.jax as tfp

    D = tfp.distributions
    return {
        "package": "tfp-nightly",
        "fun": lambda c: tfp.bijectors.GeneralizedExtremeValueCDF(0.0, 1.0, c).forward(0.5),
        "ordinary": (uniform(152, 0.2, 0.8, 4),),
        "at_point": (jnp.array([0.0, 0.1]),),
        "got": "0",
        "want": "-0.0413",
        "rule": None,
    }


@case
def tfp_gev_logprob_concentration0():
    """Tfp GeneralizedExtremeValue(0,1,c).log_prob(.5) derivative in concentration at 0: -0.5. Truth -0.4508 (finite differences)."""
    import jax.numpy as jnp
    import tensorflow_probability.substrates.jax as tfp

    D = tfp.distributions
    return {
        "package": "tfp-nightly",
        "fun": lambda c: D.GeneralizedExtremeValue(0.0, 1.0, c).log_prob(0.5),
        "ordinary": (uniform(162, 0.2, 0.8, 4),),
        "at_point": (jnp.array(0.0),),
        "got": "-0.5",
        "want": "-0.4508",
        "rule": None,
    }


@case
def tfp_kumaraswamy_logprob_x0():
    """Tfp Kumaraswamy(1,2).log_prob(0): NaN. Truth -1 (right-sided)."""
    import jax.numpy as jnp
    import tensorflow_probability.substrates.jax as tfp

    D = tfp.distributions
    return {
        "package": "tfp-nightly",
        "fun": lambda x: D.Kumaraswamy(1.0, 2.0).log_prob(x),
        "ordinary": (uniform(155, 0.2, 0.8, 4, 3),),
        "at_point": (jnp.array([0.0, 0.5]),),
        "got": "nan",
        "want": "-1",
        "rule": None,
    }


@case
def tfp_log_cumsum_exp_inf():
    """tfp.math.log_cumsum_exp with two leading -inf: NaN for finite outputs behind. Truth 0 for the -inf entries, softmax for the others."""
    import jax.numpy as jnp
    import tensorflow_probability.substrates.jax as tfp

    return {
        "package": "tfp-nightly",
        "fun": lambda x: tfp.math.log_cumsum_exp(x)[2:],
        "ordinary": (normal(144, 5),),
        "at_point": (jnp.array([-jnp.inf, -jnp.inf, 3.0]),),
        "got": "nan",
        "want": "0 for -inf entries",
        "rule": None,
    }


@case
def tfp_stddev_constant():
    """tfp.stats.stddev of constant data: NaN. Truth: subgradient 0."""
    import jax.numpy as jnp
    import tensorflow_probability.substrates.jax as tfp

    return {
        "package": "tfp-nightly",
        "fun": lambda x: tfp.stats.stddev(x),
        "ordinary": (normal(145, 5, 3),),
        "at_point": (jnp.ones((3, 2)),),
        "got": "nan",
        "want": "0",
        "rule": None,
    }


@case
def truncnorm_logsf_tail():
    """truncnorm.logsf at (11; 10, 12): NaN gradient, value finite. Truth about -11.1 in x."""
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda x, a, b: st.truncnorm.logsf(x, a, b),
        "ordinary": (
            uniform(88, -0.5, 0.5, 4),
            uniform(89, -2.0, -1.0, 4),
            uniform(90, 1.0, 2.0, 4),
        ),
        "at_point": (jnp.array([11.0, 0.5]), jnp.array([10.0, 0.0]), jnp.array([12.0, 1.0])),
        "got": "nan",
        "want": "finite",
        "rule": None,
    }


@case
def vander_zero():
    """jnp.vander at x=0: NaN from 0**0 / 0*inf. Truth: derivative of (x^2,x,1) at 0 is (0,1,0)."""
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jnp.vander(x, 3),
        "ordinary": (uniform(11, 0.5, 2.0, 4),),
        "at_point": (jnp.array([0.0, 1.0]),),
        "got": "nan",
        "want": "finite: d x^2=0, d x=1, d 1=0",
        "rule": None,
    }
