"""The compiled step and epoch: their numbers, their state, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference

import fcjax
from fcjax.train.shuffle import random_order

SIZES = (3, 5, 2)


def make_data(examples=13, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return (
        jnp.asarray(rng.normal(size=(examples, 3)), dtype),
        jnp.asarray(rng.normal(size=(examples, 2)), dtype),
    )


def make_params(dtype=jnp.float32):
    return fcjax.init(jax.random.key(1), SIZES, dtype=dtype)


def loss_fn(params, batch):
    x, y = batch
    return fcjax.half_squared_error(fcjax.mlp(params, x, activations="tanh"), y)


def momentum_descent(params, batches, lr, momentum):
    """Steps of `v = momentum v + g; p = p − lr v` in NumPy, and the losses before each."""

    def loss(a, y):
        return 0.5 * np.sum((a - y) ** 2) / len(y), (a - y) / len(y)

    layers = [(np.array(w), np.array(b)) for w, b in params]
    functions = np.tanh, lambda z: z
    derivatives = lambda z: 1 - np.tanh(z) ** 2, np.ones_like
    return reference.momentum_descent(layers, batches, functions, derivatives, loss, lr, momentum)


def test_steps_follow_a_numpy_program(x64):
    X, Y = make_data(12, x64)
    batches = [(X[i : i + 4], Y[i : i + 4]) for i in range(0, 12, 4)] * 5
    optimizer = optax.sgd(0.1, momentum=0.9)
    state = fcjax.init_state(make_params(x64), optimizer)
    train_step = fcjax.make_train_step(loss_fn, optimizer)
    losses = []
    for batch in batches:
        state, info = train_step(state, batch)
        losses.append(float(info.loss))
    p, want = momentum_descent(
        make_params(x64), [(np.asarray(x), np.asarray(y)) for x, y in batches], 0.1, 0.9
    )
    rtol = 1e-11 if x64 == jnp.float64 else 1e-4
    np.testing.assert_allclose(losses, want, rtol=rtol)
    for ours, theirs in zip(jax.tree.leaves(state.params), jax.tree.leaves(p), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol)
    assert int(state.step) == 15


def test_one_program_serves_all_steps_and_the_state_is_overwritten():
    optimizer = optax.adam(1e-2)
    params = make_params()
    first = fcjax.init_state(params, optimizer)
    train_step = fcjax.make_train_step(loss_fn, optimizer)
    state = first
    for _ in range(3):
        state, _ = train_step(state, make_data())
    assert train_step._cache_size() == 1
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(first.params))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(params)), "the caller's own"


@pytest.mark.parametrize(
    "loss", [loss_fn, lambda p, b, key: loss_fn(p, b) * jax.random.uniform(key)]
)
def test_the_key_is_handed_round_untouched(loss):
    optimizer = optax.sgd(0.1)
    key = jax.random.key(7)
    step = fcjax.make_train_step(loss, optimizer)
    epoch = fcjax.make_train_epoch(loss, optimizer, batch_size=4)
    start = fcjax.init_state(make_params(), optimizer, key=key)
    middle, _ = step(start, make_data())
    end, _ = epoch(middle, make_data())
    assert start.key is middle.key is end.key
    assert jax.random.key_data(end.key).tolist() == jax.random.key_data(key).tolist()


def test_state_needs_no_memory_of_its_own_in_the_step():
    optimizer = optax.adam(1e-2)
    state = fcjax.init_state(make_params(), optimizer)
    compiled = fcjax.make_train_step(loss_fn, optimizer).lower(state, make_data()).compile()
    memory = compiled.memory_analysis()
    if memory is None:
        pytest.skip("this backend reports no memory")
    state_bytes = sum(
        leaf.nbytes
        for leaf in jax.tree.leaves(state)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )
    assert memory.alias_size_in_bytes >= state_bytes


def test_grad_norm_and_aux_are_returned_when_asked_for():
    def with_aux(params, batch):
        return loss_fn(params, batch), {"examples": len(batch[0])}

    optimizer = optax.sgd(0.1)
    step = fcjax.make_train_step(with_aux, optimizer, has_aux=True, grad_norm=True)
    _, info = step(fcjax.init_state(make_params(), optimizer), make_data())
    want = optax.tree.norm(jax.grad(loss_fn)(make_params(), make_data()))
    np.testing.assert_allclose(info.grad_norm, want, rtol=1e-6)
    assert int(info.aux["examples"]) == 13
    plain = fcjax.make_train_step(loss_fn, optimizer)
    _, info = plain(fcjax.init_state(make_params(), optimizer), make_data())
    assert info.grad_norm is None
    assert info.aux is None


def random_loss(params, batch, key):
    return loss_fn(params, batch) * 0 + jax.random.uniform(key)


def test_a_loss_with_a_key_gets_a_new_one_at_each_step():
    optimizer = optax.sgd(0.1)
    step = fcjax.make_train_step(random_loss, optimizer)
    drawn = {}
    for seed in (0, 1):
        state = fcjax.init_state(make_params(), optimizer, key=jax.random.key(seed))
        drawn[seed] = []
        for _ in range(4):
            state, info = step(state, make_data())
            drawn[seed].append(float(info.loss))
    assert len({*drawn[0], *drawn[1]}) == 8
    epoch = fcjax.make_train_epoch(random_loss, optimizer, batch_size=4)
    _, info = epoch(fcjax.init_state(make_params(), optimizer, key=jax.random.key(0)), make_data())
    np.testing.assert_array_equal(info.loss, drawn[0], err_msg="the epoch draws the same keys")


@pytest.mark.parametrize("batch_size", [1, 4, 13, 20])
def test_an_epoch_in_order_is_the_loop_over_its_batches(batch_size, x64):
    X, Y = make_data(13, x64)
    optimizer = optax.adam(1e-2)
    step = fcjax.make_train_step(loss_fn, optimizer)
    state = fcjax.init_state(make_params(x64), optimizer)
    losses = []
    for i in range(0, 13, batch_size):
        state, info = step(state, (X[i : i + batch_size], Y[i : i + batch_size]))
        losses.append(float(info.loss))
    epoch = fcjax.make_train_epoch(loss_fn, optimizer, batch_size=batch_size, shuffle=False)
    end, infos = epoch(fcjax.init_state(make_params(x64), optimizer), (X, Y))
    tolerance = 1e-12 if x64 == jnp.float64 else 1e-5
    np.testing.assert_allclose(infos.loss, losses, rtol=tolerance)
    for ours, theirs in zip(
        jax.tree.leaves(end.params), jax.tree.leaves(state.params), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("batch_size", [1, 4, 5, 13, 20])
def test_each_epoch_visits_every_example_once_in_a_new_order(batch_size):
    def visited(params, batch):
        return jnp.sum(params) * 0, (jnp.sum(batch), jnp.sum(1 << batch))

    optimizer = optax.sgd(0.1)
    epoch = fcjax.make_train_epoch(visited, optimizer, batch_size=batch_size, has_aux=True)
    state = fcjax.init_state(jnp.ones(1), optimizer)
    firsts = set()
    for _ in range(4):
        state, info = epoch(state, jnp.arange(13))
        assert info.loss.shape == (-(-13 // batch_size),)
        assert int(info.aux[1].sum()) == 2**13 - 1, "each bit is one example"
        firsts.add(int(info.aux[0][0]))
    assert len(firsts) > 1 or batch_size >= 13
    assert epoch._cache_size() == 1


def test_a_batch_has_as_many_examples_of_each_stratum():
    def visited(params, batch):
        return jnp.sum(params) * 0, batch

    optimizer = optax.sgd(0.1)
    epoch = fcjax.make_train_epoch(visited, optimizer, batch_size=12, has_aux=True)
    _, info = epoch(fcjax.init_state(jnp.ones(1), optimizer), jnp.arange(60))
    # gcd(60, 12) = 12 strata of 5 examples
    np.testing.assert_array_equal(info.aux // 5, np.tile(np.arange(12), (5, 1)))
    orders = np.asarray(info.aux % 5).T
    assert sorted(map(sorted, orders.tolist())) == [[0, 1, 2, 3, 4]] * 12
    assert len(set(map(tuple, orders.tolist()))) > 6, "each stratum has an order of its own"


def test_the_order_is_drawn_from_another_key_than_the_loss():
    def visited(params, batch, key):
        return jnp.sum(params) * 0, (batch, jax.random.key_data(key))

    optimizer = optax.sgd(0.1)
    epoch = fcjax.make_train_epoch(visited, optimizer, batch_size=13, has_aux=True)
    _, info = epoch(fcjax.init_state(jnp.ones(1), optimizer), jnp.arange(13))
    order, key = info.aux[0][0], jax.random.wrap_key_data(info.aux[1][0])
    assert not np.array_equal(order, random_order(key, 13))


def test_parameters_may_be_any_pytree_and_any_floating_dtype():
    params = {"a": jnp.ones(3, jnp.bfloat16), "b": [jnp.zeros((2, 3))]}

    def loss(params, batch):
        return jnp.sum((params["b"][0] @ params["a"].astype(jnp.float32) - batch) ** 2)

    optimizer = optax.sgd(0.05)
    step = fcjax.make_train_step(loss, optimizer)
    state = fcjax.init_state(params, optimizer)
    losses = []
    for _ in range(5):
        state, info = step(state, jnp.ones(2))
        losses.append(float(info.loss))
    assert state.params["a"].dtype == jnp.bfloat16
    assert losses[-1] < losses[0]
    assert step._cache_size() == 1


def test_a_batch_spread_over_devices_gives_the_same_step(x64):
    if jax.device_count() < 2:
        pytest.skip("needs two devices")
    X, Y = make_data(16, x64)
    optimizer = optax.adam(1e-2)
    step = fcjax.make_train_step(loss_fn, optimizer)
    want, _ = step(fcjax.init_state(make_params(x64), optimizer), (X, Y))
    mesh = jax.make_mesh((2,), ("batch",))
    with jax.set_mesh(mesh):
        batch = jax.device_put((X, Y), jax.NamedSharding(mesh, jax.P("batch")))
        state = jax.device_put(
            fcjax.init_state(make_params(x64), optimizer), jax.NamedSharding(mesh, jax.P())
        )
        got, _ = step(state, batch)
    tolerance = 1e-12 if x64 == jnp.float64 else 1e-5
    for ours, theirs in zip(jax.tree.leaves(got.params), jax.tree.leaves(want.params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


BAD_LOSSES = {
    "got a tuple; make_train_step accepts": lambda p, b: (jnp.sum(p), 1),
    "one floating-point number, got float32": lambda p, b: p,
    "one floating-point number, got int32": lambda p, b: jnp.argmax(p),
    r"called as \(params, batch\) or \(params, batch, key\), got \(p\)": lambda p: jnp.sum(p),
    r"got \(a, b, c, d\)": lambda a, b, c, d: jnp.sum(a),
}


@pytest.mark.parametrize("message", BAD_LOSSES)
@pytest.mark.usefixtures("unchecked")
def test_a_loss_of_the_wrong_form_is_refused(message):
    optimizer = optax.sgd(0.1)
    with pytest.raises(TypeError, match=message):
        fcjax.make_train_step(BAD_LOSSES[message], optimizer)(
            fcjax.init_state(jnp.ones(3), optimizer), jnp.ones(3)
        )


@pytest.mark.usefixtures("unchecked")
def test_wrong_arguments_are_refused_by_name():
    good = optax.sgd(0.1)
    with pytest.raises(TypeError, match=r"optimizer must be an Optax.*; call it first"):
        fcjax.init_state(jnp.ones(3), optax.sgd)
    with pytest.raises(TypeError, match="optimizer must be an Optax"):
        fcjax.make_train_step(loss_fn, 0.1)
    with pytest.raises(TypeError, match=r"params\['w'\] must be a floating-point array, got int"):
        fcjax.init_state({"w": jnp.ones(3, int)}, good)
    with pytest.raises(TypeError, match="params must hold at least one array"):
        fcjax.init_state((), good)
    with pytest.raises(TypeError, match="key must be one PRNG key"):
        fcjax.init_state(jnp.ones(3), good, key=0)
    with pytest.raises(TypeError, match="batch_size must be an integer, got float"):
        fcjax.make_train_epoch(loss_fn, good, batch_size=1.5)
    with pytest.raises(ValueError, match="batch_size must be positive, got 0"):
        fcjax.make_train_epoch(loss_fn, good, batch_size=0)
    with pytest.raises(TypeError, match="loss_fn must be a function, got int 3"):
        fcjax.make_train_step(3, good)
    epoch = fcjax.make_train_epoch(loss_fn, good, batch_size=4)
    X, Y = make_data()
    with pytest.raises(ValueError, match="data must be arrays with equal first dimensions"):
        epoch(fcjax.init_state(jnp.ones(3), good), ())
    with pytest.raises(ValueError, match=r"first dimensions \{'data\[0\]': 13, 'data\[1\]': 12\}"):
        epoch(fcjax.init_state(make_params(), good), (X, Y[:12]))
    with pytest.raises(ValueError, match="at least 1"):
        epoch(fcjax.init_state(make_params(), good), (X[:0], Y[:0]))
    with pytest.raises(TypeError, match="with has_aux=True loss_fn must return"):
        fcjax.make_train_step(loss_fn, good, has_aux=True)(
            fcjax.init_state(make_params(), good), make_data()
        )
