"""The dense layer: `Z = X W + b` and its three gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest
import reference
from support import (
    Case,
    assert_close,
    check_gradients,
    check_transformations,
    exactly,
    names,
    normal,
)

import fcjax

W, B = normal(1, 3, 7), normal(2, 7)


def case(name, *args):
    return Case(name, fcjax.dense, plain.dense, reference.dense, args)


CASES = [
    case("batch", normal(0, 5, 3), W, B),
    case("two batch dimensions", normal(0, 2, 5, 3), W, B),
    case("three batch dimensions", normal(0, 2, 3, 2, 3), W, B),
    case("no batch dimension", normal(0, 3), W, B),
    case("no bias", normal(0, 5, 3), W),
    case("no bias, two batch dimensions", normal(0, 2, 5, 3), W),
    case("square weights", normal(0, 5, 3), normal(1, 3, 3), normal(2, 3)),
    case("one example", normal(0, 1, 3), W, B),
    case("one unit", normal(0, 5, 1), normal(1, 1, 1), normal(2, 1)),
]
each_case = pytest.mark.parametrize("case", CASES, ids=names(CASES))


@each_case
def test_gradients_are_right_in_the_widest_dtype(case, x64):
    check_gradients(case, x64)


@each_case
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_gradients_are_right_in_narrow_dtypes(case, dtype):
    check_gradients(case, dtype)


@pytest.mark.parametrize(
    "dtypes",
    [
        (jnp.bfloat16, jnp.float32, jnp.float32),
        (jnp.float32, jnp.bfloat16, jnp.float32),
        (jnp.float32, jnp.float32, jnp.bfloat16),
        (jnp.float16, jnp.float32, jnp.float16),
        (jnp.bfloat16, jnp.bfloat16, jnp.float32),
    ],
    ids=lambda dtypes: "-".join(jnp.dtype(d).name for d in dtypes),
)
def test_each_gradient_has_the_dtype_of_its_argument(dtypes):
    check_gradients(CASES[1], *dtypes)


@pytest.mark.parametrize("case", CASES[:5], ids=names(CASES[:5]))
def test_transformations(case, x64):
    check_transformations(case, x64)


def test_a_bias_is_added_once_to_each_example():
    x, w = jnp.zeros((4, 2)), jnp.ones((2, 3))
    gradient = jax.grad(lambda b: fcjax.dense(x, w, b).sum())(jnp.zeros(3))
    np.testing.assert_array_equal(gradient, [4.0, 4.0, 4.0])


def test_numpy_arguments_are_accepted():
    x, w, b = (np.asarray(arg, np.float32) for arg in CASES[0].args)
    np.testing.assert_allclose(fcjax.dense(x, w, b), reference.dense(x, w, b), rtol=1e-5)


class TestComputeDtype:
    """The products take rounded operands; nothing else is rounded."""

    x, w, b, dz = normal(3, 64, 11), normal(4, 11, 5), normal(5, 5), normal(6, 64, 5)

    def pullback(self):
        args = (jnp.asarray(arg, jnp.float32) for arg in (self.x, self.w, self.b))
        z, pull = jax.vjp(lambda *a: fcjax.dense(*a, compute_dtype=jnp.bfloat16), *args)
        return z, pull(jnp.asarray(self.dz, jnp.float32))

    def rounded(self):
        return exactly(jnp.asarray(v, jnp.bfloat16) for v in (self.x, self.w, self.dz))

    def test_value_is_that_of_rounded_operands_and_an_exact_bias(self):
        x, w, _ = self.rounded()
        z, _ = self.pullback()
        assert z.dtype == jnp.float32
        assert_close(z, x @ w + np.float32(self.b), 1e-6)

    def test_gradients_are_those_of_rounded_operands_in_float32(self):
        x, w, dZ = self.rounded()
        _, (dx, dw, db) = self.pullback()
        assert {dx.dtype, dw.dtype, db.dtype} == {jnp.dtype(jnp.float32)}
        assert_close(dx, dZ @ w.T, 1e-6, "dX")
        np.testing.assert_allclose(dw, x.T @ dZ, rtol=1e-5, err_msg="dW")
        assert_close(db, np.float32(self.dz).sum(0), 1e-6, "db")

    def test_gradient_of_the_weights_has_more_digits_than_bfloat16(self):
        _, (_, dw, _) = self.pullback()
        assert np.any(np.asarray(dw) != np.asarray(dw.astype(jnp.bfloat16), np.float32))

    def test_operands_are_really_rounded(self):
        z, (_, dw, _) = self.pullback()
        exact = self.x @ self.w + self.b
        assert np.max(np.abs(z - exact)) > 1e-4
        assert np.max(np.abs(dw - self.x.T @ self.dz)) > 1e-4

    def test_parameters_in_bfloat16_get_gradients_in_bfloat16(self):
        x, w = jnp.asarray(self.x, jnp.float32), jnp.asarray(self.w, jnp.bfloat16)
        gradient = jax.grad(lambda w: fcjax.dense(x, w, compute_dtype="bfloat16").sum())(w)
        assert gradient.dtype == jnp.bfloat16

    def test_x_is_kept_rounded_where_that_is_narrower_and_never_wider(self):
        for x_dtype, compute_dtype, kept in (
            (jnp.float32, jnp.bfloat16, jnp.bfloat16),
            (jnp.bfloat16, jnp.float32, jnp.bfloat16),
            (jnp.float32, None, jnp.float32),
        ):
            x, w = jnp.asarray(self.x, x_dtype), jnp.asarray(self.w, jnp.float32)
            _, pull = jax.vjp(lambda x, w: fcjax.dense(x, w, compute_dtype=compute_dtype), x, w)  # noqa: B023
            leaves = [leaf for leaf in jax.tree.leaves(pull) if leaf.shape == x.shape]
            assert [leaf.dtype for leaf in leaves] == [kept]

    def test_float32_products_of_narrow_arguments(self):
        x, w = (jnp.asarray(v, jnp.bfloat16) for v in (self.x, self.w))
        z = fcjax.dense(x, w, compute_dtype=jnp.float32)
        assert z.dtype == jnp.bfloat16
        assert_close(z, exactly([x])[0] @ exactly([w])[0], 2**-8)


def test_sums_over_many_narrow_examples_are_held_in_float32():
    # 4096 ones in bfloat16 would stop growing at 256
    x, w = jnp.ones((4096, 1), jnp.bfloat16), jnp.ones((1, 1), jnp.bfloat16)
    _, pull = jax.vjp(fcjax.dense, x, w, jnp.zeros(1, jnp.bfloat16))
    _, dw, db = pull(jnp.ones((4096, 1), jnp.bfloat16))
    assert dw.item() == 4096
    assert db.item() == 4096


def test_only_the_arguments_are_kept():
    x, w, b = (jnp.asarray(arg, jnp.float32) for arg in CASES[0].args)
    _, pull = jax.vjp(fcjax.dense, x, w, b)
    assert sorted(leaf.size for leaf in jax.tree.leaves(pull)) == sorted(a.size for a in (x, w, b))
