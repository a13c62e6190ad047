"""Correct rules, fcjax's own and other libraries': on none of them may the checker raise an alarm.

`RULES` is the table and `available()` the part of it whose packages are installed. A rule is built
when it is asked for, so that importing the table imports nothing but JAX and fcjax.
"""

import functools
import importlib
import importlib.util
import itertools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.custom_partitioning import custom_partitioning

import fcjax


class CorrectRule(NamedTuple):
    """A function whose gradient is right, and where to check it.

    `make(seed, size)` returns the function and its arguments, in float32, for one of three sizes.
    `reference` is a function with the same arguments that autodiff differentiates rightly, for
    rules whose primal it cannot. `requires` names the modules that must be importable, `dtypes`
    the dtypes that the function is meant for. `expected` maps the name of a check to the argument
    whose gradient departs from the derivative there, and is meant to.
    """

    name: str
    make: Callable[[int, int], tuple[Callable[..., Any], tuple]]
    reference: Callable[..., Any] | None = None
    kwargs: Mapping[str, Any] | None = None
    origin: str = "own"
    requires: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ("float32", "float64")
    expected: Mapping[str, str] = {}


RULES: list[CorrectRule] = []

ALL_DTYPES = ("float32", "bfloat16", "float16", "float64")


def available() -> list[Any]:
    """The rules whose packages are installed, for `pytest.mark.parametrize`."""
    return [
        pytest.param(rule, id=f"{rule.origin}-{rule.name}")
        for rule in RULES
        if all(importlib.util.find_spec(module) for module in rule.requires)
    ]


def entry(origin="own", requires=None, **options):
    """Add `draw(rng, size)`, which returns a function and its arguments, under its own name."""
    if requires is None:
        requires = () if origin in ("own", "fcjax", "jax") else (origin,)

    def add(draw):
        def make(seed, size):
            return draw(np.random.default_rng(seed), size)

        name = draw.__name__.strip("_")
        RULES.append(CorrectRule(name, make, origin=origin, requires=requires, **options))
        return draw

    return add


def elementwise(origin, functions, requires=None, shapes=None, **options):
    """Add functions of one array: from names to (function, how to draw its argument)."""
    for name, (fun, draw) in functions.items():

        def one(rng, size, fun=fun, draw=draw):
            return fun, (draw(rng, *(shapes or SHAPES)[size]),)

        one.__name__ = name
        entry(origin, requires, **options)(one)


# Rectangular, of primes, and with two batch dimensions.
SHAPES = ((4, 6), (5, 7), (3, 11, 13))
# The last of them is as wide as a real layer.
WIDE = ((4, 6), (5, 7), (64, 1000))
# X (m, n_in) and W (n_in, n_out).
LAYERS = ((4, 3, 2), (5, 7, 11), (32, 1000, 1000))
SIDES = (3, 5, 7)


def array(values):
    # rounded by NumPy, so that the numbers are the same with and without 64-bit types
    return jnp.asarray(np.asarray(values, np.float32))


def normal(rng, *shape, scale=1.0):
    return array(scale * rng.standard_normal(shape))


def uniform(low, high):
    return lambda rng, *shape: array(rng.uniform(low, high, shape))


positive, probability = uniform(0.3, 3.0), uniform(0.1, 0.9)


def apart(rng, *shape):
    """Normal numbers that keep 0.05 from 0, for functions with a kink there."""
    values = rng.standard_normal(shape)
    return array(values + 0.05 * np.sign(values))


def spread(rng, *shape):
    """Numbers of which no two in a row are closer than 0.2: their order is beyond doubt."""
    return array(0.4 * rng.permuted(np.tile(np.arange(shape[-1]), (*shape[:-1], 1)), axis=-1)) + (
        uniform(-0.1, 0.1)(rng, *shape)
    )


def layer(rng, size, *, bias=True):
    """X, W and b; the products have the size of a normal number at any width."""
    m, n_in, n_out = LAYERS[size]
    x, w = normal(rng, m, n_in), normal(rng, n_in, n_out, scale=n_in**-0.5)
    return (x, w, normal(rng, n_out)) if bias else (x, w)


def well_conditioned(rng, n):
    """A matrix whose inverse has entries of size one."""
    return array(rng.standard_normal((n, n)) / (2 * n**0.5) + 1.5 * np.eye(n))


def positive_definite(rng, n):
    a = rng.standard_normal((n, n)) / n**0.5
    return array(a @ a.T + np.eye(n))


def module(name):
    """Import a library; what it deprecates of itself is no concern of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


# --- JAX: functions of one array ------------------------------------------------------------------

elementwise(
    "jax",
    {
        "relu": (jax.nn.relu, apart),
        "relu6": (jax.nn.relu6, functools.partial(normal, scale=4.0)),
        "log1mexp": (jax.nn.log1mexp, positive),
        # near 0 its derivative cancels, hundreds of roundings in float32
        "sinc": (jnp.sinc, positive),
        "i0": (jnp.i0, normal),
        "logit": (jax.scipy.special.logit, probability),
        "entr": (jax.scipy.special.entr, positive),
        "log_ndtr": (jax.scipy.special.log_ndtr, normal),
        "sici": (jax.scipy.special.sici, positive),
        "fresnel": (jax.scipy.special.fresnel, normal),
    },
)
elementwise(
    "jax",
    {
        "softmax": (jax.nn.softmax, normal),
        # no rule of its own, but a residual under stop_gradient
        "logsumexp": (functools.partial(jax.nn.logsumexp, axis=-1), normal),
    },
    shapes=WIDE,
)


# --- JAX: functions of several arrays, and of matrices --------------------------------------------


@entry("jax")
def logaddexp(rng, size):
    return jnp.logaddexp, (normal(rng, *SHAPES[size]), normal(rng, *SHAPES[size]))


@entry("jax")
def logaddexp2(rng, size):
    return jnp.logaddexp2, (normal(rng, *SHAPES[size]), normal(rng, *SHAPES[size][1:]))


@entry("jax")
def xlogy(rng, size):
    args = normal(rng, *SHAPES[size]), positive(rng, *SHAPES[size])
    return jax.scipy.special.xlogy, args


@entry("jax")
def xlog1py(rng, size):
    args = normal(rng, *SHAPES[size]), positive(rng, *SHAPES[size])
    return jax.scipy.special.xlog1py, args


@entry("jax")
def frexp_mantissa_and_exponent(rng, size):
    # the exponent is an integer: an output without a gradient
    return jnp.frexp, (uniform(1.1, 1.9)(rng, *SHAPES[size]),)


@entry("jax")
def determinant(rng, size):
    return jnp.linalg.det, (well_conditioned(rng, SIDES[size]),)


@entry("jax")
def slogdet(rng, size):
    n = SIDES[size]
    matrices = [well_conditioned(rng, n) for _ in range(3)]
    return jnp.linalg.slogdet, (jnp.stack(matrices),)


@entry("jax")
def pseudo_inverse(rng, size):
    n = SIDES[size]
    a = rng.standard_normal((n + 2, n)) / (2 * n**0.5) + 1.5 * np.eye(n + 2, n)
    return jnp.linalg.pinv, (array(a),)


# --- JAX: what takes a rule, with rules for it ----------------------------------------------------


@entry("jax", dtypes=ALL_DTYPES)
def checkpoint(rng, size):
    @functools.partial(jax.checkpoint, policy=jax.checkpoint_policies.dots_saveable)
    def block(x, w, b):
        return jnp.tanh(jnp.sin(x) @ w + b)

    return block, layer(rng, size)


@entry("jax")
def custom_gradient(rng, size):
    @jax.custom_gradient
    def log_cosh(x):
        return jnp.logaddexp(x, -x) - jnp.log(2.0), lambda dy: dy * jnp.tanh(x)

    return log_cosh, (normal(rng, *SHAPES[size]),)


@entry("jax")
def linear_call(rng, size):
    def product(x, a):
        transpose = lambda a, dy: dy @ a  # noqa: E731
        return jax.custom_derivatives.linear_call(lambda a, y: y @ a.T, transpose, a, jnp.cos(x))

    m, n_in, n_out = LAYERS[min(size, 1)]
    # by a, which is no linear argument, linear_call has no derivative
    a = normal(rng, n_out, n_in)
    return lambda x: product(x, a.astype(x.dtype)), (normal(rng, m, n_in),)


@entry("jax", reference=lambda a, b: jnp.linalg.solve(a, b))
def custom_linear_solve(rng, size):
    def solve(a, b):
        def gauss(_, b):
            return jnp.linalg.solve(lax.stop_gradient(a), b)

        def transposed(_, b):
            return jnp.linalg.solve(lax.stop_gradient(a).T, b)

        return lax.custom_linear_solve(lambda x: a @ x, b, gauss, transpose_solve=transposed)

    n = SIDES[size]
    return solve, (well_conditioned(rng, n), normal(rng, n))


def cubic(y):
    return y + y**3


def cubic_inverse(x):
    """The root y of y + y³ = x, by Cardano's formula."""
    return 2 / 3**0.5 * jnp.sinh(jnp.arcsinh(1.5 * 3**0.5 * x) / 3)


def newton(x):
    """The same root, by as many steps as it takes."""
    tiny = 4 * float(jnp.finfo(x.dtype).eps)

    def unfinished(state):
        y, step, i = state
        return (i < 100) & jnp.any(jnp.abs(step) > tiny * jnp.abs(y))

    def improve(state):
        y, _, i = state
        step = (cubic(y) - x) / (1 + 3 * y**2)
        return y - step, step, i + 1

    return lax.while_loop(unfinished, improve, (x, jnp.ones_like(x), 0))[0]


@entry("jax", reference=cubic_inverse)
def custom_root(rng, size):
    def root(x):
        # elementwise: the Jacobian is a diagonal, which g(1) gives
        return lax.custom_root(
            lambda y: cubic(y) - x,
            jnp.zeros_like(x),
            lambda _, __: newton(lax.stop_gradient(x)),
            lambda g, y: y / g(jnp.ones_like(y)),
        )

    return root, (normal(rng, *SHAPES[size]),)


@entry("jax")
def closure_convert(rng, size):
    """The rule of a function that takes a closure; what it closes over gets its gradient too."""

    @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
    def twice(f, x, *closed):
        return f(f(x, *closed), *closed)

    def twice_fwd(f, x, *closed):
        y = f(x, *closed)
        return f(y, *closed), (x, y, closed)

    def twice_bwd(f, kept, dy):
        x, y, closed = kept
        dy, *outer = jax.vjp(f, y, *closed)[1](dy)
        dx, *inner = jax.vjp(f, x, *closed)[1](dy)
        return (dx, *jax.tree.map(jnp.add, outer, inner))

    twice.defvjp(twice_fwd, twice_bwd)

    def fun(x, w):
        f, closed = jax.closure_convert(lambda v: jnp.tanh(v @ w), x)
        return twice(f, x, *closed)

    n = SIDES[size]
    return fun, (normal(rng, 4, n), normal(rng, n, n))


def _attention_inputs(rng, size):
    batch, heads, queries, keys, width = ((1, 2, 3, 4, 5), (2, 3, 5, 7, 11), (3, 2, 32, 32, 16))[
        size
    ]
    q = normal(rng, batch, heads, queries, width, scale=width**-0.5)
    k, v = normal(rng, batch, heads, keys, width), normal(rng, batch, heads, keys, width)
    return q, k, v, normal(rng, batch, heads, queries, keys)


def attention(q, k, v, bias):
    return jax.nn.softmax(q @ jnp.swapaxes(k, -1, -2) + bias) @ v


@entry("jax", dtypes=("float32",))
def flash_attention_reference(rng, size):
    flash = module("jax.experimental.pallas.ops.tpu.flash_attention")

    def fun(q, k, v, bias):
        return flash.mha_reference(q, k, v, bias, causal=False)

    return fun, _attention_inputs(rng, size)


def _norm_inputs(rng, size):
    batch, rows, width = ((1, 4, 6), (2, 5, 7), (3, 11, 13))[size]
    return normal(rng, batch, rows, width), normal(rng, width), normal(rng, width)


def rms_normalized(x, weight, bias):
    return x * lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-5) * weight + bias


def normalized(x, weight, bias):
    centred = x - jnp.mean(x, -1, keepdims=True)
    return rms_normalized(centred, weight, bias)


@entry("jax", reference=rms_normalized, dtypes=("float32",))
def pallas_rms_norm(rng, size):
    kernels = module("jax.experimental.pallas.ops.gpu.rms_norm")

    def fun(x, weight, bias):
        return kernels.rms_norm(x, weight, bias, interpret=True)

    return fun, _norm_inputs(rng, size)


@entry("jax", reference=normalized, dtypes=("float32",))
def pallas_layer_norm(rng, size):
    kernels = module("jax.experimental.pallas.ops.gpu.layer_norm")

    def fun(x, weight, bias):
        return kernels.layer_norm(x, weight, bias, interpret=True)

    return fun, _norm_inputs(rng, size)


# --- Optax ----------------------------------------------------------------------------------------


@entry("optax")
def weighted_logsoftmax(rng, size):
    losses = module("optax.losses")
    args = normal(rng, *SHAPES[size]), positive(rng, *SHAPES[size])
    return losses._classification.weighted_logsoftmax, args


@entry("optax")
def safe_softmax_cross_entropy(rng, size):
    losses = module("optax.losses")
    return losses.safe_softmax_cross_entropy, (
        normal(rng, *WIDE[size]),
        jax.nn.softmax(normal(rng, *WIDE[size])),
    )


@entry("optax")
def projection_simplex(rng, size):
    return module("optax.projections").projection_simplex, (normal(rng, (3, 7, 101)[size]),)


@entry("optax")
def projection_l1_ball(rng, size):
    # of a vector far outside of the ball, by way of the simplex
    return module("optax.projections").projection_l1_ball, (apart(rng, (3, 7, 101)[size]),)


@entry("optax")
def multiclass_sparsemax_loss(rng, size):
    m, n = SHAPES[size][-2:]
    labels = jnp.asarray(rng.integers(0, n, m), jnp.int32)
    return module("optax.losses").multiclass_sparsemax_loss, (normal(rng, m, n), labels)


@entry(
    "optax",
    expected={"vjp": "inputs"},
)
def scale_gradient(rng, size):
    """Hand the values through, and half of the gradient."""
    return module("optax").scale_gradient, (normal(rng, *SHAPES[size]), 0.5)


# --- Equinox, Lineax, Optimistix ------------------------------------------------------------------


@entry("equinox")
def filter_custom_vjp(rng, size):
    eqx = module("equinox")

    @eqx.filter_custom_vjp
    def gated(x, gate, slope):
        # a slope, which is no array, goes by keyword
        return jnp.sin(x) * jax.nn.sigmoid(slope * gate)

    @gated.def_fwd
    def gated_fwd(perturbed, x, gate, slope):
        del perturbed
        s = jax.nn.sigmoid(slope * gate)
        return jnp.sin(x) * s, s

    @gated.def_bwd
    def gated_bwd(s, dy, perturbed, x, gate, slope):
        del perturbed, gate
        return jnp.cos(x) * s * dy

    gate = normal(rng, *SHAPES[size])

    def fun(x):
        return gated(x, gate=gate.astype(x.dtype), slope=0.7)

    return fun, (normal(rng, *SHAPES[size]),)


@entry("equinox")
def filter_custom_jvp(rng, size):
    eqx = module("equinox")

    @eqx.filter_custom_jvp
    def power(x, exponent, name):
        del name
        return x**exponent

    @power.def_jvp
    def power_jvp(primals, tangents):
        x, exponent, name = primals
        tx, te, tn = tangents
        assert tn is None
        y = power(x, exponent, name)
        along_x = 0 if tx is None else exponent * x ** (exponent - 1) * tx
        along_exponent = 0 if te is None else y * jnp.log(jnp.where(x == 0, 1, x)) * te
        return y, along_x + along_exponent

    args = positive(rng, *SHAPES[size]), positive(rng, *SHAPES[size])
    return lambda x, exponent: power(x, exponent, "power"), args


def _iterated(x, w):
    for _ in range(5):
        x = jnp.tanh(x @ w) + x
    return x


@entry("equinox", reference=_iterated)
def checkpointed_while_loop(rng, size):
    internal = module("equinox.internal")

    def fun(x, w):
        def step(state):
            i, v = state
            return i + 1, jnp.tanh(v @ w) + v

        start = (jnp.asarray(0, jnp.int32), x)
        return internal.while_loop(
            lambda state: state[0] < 5, step, start, kind="checkpointed", checkpoints=2
        )[1]

    n = SIDES[size]
    return fun, (normal(rng, 4, n), normal(rng, n, n, scale=0.5))


@entry("equinox")
def network_with_relu_and_dropout(rng, size):
    eqx = module("equinox")
    m, n_in, n_out = LAYERS[min(size, 1)]
    key = jax.random.key(int(rng.integers(1 << 20)))
    network = eqx.nn.MLP(n_in, n_out, 8, 2, key=key)
    arrays, static = eqx.partition(network, eqx.is_array)
    dropout = eqx.nn.Dropout(0.3)

    def fun(parameters, x, key):
        outputs = jax.vmap(eqx.combine(parameters, static))(dropout(x, key=key))
        return jnp.mean(outputs**2)

    return fun, (arrays, normal(rng, m, n_in), key)


@entry("lineax")
def two_norm(rng, size):
    norm = module("lineax.internal").two_norm
    tree = {"a": normal(rng, *SHAPES[size]), "b": normal(rng, 3)}
    return norm, (tree,)


@entry("lineax")
def max_norm(rng, size):
    return module("lineax.internal").max_norm, (spread(rng, *SHAPES[size][:1]),)


@entry("lineax", reference=lambda a, b: jnp.linalg.lstsq(a, b)[0])
def least_squares(rng, size):
    lx = module("lineax")
    n = SIDES[size]
    a = array(rng.standard_normal((n + 3, n)) / (2 * n**0.5) + 1.5 * np.eye(n + 3, n))

    def fun(a, b):
        return lx.linear_solve(lx.MatrixLinearOperator(a), b, lx.QR()).value

    return fun, (a, normal(rng, n + 3))


@entry("lineax", reference=lambda a, b: jnp.linalg.solve(a + a.T, b))
def cholesky_solve(rng, size):
    lx = module("lineax")

    def fun(a, b):
        operator = lx.MatrixLinearOperator(a + a.T, lx.positive_semidefinite_tag)
        return lx.linear_solve(operator, b, lx.Cholesky()).value

    n = SIDES[size]
    return fun, (positive_definite(rng, n), normal(rng, n))


@entry("optimistix", reference=cubic_inverse)
def root_find(rng, size):
    optx = module("optimistix")

    def fun(x):
        solver = optx.Newton(rtol=8 * float(jnp.finfo(x.dtype).eps), atol=1e-30)
        solved = optx.root_find(lambda y, x: cubic(y) - x, solver, x, args=x, throw=False)
        return solved.value

    return fun, (positive(rng, (3, 5, 11)[size]),)


# --- OTT, JAXopt, Tokamax -------------------------------------------------------------------------


@entry("ott", requires=("ott",))
def softmin(rng, size):
    # gamma is a parameter of the rule, without a gradient
    utilities = module("ott.math.utils")
    return lambda x: utilities.softmin(x, 0.3, -1), (normal(rng, *SHAPES[size]),)


@entry("ott", requires=("ott",))
def weighted_logsumexp(rng, size):
    utilities = module("ott.math.utils")
    args = normal(rng, *SHAPES[size]), positive(rng, *SHAPES[size])
    return lambda x, b: utilities.logsumexp(x, axis=-1, b=b), args


@entry("ott", requires=("ott",))
def norm_without_nan(rng, size):
    utilities = module("ott.math.utils")
    return lambda x: utilities.norm(x, axis=-1), (normal(rng, *SHAPES[size]),)


@entry("ott", requires=("ott",))
def legendre_transform(rng, size):
    """Danskin's theorem for sup_q ⟨q, z⟩ − h(q), here with h(q) = ½‖q‖² + λ‖q‖₁."""
    costs = module("ott.geometry.costs")
    proximal = module("ott.geometry.regularizers")
    cost = costs.RegTICost(proximal.L1(), lam=0.1)
    return cost.h_legendre, (apart(rng, (3, 7, 101)[size]),)


@entry("jaxopt")
def projection_sparse_simplex(rng, size):
    projection = module("jaxopt.projection").projection_sparse_simplex
    n, most = ((4, 2), (7, 3), (101, 10))[size]
    return lambda x: projection(x, most), (spread(rng, n),)


def _linear_cross_entropy(x, labels, weights):
    log_p = jax.nn.log_softmax(x @ weights)
    return -jnp.sum(jnp.take_along_axis(log_p, labels[:, None], axis=-1))


@entry("tokamax", reference=_linear_cross_entropy, dtypes=("float32",))
def linear_softmax_cross_entropy_loss(rng, size):
    loss = module("tokamax").linear_softmax_cross_entropy_loss
    m, _, n_out = LAYERS[size]
    x, w = layer(rng, size, bias=False)
    labels = jnp.asarray(rng.integers(0, n_out, m), jnp.int32)

    def fun(x, labels, weights):
        return loss(x, labels, weights, implementation="xla")

    return fun, (x, labels, w)


@entry("tokamax", dtypes=("float32",))
def layer_norm_of_tokamax(rng, size):
    tokamax = module("tokamax")
    n = WIDE[size][-1]

    def fun(x, scale, offset):
        return tokamax.layer_norm(x, scale, offset, implementation="xla")

    return fun, (normal(rng, *WIDE[size]), normal(rng, n), normal(rng, n))


@entry("tokamax", dtypes=("float32",))
def gated_linear_unit(rng, size):
    tokamax = module("tokamax")
    m, n_in, n_out = LAYERS[min(size, 1)]

    def fun(x, weights):
        return tokamax.gated_linear_unit(x, weights, activation=jax.nn.swish, implementation="xla")

    return fun, (normal(rng, m, n_in), normal(rng, n_in, 2, n_out))


# --- fcjax ----------------------------------------------------------------------------------------

elementwise(
    "fcjax",
    {
        "tanh": (fcjax.tanh, normal),
        "gelu": (fcjax.gelu, normal),
        "elu": (fcjax.elu, apart),
        "mish": (fcjax.mish, normal),
        "log_sigmoid": (fcjax.log_sigmoid, normal),
        "glu": (fcjax.glu, lambda rng, *shape: normal(rng, *shape[:-1], 2 * shape[-1])),
    },
    dtypes=ALL_DTYPES,
)
elementwise("fcjax", {"softmax": (fcjax.softmax, normal)}, shapes=WIDE, dtypes=ALL_DTYPES)


@entry("fcjax", dtypes=ALL_DTYPES)
def dense(rng, size):
    return fcjax.dense, layer(rng, size)


@entry("fcjax", dtypes=ALL_DTYPES)
def dense_without_bias(rng, size):
    return fcjax.dense, layer(rng, size, bias=False)


@entry("fcjax", dtypes=ALL_DTYPES)
def dense_with_two_batch_dimensions(rng, size):
    _, w, b = layer(rng, min(size, 1))
    return fcjax.dense, (normal(rng, 3, 5, len(w)), w, b)


@entry("fcjax", kwargs={"compute_dtype": jnp.bfloat16}, dtypes=("float32", "bfloat16"))
def dense_in_bfloat16(rng, size):
    return fcjax.dense, layer(rng, size)


@entry("fcjax", dtypes=ALL_DTYPES)
def layer_norm(rng, size):
    n = WIDE[size][-1]
    return fcjax.layer_norm, (normal(rng, *WIDE[size]), normal(rng, n), normal(rng, n))


@entry("fcjax", dtypes=ALL_DTYPES)
def rms_norm(rng, size):
    return fcjax.rms_norm, (normal(rng, *SHAPES[size]), normal(rng, SHAPES[size][-1]))


@entry("fcjax", dtypes=ALL_DTYPES)
def dropout(rng, size):
    return fcjax.dropout, (normal(rng, *SHAPES[size]), 0.3, jax.random.key(size))


@entry("fcjax", kwargs={"reduction": "none"})
def squared_error_of_each(rng, size):
    return fcjax.squared_error, (normal(rng, *SHAPES[size]), normal(rng, *SHAPES[size]))


@entry("fcjax", kwargs={"label_smoothing": 0.1})
def softmax_cross_entropy_with_smoothing(rng, size):
    m, n = SHAPES[size][-2:]
    labels = jnp.asarray(rng.integers(0, n, m), jnp.int32)
    return fcjax.softmax_cross_entropy, (normal(rng, m, n), labels)


@entry("fcjax")
def softmax_cross_entropy_of_soft_labels(rng, size):
    labels = jax.nn.softmax(normal(rng, *WIDE[size]))
    return fcjax.softmax_cross_entropy, (normal(rng, *WIDE[size]), labels)


@entry("fcjax")
def binary_cross_entropy(rng, size):
    return fcjax.binary_cross_entropy, (
        probability(rng, *SHAPES[size]),
        probability(rng, *SHAPES[size]),
    )


@entry("fcjax")
def weighted_huber(rng, size):
    shape = SHAPES[size]

    def fun(pred, target, weights):
        return fcjax.huber(pred, target, weights=weights)

    args = normal(rng, *shape, scale=2.0), normal(rng, *shape), positive(rng, *shape[:-1])
    return fun, args


def _network(rng, size):
    sizes = ((3, 5, 2), (7, 11, 5, 3), (784, 1000, 10))[size]
    params = tuple(
        fcjax.Layer(normal(rng, n_in, n_out, scale=n_in**-0.5), normal(rng, n_out))
        for n_in, n_out in itertools.pairwise(sizes)
    )
    m = (4, 5, 32)[size]
    labels = jnp.asarray(rng.integers(0, sizes[-1], m), jnp.int32)
    return params, normal(rng, m, sizes[0]), labels


def network_loss(params, x, labels):
    return fcjax.softmax_cross_entropy(fcjax.mlp(params, x, activations="gelu"), labels)


@entry("fcjax")
def network(rng, size):
    return network_loss, _network(rng, size)


@entry("fcjax")
def network_under_jit(rng, size):
    return jax.jit(network_loss), _network(rng, size)


@entry("fcjax")
def network_under_checkpoint(rng, size):
    return jax.checkpoint(network_loss), _network(rng, min(size, 1))


@entry("fcjax")
def network_one_example_at_a_time(rng, size):
    def fun(params, x, labels):
        one = lambda x, label: network_loss(params, x[None], label[None])  # noqa: E731
        return jax.vmap(one)(x, labels)

    return fun, _network(rng, min(size, 1))


@entry("fcjax")
def layers_under_scan(rng, size):
    def fun(w, b, x):
        step = lambda a, layer: (fcjax.tanh(fcjax.dense(a, *layer)), None)  # noqa: E731
        return lax.scan(step, x, (w, b))[0]

    n, depth = SIDES[size], 4
    w = normal(rng, depth, n, n, scale=n**-0.5)
    return fun, (w, normal(rng, depth, n), normal(rng, 6, n))


# --- written here: what goes in and out -----------------------------------------------------------


@jax.custom_vjp
def affine_of_trees(params, inputs):
    z = inputs["x"] @ params["w"] + params["b"]
    return {"z": z, "squares": (z**2).sum(-1)}


def _affine_of_trees_fwd(params, inputs):
    out = affine_of_trees.__wrapped__(params, inputs)
    return out, (params, inputs, out["z"])


def _affine_of_trees_bwd(kept, d):
    params, inputs, z = kept
    dz = d["z"] + 2 * z * d["squares"][:, None]
    dparams = {"w": inputs["x"].T @ dz, "b": dz.sum(0)}
    return dparams, {"x": dz @ params["w"].T, "unused": None}


affine_of_trees.defvjp(_affine_of_trees_fwd, _affine_of_trees_bwd)


@entry()
def trees(rng, size):
    x, w, b = layer(rng, min(size, 1))
    return affine_of_trees, ({"w": w, "b": b}, {"x": x, "unused": None})


@entry()
def empty_batch(rng, size):
    m, n_in, n_out = ((0, 3, 2), (4, 0, 5), (3, 7, 0))[size]
    args = {"w": normal(rng, n_in, n_out), "b": normal(rng, n_out)}, {"x": normal(rng, m, n_in)}
    return lambda params, inputs: affine_of_trees(params, inputs | {"unused": None}), args


@jax.custom_vjp
def statistics(x):
    mean = x.mean(-1)
    return mean, ((x - mean[..., None]) ** 2).mean(-1), jnp.argmax(x, -1)


def _statistics_fwd(x):
    return statistics.__wrapped__(x), x


def _statistics_bwd(x, d):
    # the third cotangent is that of an integer: of dtype float0, and without a meaning
    dmean, dvariance, _ = d
    centred = x - x.mean(-1, keepdims=True)
    return ((dmean[..., None] + 2 * centred * dvariance[..., None]) / x.shape[-1],)


statistics.defvjp(_statistics_fwd, _statistics_bwd)


@entry()
def several_outputs(rng, size):
    return statistics, (spread(rng, *SHAPES[size]),)


@jax.custom_vjp
def embedding(table, ids):
    return table[ids]


def _embedding_bwd(kept, dy):
    table, ids = kept
    return jnp.zeros_like(table).at[ids].add(dy), None


embedding.defvjp(lambda table, ids: (table[ids], (table, ids)), _embedding_bwd)


@entry(dtypes=ALL_DTYPES)
def integer_argument(rng, size):
    rows, width = SHAPES[size][-2:]
    # some rows several times, some never
    ids = jnp.asarray(rng.integers(0, rows - 1, (3, rows)), jnp.int32)
    return embedding, (normal(rng, rows, width), ids)


@jax.custom_vjp
def noisy(x, key):
    return x * jnp.exp(jax.random.normal(key, x.shape, x.dtype))


noisy.defvjp(lambda x, key: (noisy(x, key), key), lambda key, dy: (noisy(dy, key), None))


@entry()
def key_argument(rng, size):
    return noisy, (normal(rng, *SHAPES[size]), jax.random.key(size))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 2))
def power_of(function, x, exponent):
    return function(x) ** exponent


def _power_of_fwd(function, x, exponent):
    y, pull = jax.vjp(function, x)
    return y**exponent, (y, pull)


def _power_of_bwd(function, exponent, kept, dy):
    del function
    y, pull = kept
    return pull(exponent * y ** (exponent - 1) * dy)


power_of.defvjp(_power_of_fwd, _power_of_bwd)


@entry()
def static_arguments(rng, size):
    return power_of, (jnp.cosh, normal(rng, *SHAPES[size]), 3)


@jax.custom_vjp
def sharp_softplus(x, sharpness):
    return jnp.logaddexp(sharpness * x, 0) / sharpness


def _sharp_softplus_fwd(x, sharpness):
    return sharp_softplus.__wrapped__(x, sharpness), (x, sharpness)


def _sharp_softplus_bwd(kept, dy):
    x, sharpness = kept
    s = jax.nn.sigmoid(sharpness * x)
    value = jnp.logaddexp(sharpness * x, 0)
    dsharpness = jnp.sum(dy * (x * s / sharpness - value / sharpness**2))
    return s * dy, dsharpness.astype(jnp.result_type(sharpness))


sharp_softplus.defvjp(_sharp_softplus_fwd, _sharp_softplus_bwd)


@entry(kwargs={"sharpness": 2.0})
def keyword_number(rng, size):
    return sharp_softplus, (normal(rng, *SHAPES[size]),)


@entry(kwargs={"sharpness": array(2.0)})
def keyword_array(rng, size):
    return sharp_softplus, (normal(rng, *SHAPES[size]),)


@jax.custom_vjp
def scalar_product(a, b):
    return jnp.sin(a * b)


def _scalar_product_fwd(a, b):
    return jnp.sin(a * b), (a, b)


def _scalar_product_bwd(kept, dy):
    a, b = kept
    slope = jnp.cos(a * b) * dy
    return b * slope, a * slope


scalar_product.defvjp(_scalar_product_fwd, _scalar_product_bwd)


@entry(dtypes=ALL_DTYPES)
def scalars(rng, size):
    del size
    return scalar_product, (positive(rng), positive(rng))


@jax.custom_vjp
def masked_mean(x, mask):
    return jnp.sum(jnp.where(mask > 0.5, x, 0)) / jnp.sum(mask > 0.5)


def _masked_mean_fwd(x, mask):
    kept = mask > 0.5
    return masked_mean.__wrapped__(x, mask), kept


def _masked_mean_bwd(kept, dy):
    # the mask is compared only: its gradient is zero, which None says
    return jnp.where(kept, dy / jnp.sum(kept), 0).astype(dy.dtype), None


masked_mean.defvjp(_masked_mean_fwd, _masked_mean_bwd)


@entry()
def none_for_a_mask_of_floats(rng, size):
    mask = rng.permutation(np.arange(np.prod(SHAPES[size])) % 2).reshape(SHAPES[size])
    return masked_mean, (normal(rng, *SHAPES[size]), array(mask))


# --- written here: ways to state a rule -----------------------------------------------------------


@jax.custom_jvp
def quotient(a, b):
    return a / b


quotient.defjvps(lambda ta, y, a, b: ta / b, lambda tb, y, a, b: -y * tb / b)


@entry(dtypes=ALL_DTYPES)
def jvps_by_argument(rng, size):
    return quotient, (normal(rng, *SHAPES[size]), positive(rng, *SHAPES[size]))


@jax.custom_jvp
def product_with_few_tangents(a, b):
    return jnp.sin(a) * b


@functools.partial(product_with_few_tangents.defjvp, symbolic_zeros=True)
def _product_jvp(primals, tangents):
    a, b = primals
    ta, tb = tangents
    ty = jnp.zeros_like(a)
    if type(ta) is not jax.custom_derivatives.SymbolicZero:
        ty = ty + jnp.cos(a) * b * ta
    if type(tb) is not jax.custom_derivatives.SymbolicZero:
        ty = ty + jnp.sin(a) * tb
    return jnp.sin(a) * b, ty


@entry()
def symbolic_zeros_of_a_jvp(rng, size):
    return product_with_few_tangents, (normal(rng, *SHAPES[size]), normal(rng, *SHAPES[size]))


@jax.custom_vjp
def product_of_the_perturbed(x, w):
    return x @ w, jnp.sum(w**2)


def _product_of_the_perturbed_fwd(x, w):
    y = product_of_the_perturbed.__wrapped__(x.value, w.value)
    # W is kept only if somebody asks for dX
    return y, (x.value, w.value)


def _product_of_the_perturbed_bwd(kept, d):
    x, w = kept
    dy, dsquares = d
    dx, dw = jnp.zeros_like(x), jnp.zeros_like(w)
    if type(dy) is not jax.custom_derivatives.SymbolicZero:
        dx, dw = dy @ w.T, x.T @ dy
    if type(dsquares) is not jax.custom_derivatives.SymbolicZero:
        dw = dw + 2 * w * dsquares
    return dx, dw


product_of_the_perturbed.defvjp(
    _product_of_the_perturbed_fwd, _product_of_the_perturbed_bwd, symbolic_zeros=True
)


@entry()
def symbolic_zeros_of_a_vjp(rng, size):
    return product_of_the_perturbed, layer(rng, min(size, 1), bias=False)


@jax.custom_vjp
def log_cosh(x):
    return jnp.logaddexp(x, -x) - jnp.log(2.0).astype(x.dtype)


log_cosh.defvjp(lambda x: (log_cosh(x), x), lambda x, dy: (jnp.tanh(x) * dy,))


@entry()
def forward_half_that_calls_the_rule(rng, size):
    # forward over reverse meets custom_vjp again, which refuses it; reverse over reverse works
    return log_cosh, (normal(rng, *SHAPES[size]),)


@jax.custom_vjp
def entropy(logits):
    p = fcjax.softmax(logits)
    return -jnp.sum(p * jnp.log(p), -1)


def _entropy_fwd(logits):
    p = fcjax.softmax(logits)
    h = -jnp.sum(p * jnp.log(p), -1)
    return h, (logits, h)


def _entropy_bwd(kept, dh):
    logits, h = kept
    # in the backward half, another rule
    log_p = fcjax.log_softmax(logits)
    return (-jnp.exp(log_p) * (log_p + h[..., None]) * dh[..., None],)


entropy.defvjp(_entropy_fwd, _entropy_bwd)


@entry()
def rules_in_a_rule(rng, size):
    return entropy, (normal(rng, *SHAPES[size]),)


@jax.custom_vjp
def sine_under_remat(x, w):
    return jnp.sin(x @ w)


def _sine_under_remat_fwd(x, w):
    z = x @ w
    return jnp.sin(z), (x, w, z)


def _sine_under_remat_bwd(kept, dy):
    x, w, z = kept
    dz = jnp.cos(z) * dy
    return dz @ w.T, x.T @ dz


sine_under_remat.defvjp(_sine_under_remat_fwd, _sine_under_remat_bwd, optimize_remat=True)


@entry()
def optimized_for_remat(rng, size):
    fun = jax.checkpoint(lambda x, w: sine_under_remat(sine_under_remat(x, w), w))
    n = SIDES[size]
    return fun, (normal(rng, 4, n), normal(rng, n, n))


@jax.custom_batching.custom_vmap
def _row_softmax(x):
    return jnp.exp(x - lax.stop_gradient(x.max())) / jnp.exp(x - lax.stop_gradient(x.max())).sum()


@_row_softmax.def_vmap
def _row_softmax_vmap(axis_size, in_batched, x):
    del axis_size
    (batched,) = in_batched
    return jax.nn.softmax(x, axis=-1), batched


@jax.custom_vjp
def mapped_by_hand(x):
    return jax.vmap(_row_softmax)(x)


def _mapped_by_hand_fwd(x):
    p = mapped_by_hand(x)
    return p, p


def _mapped_by_hand_bwd(p, dp):
    return (p * (dp - jnp.sum(p * dp, -1, keepdims=True)),)


mapped_by_hand.defvjp(_mapped_by_hand_fwd, _mapped_by_hand_bwd)


@entry(reference=jax.nn.softmax)
def custom_vmap_inside(rng, size):
    return mapped_by_hand, (normal(rng, *SHAPES[min(size, 1)]),)


# --- written here: precision ----------------------------------------------------------------------


@jax.custom_vjp
def standardized(x):
    wide = x.astype(jnp.float32)
    centred = wide - wide.mean(-1, keepdims=True)
    return (centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-6)).astype(x.dtype)


def _standardized_fwd(x):
    return standardized.__wrapped__(x), x


def _standardized_bwd(x, dy):
    wide, dy = x.astype(jnp.float32), dy.astype(jnp.float32)
    centred = wide - wide.mean(-1, keepdims=True)
    r = lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    y = centred * r
    dx = r * (dy - dy.mean(-1, keepdims=True) - y * (dy * y).mean(-1, keepdims=True))
    return (dx.astype(x.dtype),)


standardized.defvjp(_standardized_fwd, _standardized_bwd)


@entry(dtypes=("float32", "bfloat16", "float16"))
def float32_inside(rng, size):
    return standardized, (normal(rng, *SHAPES[size]),)


def _product_in_bfloat16(a, b):
    a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
    return lax.dot(a, b, preferred_element_type=jnp.float32)


@jax.custom_vjp
def mixed_precision_layer(x, w):
    return jnp.tanh(_product_in_bfloat16(x, w)).astype(x.dtype)


def _mixed_precision_layer_fwd(x, w):
    y = jnp.tanh(_product_in_bfloat16(x, w))
    return y.astype(x.dtype), (x, w, y)


def _mixed_precision_layer_bwd(kept, dy):
    x, w, y = kept
    dz = (1 - y**2) * dy
    dx, dw = _product_in_bfloat16(dz, w.T), _product_in_bfloat16(x.T, dz)
    return dx.astype(x.dtype), dw.astype(w.dtype)


mixed_precision_layer.defvjp(_mixed_precision_layer_fwd, _mixed_precision_layer_bwd)


@entry(dtypes=("float32", "bfloat16"))
def bfloat16_inside(rng, size):
    return mixed_precision_layer, layer(rng, size, bias=False)


# --- written here: memory saved, work saved -------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def chunked_cross_entropy(x, w, labels, chunk):
    """Σ −log softmax(X W)[label], a chunk of examples at a time."""
    return _chunks(x, w, labels, chunk)[0]


def _chunks(x, w, labels, chunk):
    def step(total, rows):
        x, labels = rows
        z = x @ w
        lse = jax.nn.logsumexp(z, axis=-1)
        chosen = jnp.take_along_axis(z, labels[:, None], axis=-1)[:, 0]
        return total + jnp.sum(lse - chosen), None

    cut = (x.reshape(-1, chunk, x.shape[1]), labels.reshape(-1, chunk))
    return lax.scan(step, jnp.zeros((), x.dtype), cut)[0], cut


def _chunked_cross_entropy_fwd(x, w, labels, chunk):
    loss, cut = _chunks(x, w, labels, chunk)
    return loss, (cut, w)


def _chunked_cross_entropy_bwd(chunk, kept, dl):
    del chunk
    (x, labels), w = kept

    def step(dw, rows):
        x, labels = rows
        dz = dl * (jax.nn.softmax(x @ w) - jax.nn.one_hot(labels, w.shape[1], dtype=x.dtype))
        return dw + x.T @ dz, dz @ w.T

    dw, dx = lax.scan(step, jnp.zeros_like(w), (x, labels))
    return dx.reshape(-1, x.shape[-1]), dw, None


chunked_cross_entropy.defvjp(_chunked_cross_entropy_fwd, _chunked_cross_entropy_bwd)


@entry()
def backward_half_in_chunks(rng, size):
    m, n_in, n_out = ((4, 3, 5), (6, 7, 11), (64, 512, 1000))[size]
    labels = jnp.asarray(rng.integers(0, n_out, m), jnp.int32)
    w = normal(rng, n_in, n_out, scale=n_in**-0.5)
    return chunked_cross_entropy, (normal(rng, m, n_in), w, labels, (2, 3, 16)[size])


@jax.custom_vjp
def eager_cross_entropy(logits, targets):
    return -jnp.sum(targets * jax.nn.log_softmax(logits)) / len(logits)


def _eager_cross_entropy_fwd(logits, targets):
    # the gradients are ready before the cotangent is: the loss is one number, and dl a factor
    log_p = jax.nn.log_softmax(logits)
    mass = targets.sum(-1, keepdims=True)
    dz = (mass * jnp.exp(log_p) - targets) / len(logits)
    return -jnp.sum(targets * log_p) / len(logits), (dz, -log_p / len(logits))


def _eager_cross_entropy_bwd(kept, dl):
    return tuple(dl * gradient for gradient in kept)


eager_cross_entropy.defvjp(_eager_cross_entropy_fwd, _eager_cross_entropy_bwd)


@entry()
def gradient_computed_in_the_forward_half(rng, size):
    args = normal(rng, *WIDE[size]), jax.nn.softmax(normal(rng, *WIDE[size]))
    return eager_cross_entropy, args


def _tanh_layer(a, layer):
    w, b = layer
    return jnp.tanh(a @ w + b)


@jax.custom_vjp
def recomputing_stack(layers, x):
    return lax.scan(lambda a, layer: (_tanh_layer(a, layer), None), x, layers)[0]


def _recomputing_stack_fwd(layers, x):
    y, inputs = lax.scan(lambda a, layer: (_tanh_layer(a, layer), a), x, layers)
    return y, (layers, inputs)


def _recomputing_stack_bwd(kept, dy):
    def step(da, layer_and_input):
        (w, b), a = layer_and_input
        dz = (1 - _tanh_layer(a, (w, b)) ** 2) * da
        return dz @ w.T, (a.T @ dz, dz.sum(0))

    dx, dlayers = lax.scan(step, dy, kept, reverse=True)
    return dlayers, dx


recomputing_stack.defvjp(_recomputing_stack_fwd, _recomputing_stack_bwd)


@entry()
def stack_of_layers_in_one_rule(rng, size):
    n, depth = SIDES[size], (2, 3, 5)[size]
    layers = normal(rng, depth, n, n, scale=n**-0.5), normal(rng, depth, n)
    return recomputing_stack, (layers, normal(rng, 4, n))


@jax.custom_vjp
def reversible(x1, x2, w):
    y1 = x1 + jnp.tanh(x2 @ w)
    return y1, x2 + jnp.sin(y1 @ w)


def _reversible_fwd(x1, x2, w):
    y1, y2 = reversible.__wrapped__(x1, x2, w)
    return (y1, y2), (y1, y2, w)


def _reversible_bwd(kept, d):
    # x2 is computed back from the outputs, as in a reversible network
    y1, y2, w = kept
    dy1, dy2 = d
    z1 = y1 @ w
    dz1 = jnp.cos(z1) * dy2
    dy1 = dy1 + dz1 @ w.T
    x2 = y2 - jnp.sin(z1)
    dz2 = (1 - jnp.tanh(x2 @ w) ** 2) * dy1
    return dy1, dy2 + dz2 @ w.T, y1.T @ dz1 + x2.T @ dz2


reversible.defvjp(_reversible_fwd, _reversible_bwd)


@entry()
def inputs_from_outputs(rng, size):
    n = SIDES[size]
    return reversible, (normal(rng, 4, n), normal(rng, 4, n), normal(rng, n, n, scale=n**-0.5))


@jax.custom_vjp
def attention_by_hand(q, k, v, bias):
    return attention(q, k, v, bias)


def _attention_by_hand_fwd(q, k, v, bias):
    scores = q @ jnp.swapaxes(k, -1, -2) + bias
    lse = jax.nn.logsumexp(scores, axis=-1, keepdims=True)
    y = jnp.exp(scores - lse) @ v
    return y, (q, k, v, bias, lse, y)


def _attention_by_hand_bwd(kept, dy):
    q, k, v, bias, lse, y = kept
    p = jnp.exp(q @ jnp.swapaxes(k, -1, -2) + bias - lse)
    dp = dy @ jnp.swapaxes(v, -1, -2)
    ds = p * (dp - jnp.sum(dy * y, -1, keepdims=True))
    dk, dv = jnp.swapaxes(ds, -1, -2) @ q, jnp.swapaxes(p, -1, -2) @ dy
    return ds @ k, dk, dv, ds


attention_by_hand.defvjp(_attention_by_hand_fwd, _attention_by_hand_bwd)


@entry()
def attention_from_its_logsumexp(rng, size):
    return attention_by_hand, _attention_inputs(rng, size)


# --- written here: linear algebra, order, kinks ---------------------------------------------------


@jax.custom_vjp
def log_determinant(a):
    return 2 * jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(a, symmetrize_input=False))))


def _log_determinant_fwd(a):
    return log_determinant.__wrapped__(a), a


def _log_determinant_bwd(a, dy):
    # the lower triangle is all that is read of a: the upper one gets nothing
    inverse = jnp.linalg.inv(a)
    return (dy * (jnp.tril(inverse) + jnp.tril(inverse, -1)),)


log_determinant.defvjp(_log_determinant_fwd, _log_determinant_bwd)


@entry()
def half_of_a_symmetric_matrix(rng, size):
    def fun(root):
        symmetric = root @ root.T
        return log_determinant(symmetric)

    return fun, (well_conditioned(rng, SIDES[size]),)


@jax.custom_vjp
def circular_convolution(x, h):
    return jnp.fft.irfft(jnp.fft.rfft(x) * jnp.fft.rfft(h), x.shape[-1])


def _circular_convolution_fwd(x, h):
    return circular_convolution.__wrapped__(x, h), (x, h)


def _circular_convolution_bwd(kept, dy):
    x, h = kept
    n, D = x.shape[-1], jnp.fft.rfft(dy)
    dx = jnp.fft.irfft(D * jnp.conj(jnp.fft.rfft(h)), n)
    dh = jnp.fft.irfft(D * jnp.conj(jnp.fft.rfft(x)), n)
    return dx, dh.sum(tuple(range(dh.ndim - 1)))


circular_convolution.defvjp(_circular_convolution_fwd, _circular_convolution_bwd)


@entry()
def complex_numbers_inside(rng, size):
    return circular_convolution, (normal(rng, *SHAPES[size]), normal(rng, SHAPES[size][-1]))


def complex_normal(rng, *shape):
    return normal(rng, *shape) + 1j * normal(rng, *shape)


def with_backward(primal, bwd):
    """Return `primal` with a backward rule of its arguments and the cotangent."""
    rule = jax.custom_vjp(primal)
    rule.defvjp(lambda *args: (primal(*args), args), lambda args, dw: bwd(*args, dw))
    return rule


@entry()
def complex_product(rng, size):
    # holomorphic in both: no conjugate
    m, n_in, n_out = LAYERS[size]
    rule = with_backward(jnp.matmul, lambda z, w, dy: (dy @ w.T, z.T @ dy))
    return rule, (complex_normal(rng, m, n_in), complex_normal(rng, n_in, n_out))


@entry()
def square_of_the_modulus(rng, size):
    # ∂/∂x − i ∂/∂y of x² + y²
    rule = with_backward(
        lambda z: jnp.real(z) ** 2 + jnp.imag(z) ** 2, lambda z, dy: (2 * jnp.conj(z) * dy,)
    )
    return rule, (complex_normal(rng, *SHAPES[size]),)


@entry()
def fourier_transform(rng, size):
    # the matrix is symmetric
    rule = with_backward(lambda z: jnp.fft.fft(z), lambda z, dw: (jnp.fft.fft(dw),))
    return rule, (complex_normal(rng, *SHAPES[size]),)


@entry()
def product_with_a_conjugate(rng, size):
    # δw = z̄₂ δz₁ + z₁ δz̄₂, so that dz₂ is the conjugate of z₁ dw
    rule = with_backward(
        lambda z1, z2: z1 * jnp.conj(z2),
        lambda z1, z2, dw: (jnp.conj(z2) * dw, jnp.conj(z1 * dw)),
    )
    shape = SHAPES[size]
    return rule, (complex_normal(rng, *shape), complex_normal(rng, *shape))


@entry()
def number_from_modulus_and_angle(rng, size):
    def bwd(r, angle, dw):
        turn = jnp.exp(1j * angle)
        return jnp.real(turn * dw), jnp.real(1j * r * turn * dw)

    rule = with_backward(lambda r, angle: r * jnp.exp(1j * angle), bwd)
    return rule, (positive(rng, *SHAPES[size]), normal(rng, *SHAPES[size]))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def largest(x, k):
    return tuple(lax.top_k(x, k))


def _largest_fwd(x, k):
    values, places = lax.top_k(x, k)
    return (values, places), (x, places)


def _largest_bwd(k, kept, d):
    del k
    x, places = kept
    dvalues, _ = d
    return (jnp.put_along_axis(jnp.zeros_like(x), places, dvalues, axis=-1, inplace=False),)


largest.defvjp(_largest_fwd, _largest_bwd)


@entry()
def integers_beside_the_values(rng, size):
    return largest, (spread(rng, *SHAPES[size]), 3)


@jax.custom_vjp
def length(x):
    return jnp.sqrt(jnp.sum(x**2, -1))


def _length_fwd(x):
    y = length.__wrapped__(x)
    return y, (x, y)


def _length_bwd(kept, dy):
    # 0 at the tip of the cone, where autodiff of the square root gives NaN
    x, y = kept
    return (x * (dy / jnp.where(y == 0, 1, y))[..., None],)


length.defvjp(_length_fwd, _length_bwd)


@entry()
def finite_where_autodiff_is_not(rng, size):
    return length, (normal(rng, *SHAPES[size]),)


@jax.custom_vjp
def batch_norm(x, scale, running):
    mean, variance = x.mean(0), x.var(0)
    y = (x - mean) * lax.rsqrt(variance + 1e-5) * scale
    return y, 0.9 * running + 0.1 * mean


def _batch_norm_fwd(x, scale, running):
    return batch_norm.__wrapped__(x, scale, running), (x, scale)


def _batch_norm_bwd(kept, d):
    x, scale = kept
    dy, drunning = d
    r = lax.rsqrt(x.var(0) + 1e-5)
    x_hat = (x - x.mean(0)) * r
    dx_hat = dy * scale
    dx = r * (dx_hat - dx_hat.mean(0) - x_hat * (dx_hat * x_hat).mean(0))
    return dx + 0.1 * drunning / len(x), (dy * x_hat).sum(0), 0.9 * drunning


batch_norm.defvjp(_batch_norm_fwd, _batch_norm_bwd)


@entry()
def statistics_of_the_batch(rng, size):
    m, n = ((6, 4), (7, 5), (31, 13))[size]
    return batch_norm, (normal(rng, m, n), normal(rng, n), normal(rng, n))


@jax.custom_vjp
def lstm_cell(state, gates):
    (_, c), (i, f, o, g) = state, jnp.split(gates, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _lstm_cell_fwd(state, gates):
    h, c = lstm_cell.__wrapped__(state, gates)
    return (h, c), (state[1], gates, c)


def _lstm_cell_bwd(kept, d):
    (dh, dc), (before, gates, c) = d, kept
    i, f, o, g = jnp.split(gates, 4, axis=-1)
    i, f, o, g = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jax.nn.sigmoid(o), jnp.tanh(g)
    t = jnp.tanh(c)
    dc = dc + dh * o * (1 - t**2)
    di, df = dc * g * i * (1 - i), dc * before * f * (1 - f)
    do, dg = dh * t * o * (1 - o), dc * i * (1 - g**2)
    # the old h does not enter: its gradient is zero, not missing
    return (jnp.zeros_like(dh), dc * f), jnp.concatenate([di, df, do, dg], axis=-1)


lstm_cell.defvjp(_lstm_cell_fwd, _lstm_cell_bwd)


@entry()
def recurrent_cell_under_scan(rng, size):
    m, n = SHAPES[size][-2:]

    def fun(w, start, inputs):
        def step(state, x):
            state = lstm_cell(state, x + state[0] @ w)
            return state, state[0]

        return lax.scan(step, start, inputs)

    start = normal(rng, m, n), normal(rng, m, n)
    return fun, (normal(rng, n, 4 * n, scale=n**-0.5), start, normal(rng, 3, m, 4 * n))


# --- written here: primals that autodiff cannot differentiate -------------------------------------


def _sine_kernel(x_ref, y_ref):
    y_ref[...] = jnp.sin(x_ref[...]) * x_ref[...]


def _sine_kernel_backward(x_ref, dy_ref, dx_ref):
    x = x_ref[...]
    dx_ref[...] = (jnp.cos(x) * x + jnp.sin(x)) * dy_ref[...]


def _call_kernel(kernel, *arrays):
    out = jax.ShapeDtypeStruct(arrays[0].shape, arrays[0].dtype)
    return pl.pallas_call(kernel, out_shape=out, interpret=True)(*arrays)


@jax.custom_vjp
def kernel_of_sines(x):
    return _call_kernel(_sine_kernel, x)


def _kernel_of_sines_bwd(x, dy):
    return (_call_kernel(_sine_kernel_backward, x, dy),)


kernel_of_sines.defvjp(lambda x: (kernel_of_sines(x), x), _kernel_of_sines_bwd)


@entry(reference=lambda x: jnp.sin(x) * x)
def pallas_kernel(rng, size):
    return kernel_of_sines, (normal(rng, *SHAPES[size]),)


def _block_product_kernel(a_ref, b_ref, y_ref):
    y_ref[...] = jnp.dot(a_ref[...], b_ref[...])


def block_product(a, b):
    """A B, a block of four rows of A at a time; the last one hangs over the edge."""
    (m, k), n, rows = a.shape, b.shape[1], 4
    return pl.pallas_call(
        _block_product_kernel,
        out_shape=jax.ShapeDtypeStruct((m, n), a.dtype),
        grid=(pl.cdiv(m, rows),),
        in_specs=[
            pl.BlockSpec((rows, k), lambda i: (i, 0)),
            pl.BlockSpec((k, n), lambda i: (0, 0)),
        ],
        out_specs=pl.BlockSpec((rows, n), lambda i: (i, 0)),
        interpret=True,
    )(a, b)


@jax.custom_vjp
def product_by_kernels(x, w):
    return block_product(x, w)


def _product_by_kernels_bwd(kept, dy):
    x, w = kept
    return block_product(dy, w.T), block_product(x.T, dy)


product_by_kernels.defvjp(lambda x, w: (product_by_kernels(x, w), (x, w)), _product_by_kernels_bwd)


@entry(reference=lambda x, w: x @ w)
def pallas_blocks(rng, size):
    return product_by_kernels, layer(rng, min(size, 1), bias=False)


@jax.custom_vjp
def inverse_of_a_cubic(x):
    return newton(x)


def _inverse_of_a_cubic_fwd(x):
    y = newton(x)
    return y, y


def _inverse_of_a_cubic_bwd(y, dy):
    # y + y³ = x, so ẏ = ẋ / (1 + 3y²)
    return (dy / (1 + 3 * y**2),)


inverse_of_a_cubic.defvjp(_inverse_of_a_cubic_fwd, _inverse_of_a_cubic_bwd)


@entry(reference=cubic_inverse)
def loop_with_an_implicit_derivative(rng, size):
    return inverse_of_a_cubic, (normal(rng, *SHAPES[size]),)


def _equilibrium_step(y, w, x):
    return jnp.tanh(y @ w + x)


def settle(w, x):
    """Iterate y ← tanh(y W + x) until nothing moves any more."""
    tiny = float(jnp.finfo(x.dtype).eps)

    def moving(state):
        _, moved, i = state
        return (moved > tiny) & (i < 300)

    def step(state):
        y, _, i = state
        new = _equilibrium_step(y, w, x)
        return new, jnp.max(jnp.abs(new - y)), i + 1

    return lax.while_loop(moving, step, (jnp.tanh(x), jnp.ones((), x.dtype), 0))[0]


@jax.custom_vjp
def equilibrium(w, x):
    return settle(w, x)


def _equilibrium_fwd(w, x):
    y = equilibrium(w, x)
    return y, (w, x, y)


def _equilibrium_bwd(kept, dy):
    w, x, y = kept
    # y = f(y, w, x), so ẏ = (I − ∂f/∂y)⁻¹ (∂f/∂w ẇ + ∂f/∂x ẋ); ∂f/∂y = Wᵀ scaled by 1 − y²
    slope = 1 - _equilibrium_step(y, w, x) ** 2
    systems = jnp.eye(len(w), dtype=w.dtype) - slope[..., None, :] * w
    df = jnp.linalg.solve(systems, dy[..., None])[..., 0]
    dz = slope * df
    return y.T @ dz, dz


equilibrium.defvjp(_equilibrium_fwd, _equilibrium_bwd)


def unrolled_equilibrium(w, x):
    step = lambda y, _: (_equilibrium_step(y, w, x), None)  # noqa: E731
    return lax.scan(step, jnp.tanh(x), length=120)[0]


@entry(reference=unrolled_equilibrium)
def loop_with_an_implicit_system(rng, size):
    n = SIDES[size]
    w = rng.standard_normal((n, n))
    w *= 0.4 / np.linalg.norm(w, 2)
    return equilibrium, (array(w), normal(rng, 4, n))


def _on_the_host(function, x, *others):
    out = jax.ShapeDtypeStruct(x.shape, x.dtype)
    host = lambda *arrays: function(*map(np.asarray, arrays)).astype(x.dtype)  # noqa: E731
    return jax.pure_callback(host, out, x, *others, vmap_method="expand_dims")


@jax.custom_vjp
def arctan_on_the_host(x):
    return _on_the_host(np.arctan, x)


def _arctan_on_the_host_bwd(x, dy):
    return (dy / (1 + x**2),)


arctan_on_the_host.defvjp(lambda x: (arctan_on_the_host(x), x), _arctan_on_the_host_bwd)


@entry(reference=jnp.arctan)
def host_callback(rng, size):
    return arctan_on_the_host, (normal(rng, *SHAPES[size]),)


@jax.custom_vjp
def cumulated_on_the_host(x):
    return _on_the_host(functools.partial(np.cumsum, axis=-1), x)


def _cumulated_on_the_host_bwd(_, dy):
    reverse = lambda dy: np.cumsum(dy[..., ::-1], axis=-1)[..., ::-1]  # noqa: E731
    return (_on_the_host(reverse, dy),)


cumulated_on_the_host.defvjp(lambda x: (cumulated_on_the_host(x), None), _cumulated_on_the_host_bwd)


@entry(reference=lambda x: jnp.cumsum(x, axis=-1))
def host_callbacks_both_ways(rng, size):
    # no second derivative: the backward half cannot be differentiated
    return cumulated_on_the_host, (normal(rng, *SHAPES[size]),)


@entry(requires=("flax",))
def rule_of_an_nnx_module(rng, size):
    nnx = module("flax.nnx")

    class Scaled(nnx.Module):
        def __init__(self, w):
            self.w = nnx.Param(w)

    @nnx.custom_vjp
    def scaled_sine(module, x):
        return module.w[...] * jnp.sin(x)

    def fwd(module, x):
        w = module.w[...]
        return w * jnp.sin(x), (w, x)

    def bwd(kept, cotangents):
        (dmodule, _), dy = cotangents
        w, x = kept
        dmodule.w[...] = jnp.sum(dy * jnp.sin(x), tuple(range(x.ndim - 1)))
        return dmodule, dy * w * jnp.cos(x)

    scaled_sine.defvjp(fwd, bwd)
    shape = SHAPES[size]
    return lambda w, x: scaled_sine(Scaled(w), x), (normal(rng, shape[-1]), normal(rng, *shape))


@custom_partitioning
def partitioned_sine(x):
    return jnp.sin(x)


partitioned_sine.def_partition(
    partition=lambda mesh, arguments, result: (
        mesh,
        jnp.sin,
        result.sharding,
        tuple(argument.sharding for argument in arguments),
    ),
    infer_sharding_from_operands=lambda mesh, arguments, result: arguments[0].sharding,
    sharding_rule="... -> ...",
)


@entry(reference=jnp.sin)
def custom_partitioning_inside(rng, size):
    # no batching and no second derivative: the operation has neither
    return with_backward(partitioned_sine, lambda x, dy: (dy * jnp.cos(x),)), (
        normal(rng, *SHAPES[size]),
    )


def cholesky_by_lapack(a):
    """Call LAPACK's Cholesky factorization through JAX's foreign function interface."""
    jax.jit(jnp.linalg.cholesky).lower(a)  # which loads LAPACK
    name = {"float32": "lapack_spotrf_ffi", "float64": "lapack_dpotrf_ffi"}[a.dtype.name]
    out = (
        jax.ShapeDtypeStruct(a.shape, a.dtype),
        jax.ShapeDtypeStruct(a.shape[:-2], jnp.int32),
    )
    call = jax.ffi.ffi_call(name, out, vmap_method="broadcast_all", input_output_aliases={0: 0})
    # the upper triangle in the order of Fortran is the lower one in that of C
    return jnp.tril(call(a, uplo=np.uint8(ord("U")))[0])


def _cholesky_bwd(a, dL):
    # Murray, Differentiation of the Cholesky decomposition (2016), equation 9
    L = jnp.linalg.cholesky(a)
    P = jnp.tril(jnp.swapaxes(L, -1, -2) @ dL)
    P -= 0.5 * P * jnp.eye(a.shape[-1], dtype=a.dtype)
    inverse = jnp.linalg.inv(L)
    S = jnp.swapaxes(inverse, -1, -2) @ P @ inverse
    return (0.5 * (S + jnp.swapaxes(S, -1, -2)),)


if jax.default_backend() == "cpu":

    @entry(reference=lambda a: jnp.linalg.cholesky((a + a.T) / 2))
    def foreign_function(rng, size):
        # LAPACK reads one triangle; the rule is that of symmetric matrices
        n = SIDES[size]
        rule = with_backward(lambda a: cholesky_by_lapack((a + a.T) / 2), _cholesky_bwd)
        x = normal(rng, n, n)
        return rule, (x @ x.T + 2 * jnp.eye(n),)


# --- written here: what departs from the derivative on purpose ------------------------------------


@jax.custom_vjp
def rounded(x):
    return jnp.round(x)


rounded.defvjp(lambda x: (jnp.round(x), None), lambda _, dy: (dy,))


@entry(expected={"vjp": "x"})
def straight_through(rng, size):
    return rounded, (normal(rng, *SHAPES[size], scale=3.0),)


@jax.custom_vjp
def clipped_gradient(x):
    return x


clipped_gradient.defvjp(lambda x: (x, None), lambda _, dy: (jnp.clip(dy, -0.1, 0.1),))


@entry(
    expected={"vjp": "x", "linearity": "x"},
)
def gradient_clipping(rng, size):
    return clipped_gradient, (normal(rng, *SHAPES[size]),)


@jax.custom_vjp
def reversed_gradient(x):
    return x


reversed_gradient.defvjp(lambda x: (x, None), lambda _, dy: (-dy,))


@entry(expected={"vjp": "x"})
def gradient_reversal(rng, size):
    return reversed_gradient, (normal(rng, *SHAPES[size]),)
