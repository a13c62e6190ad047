"""`dW = Xᵀ dZ` where X is transposed before the product."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import assert_close, normal

import fcjax
from fcjax._products import transposed, transposing_pays

# Examples, n_in, n_out: rows that share places of the cache, and rows that do not.
NARROW = [(37, 101, 7), (64, 256, 10), (128, 192, 3), (256, 784, 64)]
MIDDLE = [(128, 512, 512), (257, 512, 257)]
IN_PLACE = [
    *[(5, 3, 7), (64, 256, 1), (64, 257, 65), (64, 64, 17), (1021, 37, 5), (1031, 511, 10)],
    *[(257, 512, 256), (128, 509, 521), (64, 1024, 256), (512, 1024, 1024)],
]


def weight_gradient(x, dz, compute_dtype=None):
    """dW of a float32 `w` under the cotangent `dz`."""
    w = jnp.zeros((x.shape[-1], dz.shape[-1]))
    return jax.vjp(lambda w: fcjax.dense(x, w, compute_dtype=compute_dtype), w)[1](dz)[0]


def is_transposed(dtype, examples, n_in, n_out):
    """Whether `dense` transposes an X of that shape on a CPU, by what it was traced to."""
    shapes = jnp.zeros((examples, n_in)), jnp.zeros((examples, n_out))
    trace = jax.make_jaxpr(weight_gradient, static_argnums=2)(*shapes, dtype)
    return "last_to_front" in str(trace)


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16, jnp.float16], ids=str)
@pytest.mark.parametrize("shape", [*NARROW, *MIDDLE, *IN_PLACE], ids=str)
def test_the_gradient_is_right_whatever_the_shape(shape, dtype):
    examples, n_in, n_out = shape
    x, dz = normal(0, examples, n_in), normal(1, examples, n_out)
    got = jax.jit(weight_gradient, static_argnums=2)(jnp.float32(x), jnp.float32(dz), dtype)
    rounded = [np.float64(jnp.float32(v).astype(dtype or jnp.float32)) for v in (x, dz)]
    assert_close(got, rounded[0].T @ rounded[1], 1e-5)


@pytest.mark.parametrize("shape", [*NARROW, *MIDDLE], ids=str)
def test_where_it_pays_x_is_transposed(shape):
    assert is_transposed(None, *shape)
    assert is_transposed(jnp.bfloat16, *shape)


@pytest.mark.parametrize("shape", IN_PLACE, ids=str)
def test_elsewhere_only_16_bit_operands_are_transposed(shape):
    assert not is_transposed(None, *shape)
    assert is_transposed(jnp.bfloat16, *shape)
    assert not transposing_pays(*shape, itemsize=8)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_on_other_devices_nothing_is_transposed(platform):
    x, dz = jnp.zeros((64, 256)), jnp.zeros((64, 10))
    for dtype in (None, jnp.bfloat16):
        trace = jax.jit(weight_gradient, static_argnums=2).trace(x, dz, dtype)
        text = {p: trace.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", platform)}
        assert "LayoutConstraint" in text["cpu"]
        assert "LayoutConstraint" not in text[platform]


@pytest.mark.parametrize("shape", [(128, 512), (4, 32, 512), (37, 11)], ids=str)
def test_the_last_axis_becomes_the_first(shape):
    x = jnp.float32(normal(0, *shape))
    np.testing.assert_array_equal(transposed(x), jnp.moveaxis(x, -1, 0))
    np.testing.assert_array_equal(jax.jit(transposed)(x), jnp.moveaxis(x, -1, 0))


@pytest.mark.parametrize("shape", [NARROW[1], MIDDLE[0]], ids=str)
def test_transformations(shape):
    """`vmap`, and forward over reverse, see the rule as it is written."""
    examples, n_in, n_out = shape
    x, dz = (jnp.float32(normal(i, 3, examples, n)) for i, n in enumerate((n_in, n_out)))
    each = jax.jit(jax.vmap(weight_gradient))(x, dz)
    assert_close(each, np.einsum("bmi,bmo->bio", np.float64(x), np.float64(dz)), 1e-5)
    together = jax.jit(weight_gradient)(x, dz)
    assert_close(together, np.einsum("bmi,bmo->io", np.float64(x), np.float64(dz)), 1e-5)
    pushed = jax.jvp(lambda x: weight_gradient(x, dz[0]), (x[0],), (x[1],))[1]
    assert_close(pushed, np.float64(x[1]).T @ np.float64(dz[0]), 1e-5)
    (pulled,) = jax.linear_transpose(lambda dz: weight_gradient(x[0], dz), dz[0])(each[1])
    assert_close(pulled, np.float64(x[0]) @ np.float64(each[1]), 1e-5)
