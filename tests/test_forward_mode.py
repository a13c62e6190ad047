"""Forward mode through hand-written rules, against JAX's own on plain functions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest
from jax import lax
from jax.experimental import hijax
from jax.sharding import PartitionSpec
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
    yield "branch", in_branch(fcjax.tanh), in_branch(jnp.tanh), (x, b)
    yield "linear solve", solve(fcjax.dense), solve(plain.dense), (w, b)
    yield "rule in a loop of a rule", halved_by_a_loop, lambda x: jnp.sin(x) / 8, (x,)
    yield "None for an argument", by_first, lambda x, w: x * 3, (x, w)
    yield "symbolic zeros", scaled, lambda x, s: (x * jnp.sin(s), s * 2), (x, x[0])


def in_scan(g):
    return lambda x: lax.scan(lambda c, row: (g(c + row), c * row), x[0], x)


def in_branch(g):
    return jax.checkpoint(lambda x, b: lax.cond(x[0, 0] > b[0], g, jnp.cos, x) * b[0])


def solve(dense):
    return lambda w, b: jnp.linalg.solve(jnp.eye(3) + dense(w, w.T), w * b)


@jax.custom_vjp
def halved_by_a_loop(x):
    return jnp.sin(x) / 8


def halved_by_a_loop_bwd(x, dy):
    def halve(dx, _):
        return jax.jit(fcjax.identity)(dx) / 2, None

    return (lax.scan(halve, dy * fcjax.identity(jnp.cos(x)), length=3)[0],)


halved_by_a_loop.defvjp(lambda x: (jnp.sin(x) / 8, x), halved_by_a_loop_bwd)


@jax.custom_vjp
def by_first(x, w):
    return x * 3


by_first.defvjp(lambda x, w: (x * 3, None), lambda _, dy: (dy * 3, None))


@jax.custom_vjp
def scaled(x, s):
    return x * jnp.sin(s), s * 2


def scaled_fwd(x, s):
    return (x.value * jnp.sin(s.value), s.value * 2), (x.value, s.value)


def scaled_bwd(kept, cotangents):
    x, s = kept
    dy, dt = (
        jnp.zeros(c.aval.shape, c.aval.dtype)
        if isinstance(c, jax.custom_derivatives.SymbolicZero)
        else c
        for c in cotangents
    )
    return dy * jnp.sin(s), jnp.sum(dy * x * jnp.cos(s), 0) + dt * 2


scaled.defvjp(scaled_fwd, scaled_bwd, symbolic_zeros=True)


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
    # the other implementation of rules has no words for those that see symbolic zeros
    with pytest.raises((TypeError, NotImplementedError), match=r"forward-mode|^$"):
        jax.jvp(rules, primals, tangents)


def test_linearize_runs_the_function_once(case):
    rules, by_jax, primals, tangents = case
    y, push = fcjax.linearize(rules, *primals)
    want, want_push = jax.linearize(by_jax, *primals)
    assert_close(y, want)
    for scale in (1.0, -2.0):
        scaled = jax.tree.map(lambda t, scale=scale: scale * t, tangents)
        assert_close(push(*scaled), want_push(*scaled))


@pytest.mark.in_turn(3)
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


@pytest.mark.in_turn(3)
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


def rule(f, derivative):
    """A function whose backward rule is `dx = dy derivative(x)`, right or not."""
    function = jax.custom_vjp(f)
    function.defvjp(lambda x: (f(x), x), lambda x, dy: (dy * derivative(x),))
    return function


def test_the_third_derivative(x64):
    x = jnp.asarray(normal(0, 5), x64)

    def third(jvp, f):
        for _ in range(3):
            f = functools.partial(lambda f, x: jvp(f, (x,), (jnp.ones_like(x),))[1], f)
        return jax.jit(f)(x)

    for ours, by_jax in [(fcjax.gelu, jax.nn.gelu), (lambda z: calls_itself(z, 1.0), jnp.tanh)]:
        np.testing.assert_allclose(third(fcjax.jvp, ours), third(jax.jvp, by_jax), rtol=1e-9)


def test_second_derivatives_are_those_of_the_rules_inside_of_rules(x64):
    # each wrong by a factor, which tells whose derivative was taken
    inner = rule(jnp.sin, lambda x: 10 * jnp.cos(x))
    outer = rule(lambda x: -jnp.cos(x), lambda x: 7 * inner(x))
    x, one = jnp.asarray(normal(0, 3), x64), jnp.ones(3, x64)
    first = lambda x: fcjax.jvp(outer, (x,), (one,))[1]  # noqa: E731
    np.testing.assert_allclose(first(x), 7 * jnp.sin(x))
    np.testing.assert_allclose(fcjax.jvp(first, (x,), (one,))[1], 70 * jnp.cos(x))
    total = lambda x: jnp.sum(outer(x))  # noqa: E731
    np.testing.assert_allclose(fcjax.hvp(total, (x,), (one,))[0], 70 * jnp.cos(x))


def local_rules():
    """Pairs of a function with rules that are defined only now, and the same without."""
    sine = rule(jnp.sin, lambda x: cosine(x))
    cosine = rule(jnp.cos, lambda x: -sine(x))
    twice = rule(lambda x: 2 * x, lambda x: jnp.full_like(x, 2))
    offset = jnp.arange(3.0)
    around = rule(lambda x: jnp.sin(x + offset), lambda x: cosine(x + offset))
    by_rules = jax.custom_vjp(lambda x: 8 * jnp.sin(x))

    def by_rules_bwd(x, dy):
        dy = lax.scan(lambda dy, _: (twice(dy), None), jax.jit(twice)(dy), length=1)[0]
        return (jax.vmap(twice)(dy[None])[0] * cosine(x),)

    by_rules.defvjp(lambda x: (8 * jnp.sin(x), x), by_rules_bwd)
    yield "plain", sine, jnp.sin
    yield "closed over", around, lambda x: jnp.sin(x + offset)
    yield "on the cotangent", by_rules, lambda x: 8 * jnp.sin(x)
    yield "scan", in_scan(sine), in_scan(jnp.sin)
    yield "vmap", lambda x: jax.vmap(by_rules)(x[None])[0], lambda x: 8 * jnp.sin(x)
    yield "checkpoint", jax.checkpoint(lambda x: sine(cosine(x))), lambda x: jnp.sin(jnp.cos(x))


@pytest.mark.parametrize("case", range(6), ids=[name for name, *_ in local_rules()])
def test_both_implementations_of_rules(case, flags, x64):
    name, ours, by_jax = list(local_rules())[case]
    if name == "vmap" and flags and not hasattr(hijax, "HiPrim"):
        pytest.skip("before JAX 0.12, vmap of such a vmap raises where x is not mapped")
    x, t = jnp.asarray(normal(0, 3), x64), jnp.asarray(normal(1, 3), x64)

    def derivatives(jvp, f):
        along = lambda f: lambda x: jvp(f, (x,), (t,))[1]  # noqa: E731
        return jax.jit(along(f))(x), along(along(f))(x), jax.vmap(along(f))(x[None])

    assert_close(derivatives(fcjax.jvp, ours), derivatives(jax.jvp, by_jax))
    assert_close(fcjax.jacfwd(ours)(x), jax.jacfwd(by_jax)(x))
    want = jax.jvp(jax.grad(scalar(by_jax)), (x,), (t,))[1]
    assert_close(fcjax.hvp(scalar(ours), (x,), (t,)), (want,))


@pytest.mark.parametrize("f", [jnp.sin, lax.stop_gradient, lambda x: x.astype(int).astype(x.dtype)])
def test_a_rule_that_is_not_linear_inside_of_a_rule(f, flags):
    inner = rule(f, jnp.ones_like)
    x = jnp.ones(3)
    with pytest.raises(TypeError, match="not linear in its cotangent"):
        fcjax.jvp(backward_rule(lambda dy: jax.jit(inner)(dy)), (x,), (x,))


def test_under_vmap_over_primals_and_tangents(x64):
    x = jnp.asarray(normal(0, 3, 5), x64)
    got = jax.vmap(lambda x, t: fcjax.jvp(fcjax.selu, (x,), (t,)))(x, x[::-1])
    assert_close(got, jax.jvp(jax.nn.selu, (x,), (x[::-1],)))


def test_in_the_body_of_a_scan(x64):
    x = jnp.asarray(normal(0, 3, 5), x64)

    def last(jvp, g):
        step = lambda c, t: (c + jvp(g, (c,), (t,))[1], None)  # noqa: E731
        return jax.value_and_grad(lambda x: jnp.sum(lax.scan(step, x[0], x)[0]))(x)

    assert_close(last(fcjax.jvp, fcjax.tanh), last(jax.jvp, jnp.tanh))


def test_jit_and_vmap_return_the_derivative(x64):
    x = jnp.asarray(normal(0, 3, 5), x64)
    want = jax.jvp(jnp.tanh, (x,), (2 * x,))
    y, f_jvp = jax.jit(functools.partial(fcjax.linearize, fcjax.tanh))(x)
    assert_close((y, f_jvp(2 * x)), want)
    y, f_jvp = jax.vmap(functools.partial(fcjax.linearize, fcjax.tanh))(x)
    assert_close((y, jax.vmap(lambda f, t: f(t))(f_jvp, 2 * x)), want)


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.skipif(jax.device_count() < 4, reason="needs four devices")
def test_on_a_mesh(check_vma, x64):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    x, w = jnp.asarray(normal(0, 8, 3), x64), jnp.asarray(normal(1, 3, 5), x64)
    split, everywhere = PartitionSpec("data"), PartitionSpec()

    def total(x, w):
        return lax.psum(jnp.sum(fcjax.tanh(fcjax.dense(x, w))), "data")

    def inside(x, w):
        return fcjax.jvp(total, (x, w), (2 * x, w))

    sharded = functools.partial(
        jax.shard_map, mesh=mesh, in_specs=(split, everywhere), check_vma=check_vma
    )
    want = jax.jvp(lambda x, w: jnp.sum(jnp.tanh(x @ w)), (x, w), (2 * x, w))
    assert_close(jax.jit(sharded(inside, out_specs=(everywhere, everywhere)))(x, w), want)
    outside = sharded(total, out_specs=everywhere)
    assert_close(jax.jit(lambda: fcjax.jvp(outside, (x, w), (2 * x, w)))(), want)


def test_what_has_no_direction(x64):
    key, zero = jax.random.key(0), lambda *shape: np.zeros(shape, jax.dtypes.float0)

    def fun(dropout, tree, n, key, mask):
        x = jnp.where(mask, dropout(tree["x"], 0.5, key) * n, 1.0)
        return {"x": x, "n": n, "none": None}, key, mask, jnp.ones(2, x64), n * 1.5

    x, n, mask = jnp.asarray(normal(0, 5, 3), x64), jnp.arange(3), jnp.array([True, False, True])
    primals = {"x": x, "none": None}, n, key, mask
    tangents = {"x": 2 * x, "none": None}, zero(3), zero(), zero(3)
    (y, *_), want = jax.jvp(functools.partial(fun, without_rules(fcjax.dropout)), primals, tangents)
    (got_y, *_), got = fcjax.jvp(functools.partial(fun, fcjax.dropout), primals, tangents)
    assert_close((got_y, got), (y, want))
    by_none = tangents[0], None, None, None
    assert_close(fcjax.jvp(functools.partial(fun, fcjax.dropout), primals, by_none)[1], want)


def test_functions_of_nothing_and_of_numbers(x64):
    for fun, primal, tangent in [
        (lambda n: (n * 1.5, n), jnp.arange(3), np.zeros(3, jax.dtypes.float0)),
        (lambda x: (jnp.ones(2, x64), 3.0), jnp.ones(3, x64), jnp.ones(3, x64)),
        (lambda x: jnp.sin(x) * 2, 0.5, 2.0),
        (lambda x: x[1:], np.arange(3.0), np.arange(3.0)),
    ]:
        want = jax.tree.map(jnp.asarray, jax.jvp(fun, (primal,), (tangent,))[0])
        got = fcjax.jvp(fun, [primal], [tangent])
        assert_close(jax.tree.map(jnp.asarray, got[0]), want)
        assert_close(got[1], jax.jvp(fun, (primal,), (tangent,))[1])


@pytest.mark.parametrize("f", [jnp.square, jnp.conj, jnp.abs, jnp.imag, jnp.fft.fft])
def test_complex_arguments(f, x64):
    z = jnp.asarray(normal(0, 5), x64) + 1j * jnp.asarray(normal(1, 5), x64)
    assert_close(fcjax.jvp(f, (z,), (z[::-1],)), jax.jvp(f, (z,), (z[::-1],)))
    turned = lambda tanh: lambda x: f(jnp.exp(1j * tanh(x)))  # noqa: E731
    x = z.real
    assert_close(fcjax.jvp(turned(fcjax.tanh), (x,), (x,)), jax.jvp(turned(jnp.tanh), (x,), (x,)))


def test_mixed_dtypes_and_empty_arrays():
    x, w = jnp.ones((3, 5), jnp.bfloat16), jnp.ones((5, 2), jnp.float32)
    y, dy = fcjax.jvp(fcjax.dense, (x, w), (x, w))
    assert y.dtype == dy.dtype == jnp.float32
    np.testing.assert_array_equal(dy, 2 * y)
    jacobian = fcjax.jacfwd(fcjax.dense, (0, 1))(x, w)
    assert_close(jacobian, jax.jacfwd(without_rules(fcjax.dense), (0, 1))(x, w))
    (hx, hw) = fcjax.hvp(lambda x, w: jnp.sum(fcjax.dense(x, w)), (x, w), (x, w))
    assert (hx.dtype, hw.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_array_equal(hw, jnp.full((5, 2), 3.0))
    empty = jnp.zeros((0, 3))
    assert fcjax.jvp(fcjax.tanh, (empty,), (empty,))[1].shape == (0, 3)
    assert fcjax.jacfwd(fcjax.tanh)(empty).shape == (0, 3, 0, 3)
    assert fcjax.hvp(lambda x: jnp.sum(fcjax.tanh(x)), (empty,), (empty,))[0].shape == (0, 3)


def test_jacfwd_takes_what_jax_takes(x64):
    x, tree = jnp.asarray(normal(0, 3), x64), {"w": jnp.asarray(normal(1, 3, 2), x64), "b": None}

    def fun(g, x, tree, *, power):
        return {"y": g(x @ tree["w"]) ** power, "x": x}, jnp.sum(x)

    rules, by_jax = (functools.partial(fun, g, power=3) for g in (fcjax.tanh, jnp.tanh))
    for argnums in (0, -1, [1], (1, 0)):
        want = jax.jacfwd(by_jax, argnums, has_aux=True)(x, tree)
        assert_close(fcjax.jacfwd(rules, argnums, has_aux=True)(x, tree), want)
        assert_close(jax.jit(fcjax.jacfwd(rules, argnums, has_aux=True))(x, tree), want)
    power = lambda x, power: x**power  # noqa: E731
    assert_close(fcjax.jacfwd(power)(x, power=2), jnp.diag(2 * x))
    counts = fcjax.jacfwd(lambda x: (x, jnp.arange(2)))(x)[1]
    assert (counts.shape, counts.dtype) == ((2, 3), jax.dtypes.float0)


def test_the_hessian(x64):
    x, w = jnp.asarray(normal(0, 3), x64), jnp.asarray(normal(1, 3, 2), x64)
    loss = lambda g: lambda w: jnp.sum(g(x @ w) ** 3)  # noqa: E731
    want = jax.hessian(loss(jnp.tanh))(w)
    assert_close(fcjax.jacfwd(jax.grad(loss(fcjax.tanh)))(w), want)
    assert_close(fcjax.jacfwd(jax.grad(loss(lambda z: calls_itself(z, 1.0))))(w), want)
    product = jax.vmap(lambda v: fcjax.hvp(loss(fcjax.tanh), (w,), (v,))[0])
    assert_close(product(jnp.eye(6).reshape(6, 3, 2)).reshape(3, 2, 3, 2), want)


def test_aux_is_left_alone():
    fun, x = lambda x: (fcjax.relu(x), {"n": jnp.arange(2)}), jnp.ones(3)
    y, dy, aux = fcjax.jvp(fun, (x,), (2 * x,), has_aux=True)
    np.testing.assert_array_equal(dy, 2 * y)
    assert list(aux) == ["n"]
    y, f_jvp, aux = fcjax.linearize(fun, x, has_aux=True)
    np.testing.assert_array_equal(f_jvp(2 * x), dy)
    assert list(aux) == ["n"]


def backward_rule(bwd):
    """Twice x, with a backward rule of the cotangent alone."""
    function = jax.custom_vjp(lambda x: 2 * x)
    function.defvjp(lambda x: (2 * x, None), lambda _, dy: (bwd(dy),))
    return function


@pytest.mark.parametrize(
    "bwd",
    [
        lambda dy: jnp.clip(2 * dy, -1, 1),
        lambda dy: dy * jnp.abs(dy),
        lambda dy: jnp.nan_to_num(2 * dy),
        lambda dy: jnp.where(dy > 0, 2 * dy, 0),
        lambda dy: 2 * dy / jnp.linalg.norm(dy),
        lambda dy: (2 * dy).astype(int).astype(dy.dtype),
        lambda dy: 2 * lax.stop_gradient(dy),
        lambda dy: 2 * fcjax.tanh(dy),
        lambda dy: lax.scan(lambda c, _: (fcjax.relu(c), None), 2 * dy, length=2)[0],
        lambda dy: lax.cond(dy[0] > 0, lambda dy: 2 * dy, lambda dy: 3 * dy, dy),
        lambda dy: jax.pure_callback(lambda dy: 2 * dy, dy, dy),
    ],
    ids=[
        "clip",
        "square",
        "nan",
        "where",
        "norm",
        "int",
        "stop",
        "inner",
        "scan",
        "cond",
        "callback",
    ],
)
def test_a_backward_rule_that_is_not_linear_raises(bwd):
    fun, x = backward_rule(bwd), jnp.ones(3)
    total = lambda x: jnp.sum(fun(x) ** 2)  # noqa: E731
    calls = [
        lambda: fcjax.jvp(fun, (x,), (x,)),
        lambda: fcjax.jacfwd(fun)(x),
        lambda: fcjax.linearize(fun, x)[1](x),
        lambda: fcjax.hvp(total, (x,), (x,)),
        lambda: fcjax.gauss_newton_product(fun, jnp.sum, x, x),
        lambda: jax.jit(lambda x: fcjax.jvp(fun, (x,), (x,)))(x),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="not linear in its cotangent"):
            call()


def test_the_constant_part_of_a_backward_rule_does_not_enter():
    x = jnp.ones(3)
    dy = fcjax.jvp(backward_rule(lambda dy: 2 * dy + 1), (x,), (x,))[1]
    np.testing.assert_array_equal(dy, 2 * x)


def test_a_function_without_reverse_mode_raises():
    def fun(x):
        return lax.while_loop(lambda c: jnp.sum(c) < 10, lambda c: 2 * fcjax.softplus(c), x)

    once = lambda x: fcjax.jvp(fun, (x,), (x,))[1]  # noqa: E731
    twice = lambda x: fcjax.jvp(once, (x,), (x,))  # noqa: E731
    # JAX 0.10.0 itself fails at a vjp of a vjp of a while_loop
    for call in (once, twice)[: 1 if jax.__version__ == "0.10.0" else 2]:
        with pytest.raises(ValueError, match="must have a derivative in reverse mode") as caught:
            call(jnp.ones(3))
        assert str(caught.value).count("fun must have") == 1


KEY = jax.random.key(0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: fcjax.jvp(3, (x,), (x,)), "fun must be a function, got int 3"),
        (lambda x: fcjax.jvp(jnp.sin, x, x), r"primals must be a tuple or list, .* float32\[3\]"),
        (lambda x: fcjax.hvp(jnp.sum, (x,), x), "tangents must be a tuple or list"),
        *(
            (
                lambda x, f=f: f(jnp.sum, (np.longdouble(0.5),), (x,)),
                r"primals must be an array of numbers, got float128\[\]",
            )
            for f in (fcjax.jvp, fcjax.hvp)
        ),
        (
            lambda x: fcjax.jvp(jnp.sin, (x,), (x[:2],)),
            r"tangents\[0\] must have the shape of primals\[0\], \[3\], got float32\[2\]",
        ),
        (
            lambda x: fcjax.linearize(jnp.sin, x)[1](x.astype(jnp.bfloat16)),
            r"tangents\[0\] must have the dtype of primals\[0\], float32, got bfloat16\[3\]",
        ),
        (
            lambda x: fcjax.jvp(jnp.sin, (x,), (np.zeros(3, jax.dtypes.float0),)),
            r"must have the dtype of primals\[0\], float32, got float0\[3\]",
        ),
        (
            lambda x: fcjax.jvp(lambda t: t["a"], ({"a": x},), ({"a": None},)),
            r"tangents\[0\]\['a'\] must be an array like primals\[0\]\['a'\], got NoneType",
        ),
        (
            lambda x: fcjax.jvp(lambda x, n: x * n, (x, jnp.arange(3)), (x, x)),
            r"tangents\[1\] must be None or of dtype float0, because primals\[1\], int32\[3\]",
        ),
        (
            lambda x: fcjax.jvp(lambda x, key: x, (x, KEY), (x, KEY)),
            r"because primals\[1\], key<fry>\[\], is not differentiable; got key",
        ),
        (lambda x: fcjax.jvp(jnp.sin, (x,), (x, x)), "tangents must have the tree of the primals"),
        (lambda x: fcjax.jvp(jnp.sin, (x,), ({"a": x},)), "must have the tree of the primals"),
        (lambda x: fcjax.jvp(jnp.sin, (x,), (x,), True), r"pair \(output, aux\)"),
        (lambda x: fcjax.hvp(jnp.sin, (x,), (x,)), r"floating-point scalar, got float32\[3\]"),
        (lambda x: fcjax.hvp(lambda x: (x,), (x,), (x,)), "scalar, got tuple"),
        (lambda x: fcjax.hvp(jnp.argmax, (x,), (x,)), r"scalar, got int32\[\]"),
        (lambda x: fcjax.hvp(jnp.sum, (x + 0j,), (x + 0j,)), "must be real, got complex64"),
        (
            lambda x: fcjax.gauss_newton_product(jnp.sin, jnp.cos, x, x),
            r"loss must return a real floating-point scalar, got float32\[3\]",
        ),
        (
            lambda x: fcjax.gauss_newton_product(lambda p: p["w"], jnp.sum, {"w": x}, {"w": 1.0}),
            r"v\['w'\] must have the shape of params\['w'\], \[3\], got float 1.0",
        ),
        (lambda x: fcjax.jacfwd(lambda x, n: x * n, 1)(x, jnp.arange(3)), "argnums must name"),
        (lambda x: fcjax.jacfwd(jnp.sin)(x + 0j), r"real floating-point .* got complex64\[3\]"),
        (lambda x: fcjax.jacfwd(jnp.sin, 1)(x), "one of the 1 arguments given, got 1"),
    ],
)
def test_wrong_input_raises(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(jnp.ones(3))
