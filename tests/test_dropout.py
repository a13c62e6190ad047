"""Dropout: one mask forward and backward, drawn from the key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import normal, random_like

import fcjax

KEY = jax.random.key


@pytest.fixture(scope="module")
def large():
    """Enough entries for the forward and backward mask to differ somewhere if they can."""
    x = jnp.asarray(normal(0, 2048, 512), jnp.float32)
    return x, random_like(x)


def pullback(x, rate, key):
    return jax.vjp(lambda x: fcjax.dropout(x, rate, key), x)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_backward_mask_is_the_forward_mask(large, rate):
    x, dy = large
    y, pull = pullback(x, rate, KEY(0))
    kept = np.asarray(y) != 0
    assert kept.mean() == pytest.approx(1 - rate, abs=5e-3)
    np.testing.assert_allclose(y, np.where(kept, x / (1 - rate), 0), rtol=1e-6)
    np.testing.assert_allclose(pull(dy)[0], np.where(kept, dy / (1 - rate), 0), rtol=1e-6)


def test_a_number_that_is_zero_may_still_be_kept():
    # the mask cannot be read from y: x has zeros of its own
    y, pull = pullback(jnp.zeros((64, 32)), 0.5, KEY(0))
    np.testing.assert_array_equal(y, np.zeros((64, 32)))
    gradient = np.asarray(pull(jnp.ones((64, 32)))[0])
    assert set(np.unique(gradient)) == {0.0, 2.0}
    mask = fcjax.dropout(jnp.ones((64, 32)), 0.5, KEY(0))
    np.testing.assert_array_equal(gradient, mask)


def test_the_mean_over_masks_is_x(large):
    x, _ = large
    y = fcjax.dropout(jnp.ones_like(x), 0.3, KEY(1))
    assert y.mean() == pytest.approx(1, abs=5e-3)


@pytest.mark.parametrize("rate", [0, 0.0])
def test_a_rate_of_zero_returns_x(large, rate, unchecked):
    x, dy = large
    y, pull = pullback(x, rate, KEY(0))
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(pull(dy)[0], dy)


def test_equal_keys_draw_equal_masks():
    x = jnp.ones((8, 16))
    first, again = (fcjax.dropout(x, 0.5, KEY(3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.any(np.asarray(first != fcjax.dropout(x, 0.5, KEY(4))))
    np.testing.assert_array_equal(jax.jit(fcjax.dropout, static_argnums=1)(x, 0.5, KEY(3)), first)


def test_raw_keys_are_keys_too():
    x, key = jnp.ones((8, 16)), jax.random.PRNGKey(3)
    y, pull = pullback(x, 0.5, key)
    np.testing.assert_array_equal(pull(x)[0], y)


def test_vmap_over_keys():
    x, keys = jnp.asarray(normal(5, 4, 16), jnp.float32), jax.random.split(KEY(5), 3)

    def loss(x, key):
        return jnp.sum(fcjax.dropout(x, 0.5, key) ** 2)

    got = jax.vmap(jax.grad(loss), (None, 0))(x, keys)
    want = jnp.stack([jax.grad(loss)(x, key) for key in keys])
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert np.any(np.asarray(got[0] != got[1]))


def test_only_the_key_is_kept(large):
    x, _ = large
    _, pull = pullback(x, 0.5, KEY(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(pull)) <= 2


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_dtypes_stay(dtype):
    y, pull = pullback(jnp.ones((8, 16), dtype), 0.5, KEY(0))
    assert y.dtype == pull(y)[0].dtype == dtype


def test_second_derivatives():
    x = jnp.asarray(normal(6, 5), jnp.float32)
    mask = fcjax.dropout(jnp.ones(5), 0.5, KEY(0))
    hessian = jax.hessian(lambda x: jnp.sum(fcjax.dropout(x, 0.5, KEY(0)) ** 3))(x)
    np.testing.assert_allclose(hessian, np.diag(6 * mask**3 * x), rtol=1e-5)
