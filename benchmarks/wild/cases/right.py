"""Functions whose gradients are right, of JAX and of packages beside it."""

from .arrays import normal, positive_definite, uniform

CASES = []


def case(f):
    CASES.append(f)
    return f


@case
def at_add():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x, y: x.at[jnp.array([0, 2, 0])].add(y),
        "ordinary": (normal(316, 4, 3), normal(317, 3, 3)),
    }


@case
def distrax_cat():
    import distrax
    import jax.numpy as jnp

    return {
        "package": "distrax",
        "fun": lambda l: distrax.Categorical(logits=l).log_prob(jnp.array([0, 2, 1, 1])),
        "ordinary": (normal(397, 4, 3),),
    }


@case
def distrax_cat_ent():
    import distrax

    return {
        "package": "distrax",
        "fun": lambda l: distrax.Categorical(logits=l).entropy(),
        "ordinary": (normal(398, 4, 3),),
    }


@case
def distrax_mvn():
    import distrax
    import jax.numpy as jnp

    return {
        "package": "distrax",
        "fun": lambda x, m: distrax.MultivariateNormalDiag(m, jnp.array([1.0, 2.0, 0.5])).log_prob(
            x
        ),
        "ordinary": (normal(404, 4, 3), normal(405, 3)),
    }


@case
def distrax_tanh():
    import distrax

    return {
        "package": "distrax",
        "fun": distrax.Tanh().forward_and_log_det,
        "ordinary": (normal(401, 4, 3),),
    }


@case
def eqx_avgpool():
    import equinox.nn as en
    import jax

    k = jax.random.PRNGKey(0)
    return {
        "package": "equinox",
        "fun": lambda x: en.AvgPool1d(3, 2)(x),
        "ordinary": (normal(371, 2, 7),),
    }


@case
def fft_abs2():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jnp.abs(jnp.fft.rfft(x)) ** 2,
        "ordinary": (normal(221, 3, 8),),
    }


@case
def flax_dense():
    import flax.linen as fn
    import jax
    import jax.numpy as jnp

    k = jax.random.PRNGKey(0)
    return {
        "package": "flax",
        "fun": (lambda mod: lambda *a: mod.apply(mod.init(k, *map(jnp.ones_like, a)), *a))(
            fn.Dense(4)
        ),
        "ordinary": (normal(378, 4, 3),),
    }


@case
def flax_groupnorm():
    import flax.linen as fn
    import jax
    import jax.numpy as jnp

    k = jax.random.PRNGKey(0)
    return {
        "package": "flax",
        "fun": (lambda mod: lambda *a: mod.apply(mod.init(k, *map(jnp.ones_like, a)), *a))(
            fn.GroupNorm(2, use_fast_variance=False)
        ),
        "ordinary": (normal(381, 2, 3, 4),),
    }


@case
def interpax_cubic2():
    import jax.numpy as jnp

    return {
        "package": "interpax",
        "fun": lambda q, f: __import__("interpax").interp1d(q, jnp.arange(6.0), f, method="cubic2"),
        "ordinary": (uniform(482, 0.1, 4.9, 4), normal(483, 6)),
    }


@case
def jaxopt_enet():

    return {
        "package": "jaxopt",
        "fun": lambda x: __import__("jaxopt").prox.prox_elastic_net(x, (0.3, 0.5)),
        "ordinary": (normal(501, 5),),
    }


@case
def lineax_svd():
    import lineax as lx

    return {
        "package": "lineax",
        "fun": lambda a, b: lx.linear_solve(lx.MatrixLinearOperator(a), b, lx.SVD()).value,
        "ordinary": (normal(473, 5, 3), normal(474, 5)),
    }


@case
def md_distance():

    return {
        "package": "jax-md",
        "fun": lambda d: __import__("jax_md").space.distance(d),
        "ordinary": (normal(511, 4, 3),),
    }


@case
def multi_dot():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda a, b, c: jnp.linalg.multi_dot([a, b, c]),
        "ordinary": (normal(242, 2, 3), normal(243, 3, 4), normal(244, 4, 2)),
    }


@case
def nn_elu():
    import jax

    return {"package": "jax", "fun": jax.nn.elu, "ordinary": (normal(110, 4, 3),)}


@case
def nn_gelu_exact():
    import jax

    return {
        "package": "jax",
        "fun": lambda x: jax.nn.gelu(x, approximate=False),
        "ordinary": (normal(120, 4, 3),),
    }


@case
def nn_hard_tanh():
    import jax

    return {"package": "jax", "fun": jax.nn.hard_tanh, "ordinary": (normal(107, 4, 3),)}


@case
def nn_identity():
    import jax

    return {"package": "jax", "fun": jax.nn.identity, "ordinary": (normal(118, 4, 3),)}


@case
def nn_leaky_relu():
    import jax

    return {"package": "jax", "fun": jax.nn.leaky_relu, "ordinary": (normal(106, 4, 3),)}


@case
def nn_log_softmax():
    import jax

    return {"package": "jax", "fun": jax.nn.log_softmax, "ordinary": (normal(122, 4, 3),)}


@case
def nn_mish():
    import jax

    return {"package": "jax", "fun": jax.nn.mish, "ordinary": (normal(115, 4, 3),)}


@case
def nn_sigmoid():
    import jax

    return {"package": "jax", "fun": jax.nn.sigmoid, "ordinary": (normal(117, 4, 3),)}


@case
def nn_silu():
    import jax

    return {"package": "jax", "fun": jax.nn.silu, "ordinary": (normal(105, 4, 3),)}


@case
def nn_soft_sign():
    import jax

    return {"package": "jax", "fun": jax.nn.soft_sign, "ordinary": (normal(104, 4, 3),)}


@case
def nn_softmax():
    import jax

    return {"package": "jax", "fun": jax.nn.softmax, "ordinary": (normal(121, 4, 3),)}


@case
def nn_softmax_ax0():
    import jax

    return {
        "package": "jax",
        "fun": lambda x: jax.nn.softmax(x, axis=0),
        "ordinary": (normal(123, 4, 3),),
    }


@case
def nn_softmax_where():
    import jax
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jax.nn.softmax(x, where=jnp.array([True, False, True])),
        "ordinary": (normal(124, 4, 3),),
    }


@case
def nn_softplus():
    import jax

    return {"package": "jax", "fun": jax.nn.softplus, "ordinary": (normal(103, 4, 3),)}


@case
def nn_sparse_plus():
    import jax

    return {"package": "jax", "fun": jax.nn.sparse_plus, "ordinary": (normal(113, 4, 3),)}


@case
def np_abs():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.abs, "ordinary": (normal(147, 4, 3),)}


@case
def np_add():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.add, "ordinary": (normal(166, 4, 3), normal(167, 4, 3))}


@case
def np_arctanh():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.arctanh, "ordinary": (uniform(165, -0.8, 0.8, 4, 3),)}


@case
def np_cos():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.cos, "ordinary": (normal(138, 4, 3),)}


@case
def np_cosh():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.cosh, "ordinary": (normal(141, 4, 3),)}


@case
def np_cumprod():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.cumprod, "ordinary": (normal(154, 4, 3),)}


@case
def np_einsum():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda a, b: jnp.einsum("ij,kj->ik", a, b),
        "ordinary": (normal(219, 4, 3), normal(220, 5, 3)),
    }


@case
def np_i0():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.i0, "ordinary": (normal(150, 4, 3),)}


@case
def np_interp_fp():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda fp: jnp.interp(jnp.array([0.3, 1.2, 1.9]), jnp.array([0.0, 1.0, 2.0]), fp),
        "ordinary": (normal(202, 3),),
    }


@case
def np_log2():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.log2, "ordinary": (uniform(158, 1.2, 3.0, 4, 3),)}


@case
def np_max():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jnp.max(x, axis=-1),
        "ordinary": (normal(188, 4, 3),),
    }


@case
def np_maximum():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": jnp.maximum,
        "ordinary": (normal(170, 4, 3), normal(171, 4, 3)),
    }


@case
def np_pow15():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jnp.power(x, 1.5),
        "ordinary": (uniform(182, 0.3, 2.0, 4, 3),),
    }


@case
def np_ptp():
    import jax.numpy as jnp

    return {"package": "jax", "fun": lambda x: jnp.ptp(x, axis=0), "ordinary": (normal(198, 4, 3),)}


@case
def np_sinc():
    import jax.numpy as jnp

    return {"package": "jax", "fun": jnp.sinc, "ordinary": (normal(149, 4, 3),)}


@case
def np_sort():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x: jnp.sort(x, axis=-1),
        "ordinary": (normal(187, 4, 3),),
    }


@case
def np_square_pow():

    return {"package": "jax", "fun": lambda x: x**2, "ordinary": (normal(180, 4, 3),)}


@case
def np_subtract():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": jnp.subtract,
        "ordinary": (normal(174, 4, 3), normal(175, 4, 3)),
    }


@case
def np_where():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda x, y: jnp.where(x > 0, x * y, x - y),
        "ordinary": (uniform(215, 0.1, 1.0, 4, 3), normal(216, 4, 3)),
    }


@case
def numpyro_invgamma():
    import numpyro.distributions as nd

    return {
        "package": "numpyro",
        "fun": lambda x: nd.InverseGamma(2.5, 1.2).log_prob(x),
        "ordinary": (uniform(415, 0.3, 2.0, 4, 3),),
    }


@case
def numpyro_logistic():
    import numpyro.distributions as nd

    return {
        "package": "numpyro",
        "fun": lambda x: nd.Logistic(0.3, 1.2).log_prob(x),
        "ordinary": (normal(412, 4, 3),),
    }


@case
def optax_huber():
    import optax.losses as ol

    return {
        "package": "optax",
        "fun": ol.huber_loss,
        "ordinary": (normal(330, 4, 3), normal(331, 4, 3)),
    }


@case
def optax_l2():
    import optax.losses as ol

    return {
        "package": "optax",
        "fun": ol.l2_loss,
        "ordinary": (normal(328, 4, 3), normal(329, 4, 3)),
    }


@case
def optax_proj_box():

    return {
        "package": "optax",
        "fun": lambda x: __import__("optax").projections.projection_box(x, 0.0, 1.0),
        "ordinary": (normal(353, 5),),
    }


@case
def optax_ranking():
    import jax.numpy as jnp
    import optax.losses as ol

    return {
        "package": "optax",
        "fun": lambda l: ol.ranking_softmax_loss(l, jnp.array([[1.0, 0.0, 2.0]] * 4)),
        "ordinary": (normal(347, 4, 3),),
    }


@case
def optax_safe_norm():

    return {
        "package": "optax",
        "fun": lambda x: __import__("optax").safe_norm(x, 1e-6),
        "ordinary": (normal(350, 5),),
    }


@case
def optax_smooth():

    return {
        "package": "optax",
        "fun": lambda y: __import__("optax").smooth_labels(y, 0.1),
        "ordinary": (normal(349, 4, 3),),
    }


@case
def optax_sparsemax():
    import jax.numpy as jnp
    import optax.losses as ol

    return {
        "package": "optax",
        "fun": lambda l: ol.sparsemax_loss(l, jnp.array([0, 1, 1])),
        "ordinary": (normal(342, 4, 3),),
    }


@case
def optax_sq():
    import optax.losses as ol

    return {
        "package": "optax",
        "fun": ol.squared_error,
        "ordinary": (normal(334, 4, 3), normal(335, 4, 3)),
    }


@case
def resize_linear():
    import jax

    return {
        "package": "jax",
        "fun": lambda x: jax.image.resize(x, (5, 7), "linear"),
        "ordinary": (normal(307, 3, 4),),
    }


@case
def rlax_huber():

    return {
        "package": "rlax",
        "fun": lambda x: __import__("rlax").huber_loss(x),
        "ordinary": (normal(491, 4, 3),),
    }


@case
def scan_rnn():
    import jax
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda w, x: jax.lax.scan(lambda h, t: (jnp.tanh(w @ h + t),) * 2, jnp.zeros(3), x)[
            1
        ],
        "ordinary": (normal(311, 3, 3), normal(312, 5, 3)),
    }


@case
def slogdet():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": lambda a: jnp.linalg.slogdet(a)[1],
        "ordinary": (positive_definite(228, 4),),
    }


@case
def solve():
    import jax.numpy as jnp

    return {
        "package": "jax",
        "fun": jnp.linalg.solve,
        "ordinary": (positive_definite(224, 4), normal(225, 4, 2)),
    }


@case
def solve_triangular():
    import jax

    return {
        "package": "jax",
        "fun": lambda a, b: jax.scipy.linalg.solve_triangular(a, b, lower=True),
        "ordinary": (positive_definite(237, 4), normal(238, 4, 2)),
    }


@case
def sp_entr():
    import jax.scipy.special as sp

    return {"package": "jax", "fun": sp.entr, "ordinary": (uniform(256, 0.5, 4.0, 4, 3),)}


@case
def sp_exp1():
    import jax.scipy.special as sp

    return {"package": "jax", "fun": sp.exp1, "ordinary": (uniform(270, 0.5, 4.0, 4, 3),)}


@case
def sp_expit():
    import jax.scipy.special as sp

    return {"package": "jax", "fun": sp.expit, "ordinary": (normal(248, 4, 3),)}


@case
def sp_gamma():
    import jax.scipy.special as sp

    return {"package": "jax", "fun": sp.gamma, "ordinary": (uniform(255, 0.5, 4.0, 4, 3),)}


@case
def sp_i1():
    import jax.scipy.special as sp

    return {"package": "jax", "fun": sp.i1, "ordinary": (normal(252, 4, 3),)}


@case
def sp_i1e():
    import jax.scipy.special as sp

    return {"package": "jax", "fun": sp.i1e, "ordinary": (normal(251, 4, 3),)}


@case
def sp_multigammaln():
    import jax.scipy.special as sp

    return {
        "package": "jax",
        "fun": lambda a: sp.multigammaln(a, 2),
        "ordinary": (uniform(274, 1.5, 4.0, 4),),
    }


@case
def sp_owens_t():
    import jax.scipy.special as sp

    return {"package": "jax", "fun": sp.owens_t, "ordinary": (normal(272, 4, 3), normal(273, 4, 3))}


@case
def st_logistic_logpdf():
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda x: st.logistic.logpdf(x),
        "ordinary": (normal(280, 4, 3),),
    }


@case
def st_pareto_logpdf():
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda x: st.pareto.logpdf(x, 2.0, -1.0),
        "ordinary": (uniform(286, 0.3, 2.0, 4, 3),),
    }


@case
def st_poisson():
    import jax.numpy as jnp
    import jax.scipy.stats as st

    return {
        "package": "jax",
        "fun": lambda mu: st.poisson.logpmf(jnp.array([1, 2, 5]), mu),
        "ordinary": (uniform(294, 0.5, 3.0, 4, 3),),
    }


@case
def sumpool():
    import jax

    return {
        "package": "jax",
        "fun": lambda x: jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 2, 2), (1, 1, 1), "SAME"),
        "ordinary": (normal(306, 3, 4, 4),),
    }


@case
def tfp_lbeta():
    import tensorflow_probability.substrates.jax as tfp

    return {
        "package": "tfp-nightly",
        "fun": tfp.math.lbeta,
        "ordinary": (uniform(439, 0.5, 3.0, 4, 3), uniform(440, 0.5, 3.0, 4, 3)),
    }


@case
def tfp_log1psquare():
    import tensorflow_probability.substrates.jax as tfp

    return {"package": "tfp-nightly", "fun": tfp.math.log1psquare, "ordinary": (normal(437, 4, 3),)}


@case
def tfp_log_cosh():
    import tensorflow_probability.substrates.jax as tfp

    return {"package": "tfp-nightly", "fun": tfp.math.log_cosh, "ordinary": (normal(431, 4, 3),)}


@case
def tfp_logerfc():
    import tensorflow_probability.substrates.jax as tfp

    return {"package": "tfp-nightly", "fun": tfp.math.logerfc, "ordinary": (normal(433, 4, 3),)}
