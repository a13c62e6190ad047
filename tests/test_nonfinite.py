"""Losses, updates and batches that fail: what is kept, and what is said."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training import BATCHES, PARAMS, X, Y, all_finite, assert_same_bits, fit, fit_batches, loss_fn

import fcjax
from fcjax.train import array_programs

pytestmark = pytest.mark.usefixtures("unchecked")


KINDS = pytest.mark.parametrize(
    ("as_batches", "size_of_small_data"),
    [(False, 2**24), (False, 0), (True, 2**24)],
    ids=["one call", "parts", "batches"],
    indirect=["size_of_small_data"],
)


@pytest.fixture(params=[2**24, 0], ids=["one call", "parts"])
def size_of_small_data(request, monkeypatch):
    """Whether the arrays of a test are trained on by one program or by several."""
    monkeypatch.setattr(array_programs, "_SMALL", request.param)


@jax.custom_vjp
def nan_gradient(x):
    """The identity, whose gradient is NaN where x exceeds 1e6."""
    return x


nan_gradient.defvjp(lambda x: (x, x), lambda x, dy: (jnp.where(jnp.abs(x) > 1e6, jnp.nan, dy),))


def marked(step):
    """Batches of which one makes the gradient NaN, though the loss is finite."""
    batches = [*BATCHES]
    x, y = batches[step]
    batches[step] = (x.at[0, 0].set(2e6), y)
    return batches


def fragile(params, batch):
    x, y = batch
    return loss_fn(params, (nan_gradient(x[:, :1]) * 0 + x / (1 + jnp.abs(x)), y)) + jnp.sum(
        nan_gradient(jnp.max(jnp.abs(x)) + 0 * params[0].w) * 0
    )


def as_arrays(batches):
    return tuple(jnp.concatenate(parts) for parts in zip(*batches, strict=True))


@pytest.mark.parametrize("step", [0, 1, 4])
@KINDS
@pytest.mark.in_turn(3)
def test_a_gradient_of_nan_is_an_error_though_the_loss_is_finite(
    step, as_batches, tmp_path, size_of_small_data
):
    pytest.importorskip("orbax.checkpoint")
    options = {"loss": fragile, "shuffle": False, "epochs": 1}
    data = marked(step) if as_batches else as_arrays(marked(step))
    size = None if as_batches else 5
    with pytest.raises(fcjax.NonFiniteLossError, match="is not finite, though its loss") as caught:
        fit(data=data, batch_size=size, checkpoint_dir=tmp_path / "run", **options)
    error = caught.value
    assert error.step == step
    assert np.isfinite(error.loss)
    assert int(error.state.step) <= step
    assert all_finite(error.state.params)
    if not as_batches and step:  # exactly the state before
        before = fit(data=as_arrays(BATCHES[:step]), **options)
        assert int(error.state.step) == step
        np.testing.assert_allclose(error.state.params[0].w, before.params[0].w, rtol=1e-6)
    kept = fcjax.checkpoint.restore(tmp_path / "run", {"state": error.state, "best": PARAMS})
    assert all_finite(kept)


# --- what the checkpoints hold --------------------------------------------------------------------


def exploding(step):
    """An optimizer whose update of this step leaves parameters with an infinite loss."""
    return optax.sgd(lambda count: jnp.where(count == step, 1e25, 1e-2))


def squares(params, batch):
    x, y = batch
    return jnp.mean((fcjax.mlp(params, x, activations="tanh") - y) ** 2)


@pytest.mark.parametrize("step", [2, 9, 12])  # the tenth step of all is the last of an epoch
@pytest.mark.parametrize("every", ["1 steps", "3 steps", 1])
@KINDS
@pytest.mark.in_turn(3)
def test_the_newest_checkpoint_is_good_after_a_step_that_was_too_large(
    step, every, as_batches, tmp_path, size_of_small_data
):
    pytest.importorskip("orbax.checkpoint")
    options = {"data": BATCHES, "batch_size": None} if as_batches else {}
    options |= {"loss": squares, "epochs": 4, "checkpoint_dir": tmp_path}
    options |= {"checkpoint_every": every, "max_to_keep": 1}
    with pytest.raises(fcjax.NonFiniteLossError) as caught:
        fit(optimizer=exploding(step), **options)
    good = int(caught.value.state.step)
    assert good == step
    (newest,) = fcjax.checkpoint.steps(tmp_path)
    assert newest <= good
    if every == "1 steps":
        assert newest == good
    with pytest.warns(UserWarning, match="was made with other arguments: optimizer"):
        resumed = fit(optimizer=optax.sgd(lambda count: 1e-2), **options)
    assert int(resumed.state.step) == 20
    assert all_finite(resumed)


@KINDS
def test_the_steps_before_nan_in_the_middle_of_an_epoch_are_saved(
    as_batches, tmp_path, size_of_small_data
):
    pytest.importorskip("orbax.checkpoint")
    data, size = (marked(3), None) if as_batches else (as_arrays(marked(3)), 5)
    options = {"loss": fragile, "shuffle": False, "checkpoint_dir": tmp_path}
    with pytest.raises(fcjax.NonFiniteLossError) as caught:
        fit(data=data, batch_size=size, **options)
    assert fcjax.checkpoint.steps(tmp_path) == [3]
    saved = fcjax.checkpoint.restore(tmp_path, {"state": caught.value.state, "best": PARAMS})
    assert_same_bits(saved["state"].params, caught.value.state.params)


@pytest.mark.parametrize("accumulate", [2, 5])
def test_nan_in_the_optimizers_state_alone_is_an_error_too(accumulate, size_of_small_data):
    # the gradient is NaN in the first step, but the parameters change in the last one only
    data = as_arrays(marked(0))
    with pytest.raises(fcjax.NonFiniteLossError) as caught:
        fit(loss=fragile, data=data, shuffle=False, accumulate=accumulate, epochs=1)
    assert caught.value.step == 0
    assert all_finite(caught.value.state)


def test_what_an_optimizer_begins_with_may_be_infinite():
    plateau = optax.chain(optax.adam(1e-2), optax.contrib.reduce_on_plateau())
    assert np.isinf(plateau.init(PARAMS)[1].best_value)
    assert all_finite(fit(optimizer=plateau).params)


# --- a step, an epoch -----------------------------------------------------------------------------


def test_a_step_raises_with_the_state_before_it():
    optimizer = optax.adam(1e-2)
    step = fcjax.make_train_step(fragile, optimizer, nonfinite="raise")
    plain = fcjax.make_train_step(fragile, optimizer)
    state = other = fcjax.init_state(PARAMS, optimizer)
    other = fcjax.init_state(PARAMS, optimizer)
    for batch in marked(3)[:3]:
        state, info = step(state, batch)
        other, expected = plain(other, batch)
        assert float(info.loss) == float(expected.loss)
    with pytest.raises(fcjax.NonFiniteLossError) as caught:
        step(state, marked(3)[3])
    assert caught.value.step == 3
    assert_same_bits(caught.value.state[:3], other[:3])
    state, _ = step(caught.value.state, BATCHES[3])  # and training can go on from there
    assert int(state.step) == 4


@pytest.mark.parametrize("step", [0, 2, 4])
def test_an_epoch_raises_with_the_state_before_the_step(step):
    optimizer = optax.adam(1e-2)
    options = {"batch_size": 5, "shuffle": False}
    epoch = fcjax.make_train_epoch(fragile, optimizer, nonfinite="raise", **options)
    with pytest.raises(fcjax.NonFiniteLossError) as caught:
        epoch(fcjax.init_state(PARAMS, optimizer), as_arrays(marked(step)))
    assert caught.value.step == int(caught.value.state.step) == step
    assert np.isfinite(caught.value.loss)
    expected = fcjax.init_state(PARAMS, optimizer)
    if step:
        plain = fcjax.make_train_epoch(fragile, optimizer, **options)
        expected, _ = plain(expected, as_arrays(BATCHES[:step]))
    for a, b in zip(caught.value.state.params, expected.params, strict=True):
        np.testing.assert_allclose(a.w, b.w, rtol=1e-6)


def test_the_policies_are_told():
    for make in (fcjax.make_train_step, fcjax.make_train_epoch):
        options = {"batch_size": 5} if make is fcjax.make_train_epoch else {}
        with pytest.raises(ValueError, match=r"nonfinite: 'skip' is unknown; .*: ignore, raise"):
            make(loss_fn, optax.sgd(0.1), nonfinite="skip", **options)
    with pytest.raises(ValueError, match=r"nonfinite: 'ignore' is unknown; .*: raise, skip"):
        fit(nonfinite="ignore")
    with pytest.raises(ValueError, match="max_skipped must be positive, got 0"):
        fit(nonfinite="skip", max_skipped=0)


# --- skipping -------------------------------------------------------------------------------------


def infinite(params, batch):
    """A loss that is infinite where the gradient is NaN."""
    return jnp.where(jnp.max(batch[0]) > 1e6, jnp.inf, fragile(params, batch))


@pytest.mark.parametrize("loss", [fragile, infinite])
@pytest.mark.parametrize("as_batches", [False, True])
def test_a_skipped_step_changes_nothing_and_has_no_part_in_the_mean(as_batches, loss):
    def run(batches):
        data, size = (batches, None) if as_batches else (as_arrays(batches), 5)
        options = {"loss": loss, "shuffle": False, "epochs": 1, "nonfinite": "skip"}
        return fit(data=data, batch_size=size, **options)

    skipped = run(marked(2))
    without = run([*BATCHES[:2], *BATCHES[3:]])
    np.testing.assert_allclose(skipped.params[0].w, without.params[0].w, rtol=1e-6)
    assert skipped.history["loss"] == [pytest.approx(without.history["loss"][0], rel=1e-6)]
    assert int(skipped.state.step) == 5


def test_a_loss_of_nan_is_skipped_though_its_gradient_is_finite(size_of_small_data):
    def silent(params, batch):
        return loss_fn(params, (batch[0], batch[1])) + jnp.where(batch[2].max() == 14, jnp.nan, 0.0)

    options = {"data": (X, Y, jnp.arange(23.0)), "loss": silent, "shuffle": False, "epochs": 1}
    skipped = fit(nonfinite="skip", **options)
    assert np.isfinite(skipped.history["loss"]).all()
    with pytest.raises(fcjax.NonFiniteLossError):
        fit(**options)
    without = fit(data=(jnp.delete(X, slice(10, 14), 0), Y[:19]), epochs=1)
    assert int(skipped.state.step) == 5
    assert not np.array_equal(skipped.params[0].w, without.params[0].w)


def test_the_loss_of_an_epoch_without_a_step_is_no_number():
    bad = [(x.at[0, 0].set(2e6), y) for x, y in BATCHES]
    result = fit_batches(data=bad, loss=fragile, epochs=1, nonfinite="skip", max_skipped=9)
    assert np.isnan(result.history["loss"]).all()
    assert_same_bits(result.params, PARAMS)


@pytest.mark.parametrize("as_batches", [False, True])
def test_too_many_skipped_steps_are_an_error_with_the_state_before_them(as_batches):
    bad = [(x.at[0, 0].set(2e6), y) for x, y in BATCHES[1:]]
    batches = [BATCHES[0], *bad]
    data, size = (batches, None) if as_batches else (as_arrays(batches), 5)
    options = {"loss": fragile, "shuffle": False, "epochs": 1, "nonfinite": "skip"}
    with pytest.raises(fcjax.NonFiniteLossError) as caught:
        fit(data=data, batch_size=size, max_skipped=2, **options)
    assert caught.value.step == 3
    expected = fit(data=as_arrays(BATCHES[:1]), **options)
    np.testing.assert_allclose(caught.value.state.params[0].w, expected.params[0].w, rtol=1e-6)


def test_a_step_skips_with_optax_until_there_are_too_many():
    optimizer = optax.apply_if_finite(optax.adam(1e-2), 2)
    step = fcjax.make_train_step(fragile, optimizer, nonfinite="raise")
    state = fcjax.init_state(PARAMS, optimizer)
    bad = marked(0)[0]
    for _ in range(2):
        state, _ = step(state, bad)
    assert_same_bits(state.params, PARAMS)
    with pytest.raises(fcjax.NonFiniteLossError) as caught:
        step(state, bad)
    assert_same_bits(caught.value.state.params, PARAMS)


# --- data that fails ------------------------------------------------------------------------------


class Failing:
    """Batches, one of which fails in an epoch."""

    def __init__(self, epoch, batch, failure):
        self.epochs, self.at, self.failure = 0, (epoch, batch), failure

    def __iter__(self):
        self.epochs += 1
        for i, batch in enumerate(BATCHES):
            if (self.epochs, i + 1) == self.at:
                yield self.failure()
            yield batch


def broken():
    raise OSError("the disk is gone")


def narrow():
    return X[:5, :2], Y[:5]


def uneven():
    return X[:5], Y[:4]


def words():
    return np.array(["a"] * 5), Y[:5]


def swapped():
    return np.asarray(X[:5]).astype(">f4"), Y[:5]


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (words, r"batch 4 of data does not fit: batch\[0\] must hold numbers, got <U1\[5\]"),
        (swapped, r"batch 4 of data does not fit: batch\[0\] must have the byte order of this"),
        (broken, "data raised at batch 4: OSError: the disk is gone"),
        (narrow, "batch 4 of data does not fit: x must have shape"),
        (uneven, "batch 4 of data does not fit: batch must be arrays with equal first dim"),
    ],
)
def test_a_batch_that_fails_is_named_and_what_came_before_is_kept(failure, words, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    folder = tmp_path / "run"
    with pytest.raises(fcjax.BatchError, match=f"epoch 2: {words}") as caught:
        fit_batches(data=Failing(2, 4, failure), checkpoint_dir=folder)
    error = caught.value
    assert (error.epoch, error.batch) == (2, 4)
    assert int(error.result.state.step) == 8
    assert len(error.result.history["loss"]) == 1
    assert "step 8 is saved in" in str(error)
    assert isinstance(error.__cause__.__cause__ or error.__cause__, Exception)
    assert_same_bits(fit_batches(checkpoint_dir=folder).params, fit_batches().params)


def test_a_batch_with_other_keys_is_named():
    batches = [{"x": x, "y": y} for x, y in BATCHES]
    batches[3] = {"x": X[:5], "labels": Y[:5]}
    with pytest.raises(fcjax.BatchError, match="batch 4 of data does not fit: KeyError: 'y'"):
        fit_batches(data=batches, loss=lambda params, b: loss_fn(params, (b["x"], b["y"])))


def test_the_first_batch_of_all_fails_as_before():
    with pytest.raises(ValueError, match=r"^x must have shape"):
        fit_batches(data=[narrow()])


def test_an_iterator_that_is_used_up_keeps_the_epochs_before():
    with pytest.raises(fcjax.BatchError, match="epoch 2: data yielded no batch") as caught:
        fit_batches(data=iter(BATCHES))
    assert_same_bits(caught.value.result.params, fit_batches(epochs=1).params)


def test_an_epoch_that_ends_early_is_told():
    class Shorter:
        lengths = iter([5, 3])

        def __iter__(self):
            return iter(BATCHES[: next(self.lengths)])

    with pytest.warns(UserWarning, match="data ended after 3 batches .* the one before had 5"):
        result = fit_batches(data=Shorter(), epochs=2)
    assert int(result.state.step) == 8


def test_nothing_of_the_data_is_lost_where_parts_of_an_epoch_meet():
    seen = []

    class Counting:
        def __iter__(self):
            for i, batch in enumerate(BATCHES * 20):
                seen.append(i)
                yield batch

    result = fit_batches(data=Counting(), epochs=1)
    assert seen == list(range(100))
    assert int(result.state.step) == 100


def test_arrays_after_a_mistake_in_the_labels_are_as_before(size_of_small_data):
    y = np.asarray(Y).copy()
    y[13, 1] = np.nan
    with pytest.raises(ValueError, match=r"data\[1\] must hold finite numbers .* row 13, column 1"):
        fit(data=(X, y))
