"""What unrolled networks hold in memory: read off compiled programs, so exact."""

import jax
import jax.numpy as jnp
import pytest

import fcjax
from benchmarks.activations import ACTIVATIONS, KEEPS_OUTPUT
from fcjax.verify import without_rules

LAYERS, UNITS, BATCH = 8, 64, 128
KEEPS_INPUT = sorted(set(ACTIVATIONS) - set(KEEPS_OUTPUT))

pytestmark = pytest.mark.skipif(
    jax.default_backend() != "cpu", reason="other compilers have other temporaries"
)


def loss(params, X, **options):
    return jnp.mean(fcjax.mlp(params, X, **options) ** 2)


def arrays_held(loss, **options):
    """Temporaries of loss and gradient, in arrays of one layer's outputs."""
    params = jax.eval_shape(lambda: fcjax.init(jax.random.key(0), (UNITS,) * (LAYERS + 1)))
    X = jax.ShapeDtypeStruct((BATCH, UNITS), jnp.float32)
    gradient = jax.jit(jax.value_and_grad(lambda params, X: loss(params, X, **options)))
    temporaries = gradient.lower(params, X).compile().memory_analysis().temp_size_in_bytes
    return temporaries / (4 * BATCH * UNITS)


@pytest.mark.parametrize("name", KEEPS_OUTPUT)
def test_one_array_for_each_layer(name):
    assert arrays_held(loss, activations=name) <= LAYERS + 1.1


@pytest.mark.parametrize("name", KEEPS_INPUT)
def test_two_arrays_for_each_layer_where_the_derivative_needs_the_input(name):
    assert arrays_held(loss, activations=name) <= 2 * LAYERS + 1.1


@pytest.mark.parametrize("name", [*KEEPS_OUTPUT, *KEEPS_INPUT])
def test_never_more_than_autodiff(name):
    by_rule = arrays_held(loss, activations=name)
    assert by_rule <= arrays_held(without_rules(loss), activations=name) + 0.1


def test_the_gradient_of_cross_entropy_stores_two_arrays_of_the_size_of_the_logits():
    logits = jax.ShapeDtypeStruct((64, 4096), jnp.float32)
    labels = jax.ShapeDtypeStruct((64,), jnp.int32)
    gradient = jax.jit(jax.value_and_grad(fcjax.softmax_cross_entropy))
    memory = gradient.lower(logits, labels).compile().memory_analysis()
    assert memory.temp_size_in_bytes <= 2.1 * 4 * 64 * 4096
