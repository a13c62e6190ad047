"""The training loop: what it drops, returns, shows and saves, and how it stops."""

import os
import pty
import re
import shutil
import subprocess
import sys
import termios

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training import PARAMS, X, Y, all_finite, assert_same_bits, fit, loss_fn

import fcjax
from fcjax.train import array_programs, reuse


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


def rows_of_zero(params, batch):
    return jnp.sum(batch[0][:, 0] == 0) + 0 * params[0].w[0, 0]


@pytest.mark.parametrize("options", [
    {}, {"shuffle": False}, {"drop_last": True}, {"batch_size": 23}, {"batch_size": 1},
    {"validation_data": (X[:7], Y[:7])}, {"metrics": {"zeros": rows_of_zero}, "shuffle": False},
])  # fmt: skip
def test_one_call_per_epoch_and_several_parts_end_the_same(options, monkeypatch):
    options = {"epochs": 3, **options}
    one = fit(**options)
    monkeypatch.setattr(array_programs, "_SMALL", 0)
    monkeypatch.setattr(array_programs.ArrayData, "is_small", False)
    parts = fit(**options)
    assert_same_bits(one.params, parts.params)
    assert one.history == parts.history


@pytest.mark.parametrize("small", [2**24, 0], ids=["one call", "parts"])
@pytest.mark.parametrize("step", [2, 5, 8])
@pytest.mark.in_turn(2)
def test_a_run_that_goes_on_within_or_after_an_epoch_ends_the_same(
    small, step, tmp_path, monkeypatch
):
    monkeypatch.setattr(array_programs, "_SMALL", small)
    options = {"validation_data": (X[:7], Y[:7]), "epochs": 2, "checkpoint_dir": tmp_path}
    whole = fit(**options, checkpoint_every="1 steps", max_to_keep=None)
    for number in fcjax.checkpoint.steps(tmp_path):
        if number > step:
            shutil.rmtree(tmp_path / str(number))
    resumed = fit(**options)
    assert_same_bits(resumed.params, whole.params)
    assert resumed.history == whole.history


def test_an_epoch_is_one_call_of_a_program(monkeypatch):
    calls = []
    call = reuse.Reused.__call__
    monkeypatch.setattr(reuse.Reused, "__call__", lambda *args: calls.append(1) or call(*args))
    fit(epochs=9, validation_data=(X[:7], Y[:7]), metrics={"distance": mean_distance})
    assert len(calls) <= 12  # the first steps of all are parts of their own, to learn the pace


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
    with pytest.raises(fcjax.BatchError, match="generator can be iterated only once"):
        fit(data=iter(batches()), batch_size=None, epochs=2)


def loss_of_unknown(params, batch):
    """NaN where the batch holds 99: `fit` itself would refuse a NaN that it finds in the data."""
    return loss_fn(params, (jnp.where(batch[0] == 99, jnp.nan, batch[0]), batch[1]))


@pytest.mark.parametrize("as_batches", [False, True])
def test_bad_data_stops_training_at_its_step_with_the_state_before(as_batches):
    bad = X.at[12].set(99)  # in the third batch of five
    data = [(bad[i : i + 5], Y[i : i + 5]) for i in range(0, 23, 5)] if as_batches else (bad, Y)
    with pytest.raises(fcjax.NonFiniteLossError, match="loss of step 2 is nan") as caught:
        fit(
            data=data,
            batch_size=None if as_batches else 5,
            shuffle=False,
            loss=loss_of_unknown,
        )
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
        epochs=60,
        optimizer=optax.sgd(0.1),
        patience=3,
        validation_data=(X[:4], Y[:4] / 2),
        callbacks=[lambda end: seen.append(end)],
    )
    losses = result.history["val_loss"]
    best = int(np.argmin(losses))
    assert best > 3
    assert len(losses) == best + 1 + 3 < 60
    assert np.argmin(result.history["loss"]) > best, "the training loss goes on falling"
    assert_same_bits(result.params, seen[best].state.params)


def test_a_monitored_figure_decides_which_parameters_are_returned():
    seen = []
    result = fit(
        epochs=9,
        monitor="val_units",
        mode="max",
        metrics={"units": lambda params, batch: jnp.mean(params[1].b)},
        validation_data=(X[:4], Y[:4]),
        callbacks=[lambda end: seen.append(end)],
    )
    figures = result.history["val_units"]
    assert len(figures) == 9
    best = int(np.argmax(figures))
    assert_same_bits(result.params, seen[best].state.params)
    assert_same_bits(result.state.params, seen[-1].state.params)
    assert best != int(np.argmin(result.history["val_loss"]))


@pytest.mark.parametrize(("ties", "best"), [("first", 0), ("last", 4)])
def test_of_equal_epochs_the_first_or_the_last_is_the_best(ties, best):
    seen = []
    result = fit(
        epochs=5,
        monitor="equal",
        ties=ties,
        metrics={"equal": lambda params, batch: 1.0},
        callbacks=lambda end: seen.append(end),
    )
    assert_same_bits(result.params, seen[best].state.params)


def test_patience_follows_the_monitored_figure():
    options = {"epochs": 9, "patience": 2, "monitor": "count", "mode": "max"}
    result = fit(metrics={"count": lambda params, batch: -jnp.sum(params[0].w ** 2)}, **options)
    figures = result.history["count"]
    assert len(figures) == int(np.argmax(figures)) + 3 < 9


def test_the_last_batch_can_be_left_out():
    sizes = []

    def loss(params, batch):
        sizes.append(len(batch[0]))
        return loss_fn(params, batch)

    result = fit(loss=loss, drop_last=True, epochs=3)
    assert set(sizes) - {len(X)} == {5}
    assert int(result.state.step) == 3 * (23 // 5)
    in_order = {"shuffle": False, "drop_last": True, "epochs": 1}
    assert_same_bits(
        fit(**in_order).params, fit(data=(X[:20], Y[:20]), shuffle=False, epochs=1).params
    )
    small = fit(data=(X[:4], Y[:4]), drop_last=True, epochs=1)
    assert int(small.state.step) == 1, "a batch larger than the data is all of it"


def test_shuffled_epochs_leave_out_other_examples():
    def visited(params, batch):
        return jnp.sum(params) * 0, jnp.sum(1 << batch)

    optimizer = optax.sgd(0.1)
    epoch = fcjax.make_train_epoch(visited, optimizer, batch_size=5, has_aux=True, drop_last=True)
    state, left_out = fcjax.init_state(jnp.ones(1), optimizer), set()
    for _ in range(6):
        state, info = epoch(state, jnp.arange(13))
        assert info.loss.shape == (2,)
        left_out.add(2**13 - 1 - int(info.aux.sum()))
    assert len(left_out) > 3
    assert all(mask.bit_count() == 3 for mask in left_out)


def test_a_resumed_run_returns_the_best_of_the_monitored_figure(tmp_path):
    options = {"monitor": "distance", "metrics": {"distance": mean_distance}, "drop_last": True}
    whole = fit(epochs=4, **options)
    fit(epochs=2, checkpoint_dir=tmp_path / "run", **options)
    resumed = fit(epochs=4, checkpoint_dir=tmp_path / "run", **options)
    assert_same_bits(resumed.params, whole.params)
    assert resumed.history == whole.history
    for change in ({"mode": "max"}, {"monitor": "loss"}, {"ties": "last"}):
        with pytest.raises(ValueError, match=r"monitor must stay .*the best parameters so far"):
            fit(epochs=5, checkpoint_dir=tmp_path / "run", **(options | change))
    with pytest.warns(UserWarning, match="drop_last was True, now False"):
        fit(epochs=5, checkpoint_dir=tmp_path / "run", **(options | {"drop_last": False}))


def test_a_validation_loss_of_nan_is_no_best_one():
    held_out = (X[:7], Y[:7])
    plain = fit(validation_data=held_out, epochs=5).history["val_loss"]

    def loss(params, batch):
        value = loss_fn(params, batch)
        return jnp.where((len(batch[0]) == 7) & (value > plain[2] * 1.001), jnp.nan, value)

    with pytest.raises(fcjax.NonFiniteLossError, match="validation loss of epoch 1 is nan") as e:
        fit(loss=loss, validation_data=held_out, epochs=5, patience=9)
    assert_same_bits(e.value.state.params, fit(epochs=1).params)
    result = fit(loss=loss, validation_data=held_out, epochs=5, patience=9, nonfinite="skip")
    assert np.isnan(result.history["val_loss"]).tolist() == [True, True, False, False, False]
    best = fit(epochs=1 + int(np.nanargmin(result.history["val_loss"])), nonfinite="skip")
    assert_same_bits(result.params, best.params)


def test_patience_ends_a_run_whose_validation_loss_is_always_nan():
    def loss(params, batch):
        return jnp.where(len(batch[0]) == 7, jnp.nan, loss_fn(params, batch))

    result = fit(loss=loss, epochs=9, patience=2, validation_data=(X[:7], Y[:7]), nonfinite="skip")
    assert len(result.history["loss"]) == 2
    assert_same_bits(result.params, PARAMS)


@pytest.mark.parametrize("held_out", [None, (X[:7], Y[:7]), [(X[:7], Y[:7])]])
@pytest.mark.parametrize("result", ["each", "pair", "name"])
@pytest.mark.usefixtures("unchecked")
def test_a_metric_that_is_no_number_is_refused_before_the_first_epoch(held_out, result):
    def metric(params, batch):
        distances = jnp.abs(fcjax.mlp(params, batch[0]) - batch[1]).mean(1)
        return {"each": distances, "pair": (distances.mean(), 1), "name": "distance"}[result]

    seen = []
    with pytest.raises(TypeError, match=r"metrics\['far'\] must return one number, .*, got "):
        fit(metrics={"far": metric}, validation_data=held_out, callbacks=seen.append)
    assert not seen


@pytest.mark.usefixtures("unchecked")
def test_a_metric_that_is_no_number_is_refused_on_batches_seen_once():
    def loader():
        return iter([(X[:7], Y[:7])])

    class Loader:
        def __iter__(self):
            return loader()

    with pytest.raises(TypeError, match=r"metrics\['far'\] must return one number, .*float32\[7\]"):
        fit(metrics={"far": lambda p, b: b[0][:, 0]}, validation_data=Loader())


def test_a_metric_may_be_a_constant_or_an_integer():
    history = fit(metrics={"one": lambda p, b: 1, "most": lambda p, b: jnp.argmax(b[0][0])}).history
    assert history["one"] == [1.0] * 3
    assert history["most"] == [float(np.argmax(X[0]))] * 3


def test_one_callback_needs_no_list():
    seen = []
    fit(callbacks=seen.append)
    assert [end.epoch for end in seen] == [1, 2, 3]


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


def resume(folder, **changes):
    arguments = {"epochs": 2, "checkpoint_dir": folder}
    fit(**arguments)
    return fit(**(arguments | {"epochs": 3} | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"optimizer": optax.adam(1e-3)},
            "optimizer computed with -0.01, now -0.001",
        ),
        ({"optimizer": optax.adam(1e-2, b1=0.8)}, "optimizer computed with .*0.9, now 0.8"),
        ({"batch_size": 6}, "batch_size was 5, now 6"),
        (
            {"shuffle": False, "batch_size": 6},
            "batch_size was 5, now 6; shuffle was True, now False",
        ),
        ({"seed": 4}, "seed was 0, now 4, which has no effect: the key is the checkpoint's"),
        ({"data": (X[:20], Y[:20])}, "examples of data was 23, now 20"),
        ({"data": batches(), "batch_size": None}, "batch_size was 5, now None"),
    ],
)
def test_a_run_that_resumes_with_other_arguments_says_what_differs(changes, words, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    where = f"the checkpoint of step 10 in '{tmp_path / 'run'}' was made with other arguments: "
    with pytest.warns(UserWarning, match=re.escape(where) + ".*" + words) as caught:
        result = resume(tmp_path / "run", **changes)
    assert len(caught) == 1
    assert len(result.history["loss"]) == 3


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"accumulate": 2}, {"accumulate": 3}, "accumulate must stay 2, as in .*, got 3"),
        ({}, {"accumulate": 3}, "accumulate must stay 1, as in .*, got 3"),
        ({"accumulate": 2}, {"batch_size": 4}, "batch_size must stay 5, as in .*, got 4"),
        ({"accumulate": 2}, {"data": (X[:9], Y[:9])}, r"examples of data must stay 23, .*, got 9"),
        ({}, {"validation_data": (X, Y)}, r"\['loss'\], got \['loss', 'val_loss'\]"),
        (
            {"metrics": {"distance": mean_distance}},
            {"metrics": None},
            r"'distance'\], got \['loss'",
        ),
    ],
)
def test_a_run_that_cannot_resume_with_other_arguments_is_refused(before, after, words, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    fit(**before, epochs=1, checkpoint_dir=tmp_path / "run")
    with pytest.raises(ValueError, match=words):
        fit(**(before | after), epochs=2, checkpoint_dir=tmp_path / "run")


def test_the_checkpoints_of_something_else_are_left_alone(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    fcjax.checkpoint.save(tmp_path, X, step=10, metadata={"history": {}})
    with pytest.raises(ValueError, match=r"checkpoint_dir must hold .* got the checkpoint of step"):
        fit(epochs=3, checkpoint_dir=tmp_path)
    assert fcjax.checkpoint.verify(tmp_path) == {10: None}


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
import fcjax, jax, optax, sys
import jax.numpy as jnp
from fcjax.train import line
line.DELAY = float(sys.argv[1])
line.INTERVAL = 0.0
X = jnp.ones((9, 2))
def loss(params, batch): return jnp.mean(fcjax.mlp(params, batch) ** 2)
fcjax.fit(fcjax.init(jax.random.key(0), (2, 1)), X, loss=loss, epochs=3, batch_size=4,
          optimizer=optax.inject_hyperparams(optax.sgd)(optax.linear_schedule(0.5, 0.25, 8)),
          metrics={"size": lambda p, b: jnp.sum(p[0].w ** 2)}, monitor="size")
"""


def test_nothing_is_printed_into_a_pipe():
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, "0"], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout == run.stderr == ""


def shown_on_a_terminal(*command):
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    run = subprocess.Popen(command, stderr=terminal, stdout=terminal)
    os.close(terminal)
    shown = b""
    while chunk := _read(screen):
        shown += chunk
    assert run.wait() == 0
    return shown.decode()


def test_a_terminal_shows_the_progress_in_a_line():
    shown = shown_on_a_terminal(sys.executable, "-c", SCRIPT, "0")
    *earlier, last = shown.strip().split("\r")
    # each epoch has three steps, and the rate of the ninth is that of a schedule at 8
    number = r"\d\S*"
    assert re.fullmatch(
        rf"3/3 epochs in 00:\d\d, loss={number}, size=({number}), best=\1 at 3, lr=0.25 *", last
    )
    assert any(re.match(r"1/3 epochs, \S+ left, loss=.*, lr=0.438", line) for line in earlier)


def test_a_short_run_shows_nothing_on_a_terminal():
    assert shown_on_a_terminal(sys.executable, "-c", SCRIPT, "60") == ""


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
    ({"accumulate": 2**70}, ValueError, r"accumulate must be less than 2\*\*31, got 1180"),
    ({"batch_size": 0}, ValueError, "batch_size must be positive, got 0"),
    ({"batch_size": None}, ValueError, "batch_size must be given for arrays"),
    ({"data": (X, Y[:9])}, ValueError, "first dimensions"),
    ({"data": (X[:0], Y[:0])}, ValueError, "at least 1"),
    ({"data": 3, "batch_size": None}, TypeError, "data must be a tuple or dict of arrays"),
    (
        {"data": batches()},
        ValueError,
        "batch_size must be None if data is an iterable of batches, got 5",
    ),
    ({"data": [], "batch_size": None}, ValueError, "data yielded no batch"),
    ({"validation_data": (X, Y[:2])}, ValueError, "first dimensions"),
    ({"optimizer": "adam"}, TypeError, "optimizer must be an Optax"),
    ({"params": (1, 2)}, TypeError, r"params\[0\] must be a floating-point array"),
    ({"loss": None}, TypeError, "^loss must be a function, got NoneType"),
    ({"loss": lambda params: 0.0}, TypeError, r"^loss must be called as \(params, batch\)"),
    ({"loss": lambda params, batch: (1.0, 2.0)}, TypeError, "^loss must return one .* got a tuple"),
    ({"loss": lambda params, batch: None}, TypeError, "^loss must return one .* got None"),
    ({"loss": lambda params, batch: jnp.ones(3)}, TypeError, "^loss must return one floating"),
    ({"seed": 2**32}, ValueError, "seed must fit into 32 bits, got 4294967296"),
    ({"shuffle": "no"}, TypeError, "shuffle must be True or False, got str 'no'"),
    ({"drop_last": 1}, TypeError, "drop_last must be True or False, got int 1"),
    (
        {"data": batches(), "batch_size": None, "drop_last": True},
        ValueError,
        "drop_last must be False if data is an iterable of batches",
    ),
    ({"monitor": "val_loss"}, ValueError, "monitor: 'val_loss' is unknown.*accepted: loss"),
    ({"monitor": 3}, TypeError, "monitor must be the name of a figure or None, got int 3"),
    ({"monitor": "loss", "mode": "most"}, ValueError, "mode: 'most' is unknown"),
    ({"mode": "max"}, ValueError, "mode must be 'min' where monitor is None.*'loss', got 'max'"),
    ({"ties": "any"}, ValueError, "ties: 'any' is unknown"),
    ({"progress": "no"}, TypeError, "progress must be True or False, got str 'no'"),
    ({"seed": 1.5}, TypeError, "seed must be an integer, got float 1.5"),
    ({"metrics": [mean_distance]}, TypeError, "metrics must map names to functions .*got list"),
    ({"metrics": mean_distance}, TypeError, "metrics must map names to functions .*got function"),
    ({"metrics": {"distance": 0.5}}, TypeError, "metrics must map names to functions"),
    ({"metrics": {1: mean_distance}}, TypeError, "metrics must map names to functions"),
    ({"metrics": {"loss": mean_distance}}, ValueError, "metrics must have other names than 'loss'"),
    ({"metrics": {"val_loss": mean_distance}}, ValueError, "got 'val_loss'"),
    ({"callbacks": "print"}, TypeError, "callbacks must be functions .*got str 'print'"),
    ({"callbacks": 3}, TypeError, "callbacks must be functions .*got int 3"),
    ({"callbacks": [print, None]}, TypeError, "callbacks must be functions .*got list"),
    ({"callbacks": [print, dict]}, TypeError, "callbacks must .*got the class dict; pass"),
]


@pytest.mark.parametrize(("changes", "kind", "message"), WRONG)
@pytest.mark.usefixtures("unchecked")
def test_wrong_arguments_are_refused_by_name(changes, kind, message):
    with pytest.raises(kind, match=message):
        fit(**changes)


def test_only_true_stops_training():
    ends = []
    assert len(fit(epochs=3, callbacks=lambda end: ends.append(end) or 1).history["loss"]) == 3
    for true in (np.bool_(True), jnp.array(True), np.array(True)):
        assert len(fit(epochs=3, callbacks=lambda end, true=true: true).history["loss"]) == 1
    assert len(ends) == 3


def test_metrics_of_the_training_data_do_not_evaluate_the_loss():
    """It may draw random numbers."""

    def loss(params, batch, key):
        return loss_fn(params, batch) + 0 * jax.random.normal(key)

    def distance(params, batch):
        return jnp.mean(jnp.abs(fcjax.mlp(params, batch[0]) - batch[1]))

    assert list(fit(loss=loss, metrics={"distance": distance}).history) == ["loss", "distance"]


def test_states_of_the_past_do_not_stay_in_memory():
    params = fcjax.init(jax.random.key(0), (3, 61, 2))
    found = []

    def count(end):
        found.append(sum(V.shape == (3, 61) for V in jax.live_arrays()))

    fit(params=params, optimizer=optax.adam(1e-3), callbacks=count)
    # the caller's, those of the state and of the one before, each with two moments, and the best
    assert max(found) <= 1 + 3 + 3 + 1
