"""The mean loss of parts, whose gradient is accumulated, beside autodiff of a plain sum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import EVERY, assert_trees_close, normal

import fcjax
from fcjax.tables.accumulation import mean_of_parts
from fcjax.tables.networks import TabM

SHARED = {"w": jnp.asarray(normal(0, 3, 5)), "a": jnp.asarray(normal(1, 4, 3))}
OWN = jnp.asarray(normal(2, 7, 5)), jnp.asarray(normal(3, 7))
DATA = jnp.asarray(normal(4, 4))
KEYS = jax.random.split(jax.random.key(0), 7)


def loss(shared, own, data, key):
    hidden = jnp.tanh(shared["a"] @ shared["w"] * own[0])
    noise = 0 if key is None else jax.random.normal(key, data.shape)
    return jnp.sum((hidden.sum(axis=1) + own[1] - data - noise) ** 2)


def plainly(shared, own, data, keys):
    parts = range(len(own[0]))
    key = [None] * len(own[0]) if keys is None else keys
    return sum(loss(shared, (own[0][i], own[1][i]), data, key[i]) for i in parts) / len(parts)


@pytest.mark.parametrize("keys", [None, KEYS])
def test_value_and_gradient_are_those_of_the_mean(keys, x64):
    for run in (lambda f: f, jax.jit):
        got = run(lambda s, o: mean_of_parts(loss, s, o, DATA, keys))
        want = lambda s, o: plainly(s, o, DATA, keys)  # noqa: E731
        assert_trees_close(got(SHARED, OWN), want(SHARED, OWN), 1e-6)
        of_both = jax.grad(got, (0, 1))(SHARED, OWN), jax.grad(want, (0, 1))(SHARED, OWN)
        assert_trees_close(*of_both, 1e-6)


def test_the_rule_passes_the_checker():
    report = fcjax.check_rule(
        lambda s, o: mean_of_parts(loss, s, o, DATA, KEYS),
        (SHARED, OWN),
        reference=lambda s, o: plainly(s, o, DATA, KEYS),
        search=EVERY,
    )
    assert report.ok, report


def test_several_networks_at_once_have_their_own_gradients():
    shared = jax.tree.map(lambda V: jnp.stack([V, 2 * V, -V]), SHARED)
    keys = jnp.stack([KEYS, KEYS[::-1], KEYS])

    def of_all(function):
        return lambda s, o, k: jnp.sum(jax.vmap(function, (0, None, None, 0))(s, o, DATA, k))

    got = jax.grad(of_all(lambda *args: mean_of_parts(loss, *args)), (0, 1))(shared, OWN, keys)
    want = jax.grad(of_all(plainly), (0, 1))(shared, OWN, keys)
    assert_trees_close(got, want, 1e-5)


def test_the_result_is_constant_in_the_data():
    gradient = jax.grad(lambda data: mean_of_parts(loss, SHARED, OWN, data, None))(DATA)
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("members", [1, 3, 6])
def test_the_loss_of_members_in_parts_is_that_of_all(members):
    network = TabM(5, 2, (1,) * 5, members=members, width=6, rate=0.0)
    params = network.init(np.random.default_rng(0))
    params = jax.tree.map(lambda V: V + 0.1 * normal(5, *V.shape).astype(np.float32), params)
    x, y = jnp.asarray(normal(6, 8, 5), jnp.float32), jnp.asarray(normal(7, 8, 2), jnp.float32)

    def squares(outputs, data):
        return jnp.mean((outputs - data[:, None]) ** 2)

    got = jax.value_and_grad(lambda p: network.mean_loss(squares, p, x, y))(params)
    want = jax.value_and_grad(lambda p: squares(network.apply(p, x), y))(params)
    assert_trees_close(got, want, 1e-5)


def test_each_part_of_the_members_has_masks_of_its_own():
    network = TabM(5, 2, (1,) * 5, members=8, width=64, rate=0.5)
    params = network.init(np.random.default_rng(0))
    params = params._replace(heads=jax.tree.map(lambda V: V[:1].repeat(8, 0), params.heads))
    ones = [block._replace(r=jnp.ones_like(block.r)) for block in params.blocks]
    params = params._replace(blocks=tuple(ones))  # all members are equal, but for their masks
    x = jnp.asarray(normal(6, 8, 5), jnp.float32)
    own = []

    def total(outputs, data):
        del data
        jax.debug.callback(lambda V: own.extend(np.moveaxis(V, 1, 0)), outputs)
        return jnp.sum(outputs)

    network.mean_loss(total, params, x, None, jax.random.key(0))
    jax.effects_barrier()
    assert len({V.tobytes() for V in own}) == 8
