"""Forward mode through hand-written rules, against JAX's own on plain functions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest
from support import normal

import fcjax
from fcjax.verify import without_rules


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def calls_itself(z, factor):
    return jnp.tanh(z) * factor


def calls_itself_fwd(z, factor):
    return calls_itself(z, factor), z


def calls_itself_bwd(factor, z, dA):
    # a rule inside of a backward rule, by the cotangent and by the residual
    return (fcjax.identity(dA) * factor * (1 - fcjax.tanh(z) ** 2),)


calls_itself.defvjp(calls_itself_fwd, calls_itself_bwd)


def network(functions, params, x):
    return plain.mlp(params, x, functions)


def cases(dtype):
    """Yield (rules, plain, primals): the same function with hand-written rules and without."""
    x, w, b = (jnp.asarray(normal(i, *s), dtype) for i, s in enumerate([(5, 3), (3, 7), (7,)]))
    yield "dense", fcjax.dense, plain.dense, (x, w, b)
    yield "gelu", fcjax.gelu, jax.nn.gelu, (x,)
    params = jax.tree.map(lambda p: p.astype(dtype), fcjax.init(jax.random.key(0), (3, 7, 5, 2)))
    rules = functools.partial(fcjax.mlp, activations=("tanh", "gelu"))
    by_jax = functools.partial(network, (jnp.tanh, jax.nn.gelu, jax.nn.identity))
    yield "network", rules, by_jax, (params, x)
    yield "rule that calls itself", lambda z: calls_itself(z, 3.0), lambda z: 3 * jnp.tanh(z), (x,)
    yield "scan", in_scan(fcjax.tanh), in_scan(jnp.tanh), (x,)
    yield "several outputs", several(fcjax.softplus), several(jax.nn.softplus), (x, {"b": b})


def in_scan(g):
    return lambda x: jax.lax.scan(lambda c, row: (g(c + row), c * row), x[0], x)


def several(g):
    def fun(x, tree):
        return {"a": g(x), "n": jnp.argmax(x), "none": None}, (tree["b"] * 2, jnp.ones(3))

    return fun


NAMES = [name for name, *_ in cases(jnp.float32)]


@pytest.fixture(params=range(len(NAMES)), ids=NAMES)
def case(request, x64):
    _, rules, by_jax, primals = list(cases(x64))[request.param]
    tangents = jax.tree.map(lambda p: jnp.asarray(normal(9, *p.shape), p.dtype), primals)
    return rules, by_jax, primals, tangents


def assert_close(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert one.dtype == other.dtype
        if other.dtype != jax.dtypes.float0:
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_jvp(case):
    rules, by_jax, primals, tangents = case
    want = jax.jvp(by_jax, primals, tangents)
    assert_close(fcjax.jvp(rules, primals, tangents), want)
    assert_close(jax.jit(functools.partial(fcjax.jvp, rules))(primals, tangents), want)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(rules, primals, tangents)


def test_linearize_runs_the_function_once(case):
    rules, by_jax, primals, tangents = case
    y, push = fcjax.linearize(rules, *primals)
    want, want_push = jax.linearize(by_jax, *primals)
    assert_close(y, want)
    for scale in (1.0, -2.0):
        scaled = jax.tree.map(lambda t, scale=scale: scale * t, tangents)
        assert_close(push(*scaled), want_push(*scaled))


def test_jacfwd(case):
    rules, by_jax, primals, _ = case
    floats = lambda f: lambda *args: [y for y in jax.tree.leaves(f(*args)) if y.dtype != int]  # noqa: E731
    for argnums in [0, tuple(range(len(primals)))]:
        want = jax.jacfwd(floats(by_jax), argnums)(*primals)
        assert_close(fcjax.jacfwd(floats(rules), argnums)(*primals), want)


def scalar(f):
    def loss(*primals):
        leaves = [y for y in jax.tree.leaves(f(*primals)) if y.dtype != int]
        return sum(jnp.sum(jnp.sin(y)) for y in leaves)

    return loss


def test_hvp(case):
    rules, by_jax, primals, tangents = case
    grad = jax.grad(scalar(by_jax), tuple(range(len(primals))))
    want = jax.jvp(grad, primals, tangents)[1]
    assert_close(fcjax.hvp(scalar(rules), primals, tangents), want)
    product = jax.jit(lambda p, t: fcjax.hvp(scalar(rules), p, t))
    assert_close(product(primals, tangents), want)


def test_gauss_newton_product(x64):
    params = jax.tree.map(lambda p: p.astype(x64), fcjax.init(jax.random.key(0), (3, 7, 2)))
    v = jax.tree.map(lambda p: jnp.asarray(normal(3, *p.shape), x64), params)
    x, labels = jnp.asarray(normal(1, 5, 3), x64), jnp.array([0, 1, 1, 0, 1])

    def model(params):
        return fcjax.mlp(params, x, activations="tanh")

    def loss(logits):
        return fcjax.softmax_cross_entropy(logits, labels)

    flat, unravel = jax.flatten_util.ravel_pytree(params)
    by_jax = without_rules(lambda flat: model(unravel(flat)))
    jacobian = jax.jacrev(by_jax)(flat).reshape(10, -1)
    hessian = jax.hessian(without_rules(loss))(model(params)).reshape(10, 10)
    want = jacobian.T @ hessian @ jacobian @ jax.flatten_util.ravel_pytree(v)[0]
    got = fcjax.gauss_newton_product(model, loss, params, v)
    np.testing.assert_allclose(jax.flatten_util.ravel_pytree(got)[0], want, rtol=1e-10, atol=1e-12)


def test_second_derivatives_by_the_input_as_pinns_need_them(x64):
    params = jax.tree.map(lambda p: p.astype(x64), fcjax.init(jax.random.key(0), (1, 7, 7, 1)))
    points = jnp.linspace(-1, 1, 5, dtype=x64)

    def u(x):
        return fcjax.mlp(params, x[None, None], activations="tanh")[0, 0]

    def laplacian(jvp, u):
        one = jnp.ones((), x64)
        along = lambda f: lambda x: jvp(f, (x,), (one,))[1]  # noqa: E731
        return jax.vmap(along(along(u)))(points)

    got = laplacian(fcjax.jvp, u)
    np.testing.assert_allclose(got, laplacian(jax.jvp, without_rules(u)), rtol=1e-10)
    loss = lambda jvp, u: lambda x: jnp.sum(jax.vmap(lambda x: jvp(u, (x,), (x,))[1])(x) ** 2)  # noqa: E731
    want = jax.grad(loss(jax.jvp, without_rules(u)))(points)
    np.testing.assert_allclose(jax.grad(loss(fcjax.jvp, u))(points), want, rtol=1e-9)


def test_under_vmap_over_primals_and_tangents(x64):
    x = jnp.asarray(normal(0, 3, 5), x64)
    got = jax.vmap(lambda x, t: fcjax.jvp(fcjax.selu, (x,), (t,)))(x, x[::-1])
    assert_close(got, jax.jvp(jax.nn.selu, (x,), (x[::-1],)))


def test_what_has_no_direction_is_passed_through():
    def fun(x, n, key, rate):
        return fcjax.dropout(x, rate, key) * n, n

    args = jnp.ones((4, 3)), jnp.arange(3), jax.random.key(0), 0.5
    tangents = 2 * args[0], np.zeros(3, jax.dtypes.float0), None, None
    (y, n), (dy, dn) = fcjax.jvp(lambda x, n: fun(x, n, args[2], 0.5), args[:2], tangents[:2])
    np.testing.assert_array_equal(dy, 2 * y)
    np.testing.assert_array_equal(n, args[1])
    assert dn.dtype == jax.dtypes.float0


def test_mixed_dtypes_and_empty_arrays():
    x, w = jnp.ones((3, 5), jnp.bfloat16), jnp.ones((5, 2), jnp.float32)
    y, dy = fcjax.jvp(fcjax.dense, (x, w), (x, w))
    assert y.dtype == dy.dtype == jnp.float32
    np.testing.assert_array_equal(dy, 2 * y)
    empty = jnp.zeros((0, 3))
    assert fcjax.jvp(fcjax.tanh, (empty,), (empty,))[1].shape == (0, 3)


@jax.custom_vjp
def clipped(x):
    return 2 * x


clipped.defvjp(lambda x: (2 * x, None), lambda _, dy: (jnp.clip(2 * dy, -1, 1),))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: fcjax.jvp(clipped, (x,), (x,)), "not linear in its cotangent"),
        (lambda x: fcjax.jvp(jnp.sin, (x,), (x[:2],)), r"must have the shape of its primal, \[3\]"),
        (lambda x: fcjax.jvp(jnp.sin, (x,), (x.astype(jnp.bfloat16),)), "dtype of its primal"),
        (lambda x: fcjax.jvp(jnp.sin, (x,), (x, x)), "must have the tree of the primals"),
        (lambda x: fcjax.hvp(jnp.sin, (x,), (x,)), r"floating-point scalar, got float32\[3\]"),
        (lambda x: fcjax.jacfwd(lambda x, n: x * n, 1)(x, jnp.arange(3)), "argnums must name"),
    ],
)
def test_wrong_input_is_told(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(jnp.ones(3))
