"""What training says of wrong arguments: short whatever they hold, naming the argument."""

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
        (lambda: fit(LONG, batch_size=None), ("batch[0]", "got float")),
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
        (lambda: fit(loss=LONG), ("loss_fn must be a function", "list")),
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
