"""More functions whose gradients are right, which nothing was adjusted to."""

from .arrays import normal, positive_definite, uniform

CASES = []


def case(f):
    CASES.append(f)
    return f


@case
def brax_rotate():

    return {
        "package": "brax",
        "fun": lambda v, q: __import__("brax.math", fromlist=["x"]).rotate(v, q),
        "ordinary": (normal(496, 3), normal(497, 4)),
    }


@case
def conv_stride_dil():
    import jax

    return {
        "package": "jax",
        "fun": lambda x, w: jax.lax.conv_general_dilated(
            x, w, (2, 1), "VALID", rhs_dilation=(1, 2)
        ),
        "ordinary": (normal(301, 2, 2, 6, 7), normal(302, 3, 2, 3, 3)),
    }


@case
def conv_transpose():
    import jax

    return {
        "package": "jax",
        "fun": lambda x, w: jax.lax.conv_transpose(
            x, w, (2,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
        ),
        "ordinary": (normal(303, 2, 4, 3), normal(304, 3, 3, 2)),
    }


@case
def det3():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.linalg.det, "ordinary": (normal(229, 5, 3, 3),)}


@case
def distrax_normal():
    import distrax

    return {
        "package": "distrax",
        "fun": lambda x, m, s: distrax.Normal(m, s).log_prob(x),
        "ordinary": (normal(394, 4), normal(395, 4), uniform(396, 0.5, 2.0, 4)),
    }


@case
def e3nn_sh():

    return {
        "package": "e3nn-jax",
        "fun": lambda x: (
            __import__("e3nn_jax")
            .spherical_harmonics(2, __import__("e3nn_jax").IrrepsArray("1o", x), False)
            .array
        ),
        "ordinary": (normal(492, 4, 3),),
    }


@case
def e3nn_soh():

    return {
        "package": "e3nn-jax",
        "fun": lambda x: __import__("e3nn_jax").soft_one_hot_linspace(
            x, start=-1.0, end=1.0, number=3, basis="gaussian", cutoff=False
        ),
        "ordinary": (normal(494, 4, 3),),
    }


@case
def eigvalsh():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.linalg.eigvalsh, "ordinary": (positive_definite(231, 4),)}


@case
def eqx_adaptive():
    import equinox.nn as en
    import jax

    k = jax.random.PRNGKey(0)
    return {
        "package": "equinox",
        "fun": lambda x: en.AdaptiveAvgPool1d(3)(x),
        "ordinary": (normal(372, 2, 7),),
    }


@case
def eqx_embedding():
    import equinox.nn as en
    import jax
    import jax.numpy as jnp

    k = jax.random.PRNGKey(0)
    return {
        "package": "equinox",
        "fun": lambda w: jax.vmap(en.Embedding(weight=w))(jnp.array([0, 2, 2])),
        "ordinary": (normal(377, 4, 3),),
    }


@case
def eqx_groupnorm():
    import equinox.nn as en
    import jax

    k = jax.random.PRNGKey(0)
    return {
        "package": "equinox",
        "fun": lambda x: en.GroupNorm(2, 4)(x),
        "ordinary": (normal(373, 4, 5),),
    }


@case
def eqx_gru():
    import equinox.nn as en
    import jax

    k = jax.random.PRNGKey(0)
    return {
        "package": "equinox",
        "fun": lambda x, h: en.GRUCell(3, 4, key=k)(x, h),
        "ordinary": (normal(359, 3), normal(360, 4)),
    }


@case
def eqx_rope():
    import equinox.nn as en
    import jax

    k = jax.random.PRNGKey(0)
    return {
        "package": "equinox",
        "fun": lambda x: en.RotaryPositionalEmbedding(4)(x),
        "ordinary": (normal(376, 5, 4),),
    }


@case
def expm():
    import jax

    return {"package": "jax", "fun": jax.scipy.linalg.expm, "ordinary": (normal(235, 3, 3),)}


@case
def flax_attn():
    import flax.linen as fn
    import jax

    k = jax.random.PRNGKey(0)
    return {
        "package": "flax",
        "fun": lambda q, kk, v: fn.dot_product_attention(q, kk, v),
        "ordinary": (normal(391, 2, 3, 1, 4), normal(392, 2, 5, 1, 4), normal(393, 2, 5, 1, 4)),
    }


@case
def flax_layernorm():
    import flax.linen as fn
    import jax
    import jax.numpy as jnp

    k = jax.random.PRNGKey(0)
    return {
        "package": "flax",
        "fun": (lambda mod: lambda *a: mod.apply(mod.init(k, *map(jnp.ones_like, a)), *a))(
            fn.LayerNorm(use_fast_variance=False)
        ),
        "ordinary": (normal(379, 3, 4),),
    }


@case
def flax_maxpool():
    import flax.linen as fn
    import jax

    k = jax.random.PRNGKey(0)
    return {
        "package": "flax",
        "fun": lambda x: fn.max_pool(x, (2, 2), (2, 2)),
        "ordinary": (normal(389, 2, 4, 4, 3),),
    }


@case
def jaxopt_logistic():
    import jax.numpy as jnp

    return {
        "package": "jaxopt",
        "fun": lambda x: __import__("jaxopt").loss.binary_logistic_loss(jnp.array([0, 1, 1]), x),
        "ordinary": (normal(502, 4, 3),),
    }


@case
def jaxopt_simplex():

    return {
        "package": "jaxopt",
        "fun": lambda x: __import__("jaxopt").projection.projection_simplex(x, 1.0),
        "ordinary": (normal(498, 5),),
    }


@case
def logaddexp():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": jnp.logaddexp,
        "ordinary": (normal(133, 4, 3), normal(134, 4, 3)),
    }


@case
def logsumexp():
    import jax

    return {
        "package": "jax",
        "fun": lambda x: jax.scipy.special.logsumexp(x, axis=-1),
        "ordinary": (normal(132, 4, 3),),
    }


@case
def matrix_power():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda a: jnp.linalg.matrix_power(a, 3),
        "ordinary": (normal(236, 3, 3),),
    }


@case
def md_periodic():

    return {
        "package": "jax-md",
        "fun": lambda a, b: __import__("jax_md").space.periodic(2.0)[0](a, b),
        "ordinary": (uniform(509, 0.1, 0.9, 3), uniform(510, 0.1, 0.9, 3)),
    }


@case
def nn_celu():
    import jax

    return {"package": "jax", "fun": jax.nn.celu, "ordinary": (normal(111, 4, 3),)}


@case
def nn_glu():
    import jax

    return {"package": "jax", "fun": jax.nn.glu, "ordinary": (normal(119, 3, 4),)}


@case
def nn_hard_sigmoid():
    import jax

    return {"package": "jax", "fun": jax.nn.hard_sigmoid, "ordinary": (normal(108, 4, 3),)}


@case
def nn_hard_silu():
    import jax

    return {"package": "jax", "fun": jax.nn.hard_silu, "ordinary": (normal(109, 4, 3),)}


@case
def nn_log_sigmoid():
    import jax

    return {"package": "jax", "fun": jax.nn.log_sigmoid, "ordinary": (normal(116, 4, 3),)}


@case
def nn_relu():
    import jax

    return {"package": "jax", "fun": jax.nn.relu, "ordinary": (normal(101, 4, 3),)}


@case
def nn_relu6():
    import jax

    return {"package": "jax", "fun": jax.nn.relu6, "ordinary": (normal(102, 4, 3),)}


@case
def nn_selu():
    import jax

    return {"package": "jax", "fun": jax.nn.selu, "ordinary": (normal(112, 4, 3),)}


@case
def nn_sparse_sigmoid():
    import jax

    return {"package": "jax", "fun": jax.nn.sparse_sigmoid, "ordinary": (normal(114, 4, 3),)}


@case
def nn_standardize():
    import jax

    return {"package": "jax", "fun": jax.nn.standardize, "ordinary": (normal(125, 4, 3),)}


@case
def np_arccosh():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.arccosh, "ordinary": (uniform(162, 1.2, 3.0, 4, 3),)}


@case
def np_arcsin():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.arcsin, "ordinary": (uniform(163, -0.8, 0.8, 4, 3),)}


@case
def np_arctan():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.arctan, "ordinary": (normal(142, 4, 3),)}


@case
def np_cbrt():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.cbrt, "ordinary": (uniform(161, 1.2, 3.0, 4, 3),)}


@case
def np_cross():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.cross, "ordinary": (normal(207, 4, 3), normal(208, 4, 3))}


@case
def np_diff():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jnp.diff(x, axis=0),
        "ordinary": (normal(218, 4, 3),),
    }


@case
def np_log():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.log, "ordinary": (uniform(155, 1.2, 3.0, 4, 3),)}


@case
def np_log1p():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.log1p, "ordinary": (uniform(156, 1.2, 3.0, 4, 3),)}


@case
def np_mean():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jnp.mean(x, axis=0),
        "ordinary": (normal(197, 4, 3),),
    }


@case
def np_sign():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.sign, "ordinary": (normal(151, 4, 3),)}


@case
def np_square():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.square, "ordinary": (normal(146, 4, 3),)}


@case
def np_tanh():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.tanh, "ordinary": (normal(139, 4, 3),)}


@case
def numpyro_gamma():
    import numpyro.distributions as nd

    return {
        "package": "numpyro",
        "fun": lambda x: nd.Gamma(2.5, 1.2).log_prob(x),
        "ordinary": (uniform(414, 0.3, 2.0, 4, 3),),
    }


@case
def numpyro_gumbel():
    import numpyro.distributions as nd

    return {
        "package": "numpyro",
        "fun": lambda x: nd.Gumbel(0.3, 1.2).log_prob(x),
        "ordinary": (normal(411, 4, 3),),
    }


@case
def numpyro_mvn():
    import jax.numpy as jnp
    import numpyro.distributions as nd

    return {
        "package": "numpyro",
        "fun": lambda x: nd.MultivariateNormal(jnp.zeros(3), jnp.eye(3) * 2.0).log_prob(x),
        "ordinary": (normal(430, 4, 3),),
    }


@case
def numpyro_normal():
    import numpyro.distributions as nd

    return {
        "package": "numpyro",
        "fun": lambda x: nd.Normal(0.3, 1.2).log_prob(x),
        "ordinary": (normal(407, 4, 3),),
    }


@case
def numpyro_studt():
    import numpyro.distributions as nd

    return {
        "package": "numpyro",
        "fun": lambda x: nd.StudentT(3.0, 0.3, 1.2).log_prob(x),
        "ordinary": (normal(408, 4, 3),),
    }


@case
def numpyro_t_sigmoid():
    import numpyro.distributions.transforms as nt

    return {"package": "numpyro", "fun": nt.SigmoidTransform(), "ordinary": (normal(420, 4, 3),)}


@case
def numpyro_t_stick():
    import numpyro.distributions.transforms as nt

    return {
        "package": "numpyro",
        "fun": nt.StickBreakingTransform(),
        "ordinary": (normal(422, 4, 3),),
    }


@case
def numpyro_weibull():
    import numpyro.distributions as nd

    return {
        "package": "numpyro",
        "fun": lambda x: nd.Weibull(1.2, 2.0).log_prob(x),
        "ordinary": (uniform(417, 0.3, 2.0, 4, 3),),
    }


@case
def optax_bce():
    import jax.numpy as jnp
    import optax.losses as ol

    return {
        "package": "optax",
        "fun": lambda l: ol.sigmoid_binary_cross_entropy(l, jnp.array([0.0, 1.0, 0.3])),
        "ordinary": (normal(339, 4, 3),),
    }


@case
def optax_log_cosh():
    import optax.losses as ol

    return {
        "package": "optax",
        "fun": ol.log_cosh,
        "ordinary": (normal(332, 4, 3), normal(333, 4, 3)),
    }


@case
def optax_mhinge():
    import jax.numpy as jnp
    import optax.losses as ol

    return {
        "package": "optax",
        "fun": lambda l: ol.multiclass_hinge_loss(l, jnp.array([0, 2, 1, 1])),
        "ordinary": (normal(344, 4, 3),),
    }


@case
def optax_proj_l2():

    return {
        "package": "optax",
        "fun": lambda x: __import__("optax").projections.projection_l2_ball(x),
        "ordinary": (normal(352, 5),),
    }


@case
def ott_softmin():
    from ott.math import utils as ou

    return {
        "package": "ott-jax",
        "fun": lambda x: ou.softmin(x, 0.5, -1),
        "ordinary": (normal(457, 4, 3),),
    }


@case
def pix_contrast():

    return {
        "package": "dm-pix",
        "fun": lambda x: __import__("dm_pix").adjust_contrast(x, 0.7),
        "ordinary": (uniform(507, 0.1, 0.9, 3, 4, 3),),
    }


@case
def resize_cubic():
    import jax

    return {
        "package": "jax",
        "fun": lambda x: jax.image.resize(x, (5, 2), "cubic"),
        "ordinary": (normal(308, 3, 4),),
    }


@case
def segment_max():
    import jax
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jax.ops.segment_max(x, jnp.array([0, 1, 0, 2]), 3),
        "ordinary": (normal(315, 4, 3),),
    }


@case
def sp_erf():
    import jax.scipy.special as sp

    return {"package": "jax", "fun": sp.erf, "ordinary": (normal(246, 4, 3),)}


@case
def sp_erfc():
    import jax.scipy.special as sp

    return {"package": "jax", "fun": sp.erfc, "ordinary": (normal(247, 4, 3),)}


@case
def sp_erfinv():
    import jax.scipy.special as sp

    return {"package": "jax", "fun": sp.erfinv, "ordinary": (uniform(259, -0.9, 0.9, 4, 3),)}


@case
def sp_expi():
    import jax.scipy.special as sp

    return {"package": "jax", "fun": sp.expi, "ordinary": (uniform(269, 0.5, 4.0, 4, 3),)}


@case
def sp_gammainc_a25():
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": lambda x: sp.gammainc(2.5, x),
        "ordinary": (uniform(264, 0.5, 4.0, 4, 3),),
    }


@case
def sp_ndtr():
    import jax.scipy.special as sp

    return {"package": "jax", "fun": sp.ndtr, "ordinary": (normal(249, 4, 3),)}


@case
def sp_ndtri():
    import jax.scipy.special as sp

    return {"package": "jax", "fun": sp.ndtri, "ordinary": (uniform(260, 0.1, 0.9, 4, 3),)}


@case
def sp_si():
    import jax.scipy.special as sp

    return {"package": "jax", "fun": lambda x: sp.sici(x)[0], "ordinary": (normal(275, 4, 3),)}


@case
def st_betabinom():
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda a, b: st.betabinom.logpmf(2, 5, a, b),
        "ordinary": (uniform(297, 0.5, 3.0, 4), uniform(298, 0.5, 3.0, 4)),
    }


@case
def st_expon_logpdf():
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda x: st.expon.logpdf(x),
        "ordinary": (uniform(284, 0.3, 2.0, 4, 3),),
    }


@case
def st_t_logpdf():
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda x: st.t.logpdf(x, 3.0, 0.3, 1.2),
        "ordinary": (normal(278, 4, 3),),
    }


@case
def st_vonmises():
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda x: st.vonmises.logpdf(x, 2.0),
        "ordinary": (normal(296, 4, 3),),
    }


@case
def svdvals_sq():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda a: jnp.sum(jnp.linalg.svd(a, compute_uv=False) ** 2),
        "ordinary": (normal(232, 5, 3),),
    }


@case
def take():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: x[jnp.array([2, 0, 0])],
        "ordinary": (normal(320, 4, 3),),
    }


@case
def tfp_erfcx():
    import tensorflow_probability.substrates.jax as tfp

    return {"package": "tfp-nightly", "fun": tfp.math.erfcx, "ordinary": (normal(432, 4, 3),)}


@case
def tfp_round_exponential_bump_function():
    import tensorflow_probability.substrates.jax as tfp

    return {
        "package": "tfp-nightly",
        "fun": tfp.math.round_exponential_bump_function,
        "ordinary": (normal(438, 4, 3),),
    }


@case
def tfp_rq():
    import tensorflow_probability.substrates.jax as tfp

    return {
        "package": "tfp-nightly",
        "fun": lambda x, y: tfp.math.psd_kernels.RationalQuadratic().apply(x, y),
        "ordinary": (normal(452, 4, 3), normal(453, 4, 3)),
    }


@case
def tinygp_m32():

    return {
        "package": "tinygp",
        "fun": lambda x, y: __import__("tinygp").kernels.Matern32(1.3)(x, y),
        "ordinary": (normal(484, 4), normal(485, 3)),
    }


@case
def top_k():
    import jax

    return {
        "package": "jax",
        "fun": lambda x: jax.lax.top_k(x, 2)[0],
        "ordinary": (normal(192, 4, 3),),
    }
