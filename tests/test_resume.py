"""What `fit` saves and keeps, and what it says of changed arguments when it resumes."""

import re
import time

import jax
import jax.numpy as jnp
import optax
import pytest
from training import PARAMS, X, Y, assert_same_bits, fit

import fcjax
from fcjax.train.figures import Monitor
from fcjax.train.schedule import Schedule

checkpoint = fcjax.checkpoint
pytest.importorskip("orbax.checkpoint")
pytestmark = pytest.mark.usefixtures("unchecked")


def distance(params, batch):
    return jnp.mean(jnp.abs(fcjax.mlp(params, batch[0]) - batch[1]))


# --- when, and what is kept -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "saved"),
    [(1, [5, 10, 15, 20]), (3, [15, 20]), ("2 epochs", [10, 20]), ("8 steps", [8, 16, 20])],
)
def test_a_run_is_saved_as_often_as_asked_and_at_its_end(every, saved, tmp_path):
    fit(epochs=4, checkpoint_dir=tmp_path, checkpoint_every=every, max_to_keep=None)
    assert checkpoint.steps(tmp_path) == saved


def test_minutes_and_hours_are_those_of_the_clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for text, seconds in (("30 seconds", 30), ("1 minute", 60), ("1.5 hours", 5400)):
        schedule = Schedule(text)
        due = lambda schedule=schedule: schedule.is_due(step=3, epochs=0, complete=False)  # noqa: E731
        now[0] += seconds - 1
        assert not due()
        now[0] += 1
        assert due()
        schedule.saved()
        assert not due()


@pytest.mark.parametrize(
    "every", ["", "ten minutes", "10", "-1 steps", "0 epochs", "2.5 steps", "3 weeks", "5 epochs 2"]
)
def test_a_schedule_that_cannot_be_is_told(every, tmp_path):
    words = "checkpoint_every must be a number of epochs, or a text such as '100 steps' or"
    with pytest.raises(ValueError, match=words):
        fit(checkpoint_dir=tmp_path, checkpoint_every=every)


@pytest.mark.parametrize("every", [None, 1.5, True, [1]])
def test_a_schedule_of_another_type_is_told(every):
    with pytest.raises(TypeError, match="checkpoint_every must be a number of epochs"):
        fit(checkpoint_every=every)


def test_three_are_kept_unless_asked_otherwise(tmp_path):
    fit(epochs=5, checkpoint_dir=tmp_path / "a")
    assert checkpoint.steps(tmp_path / "a") == [15, 20, 25]
    fit(epochs=5, checkpoint_dir=tmp_path / "b", max_to_keep=1)
    assert checkpoint.steps(tmp_path / "b") == [25]


@pytest.mark.parametrize("which", ["lowest", "highest"])
def test_the_best_is_kept_too(which, tmp_path):
    options = {"metrics": {"distance": distance}, "validation_data": (X[:4], -Y[:4])}
    options |= {"optimizer": optax.sgd(0.9), "max_to_keep": 1, "checkpoint_dir": tmp_path}
    for epochs in (3, 6):  # in two runs, so that the figures of the first are read again
        result = fit(epochs=epochs, keep_best=f"{which} val_distance", **options)
    figures = result.history["val_distance"]
    best = 5 * (1 + figures.index({"lowest": min, "highest": max}[which](figures)))
    assert checkpoint.steps(tmp_path) == sorted({best, 30})
    assert (
        checkpoint.metadata(tmp_path, step=best)["history"]["val_distance"][-1]
        == figures[best // 5 - 1]
    )


@pytest.mark.parametrize("which", ["lowest", "highest"])
@pytest.mark.parametrize("every", ["10 minutes", "7 steps", 4])
def test_the_best_is_kept_though_no_save_was_due(which, every, tmp_path):
    options = {"validation_data": (X[:4], -Y[:4]), "optimizer": optax.sgd(0.9), "max_to_keep": 1}
    options |= {"checkpoint_dir": tmp_path, "checkpoint_every": every}
    result = fit(epochs=6, keep_best=f"{which} val_loss", **options)
    figures = result.history["val_loss"]
    best = 5 * (1 + figures.index({"lowest": min, "highest": max}[which](figures)))
    assert checkpoint.steps(tmp_path) == sorted({best, 30})
    assert (
        checkpoint.metadata(tmp_path, step=best)["history"]["val_loss"][-1]
        == figures[best // 5 - 1]
    )


def test_checkpoints_within_an_epoch_and_nan_are_never_the_best():
    def one(losses, steps=0):
        return {"history": {"loss": losses}, "position": [5, steps, 0.0, 0]}

    metadata = {1: one([3.0]), 2: one([3.0, 1.0], 2), 3: one([3.0, float("nan")]), 4: one([])}
    assert Monitor("loss", highest=False).steps(metadata) == {1}
    assert Monitor("loss", highest=True).steps({3: metadata[3]}) == set()


@pytest.mark.parametrize("keep", ["val_loss", "lowest", "lowest val_loss", "best loss", 3])
def test_a_figure_that_there_is_not_is_told(keep):
    words = re.escape("keep_best must be 'lowest' or 'highest' and one of loss, such as 'lowest")
    with pytest.raises(ValueError, match=words):
        fit(keep_best=keep)


# --- changed arguments ----------------------------------------------------------------------------


def test_a_number_in_the_optimizers_state_must_stay(tmp_path):
    def optimizer(rate):
        return optax.inject_hyperparams(optax.adam)(learning_rate=rate)

    fit(optimizer=optimizer(0.01), epochs=1, checkpoint_dir=tmp_path)
    words = (
        r"learning_rate of optimizer must stay 0\.01, .* the optimizer's state holds it, got 0\.02"
    )
    with pytest.raises(ValueError, match=words):
        fit(optimizer=optimizer(0.02), checkpoint_dir=tmp_path)
    assert int(fit(optimizer=optimizer(0.01), checkpoint_dir=tmp_path).state.step) == 15


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": optax.sgd(0.1)}, "optimizer must have the arrays of the checkpoint of step"),
        (
            {"optimizer": optax.lion(0.1)},
            "optimizer must have the arrays of the checkpoint of step",
        ),
        (
            {"params": fcjax.init(jax.random.key(1), (3, 9, 2))},
            "params must have the arrays of the",
        ),
        ({"metrics": {"distance": distance}}, "metrics and validation_data must give the same"),
        ({"accumulate": 2}, "accumulate must stay 1, as in the checkpoint of step 5"),
    ],
)
def test_what_cannot_be_honoured_is_refused_and_nothing_is_lost(change, words, tmp_path):
    fit(epochs=1, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=words) as caught:
        fit(checkpoint_dir=tmp_path, **change)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))
    assert_same_bits(fit(checkpoint_dir=tmp_path).params, fit().params)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": optax.adam(0.05)}, "optimizer computed with -0.01, now -0.05"),
        ({"batch_size": 6}, "batch_size was 5, now 6"),
        ({"shuffle": False}, "shuffle was True, now False"),
        ({"nonfinite": "skip"}, "nonfinite was raise, now skip"),
        ({"seed": 1}, "seed was 0, now 1, which has no effect"),
        ({"data": (X[:20], Y[:20])}, "examples of data was 23, now 20"),
    ],
)
@pytest.mark.in_turn(2)
def test_what_is_honoured_is_told(change, words, tmp_path):
    fit(epochs=1, checkpoint_dir=tmp_path)
    with pytest.warns(UserWarning, match=f"was made with other arguments: {words}"):
        fit(checkpoint_dir=tmp_path, **change)


def test_the_policy_for_nan_may_change_and_change_back(tmp_path):
    fit(epochs=1, checkpoint_dir=tmp_path)
    for epochs, policy in ((2, "skip"), (3, "raise")):
        with pytest.warns(UserWarning, match=f"now {policy}"):
            result = fit(epochs=epochs, nonfinite=policy, checkpoint_dir=tmp_path)
    assert_same_bits(result.state.params, fit().params)


def test_the_same_arguments_are_not_told(tmp_path):
    for epochs in (1, 2, 3):
        result = fit(epochs=epochs, checkpoint_dir=tmp_path)
    assert_same_bits(result.params, fit().params)
    assert_same_bits(PARAMS, fcjax.init(jax.random.key(1), (3, 8, 2)))
