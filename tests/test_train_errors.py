"""What training says of wrong arguments: short whatever they hold, naming the argument."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fcjax

pytestmark = pytest.mark.usefixtures("unchecked")

X = np.linspace(-1, 1, 60, dtype=np.float32).reshape(20, 3)
Y = np.arange(20) % 4
PARAMS = fcjax.init(jax.random.key(0), (3, 4))
OPTIMIZER = optax.sgd(0.1)


def loss(params, batch):
    return fcjax.softmax_cross_entropy(fcjax.mlp(params, batch[0]), batch[1])


def fit(data=(X, Y), params=PARAMS, **changes):
    arguments = {"loss": loss, "optimizer": OPTIMIZER, "epochs": 2, "batch_size": 5}
    return fcjax.fit(params, data, **(arguments | changes))


def refused(function, *args, **kwargs):
    """Return the words of the TypeError or ValueError, which fill two lines at most."""
    with pytest.raises((TypeError, ValueError)) as caught:
        function(*args, **kwargs)
    text = str(caught.value)
    assert len(text) < 400, f"{len(text)} characters: {text[:1000]}"
    assert "\n" not in text
    return text


LONG = np.random.default_rng(0).normal(size=(3000, 40)).tolist()
MANY = {f"column {i}": X[: 20 - i % 2] for i in range(2000)}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fit((LONG, Y)), ("data[0][0][0]", "got float", "np.asarray(data[0])")),
        (lambda: fit(LONG, batch_size=None), ("data[0][0]", "got float")),
        (lambda: fit(MANY), ("data['column 0']\": 20", "data['column 1']\": 19")),
        (
            lambda: fit(validation_data=(LONG, Y)),
            ("validation_data[0][0][0]", "np.asarray(validation_data[0])"),
        ),
        (lambda: fit(params=LONG), ("params[0][0] must be a floating-point array",)),
        (lambda: fit(params=[[]] * 100_000), ("params must hold at least one array", "list")),
        (lambda: fit(optimizer=[PARAMS] * 1000), ("optimizer must be", "list")),
        (
            lambda: fit(optimizer={"w": jnp.ones((50, 50))}),
            ("optimizer must be", "float32[50, 50]"),
        ),
        (lambda: fit(loss=LONG), ("loss must be a function", "list")),
        (lambda: fit(epochs=LONG), ("epochs must be an integer", "list")),
        (lambda: fit(batch_size=LONG), ("batch_size must be an integer", "list")),
        (lambda: fcjax.init_state(PARAMS, OPTIMIZER, key=LONG), ("key must be one PRNG key",)),
    ],
)
def test_an_error_is_short_whatever_the_argument_holds(call, words):
    text = refused(call)
    for word in words:
        assert word in text


def test_the_result_of_a_loss_is_described_and_not_printed():
    def three(params, batch):
        return params, params, jnp.zeros((300, 300))

    step = fcjax.make_train_step(three, OPTIMIZER, has_aux=True)
    text = refused(step, fcjax.init_state(PARAMS, OPTIMIZER), (X, Y))
    assert "must return (loss, aux), got tuple" in text
    assert "float32[300, 300]" in text


def states_and_batch(optimizer=OPTIMIZER):
    return fcjax.init_state(PARAMS, optimizer), (X, Y)


def make_epoch(loss_fn, optimizer):
    return fcjax.make_train_epoch(loss_fn, optimizer, batch_size=5)


def noisy_loss(params, batch, key):
    return loss(params, batch) + jax.random.uniform(key)


COMPILED = pytest.mark.parametrize("make", [fcjax.make_train_step, make_epoch])


@COMPILED
@pytest.mark.parametrize("loss_fn", [loss, noisy_loss])
def test_a_state_that_was_overwritten_is_refused_by_name(make, loss_fn):
    run = make(loss_fn, OPTIMIZER)
    first, batch = states_and_batch()
    second, _ = run(first, batch)
    text = refused(run, first, batch)
    assert text.startswith("state.step was overwritten by an earlier call")
    assert "use the state that the call returned" in text
    mixed = second._replace(params=first.params)
    assert refused(run, mixed, batch).startswith("state.params[0].w was overwritten")


@COMPILED
def test_what_is_no_state_is_refused_by_name(make):
    run = make(loss, OPTIMIZER)
    state, batch = states_and_batch()
    accepted = "state must be a TrainState, as from init_state(params, optimizer) or a step, got "
    assert refused(run, PARAMS, batch) == accepted + "tuple (Layer(float32[3, 4], float32[4]),)"
    assert refused(run, tuple(state), batch).startswith(accepted + "tuple (int32[], ")
    returned = run(state, batch)
    assert refused(run, returned, batch).startswith(accepted + "tuple (TrainState(")


@COMPILED
def test_the_state_of_another_optimizer_is_refused(make):
    of_sgd, batch = states_and_batch()
    of_adam, _ = states_and_batch(optax.adam(0.1))
    text = refused(make(loss, optax.adam(0.1)), of_sgd, batch)
    assert text.startswith("state.opt_state must belong to this optimizer")
    assert text.endswith("ScaleByAdamState, EmptyState, got EmptyState, EmptyState")
    # plain descent has no state of its own, and would hand any other one on without a word
    text = refused(make(loss, OPTIMIZER), of_adam, batch)
    assert text.endswith("EmptyState, EmptyState, got ScaleByAdamState, EmptyState")


@COMPILED
def test_the_optimizer_state_of_other_params_is_refused(make):
    adam = optax.adam(0.1)
    state, batch = states_and_batch(adam)
    wider = adam.init(fcjax.init(jax.random.key(0), (3, 5)))
    text = refused(make(loss, adam), state._replace(opt_state=wider), batch)
    assert text.endswith("got the state for params of other shapes")
    text = refused(make(loss, adam), state._replace(params=list(state.params)), batch)
    assert text.endswith("in another tree, such as a list for a tuple")


@COMPILED
def test_an_error_of_the_loss_itself_stays_as_it_is(make):
    def failing(params, batch):
        raise ValueError("words of the loss")

    state, batch = states_and_batch()
    assert refused(make(failing, OPTIMIZER), state, batch) == "words of the loss"


UNSORTABLE = {0: jnp.ones(3), "a": jnp.ones(3)}
SWAPPED = X.astype(X.dtype.newbyteorder())


def state():
    return fcjax.init_state(PARAMS, OPTIMIZER)


def deleted():
    array = jnp.ones((3, 4)) + 1
    array.delete()
    return array


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("params", lambda: fcjax.init_state(UNSORTABLE, OPTIMIZER)),
        ("params", lambda: fcjax.init_state(deleted(), OPTIMIZER)),
        ("params", lambda: fcjax.init_state(jax.ShapeDtypeStruct((3,), "float32"), OPTIMIZER)),
        ("batch", lambda: fcjax.make_train_step(loss, OPTIMIZER)(state(), UNSORTABLE)),
        ("batch", lambda: fcjax.make_train_step(loss, OPTIMIZER)(state(), (SWAPPED, Y))),
        (
            "state",
            lambda: fcjax.make_train_step(loss, OPTIMIZER)(
                state()._replace(params=UNSORTABLE), (X, Y)
            ),
        ),
        *(
            (
                "state.key must be one PRNG key",
                lambda key=key: fcjax.make_train_step(
                    lambda params, batch, key: loss(params, batch) * jax.random.normal(key),
                    OPTIMIZER,
                )(state()._replace(key=key), (X, Y)),
            )
            for key in (None, jnp.ones(2), 3)
        ),
        *(
            (
                "state.step must be one integer",
                lambda step=step: fcjax.make_train_epoch(loss, OPTIMIZER, batch_size=5)(
                    state()._replace(step=step), (X, Y)
                ),
            )
            for step in (jnp.zeros(3, jnp.int32), jnp.zeros(()), None, True)
        ),
        (
            "state.params[0].w must be a floating-point array",
            lambda: fcjax.make_train_step(loss, OPTIMIZER)(
                state()._replace(params=jax.tree.map(jnp.int32, PARAMS)), (X, Y)
            ),
        ),
        (
            "the aux of loss_fn",
            lambda: fcjax.make_train_step(
                lambda params, batch: (loss(params, batch), UNSORTABLE), OPTIMIZER, has_aux=True
            )(state(), (X, Y)),
        ),
        (
            "data",
            lambda: fcjax.make_train_epoch(loss, OPTIMIZER, batch_size=5)(state(), UNSORTABLE),
        ),
        ("params", lambda: fit(params=UNSORTABLE)),
        ("data", lambda: fit(UNSORTABLE)),
        ("data", lambda: fit([UNSORTABLE], batch_size=None)),
        ("batch", lambda: fit(iter([UNSORTABLE]), batch_size=None)),
        ("validation_data", lambda: fit(validation_data=UNSORTABLE)),
        ("data", lambda: fit((SWAPPED, Y))),
        ("validation_data", lambda: fit(validation_data=(SWAPPED, Y))),
    ],
)
def test_trees_that_jax_cannot_take_are_named(name, call):
    assert refused(call).startswith(name)


@pytest.mark.parametrize("metadata", [{0: "a"}, {"a": {1: 2}}, {"a": [{None: 1}]}, {"a": {1, 2}}])
def test_metadata_that_json_would_change_is_refused(metadata, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    words = refused(fcjax.checkpoint.save, tmp_path, 1.0, step=0, metadata=metadata)
    assert words.startswith("metadata must be a dict that JSON can hold")


def test_the_error_of_a_callback_is_not_taken_for_a_used_state():
    """The step has overwritten its input by the time that it fails."""

    def loss(params, batch):
        def fails(x):
            raise ValueError("the weights are gone")

        shape = jax.ShapeDtypeStruct((), np.float32)
        factor = jax.pure_callback(fails, shape, batch[0][0, 0])
        return fcjax.half_squared_error(fcjax.mlp(params, batch[0]), batch[1]) * factor

    step = fcjax.make_train_step(loss, optax.sgd(0.1))
    state = fcjax.init_state(fcjax.init(jax.random.key(0), (3, 2)), optax.sgd(0.1))
    with pytest.raises(jax.errors.JaxRuntimeError, match="the weights are gone"):
        jax.block_until_ready(step(state, (jnp.ones((4, 3)), jnp.ones((4, 2)))))


@pytest.mark.parametrize(
    "error",
    [
        fcjax.NonFiniteLossError(3, float("nan"), fcjax.init_state(PARAMS, OPTIMIZER)),
        fcjax.BatchError("batch 3 is gone", 3),
        fcjax.TrainingInterrupted(15, "ended by SIGTERM", {"loss": [1.0]}),
        fcjax.checkpoint.DamagedCheckpointError("folder", 3, "a file is gone"),
        fcjax.checkpoint.MismatchError("folder", "['w']", "nothing is stored there"),
        fcjax.distributed.OutOfStepError("got two places"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_come_back_from_another_process(error):
    error.add_note("in process 3")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again).keys() == vars(error).keys()
    for name, value in vars(error).items():
        if name != "state":
            assert repr(getattr(again, name)) == repr(value)
    if isinstance(error, fcjax.NonFiniteLossError):
        assert jax.tree.map(np.shape, again.state) == jax.tree.map(np.shape, error.state)
    if isinstance(error, SystemExit):
        assert again.code == error.code == 143
