"""Dropout: one mask forward and backward, drawn from the key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import normal, random_like

import fcjax
from fcjax.dropout import relu_dropout

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


@pytest.mark.parametrize("rate", [1e-4, 2**-7 - 1e-5, 2**-7, 0.1, 1 / 3, 0.9, 0.999, 1 - 1e-5])
@pytest.mark.parametrize("shape", [(2000, 501), (1_000_001, 1), (1_000_003,)])
def test_each_element_survives_with_its_probability(rate, shape):
    kept = np.asarray(fcjax.dropout(jnp.ones(shape), rate, KEY(7)) != 0)
    spread = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs(kept.mean() - (1 - rate)) < 5 * spread + 2**-17
    if shape[-1] > 1:  # the two halves of a row have the same words
        half = (shape[-1] + 1) // 2
        for part in (kept[..., :half], kept[..., half:]):
            assert abs(part.mean() - (1 - rate)) < 5 * np.sqrt(2) * spread + 2**-17


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_elements_survive_independently(rate):
    kept = np.asarray(fcjax.dropout(jnp.ones((1000, 1000)), rate, KEY(8)) != 0) - (1 - rate)
    pairs = {
        "the other half": (kept[:, :500], kept[:, 500:]),
        "the next in the row": (kept[:, 1:], kept[:, :-1]),
        "the next row": (kept[1:], kept[:-1]),
    }
    for a, b in pairs.values():
        assert abs(np.mean(a * b)) < 5 * rate * (1 - rate) / np.sqrt(a.size)


@pytest.mark.parametrize("shape", [(), (1,), (3, 0), (0, 3), (2, 3, 1), (5, 7)])
def test_any_shape(shape):
    y = fcjax.dropout(jnp.ones(shape), 0.5, KEY(0))
    assert y.shape == shape
    assert set(np.unique(y)) <= {0.0, 2.0}


def test_keys_of_another_generator():
    x = jnp.ones((64, 33))
    y, pull = pullback(x, 0.5, jax.random.key(0, impl="rbg"))
    assert 0.4 < np.mean(np.asarray(y) == 0) < 0.6
    np.testing.assert_array_equal(pull(x)[0], y)


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


# --- relu and dropout in one rule ---------------------------------------------------------------


def pullback_of_relu(z, rate, key):
    return jax.vjp(lambda z: relu_dropout(z, rate, key), z)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("rate", [0.0, 1e-4, 0.1, 0.5, 0.9])
def test_relu_and_dropout_are_the_two_rules(rate, dtype):
    special = [0.0, -0.0, jnp.inf, -jnp.inf, jnp.nan, jnp.finfo(dtype).tiny, -1.0]
    z = jnp.concatenate([jnp.asarray(normal(9, 63, 31), dtype), jnp.array([special * 9] * 31).T],
                        dtype=dtype)  # fmt: skip
    dy = random_like(z)
    y, pull = pullback_of_relu(z, rate, KEY(2))
    want, two = jax.vjp(lambda z: fcjax.dropout(fcjax.relu(z), rate, KEY(2)), z)
    for got, of_two in ((y, want), (pull(dy)[0], two(dy)[0])):  # NumPy compares no NaN of bfloat16
        np.testing.assert_array_equal(np.float32(got), np.float32(of_two))
    assert y.dtype == pull(dy)[0].dtype == dtype


def test_relu_and_dropout_keep_their_output_alone(large):
    y, pull = pullback_of_relu(large[0], 0.5, KEY(0))
    (kept,) = jax.tree.leaves(pull)
    assert kept is y


def test_relu_and_dropout_under_vmap_and_twice():
    z, keys = jnp.asarray(normal(5, 3, 4, 16), jnp.float32), jax.random.split(KEY(5), 3)

    def of_two(z, key):
        return jnp.sum(fcjax.dropout(fcjax.relu(z), 0.5, key) ** 3)

    def loss(z, key):
        return jnp.sum(relu_dropout(z, 0.5, key) ** 3)

    for transform in (jax.grad, jax.hessian):
        got, want = (jax.vmap(transform(f))(z, keys) for f in (loss, of_two))
        np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize(
    ("z", "rate", "key", "message"),
    [
        (jnp.ones(3, int), 0.5, KEY(0), "z .*floating"),
        (jnp.ones(3), 1.0, KEY(0), "rate must be"),
        (jnp.ones(3), 0.5, 7, "key .*PRNG key"),
    ],
)
def test_relu_and_dropout_name_what_is_wrong(z, rate, key, message, unchecked):
    with pytest.raises((TypeError, ValueError), match=message):
        relu_dropout(z, rate, key)
