"""The training loop: what it drops, returns, shows and saves, and how it stops."""

import os
import pty
import subprocess
import sys
import termios

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fcjax

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(23, 3)), jnp.float32)
Y = jnp.sin(X @ jnp.asarray(RNG.normal(size=(3, 2)), jnp.float32))
PARAMS = fcjax.init(jax.random.key(1), (3, 8, 2))


def loss_fn(params, batch):
    x, y = batch
    return fcjax.half_squared_error(fcjax.mlp(params, x, activations="tanh"), y)


def fit(**changes):
    arguments = {
        "params": PARAMS,
        "data": (X, Y),
        "loss": loss_fn,
        "optimizer": optax.adam(1e-2),
        "epochs": 3,
        "batch_size": 5,
    }
    return fcjax.fit(**(arguments | changes))


def assert_same_bits(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_a_seed_fixes_the_result_bit_for_bit():
    first, again, other = fit(seed=3), fit(seed=3), fit(seed=4)
    assert_same_bits(first.params, again.params)
    assert first.history == again.history
    assert first.history != other.history


def test_epochs_are_those_of_train_epoch_and_the_history_weighs_every_example():
    result = fit(epochs=1)
    epoch = fcjax.make_train_epoch(loss_fn, optax.adam(1e-2), batch_size=5)
    state, info = epoch(fcjax.init_state(PARAMS, optax.adam(1e-2)), (X, Y))
    assert_same_bits(result.params, state.params)
    mean = np.average(info.loss, weights=[5, 5, 5, 5, 3])
    assert result.history["loss"] == [pytest.approx(mean, rel=1e-6)]
    assert int(result.state.step) == 5


def test_the_loss_goes_down_and_the_starting_parameters_stay():
    before = jax.tree.map(np.asarray, PARAMS)
    result = fit(epochs=20)
    assert result.history["loss"][-1] < 0.5 * result.history["loss"][0]
    assert_same_bits(PARAMS, before)


def mean_distance(params, batch):
    return jnp.mean(jnp.abs(fcjax.mlp(params, batch[0], activations="tanh") - batch[1]))


def test_validation_and_metrics_are_those_of_the_parameters_after_each_epoch():
    seen = []
    result = fit(
        validation_data=(X[:7], Y[:7]),
        metrics={"distance": mean_distance},
        callbacks=[lambda end: seen.append(end)],
    )
    assert set(result.history) == {"loss", "val_loss", "val_distance"}
    for end, loss, distance in zip(
        seen, result.history["val_loss"], result.history["val_distance"], strict=True
    ):
        batch = (X[:7], Y[:7])
        np.testing.assert_allclose(loss, loss_fn(end.state.params, batch), rtol=1e-6)
        np.testing.assert_allclose(distance, mean_distance(end.state.params, batch), rtol=1e-6)
    assert [end.epoch for end in seen] == [1, 2, 3]


def test_validation_batches_count_by_their_size():
    whole = fit(validation_data=(X, Y)).history["val_loss"]
    parts = fit(validation_data=[(X[:20], Y[:20]), (X[20:], Y[20:])]).history["val_loss"]
    np.testing.assert_allclose(parts, whole, rtol=1e-5)


def test_without_validation_metrics_are_those_of_the_training_data():
    result = fit(metrics={"distance": mean_distance})
    np.testing.assert_allclose(
        result.history["distance"][-1], mean_distance(result.params, (X, Y)), rtol=1e-6
    )


def batches():
    return [(X[i : i + 5], Y[i : i + 5]) for i in range(0, 23, 5)]


def test_any_iterable_of_batches_will_do():
    in_order = fit(shuffle=False)
    listed = fit(data=batches(), batch_size=None)
    for a, b in zip(jax.tree.leaves(in_order.params), jax.tree.leaves(listed.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(listed.history["loss"], in_order.history["loss"], rtol=1e-5)
    assert int(fit(data=iter(batches()), batch_size=None, epochs=1).state.step) == 5
    with pytest.raises(ValueError, match="generator can be gone through only once"):
        fit(data=iter(batches()), batch_size=None, epochs=2)


def all_finite(tree):
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("as_batches", [False, True])
def test_bad_data_stops_training_at_its_step_with_the_state_before(as_batches):
    bad = X.at[12].set(jnp.nan)  # in the third batch of five
    data = [(bad[i : i + 5], Y[i : i + 5]) for i in range(0, 23, 5)] if as_batches else (bad, Y)
    with pytest.raises(fcjax.NonFiniteLossError, match="loss of step 2 is nan") as caught:
        fit(data=data, batch_size=None if as_batches else 5, shuffle=False)
    assert caught.value.step == 2
    assert int(caught.value.state.step) == 2
    step = fcjax.make_train_step(loss_fn, optax.adam(1e-2))
    state = fcjax.init_state(PARAMS, optax.adam(1e-2))
    for batch in batches()[:2]:
        state, _ = step(state, batch)
    for a, b in zip(
        jax.tree.leaves(caught.value.state.params), jax.tree.leaves(state.params), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("as_batches", [False, True])
def test_a_step_that_is_too_large_is_undone(as_batches):
    with pytest.raises(fcjax.NonFiniteLossError) as caught:
        fit(
            data=batches() if as_batches else (X, Y),
            batch_size=None if as_batches else 5,
            optimizer=optax.sgd(1e30),
        )
    error = caught.value
    assert all_finite(error.state.params)
    assert jnp.isfinite(loss_fn(error.state.params, (X, Y)))
    assert int(error.state.step) in (error.step, error.step - 1)
    assert not np.isfinite(error.loss)


def test_patience_stops_and_returns_the_best_parameters():
    seen = []
    result = fit(
        epochs=200,
        optimizer=optax.sgd(0.9),
        patience=3,
        validation_data=(X[:4], -Y[:4]),
        callbacks=[lambda end: seen.append(end)],
    )
    losses = result.history["val_loss"]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 3 < 200
    assert_same_bits(result.params, seen[best].state.params)


def test_a_callback_can_stop_and_keep_the_state():
    kept = []

    def stop_after_two(end):
        kept.append(end.state)
        return end.epoch == 2

    result = fit(epochs=9, callbacks=[stop_after_two])
    assert len(result.history["loss"]) == 2
    assert all_finite([state.params for state in kept])


def test_accumulated_batches_are_one_large_batch():
    large = fit(data=(X[:20], Y[:20]), batch_size=10, shuffle=False, optimizer=optax.sgd(0.1))
    small = fit(
        data=(X[:20], Y[:20]), batch_size=5, accumulate=2, shuffle=False, optimizer=optax.sgd(0.1)
    )
    for a, b in zip(jax.tree.leaves(large.params), jax.tree.leaves(small.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_last_update_of_an_epoch_takes_the_gradients_that_are_left():
    # batches of 5, 5, 5, 5, 3 in threes: updates after the third and the fifth
    result = fit(accumulate=3, epochs=2, optimizer=optax.sgd(0.1), shuffle=False)
    params = PARAMS
    parts = batches()
    for group in [parts[:3], parts[3:]] * 2:
        grads = [jax.grad(loss_fn)(params, batch) for batch in group]
        params = jax.tree.map(lambda p, *g: p - 0.1 * sum(g) / len(g), params, *grads)
    for a, b in zip(jax.tree.leaves(result.params), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_stopped_run_resumes_to_the_same_bits(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    whole = fit(epochs=4, patience=9)
    fit(epochs=2, patience=9, checkpoint_dir=tmp_path / "run")
    assert fcjax.checkpoint.latest(tmp_path / "run") == 10
    resumed = fit(epochs=4, patience=9, checkpoint_dir=tmp_path / "run")
    assert_same_bits(whole.params, resumed.params)
    assert whole.history == resumed.history


def test_a_resumed_run_still_knows_its_best_parameters(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    options = {"optimizer": optax.sgd(0.9), "validation_data": (X[:4], -Y[:4]), "patience": 99}
    whole = fit(epochs=6, **options)
    losses = whole.history["val_loss"]
    assert int(np.argmin(losses)) < 3, "the best epoch is one before the interruption"
    fit(epochs=4, checkpoint_dir=tmp_path / "run", **options)
    resumed = fit(epochs=6, checkpoint_dir=tmp_path / "run", **options)
    assert resumed.history["val_loss"] == losses
    assert_same_bits(resumed.params, whole.params)


def test_checkpoints_are_written_every_so_many_epochs_and_after_the_last(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    states = []
    options = {"epochs": 3, "checkpoint_every": 2, "checkpoint_dir": tmp_path / "run"}
    fit(callbacks=[lambda end: states.append(end.state)], **options)
    like = {"state": states[0], "best": states[0].params}
    for epochs in (2, 3):
        saved = fcjax.checkpoint.restore(tmp_path / "run", like, step=5 * epochs)
        assert_same_bits(saved["state"].params, states[epochs - 1].params)
        history = fcjax.checkpoint.metadata(tmp_path / "run", step=5 * epochs)["history"]
        assert len(history["loss"]) == epochs
    with pytest.raises(FileNotFoundError, match=r"no checkpoint of step 5; it holds \[10, 15\]"):
        fcjax.checkpoint.metadata(tmp_path / "run", step=5)


SCRIPT = """
import fcjax, jax, optax
import jax.numpy as jnp
X = jnp.ones((9, 2))
def loss(params, batch): return jnp.mean(fcjax.mlp(params, batch) ** 2)
fcjax.fit(fcjax.init(jax.random.key(0), (2, 1)), X, loss=loss, optimizer=optax.sgd(0.1), epochs=3,
          batch_size=4, metrics={"size": lambda p, b: jnp.sum(p[0].w ** 2)})
"""


def test_nothing_is_printed_into_a_pipe():
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout == run.stderr == ""


def test_a_terminal_shows_the_progress_with_loss_and_metric():
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    run = subprocess.Popen([sys.executable, "-c", SCRIPT], stderr=terminal, stdout=terminal)
    os.close(terminal)
    shown = b""
    while chunk := _read(screen):
        shown += chunk
    assert run.wait() == 0
    for part in (b"100%", b"3/3", b"loss=", b"size="):
        assert part in shown


def _read(screen):
    try:
        return os.read(screen, 4096)
    except OSError:  # the other end was closed
        return b""


WRONG = [
    ({"epochs": 0}, ValueError, "epochs must be positive, got 0"),
    ({"epochs": 1.5}, TypeError, "epochs must be an integer, got float 1.5"),
    ({"patience": 0}, ValueError, "patience must be positive"),
    ({"accumulate": 0}, ValueError, "accumulate must be positive"),
    ({"batch_size": 0}, ValueError, "batch_size must be positive, got 0"),
    ({"batch_size": None}, ValueError, "batch_size must be given for arrays"),
    ({"data": (X, Y[:9])}, ValueError, "first dimensions"),
    ({"data": (X[:0], Y[:0])}, ValueError, "at least 1"),
    ({"data": 3, "batch_size": None}, TypeError, "data must be a tuple or dict of arrays"),
    ({"data": batches()}, ValueError, "batch_size is for arrays"),
    ({"data": [], "batch_size": None}, ValueError, "data gave no batch"),
    ({"validation_data": (X, Y[:2])}, ValueError, "first dimensions"),
    ({"optimizer": "adam"}, TypeError, "optimizer must be an Optax"),
    ({"params": (1, 2)}, TypeError, r"params\[0\] must be a floating-point array"),
    ({"loss": None}, TypeError, "loss_fn must be a function"),
]


@pytest.mark.parametrize(("changes", "kind", "message"), WRONG)
@pytest.mark.usefixtures("unchecked")
def test_wrong_arguments_are_refused_by_name(changes, kind, message):
    with pytest.raises(kind, match=message):
        fit(**changes)
