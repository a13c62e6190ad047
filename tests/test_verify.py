"""`without_rules`: the same values, JAX's own derivatives, wherever the rules stand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fcjax
from fcjax.verify import without_rules

C = jnp.arange(1.0, 4.0)
POINT = jnp.array([0.3, 0.7, -0.2])


def plain(x):
    return jnp.sin(x) * C


@jax.custom_vjp
def wrong(x):
    return plain(x)


wrong.defvjp(lambda x: (plain(x), None), lambda _, dy: (0 * dy + 7.0,))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def wrong_with_static(g, x):
    return g(wrong(x))


wrong_with_static.defvjp(lambda g, x: (g(plain(x)), None), lambda g, _, dy: (0 * dy + 7.0,))


def in_shard_map(f, x):
    mesh = jax.make_mesh((1,), ("rows",))
    spec = jax.P()
    return jax.shard_map(
        lambda v: f(v) + jax.lax.psum(v, "rows"), mesh=mesh, in_specs=spec, out_specs=spec
    )(x)


# each takes the rule, or the plain function in its place
PLACES = {
    "itself": lambda f, x: f(x),
    "jit": lambda f, x: jax.jit(lambda v: f(v) * C)(x),
    "scan": lambda f, x: jax.lax.scan(lambda c, s: (f(c) + s, c), x, jnp.ones((2, 3)))[0],
    "cond": lambda f, x: jax.lax.cond(x.sum() > 0, f, lambda v: v, x),
    "while": lambda f, x: jax.lax.fori_loop(0, 2, lambda _, v: f(v), x),
    "checkpoint": lambda f, x: jax.checkpoint(f)(x),
    "vmap": lambda f, x: jax.vmap(f)(jnp.stack([x, 2 * x])),
    "shard_map": in_shard_map,
    "twice": lambda f, x: f(f(x)),
    "beside JAX's own rules": lambda f, x: jax.nn.relu(f(x)),
}


@pytest.mark.parametrize("place", PLACES)
def test_rules_are_taken_out_of(place):
    def scalar(f):
        return lambda x: jnp.sum(jnp.cos(PLACES[place](f, x)))

    bare, bad = without_rules(scalar(wrong)), scalar(wrong)
    np.testing.assert_allclose(bare(POINT), bad(POINT), rtol=1e-6)
    want = jax.jacfwd(scalar(plain))(POINT)
    if place != "while":  # a rule does not make a loop differentiable backwards
        np.testing.assert_allclose(jax.grad(bare)(POINT), want, rtol=1e-5, atol=1e-6)
        assert not np.allclose(jax.grad(bad)(POINT), want)
    np.testing.assert_allclose(jax.jacfwd(bare)(POINT), want, rtol=1e-5, atol=1e-6)
    assert "custom_vjp" not in str(jax.make_jaxpr(bare)(POINT))


def test_static_arguments_and_rules_in_rules():
    got = jax.grad(lambda x: jnp.sum(without_rules(wrong_with_static)(jnp.cos, x)))(POINT)
    want = jax.grad(lambda x: jnp.sum(jnp.cos(plain(x))))(POINT)
    np.testing.assert_allclose(got, want, rtol=1e-6)


@jax.custom_vjp
def swap(x, y):
    return y, x, 3.0


swap.defvjp(lambda x, y: ((y, x, 3.0), None), lambda _, d: (d[0], d[0]))


def test_outputs_that_are_inputs_or_constants():
    def f(x):
        a, b, k = swap(x, 2 * x)
        return {"product": jnp.sum(a * b * k), "kept": None}

    out = without_rules(f)(POINT)
    np.testing.assert_allclose(out["product"], 6 * jnp.sum(POINT**2), rtol=1e-6)
    got = jax.grad(lambda x: without_rules(f)(x)["product"])(POINT)
    np.testing.assert_allclose(got, 12 * POINT, rtol=1e-6)


def test_a_whole_training_loss_with_names_and_keys_as_arguments(x64):
    params = fcjax.init(jax.random.key(0), (3, 5, 2), dtype=x64)

    def loss(params, x, name, key=None):
        hidden = fcjax.dropout(x, 0.5, key)
        return fcjax.squared_error(
            fcjax.mlp(params, hidden, activations=name), jnp.ones((4, 2), x64)
        )

    args = (params, jnp.linspace(-1, 1, 12, dtype=x64).reshape(4, 3), "gelu")
    key = jax.random.key(1)
    by_hand = jax.grad(loss)(*args, key=key)
    by_jax = jax.grad(without_rules(loss))(*args, key=key)
    tolerance = 1e-12 if x64 == jnp.float64 else 1e-5
    for ours, theirs in zip(jax.tree.leaves(by_hand), jax.tree.leaves(by_jax), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
