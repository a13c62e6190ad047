"""Layer norm and root-mean-square norm."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest
import reference
from support import Case, check_gradients, check_transformations, names, normal

import fcjax

SCALE, BIAS = 1 + 0.5 * normal(1, 7), normal(2, 7)


def cases(label, x, n=7, **options):
    """Both norms at one input."""
    layer, rms = (
        [partial(getattr(library, name), **options) for library in (fcjax, plain, reference)]
        for name in ("layer_norm", "rms_norm")
    )
    return [
        Case(f"layer_norm, {label}", *layer, (x, SCALE[:n], BIAS[:n])),
        Case(f"rms_norm, {label}", *rms, (x, SCALE[:n])),
    ]


X = 2 * normal(0, 5, 7) + 3
CASES = [
    *cases("batch", X),
    *cases("two batch dimensions", normal(3, 2, 3, 7)),
    *cases("no batch dimension", normal(4, 7)),
    *cases("large eps", X, eps=0.5),
    *cases("three features", normal(5, 5, 3), n=3),
]
each_case = pytest.mark.parametrize("case", CASES, ids=names(CASES))


@each_case
def test_gradients_are_right_in_the_widest_dtype(case, x64):
    check_gradients(case, x64)


@each_case
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_gradients_are_right_in_narrow_dtypes(case, dtype):
    check_gradients(case, dtype)


@pytest.mark.parametrize("case", CASES[:2], ids=names(CASES[:2]))
@pytest.mark.parametrize(
    ("x", "parameters"), [(jnp.bfloat16, jnp.float32), (jnp.float32, jnp.bfloat16)]
)
def test_each_gradient_has_the_dtype_of_its_argument(case, x, parameters):
    check_gradients(case, x, *[parameters] * (len(case.args) - 1))


@pytest.mark.parametrize("case", CASES[:4], ids=names(CASES[:4]))
def test_transformations(case, x64):
    check_transformations(case, x64)


def test_the_output_has_the_dtype_of_x():
    x, scale = jax.ShapeDtypeStruct((5, 7), jnp.bfloat16), jax.ShapeDtypeStruct((7,), jnp.float32)
    assert jax.eval_shape(fcjax.layer_norm, x, scale, scale).dtype == jnp.bfloat16
    assert jax.eval_shape(fcjax.rms_norm, x, scale).dtype == jnp.bfloat16


def test_a_constant_example_becomes_the_bias():
    bias = jnp.asarray([1.0, 2.0, 3.0])
    y, pull = jax.vjp(fcjax.layer_norm, jnp.full((2, 3), 5.0), jnp.ones(3), bias)
    np.testing.assert_allclose(y, [bias, bias])
    assert all(np.all(np.isfinite(gradient)) for gradient in pull(jnp.ones_like(y)))


def test_an_example_of_zeros_has_finite_gradients():
    y, pull = jax.vjp(fcjax.rms_norm, jnp.zeros((2, 3)), jnp.ones(3))
    np.testing.assert_array_equal(y, np.zeros((2, 3)))
    np.testing.assert_allclose(pull(jnp.ones_like(y))[0], np.full((2, 3), 1e-5**-0.5), rtol=1e-6)


def test_large_narrow_inputs_do_not_overflow():
    # 300² is beyond float16: the statistics are computed in float32
    x = jnp.asarray([[300.0, -300.0, 600.0, 0.0]], jnp.float16)
    for y in (fcjax.layer_norm(x, jnp.ones(4), jnp.zeros(4)), fcjax.rms_norm(x, jnp.ones(4))):
        assert np.all(np.isfinite(np.asarray(y)))
        assert np.max(np.abs(y)) > 1


def test_the_variance_of_a_distant_mean_keeps_its_digits():
    # mean(x²) − mean(x)² would have lost all of them
    x = jnp.asarray([[4096.0, 4097.0, 4098.0]])
    np.testing.assert_allclose(
        fcjax.layer_norm(x, jnp.ones(3), jnp.zeros(3)), [[-1.2247, 0, 1.2247]], atol=1e-4
    )


def test_sums_over_many_narrow_examples_are_held_in_float32():
    x = jnp.tile(jnp.asarray([[1.0, -1.0]], jnp.bfloat16), (2048, 1))
    _, pull = jax.vjp(fcjax.layer_norm, x, jnp.ones(2, jnp.bfloat16), jnp.zeros(2, jnp.bfloat16))
    _, dscale, dbias = pull(jnp.ones_like(x))
    np.testing.assert_allclose(np.float32(dbias), [2048, 2048])
    np.testing.assert_allclose(np.float32(dscale), [2048, -2048], rtol=2**-7)


@pytest.mark.parametrize("case", CASES[:2], ids=names(CASES[:2]))
def test_of_the_size_of_x_only_x_itself_is_kept(case):
    args = [jnp.asarray(arg, jnp.bfloat16) for arg in case.args]
    _, pull = jax.vjp(case.rule, *args)
    large = [leaf for leaf in jax.tree.leaves(pull) if leaf.size >= args[0].size]
    assert [leaf.dtype for leaf in large] == [jnp.bfloat16]
    np.testing.assert_array_equal(large[0], args[0])
