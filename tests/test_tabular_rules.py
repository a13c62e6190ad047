"""The rules of networks for tables: factors, ensembles, encodings, parametric activations."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest
import reference
from support import (
    Case,
    assert_close,
    assert_same_bits,
    check_gradients,
    check_transformations,
    in_turn,
    names,
    normal,
    random_like,
)

import fcjax

B, K, N, M = 5, 3, 4, 7
W, R, S, BIAS = normal(1, N, M), 1 + normal(2, K, N), 1 + normal(3, K, M), normal(4, K, M)
GROUPS, GROUP_BIAS = normal(5, K, N, M), normal(6, K, M)
INF = np.inf
EDGES = np.array([[-1.0, 0.0, 0.5, 2.0], [-2.0, 1.0, INF, INF], [0.0, 0.25, 3.0, INF]])


def both(name, **options):
    libraries = fcjax, plain, reference
    return [partial(getattr(library, name), **options) for library in libraries]


def parametric(name, g):
    plain_g = getattr(jax.nn, name) if hasattr(jax.nn, name) else getattr(jnp, name)
    return (
        partial(fcjax.parametric, activation=name),
        lambda z, alpha: plain.parametric(z, alpha, plain_g),
        lambda z, alpha: reference.parametric(z, alpha, g),
    )


def mish(z):
    return z * np.tanh(np.log1p(np.exp(z)))


CASES = [
    Case("scale", *both("scale"), (normal(0, B, N), normal(1, N))),
    Case("scale, two batch dimensions", *both("scale"), (normal(0, 2, 3, N), normal(1, N))),
    Case("scale, no batch dimension", *both("scale"), (normal(0, N), normal(1, N))),
    Case("ensemble_dense", *both("ensemble_dense"), (normal(0, B, K, N), W, R, S, BIAS)),
    Case("ensemble_dense, shared", *both("ensemble_dense"), (normal(0, B, 1, N), W, R, S, BIAS)),
    Case("ensemble_dense, no bias", *both("ensemble_dense"), (normal(0, B, K, N), W, R, S)),
    Case(
        "ensemble_dense, one member",
        *both("ensemble_dense"),
        (normal(0, B, 1, N), W, R[:1], S[:1], BIAS[:1]),
    ),
    Case(
        "ensemble_dense, two batch dimensions",
        *both("ensemble_dense"),
        (normal(0, 2, 3, 1, N), W, R, S, BIAS),
    ),
    Case("ensemble_dense, no batch", *both("ensemble_dense"), (normal(0, K, N), W, R, S, BIAS)),
    Case("grouped_dense", *both("grouped_dense"), (normal(0, B, K, N), GROUPS, GROUP_BIAS)),
    Case("grouped_dense, no bias", *both("grouped_dense"), (normal(0, B, K, N), GROUPS)),
    Case(
        "grouped_dense, two batch dimensions",
        *both("grouped_dense"),
        (normal(0, 2, 3, K, N), GROUPS, GROUP_BIAS),
    ),
    Case("grouped_dense, no batch", *both("grouped_dense"), (normal(0, K, N), GROUPS, GROUP_BIAS)),
    Case("parametric, selu", *parametric("selu", reference.selu), (normal(0, B, N), normal(1, N))),
    Case("parametric, mish", *parametric("mish", mish), (normal(0, B, N), normal(1, N))),
    Case("parametric, tanh", *parametric("tanh", np.tanh), (normal(0, 2, 3, N), normal(1, N))),
]
ENCODINGS = [
    Case("encoding", *both("piecewise_linear_encoding"), (2 * normal(0, B, 3), EDGES)),
    Case("encoding, 3-D", *both("piecewise_linear_encoding"), (normal(1, 2, 3, 3), EDGES)),
    Case("encoding, no batch", *both("piecewise_linear_encoding"), (normal(2, 3), EDGES)),
    Case("encoding, one bin", *both("piecewise_linear_encoding"), (normal(3, B, 2), EDGES[:2, :2])),
]  # fmt: skip
each_case = pytest.mark.parametrize("case", CASES, ids=names(CASES))
each_encoding = pytest.mark.parametrize("case", ENCODINGS, ids=names(ENCODINGS))


def with_fixed_edges(case):
    """Edges that are infinite have no finite differences."""
    x, edges = case.args

    def fixed(f):
        return lambda x: f(x, jnp.asarray(edges, x.dtype) if f is not case.program else edges)

    return Case(case.name, fixed(case.rule), fixed(case.plain), fixed(case.program), (x,))


@each_case
def test_gradients_are_right_in_the_widest_dtype(case, x64):
    check_gradients(case, x64)


@each_case
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.in_turn(2)
def test_gradients_are_right_in_narrow_dtypes(case, dtype):
    check_gradients(case, dtype)


@pytest.mark.parametrize("case", CASES[::3], ids=names(CASES[::3]))
@pytest.mark.parametrize(
    ("x", "parameters"), [(jnp.bfloat16, jnp.float32), (jnp.float32, jnp.bfloat16)]
)
def test_each_gradient_has_the_dtype_of_its_argument(case, x, parameters):
    check_gradients(case, x, *[parameters] * (len(case.args) - 1))


@pytest.mark.parametrize("case", in_turn(CASES, 2), ids=names(in_turn(CASES, 2)))
def test_transformations(case, x64):
    check_transformations(case, x64)


# --- encoding -------------------------------------------------------------------------------------


@each_encoding
def test_the_gradient_of_an_encoding_by_the_numbers(case, x64):
    check_gradients(with_fixed_edges(case), x64)


@each_encoding
def test_an_encoding_in_transformations(case, x64):
    check_transformations(with_fixed_edges(case), x64)


def test_the_gradient_of_an_encoding_by_its_edges(x64):
    x, edges = normal(0, B, 2), np.array([[-1.0, 0.1, 0.5, 2.0], [-2.0, -0.3, 1.0, 1.5]])
    check_gradients(Case("edges", *both("piecewise_linear_encoding"), (x, edges)), x64)
    check_transformations(Case("edges", *both("piecewise_linear_encoding"), (x, edges)), x64)


def test_missing_edges_get_a_gradient_of_zero():
    args = jnp.asarray(normal(0, 50, 3), jnp.float32), jnp.asarray(EDGES, jnp.float32)
    q, pull = jax.vjp(fcjax.piecewise_linear_encoding, *args)
    _, d_edges = pull(random_like(q))
    assert np.all(np.isfinite(d_edges))
    np.testing.assert_array_equal(d_edges[np.isinf(EDGES)], 0)
    assert np.all(d_edges[np.isfinite(EDGES)] != 0)
    np.testing.assert_array_equal(q[..., 1, 1:], 0)


def test_at_an_edge_the_slope_is_that_of_the_bin_on_its_right():
    edges = jnp.array([[0.0, 1.0, 3.0]])
    for at, slopes in {0.0: (1, 0), 1.0: (0, 0.5), 3.0: (0, 0.5), -5.0: (1, 0)}.items():
        jacobian = jax.jacrev(fcjax.piecewise_linear_encoding)(jnp.array([at]), edges)[0, :, 0]
        np.testing.assert_array_equal(jacobian, slopes)


def test_numbers_that_are_not_finite():
    edges = jnp.array([[0.0, 1.0, 3.0, INF]])
    x = jnp.array([[INF], [-INF], [jnp.nan]])
    got = fcjax.piecewise_linear_encoding(x, edges)[:, 0]
    np.testing.assert_array_equal(got, [[1, INF, 0], [-INF, 0, 0], [jnp.nan, jnp.nan, 0]])


GOLDEN = [
    ([0.0, 1.0, 3.0], -1.0, [-1, 0]),
    ([0.0, 1.0, 3.0], 0.5, [0.5, 0]),
    ([0.0, 1.0, 3.0], 2.0, [1, 0.5]),
    ([0.0, 1.0, 3.0], 5.0, [1, 2]),
    ([0.0, 2.0], 3.0, [1.5]),
]


@pytest.mark.parametrize(("edges", "x", "want"), GOLDEN)
def test_an_encoding_is_that_of_the_authors(edges, x, want):
    got = fcjax.piecewise_linear_encoding(jnp.array([x]), jnp.array([edges]))
    np.testing.assert_allclose(got, [want], rtol=1e-6)


# --- ensembles ------------------------------------------------------------------------------------


def test_factors_of_one_make_every_member_a_dense_layer():
    x = jnp.asarray(normal(0, B, 1, N), jnp.float32)
    ones = jnp.ones((K, N)), jnp.ones((K, M))
    w, b = jnp.asarray(W, jnp.float32), jnp.asarray(BIAS[0], jnp.float32)
    got = fcjax.ensemble_dense(x, w, *ones, jnp.tile(b, (K, 1)))
    want = fcjax.dense(x[:, 0], w, b)
    for member in range(K):
        assert_close(got[:, member], want, 1e-6)


def test_one_product_serves_all_members_and_three_the_step():
    """The compiled operations: as many products as `dense` has, whatever the number of members."""

    def loss(args):
        return jnp.sum(jnp.square(fcjax.ensemble_dense(*args)))

    for members in (2, 32):
        args = [normal(0, B, members, N), W, normal(1, members, N), normal(2, members, M)]
        args = [jnp.asarray(V, jnp.float32) for V in args]
        text = str(jax.make_jaxpr(jax.grad(loss))(args))
        assert text.count("dot_general[") == 3


def test_what_an_ensemble_keeps():
    """x, once where members share it, and one array of the outputs; no x ⊙ r."""
    members, batch = 32, 6
    args = normal(0, batch, 1, N), W, normal(1, members, N), normal(2, members, M)
    args = [jnp.asarray(V, jnp.float32) for V in args]
    _, pull = jax.vjp(fcjax.ensemble_dense, *args)
    kept = sorted(V.shape for V in jax.tree.leaves(pull) if V.ndim == 3)
    assert kept == [(batch, 1, N), (batch, members, M)]


def test_narrow_products_leave_the_gradients_in_their_own_dtype():
    cases = {
        "ensemble_dense": (normal(0, B, 1, N), W, R, S, BIAS),
        "grouped_dense": (normal(0, B, K, N), GROUPS, GROUP_BIAS),
    }
    for name, arrays in cases.items():
        rule, plain_rule, _ = both(name)
        args = [jnp.asarray(V, jnp.float32) for V in arrays]
        y, pull = jax.vjp(partial(rule.func, compute_dtype=jnp.bfloat16), *args)
        want, plain_pull = jax.vjp(plain_rule, *args)
        dy = random_like(y)
        assert y.dtype == jnp.float32
        assert_close(y, want, 2**-6)
        for got, wanted in zip(pull(dy), plain_pull(dy), strict=True):
            assert got.dtype == jnp.float32
            assert_close(got, wanted, 2**-6)


# --- parametric activations -----------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(fcjax.activations.ACTIVATIONS) - {"glu"}))
def test_a_parametric_activation_of_each_function(name):
    z = jnp.asarray(normal(0, B, N), jnp.float32)
    g = getattr(fcjax, name)
    dy = random_like(z)
    for alpha, plain_function in ((0.0, lambda z: z), (1.0, g)):
        y, pull = jax.vjp(lambda z, a=alpha: fcjax.parametric(z, jnp.full(N, a), name), z)
        want, plain_pull = jax.vjp(plain_function, z)
        assert_close(y, want, 1e-6)
        assert_close(pull(dy)[0], plain_pull(dy)[0], 1e-6)


def test_a_parametric_activation_of_ones_own():
    def g(z):
        return jnp.sin(z) * z

    z, alpha = jnp.asarray(normal(0, B, N)), jnp.asarray(normal(1, N))
    y, pull = jax.vjp(lambda z, a: fcjax.parametric(z, a, g), z, alpha)
    want, plain_pull = jax.vjp(lambda z, a: plain.parametric(z, a, g), z, alpha)
    dy = random_like(y)
    assert_close(y, want, 1e-6)
    for got, wanted in zip(pull(dy), plain_pull(dy), strict=True):
        assert_close(got, wanted, 1e-5)


# --- wrong arguments ------------------------------------------------------------------------------

F = partial(np.ones, dtype=np.float32)
WRONG = {
    "scale, s": (lambda: fcjax.scale(F((3, 2)), F(3)), r"s must have shape \[2\].*float32\[3\]"),
    "scale, integers": (lambda: fcjax.scale(np.ones((3, 2), int), F(2)), "x must be a floating"),
    "ensemble, w": (
        lambda: fcjax.ensemble_dense(F((5, 1, 2)), F(2), F((3, 2)), F((3, 4))),
        r"w must have shape \(n_in, n_out\), got float32\[2\]",
    ),
    "ensemble, r": (
        lambda: fcjax.ensemble_dense(F((5, 1, 2)), F((2, 4)), F((3, 4)), F((3, 4))),
        r"r must have shape \(k, 2\)",
    ),
    "ensemble, s": (
        lambda: fcjax.ensemble_dense(F((5, 1, 2)), F((2, 4)), F((3, 2)), F((4, 4))),
        r"s must have shape \(3, 4\)",
    ),
    "ensemble, b": (
        lambda: fcjax.ensemble_dense(F((5, 1, 2)), F((2, 4)), F((3, 2)), F((3, 4)), F(4)),
        r"b must have shape \(3, 4\)",
    ),
    "ensemble, members": (
        lambda: fcjax.ensemble_dense(F((5, 2, 2)), F((2, 4)), F((3, 2)), F((3, 4))),
        r"x must have shape \(..., 3, 2\) or \(..., 1, 2\)",
    ),
    "ensemble, no members": (
        lambda: fcjax.ensemble_dense(F((5, 2)), F((2, 4)), F((3, 2)), F((3, 4))),
        r"x must have shape \(..., 3, 2\) or \(..., 1, 2\)",
    ),
    "ensemble, empty": (
        lambda: fcjax.ensemble_dense(F((0, 1, 2)), F((2, 4)), F((3, 2)), F((3, 4))),
        "x must hold at least one example",
    ),
    "groups, w": (lambda: fcjax.grouped_dense(F((5, 3, 2)), F((3, 2))), r"w must have shape \(gro"),
    "groups, x": (
        lambda: fcjax.grouped_dense(F((5, 2, 2)), F((3, 2, 4))), r"x must have shape \(..., 3, 2\)"
    ),
    "groups, b": (
        lambda: fcjax.grouped_dense(F((5, 3, 2)), F((3, 2, 4)), F(4)), r"b must have shape \(3, 4\)"
    ),
    "groups, empty": (
        lambda: fcjax.grouped_dense(F((0, 3, 2)), F((3, 2, 4))), "x must hold at least one example"
    ),
    "encoding, edges": (
        lambda: fcjax.piecewise_linear_encoding(F((3, 2)), F((3, 4))),
        r"edges must have shape \(2, T \+ 1\)",
    ),
    "encoding, one edge": (
        lambda: fcjax.piecewise_linear_encoding(F((3, 2)), F((2, 1))),
        r"edges must have shape \(2, T \+ 1\)",
    ),
    "encoding, a number": (
        lambda: fcjax.piecewise_linear_encoding(F(()), F((2, 3))), r"edges must have shape \(n, T"
    ),
    "parametric, alpha": (
        lambda: fcjax.parametric(F((3, 2)), F(3)), r"alpha must have shape \[2\]"
    ),
    "parametric, a name": (
        lambda: fcjax.parametric(F((3, 2)), F(2), "sellu"), "activation: 'sellu' is unknown; did"
    ),
    "parametric, a number": (
        lambda: fcjax.parametric(F((3, 2)), F(2), 3), "activation must be the name of an activation"
    ),
    "parametric, glu": (
        lambda: fcjax.parametric(F((3, 2)), F(2), "glu"), r"must keep the shape \[3, 2\] of z, got"
    ),
}  # fmt: skip


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_equal_calls_give_equal_bits():
    args = [jnp.asarray(V, jnp.float32) for V in (normal(0, B, K, N), W, R, S, BIAS)]
    assert_same_bits(fcjax.ensemble_dense(*args), fcjax.ensemble_dense(*args))
