"""Hand-written rules of jax.nn, jax.numpy and jax.experimental.

`__wrapped__` is a function without its `jit`, which calls a rule only when it is traced first.
"""

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "jax"
CASES: list[Case] = []
case = collector(CASES)


# --- jax.nn and jax.numpy -------------------------------------------------------------------------


@case
def relu():
    import jax

    return jax.nn.relu, (normal(4001, 5, 3),)


@case
def relu6():
    import jax

    return jax.nn.relu6, (4 * normal(4002, 5, 3),)


@case
def log1mexp():
    import jax

    return jax.nn.log1mexp, (uniform(4003, 0.2, 3, 5, 3),)


@case
def _softmax():
    # the rule is used with an option of JAX alone
    import jax

    def softmax(x):
        with jax.softmax_custom_jvp(True):
            return jax.nn.softmax(x, axis=0)

    return softmax, (normal(4004, 5, 3),)


@case
def scaled_dot_general_fn():
    # the gradient ignores the rounding of x and y to eight bits, on purpose, and is rounded itself
    import jax

    config = jax.nn.get_scaled_dot_general_config("mxfp8")
    dimensions = (((2,), (2,)), ((0,), (0,)))

    def product(x, y):
        return jax.nn.scaled_dot_general(x, y, dimensions, configs=[config] * 3)

    return product, (normal(4005, 1, 32, 64), normal(4006, 1, 32, 64))


@case
def logaddexp():
    from jax._src.lax import other

    return other.logaddexp, (normal(4007, 5, 3), normal(4008, 5, 3))


@case
def logaddexp2():
    from jax._src.lax import other

    return other.logaddexp2, (normal(4009, 5, 3), normal(4010, 5, 3))


@case
def _hypot():
    import jax.numpy as jnp

    return jnp.hypot.__wrapped__, (normal(4011, 5, 3), normal(4012, 5, 3))


@case
def call_hi_primitive__ldexp():
    import jax.numpy as jnp

    return jnp.ldexp, (normal(4013, 5), jnp.array([1, -2, 0, 3, 1]))


@case
def call_hi_primitive__frexp():
    import jax.numpy as jnp

    return jnp.frexp, (normal(4014, 5),)


@case
def call_hi_primitive__custom_root():
    # x³ + x = p, solved by Newton's method
    import jax
    import jax.numpy as jnp
    from jax import lax

    def root(p):
        def equation(x):
            return x**3 + x - p

        def newton(f, x):
            slope = jax.vmap(jax.grad(lambda x: x**3 + x))
            return lax.fori_loop(0, 80, lambda _, x: x - f(x) / slope(x), x)

        return lax.custom_root(equation, 0 * p, newton, lambda g, y: y / g(jnp.ones_like(y)))

    return root, (normal(4015, 5),)


# --- differential equations -----------------------------------------------------------------------


@case
def _odeint():
    # logistic growth, whose solution is known
    import jax.numpy as jnp
    from jax.experimental.ode import odeint

    def solved(y, times, rate):
        return odeint(lambda y, t, rate: rate * y * (1 - y), y, times, rate, rtol=1e-6, atol=1e-6)

    def solution(y, times, rate):
        growth = jnp.exp(rate * (times - times[0]))[:, None]
        return y * growth / (1 - y + y * growth)

    args = (uniform(4101, 0.2, 0.8, 3), jnp.array([0.1, 0.5, 1.2, 1.5]), jnp.array(0.7))
    return solved, args, {"reference": solution, "rtol": 1e-4}


# --- kernels --------------------------------------------------------------------------------------


@case
def mha():
    from jax.experimental.pallas.ops.gpu import attention

    def attended(q, k, v):
        blocks = attention.BlockSizes(2, 4, 4, 2, 2, 4)
        return attention.mha(q, k, v, None, 0.5, True, blocks, interpret=True)

    def plain(q, k, v):
        return attention.mha_reference(q, k, v, None, 0.5, True)

    return attended, tuple(normal(4200 + i, 1, 8, 2, 4) for i in range(3)), {"reference": plain}


@case
def layer_norm():
    from jax.experimental.pallas.ops.gpu import layer_norm

    args = (normal(4211, 2, 5, 3), normal(4212, 3), normal(4213, 3))
    options = {"reference": lambda x, w, b: layer_norm.layer_norm_reference(x, w, b)}
    return lambda x, w, b: layer_norm.layer_norm(x, w, b, interpret=True), args, options


@case
def rms_norm():
    from jax.experimental.pallas.ops.gpu import rms_norm

    args = (normal(4221, 2, 5, 3), normal(4222, 3), normal(4223, 3))
    options = {"reference": lambda x, w, b: rms_norm.rms_norm_reference(x, w, b)}
    return lambda x, w, b: rms_norm.rms_norm(x, w, b, interpret=True), args, options


@case
def gmm():
    import jax.numpy as jnp
    from jax import lax
    from jax.experimental.pallas.ops.tpu.megablox.ops import gmm

    sizes = jnp.array([8, 5, 11])

    def product(x, w):
        return gmm(x, w, sizes, jnp.float32, (8, 8, 8), None, None, False, True)

    args = (normal(4231, 24, 8), normal(4232, 3, 8, 16))
    return product, args, {"reference": lambda x, w: lax.ragged_dot(x, w, sizes)}


@case
def _mha_reference():
    from jax.experimental.pallas.ops.tpu import flash_attention

    def attended(q, k, v, bias):
        return flash_attention.mha_reference.__wrapped__(q, k, v, bias, None, True)

    qkv = tuple(normal(4240 + i, 1, 2, 5, 3) for i in range(3))
    return attended, (*qkv, normal(4243, 1, 2, 5, 5))


@case
def _attention_reference():
    import jax.numpy as jnp
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash

    def attended(q, k, v):
        mask = jnp.tril(jnp.ones((5, 7), bool))
        return splash.attention_reference_custom(mask, q, k, v, None, attn_logits_soft_cap=2.0)

    return attended, (normal(4261, 5, 3), normal(4262, 7, 3), normal(4263, 7, 3))


@case
def _splash_attention_custom():
    import jax
    import jax.numpy as jnp
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_kernel as splash,
        splash_attention_mask as masks,
    )

    def attended(q, k, v):
        mask = masks.MultiHeadMask([masks.CausalMask((128, 128))])
        kernel = splash.make_splash_mha_single_device(mask, interpret=True)
        infos = kernel.fwd_mask_info, kernel.dq_mask_info, kernel.dkv_mask_info
        return splash._splash_attention.__wrapped__(*infos, q, k, v, **kernel.kwargs)

    def plain(q, k, v):
        mask = jnp.tril(jnp.ones((128, 128), bool))
        return jax.vmap(lambda q, k, v: splash.attention_reference(mask, q, k, v, None))(q, k, v)

    return attended, tuple(normal(4270 + i, 1, 128, 128) for i in range(3)), {"reference": plain}


# --- sparse matrices ------------------------------------------------------------------------------


def pattern():
    """Return the indices of six entries of a matrix of 4 rows and 5 columns."""
    import jax.numpy as jnp

    return jnp.array([[0, 1], [0, 4], [1, 0], [2, 2], [3, 1], [3, 3]])


def row_pattern():
    """Return the columns of the same entries, and where each row begins."""
    import jax.numpy as jnp

    return jnp.array([1, 4, 0, 2, 1, 3]), jnp.array([0, 2, 3, 4, 6])


@case
def bcoo_todense():
    from jax.experimental import sparse

    return lambda x: sparse.BCOO((x, pattern()), shape=(4, 5)).todense(), (normal(4301, 6),)


@case
def bcoo_fromdense():
    # entries that are zero are left out and have no gradient, on purpose
    from jax.experimental import sparse

    return lambda m: sparse.BCOO.fromdense(m, nse=12).data, (normal(4302, 4, 3),)


@case
def bcoo_extract():
    import jax.numpy as jnp
    from jax.experimental import sparse

    def extracted(m):
        places = sparse.BCOO((jnp.ones(6), pattern()), shape=(4, 5), unique_indices=True)
        return sparse.bcoo_extract(places, m).data

    return extracted, (normal(4303, 4, 5),)


@case
def bcoo_transpose():
    from jax.experimental import sparse

    def transposed(x):
        matrices = sparse.BCOO((x, pattern()[None].repeat(2, 0)), shape=(2, 4, 5, 3))
        return sparse.bcoo_transpose(matrices, permutation=(0, 2, 1, 3)).data

    return transposed, (normal(4304, 2, 6, 3),)


@case
def bcoo_dot_general():
    from jax.experimental import sparse

    def product(x, y):
        return sparse.BCOO((x, pattern()), shape=(4, 5)) @ y

    return product, (normal(4305, 6), normal(4306, 5, 3))


@case
def bcoo_dot_general_sampled():
    from jax.experimental import sparse

    def product(x, y):
        dimensions = (((1,), (0,)), ((), ()))
        return sparse.bcoo_dot_general_sampled(x, y, pattern(), dimension_numbers=dimensions)

    return product, (normal(4307, 4, 3), normal(4308, 3, 5))


@case
def bcoo_sort_indices():
    from jax.experimental import sparse

    def sorted_data(x):
        return sparse.BCOO((x, pattern()[::-1]), shape=(4, 5)).sort_indices().data

    return sorted_data, (normal(4311, 6),)


@case
def bcoo_sum_duplicates():
    import jax.numpy as jnp
    from jax.experimental import sparse

    def summed(x):
        twice = jnp.concatenate([pattern(), pattern()[2:4]])
        return sparse.BCOO((x, twice), shape=(4, 5)).sum_duplicates(nse=6).data

    return summed, (normal(4312, 8),)


@case
def bcsr_todense():
    from jax.experimental import sparse

    return lambda x: sparse.BCSR((x, *row_pattern()), shape=(4, 5)).todense(), (normal(4313, 6),)


@case
def bcsr_fromdense():
    # as with bcoo_fromdense, entries that are zero have no gradient
    from jax.experimental import sparse

    return lambda m: sparse.BCSR.fromdense(m, nse=12).data, (normal(4314, 4, 3),)


@case
def bcsr_extract():
    from jax.experimental import sparse

    return lambda m: sparse.bcsr_extract(*row_pattern(), m), (normal(4315, 4, 5),)


@case
def bcsr_dot_general():
    from jax.experimental import sparse

    def product(x, y):
        return sparse.BCSR((x, *row_pattern()), shape=(4, 5)) @ y

    return product, (normal(4316, 6), normal(4317, 5, 3))


@case
def coo_todense():
    from jax.experimental import sparse

    return lambda x: sparse.COO((x, *pattern().T), shape=(4, 5)).todense(), (normal(4318, 6),)


@case
def coo_fromdense():
    # as with bcoo_fromdense, entries that are zero have no gradient
    from jax.experimental import sparse

    return lambda m: sparse.COO.fromdense(m, nse=12).data, (normal(4319, 4, 3),)


@case
def coo_matvec():
    from jax.experimental import sparse

    def product(x, y):
        return sparse.COO((x, *pattern().T), shape=(4, 5)) @ y

    return product, (normal(4320, 6), normal(4321, 5))


@case
def coo_matmat():
    from jax.experimental import sparse

    def product(x, y):
        return sparse.COO((x, *pattern().T), shape=(4, 5)).T @ y

    return product, (normal(4322, 6), normal(4323, 4, 3))


@case
def csr_todense():
    from jax.experimental import sparse

    return lambda x: sparse.CSR((x, *row_pattern()), shape=(4, 5)).todense(), (normal(4324, 6),)


@case
def csr_fromdense():
    # as with bcoo_fromdense, entries that are zero have no gradient
    from jax.experimental import sparse

    return lambda m: sparse.CSR.fromdense(m, nse=12).data, (normal(4325, 4, 3),)


@case
def csr_matvec():
    from jax.experimental import sparse

    def product(x, y):
        return sparse.CSR((x, *row_pattern()), shape=(4, 5)) @ y

    return product, (normal(4326, 6), normal(4327, 5))


@case
def csr_matmat():
    from jax.experimental import sparse

    def product(x, y):
        return sparse.CSR((x, *row_pattern()), shape=(4, 5)).T @ y

    return product, (normal(4328, 6), normal(4329, 4, 3))


@case
def todense():
    from jax.experimental import sparse

    def dense(x):
        return sparse.todense(sparse.BCOO((x, pattern()), shape=(4, 5)))

    return dense, (normal(4330, 6),)


@case
def spsolve():
    # a tridiagonal matrix, with 5 on its diagonal
    import jax.numpy as jnp
    from jax.experimental.sparse import linalg

    columns, rows = jnp.array([0, 1, 0, 1, 2, 1, 2, 3, 2, 3]), jnp.array([0, 2, 5, 8, 10])

    def solved(x, b):
        return linalg.spsolve(x.at[jnp.array([0, 3, 6, 9])].set(5.0), columns, rows, b)

    return solved, (normal(4331, 10), normal(4332, 4))
