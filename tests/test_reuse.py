"""What a second call of `fit` compiles: nothing, unless something has changed."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training import BATCHES, PARAMS, X, Y, assert_same_bits, fit, fit_batches, loss_fn

import fcjax

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture
def compiled():
    """The names of what XLA was asked to compile so far."""
    events = []

    def listen(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            events.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)


def distance(params, batch):
    return jnp.mean(jnp.abs(fcjax.mlp(params, batch[0]) - batch[1]))


ADAM = optax.adam(1e-2)
KINDS = {
    "arrays": {},
    "validation": {"validation_data": (X[:7], Y[:7]), "metrics": {"distance": distance}},
    "accumulate": {"accumulate": 2},
    "skip": {"nonfinite": "skip"},
    "batches": {"data": BATCHES, "batch_size": None},
    "in order": {"shuffle": False},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_call_compiles_nothing(kind, compiled):
    rate = 1.234e-2 + 1e-4 * list(KINDS).index(kind)  # a program of its own
    options = {"optimizer": optax.adam(rate), **KINDS[kind]}
    first = fit(**options)
    assert compiled
    del compiled[:]
    second = fit(**options)
    assert not compiled
    assert_same_bits(first.params, second.params)
    assert first.history == second.history


def test_nor_does_it_with_checkpoints_or_another_seed(compiled, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    fit(optimizer=ADAM, checkpoint_dir=tmp_path / "a")
    del compiled[:]
    fit(optimizer=ADAM, checkpoint_dir=tmp_path / "b", seed=1)
    fit(optimizer=ADAM, checkpoint_dir=tmp_path / "b", seed=1, epochs=5)
    assert not compiled


def test_one_epoch_or_many_compile_the_same_programs(compiled):
    loss = lambda params, batch: 2 * loss_fn(params, batch)  # noqa: E731 - a program of its own
    fit(optimizer=ADAM, loss=loss, epochs=1)
    few = len(compiled)
    fit(optimizer=ADAM, loss=loss, epochs=9)
    assert len(compiled) == few


def test_what_a_loss_refers_to_is_looked_up_again():
    scale = [1.0]

    def loss(params, batch):
        return scale[0] * loss_fn(params, batch)

    plain = fit(loss=loss)
    scale[0] = 2.0
    doubled = fit(loss=loss)
    assert doubled.history["loss"][0] > 1.5 * plain.history["loss"][0]
    assert_same_bits(plain.params, fit().params)
    batches = fit_batches(loss=loss)
    assert batches.history["loss"][0] == pytest.approx(2 * fit_batches().history["loss"][0])


def test_large_arrays_that_a_loss_refers_to_are_looked_up_again():
    shift = np.zeros((23, 2), np.float32)

    def loss(params, batch):
        return loss_fn(params, (batch[0], batch[1] + shift[: len(batch[1])]))

    plain = fit(loss=loss)
    shift[-1, -1], shift[3, 1] = 5.0, 1.0
    assert fit(loss=loss).history != plain.history


def test_programs_do_not_keep_many_large_arrays():
    def kept(seed):
        large = np.random.default_rng(seed).normal(size=5_000_000).astype(np.float32)
        fit(loss=lambda params, batch: loss_fn(params, batch) + jnp.mean(large), epochs=1)
        return weakref.ref(large)

    found = [kept(seed) for seed in range(4)]
    jax.clear_caches()
    gc.collect()
    assert sum(array() is not None for array in found) < len(found)


def test_equal_programs_of_other_trees_keep_their_trees():
    def loss(params, batch):
        layers = tuple(params.values()) if isinstance(params, dict) else params
        return loss_fn(layers, batch)

    named = {"a": PARAMS[0], "b": PARAMS[1]}
    assert isinstance(fit(loss=loss).params, tuple)
    result = fit(loss=loss, params=named)
    assert list(result.params) == ["a", "b"]
    assert_same_bits(tuple(result.params.values()), fit().params)


@pytest.mark.parametrize("data", ["arrays", "batches"])
def test_functions_of_python_that_a_program_calls_are_not_confused(data):
    """The program does not say which function it calls."""

    def on_host(factor):
        def scaled(value):
            return np.float32(factor * value)

        def call(value):
            shape = jax.ShapeDtypeStruct((), np.float32)
            return jax.pure_callback(scaled, shape, value, vmap_method="sequential")

        return call

    def figures(factor):
        call = on_host(factor)

        def loss(params, batch):
            return loss_fn(params, batch) + jax.lax.stop_gradient(call(jnp.float32(1)))

        def metric(params, batch):
            return call(jnp.float32(2))

        train = fit if data == "arrays" else fit_batches
        history = train(loss=loss, metrics={"metric": metric}, epochs=1).history
        return history["loss"][0], history["metric"][0]

    (loss, metric), (larger_loss, larger_metric) = figures(1), figures(100)
    assert (metric, larger_metric) == (2, 200)
    assert larger_loss == pytest.approx(loss + 99, rel=1e-5)
