"""Activations: the functions of `jax.nn`, its conventions at kinks, and what the rules keep."""

import decimal
import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from support import (
    Case,
    assert_close,
    cast,
    check_gradients,
    check_transformations,
    names,
    normal,
    plain_activation,
    pointwise,
    random_like,
)

import fcjax
from fcjax.activations import facts_of, rule_of

NAMES = sorted(reference.ACTIVATIONS)
COUPLED = ("glu", "softmax", "log_softmax")
ELEMENTWISE = [name for name in NAMES if name not in COUPLED]
OF_JAX = [name for name in ELEMENTWISE if hasattr(jax.nn, name)]

# One point on each piece of every function; normal numbers would miss the outer ones.
Z = np.array([[-7.3, -4.1, -2.2, -1.4], [-0.8, -0.35, 0.2, 0.9], [1.3, 2.6, 3.7, 8.4]], np.float64)
Z2 = 2 * normal(0, 2, 3, 4)


def activation(name, z, label="", **options):
    functions = getattr(fcjax, name), plain_activation(name), reference.ACTIVATIONS[name]
    return Case(f"{name}{label}", *(partial(f, **options) for f in functions), (z,))


def with_parameter(name, parameter, value, label):
    """The parameter is an array, and a differentiable argument of the case."""
    return Case(
        f"{name}, {parameter} {label}",
        getattr(fcjax, name),
        plain_activation(name),
        reference.ACTIVATIONS[name],
        (Z, np.asarray(value)),
    )


DEFAULTS = [activation(name, Z) for name in NAMES]
OPTIONS = [
    Case(
        "gelu, exact",
        partial(fcjax.gelu, approximate=False),
        partial(jax.nn.gelu, approximate=False),
        reference.gelu_exact,
        (Z,),
    ),
    Case(
        "glu, axis 0",
        partial(fcjax.glu, axis=0),
        partial(jax.nn.glu, axis=0),
        lambda z: reference.glu(z.T).T,
        (Z.T,),
    ),
    activation("softmax", Z2, ", axis 1", axis=1),
    activation("log_softmax", Z2, ", axis 1", axis=1),
    activation("softmax", Z2, ", axes 0 and 2", axis=(0, 2)),
    activation("log_softmax", Z2, ", axes 0 and 2", axis=(0, 2)),
    activation("leaky_relu", Z, ", 0.3", negative_slope=0.3),
    activation("leaky_relu", Z, ", -0.3", negative_slope=-0.3),
    activation("leaky_relu", Z, ", 0", negative_slope=0.0),
    activation("elu", Z, ", 0.7", alpha=0.7),
    activation("elu", Z, ", -0.7", alpha=-0.7),
    activation("elu", Z, ", 0", alpha=0),
    activation("celu", Z, ", 0.7", alpha=0.7),
    activation("celu", Z, ", -0.7", alpha=-0.7),
    activation("celu", Z, ", 3", alpha=3),
    activation("squareplus", Z, ", 1.5", b=1.5),
]
PARAMETERS = [
    with_parameter(name, parameter, value, label)
    for name, parameter, sign in (
        ("leaky_relu", "negative_slope", -1),
        ("elu", "alpha", -1),
        ("celu", "alpha", -1),
        ("squareplus", "b", 1),
    )
    for label, value in (
        ("scalar", 0.6),
        ("by feature", np.array([0.3, 0.5, sign * 0.7, 1.2])),
        ("by example", np.array([[0.3], [sign * 0.5], [0.7]])),
        ("by entry", 0.2 + np.abs(normal(3, 3, 4))),
    )
]
ALL = DEFAULTS + OPTIONS + PARAMETERS
each_case = pytest.mark.parametrize("case", ALL, ids=names(ALL))


def test_every_activation_of_the_library_is_tested():
    assert sorted(fcjax.activations.ACTIVATIONS) == NAMES
    for name, function in fcjax.activations.ACTIVATIONS.items():
        assert getattr(fcjax, name) is function


@each_case
def test_gradients_are_right_in_the_widest_dtype(case, x64):
    check_gradients(case, x64)


NARROW = [*DEFAULTS, *(case for case in PARAMETERS if case.name.endswith("by feature"))]


@pytest.mark.parametrize("case", NARROW, ids=names(NARROW))
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_gradients_are_right_in_narrow_dtypes(case, dtype):
    check_gradients(case, dtype)


@pytest.mark.parametrize("name", ["leaky_relu", "elu", "celu", "squareplus"])
@pytest.mark.parametrize(
    "dtypes", [(jnp.bfloat16, jnp.float32), (jnp.float32, jnp.bfloat16)], ids=["wide", "narrow"]
)
def test_z_and_parameter_keep_their_own_dtypes(name, dtypes):
    case = next(c for c in PARAMETERS if c.name.startswith(name) and c.name.endswith("by feature"))
    check_gradients(case, *dtypes)


TRANSFORMED = [
    *(activation(name, 2 * normal(1, 2, 4)) for name in NAMES if "swish" not in name),
    OPTIONS[0],
    *(case for case in PARAMETERS if case.name.endswith("by feature")),
]


@pytest.mark.parametrize("case", TRANSFORMED, ids=names(TRANSFORMED))
@pytest.mark.in_turn(3)
def test_transformations(case, x64):
    check_transformations(case, x64)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_any_shape(name, shape, dtype):
    gradient, second = jax.eval_shape(
        lambda z: jax.jvp(jax.grad(lambda z: getattr(fcjax, name)(z).sum()), (z,), (z,)),
        jax.ShapeDtypeStruct(shape, dtype),
    )
    assert (gradient.shape, gradient.dtype) == (second.shape, second.dtype) == (shape, dtype)


# --- kinks and large inputs -----------------------------------------------------------------

# All of the shape of Z, so that JAX compiles each operation once.
KINKS = np.reshape([-6, -3, -2, -1, -0.5, -0.0, 0.0, 0.5, 1, 2, 3, 6], Z.shape)
FAR = np.reshape([-3e4, -1e4, -300, -100, -30, -20, 20, 30, 100, 300, 1e4, 3e4], Z.shape)
DTYPES = pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])


@pytest.mark.parametrize("name", OF_JAX)
@DTYPES
def test_conventions_at_kinks_are_those_of_jax(name, dtype, x64):
    got = pointwise(getattr(fcjax, name), cast([KINKS], dtype)[0])
    # in float32, the derivative of jax.nn.gelu itself is off by 36 eps at −6
    want = pointwise(plain_activation(name), cast([KINKS], x64)[0])
    # at a kink, jax.nn takes one of the sides or their mean: never a matter of rounding
    allowed = 8 * float(jnp.finfo(dtype).eps)
    for quantity in (0, 1):
        assert_close(got[quantity], want[quantity], allowed)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("leaky_relu", {"negative_slope": 0.3}),
        ("leaky_relu", {"negative_slope": -0.3}),
        ("leaky_relu", {"negative_slope": 0.0}),
        ("elu", {"alpha": 0.7}),
        ("elu", {"alpha": -0.7}),
        ("elu", {"alpha": 0.0}),
        ("celu", {"alpha": 0.7}),
        ("celu", {"alpha": -0.7}),
    ],
)
@pytest.mark.parametrize("as_array", [False, True], ids=["number", "array"])
def test_conventions_at_zero_with_a_parameter_are_those_of_jax(name, options, as_array):
    z = jnp.asarray(KINKS, jnp.float32)
    if as_array:
        options = {key: jnp.float32(value) for key, value in options.items()}
    functions = getattr(fcjax, name), plain_activation(name)
    got, want = (pointwise(partial(f, **options), z) for f in functions)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(got[1], want[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["leaky_relu", "elu", "celu"])
def test_gradient_by_the_parameter_at_zero_is_that_of_jax(name):
    # z = 0 belongs to a side for z, but contributes nothing to the parameter's gradient
    for f in (getattr(fcjax, name), plain_activation(name)):
        for zero in (-0.0, 0.0):
            _, pull = jax.vjp(f, jnp.float32(zero), jnp.float32(0.6))
            assert pull(jnp.float32(1))[1] == 0


# Where a is next to its limit −α or ±1, a + α and 1 − |a| have lost digits; jax.nn keeps z. What is
# lost is a rounding error of a, far below the derivative at any other point.
LOSES_DIGITS_FAR_OUT = {"soft_sign", "elu", "celu", "selu"}


@pytest.mark.parametrize("name", [name for name in OF_JAX if name != "squareplus"])
def test_far_out_the_derivative_is_that_of_jax(name):
    z = jnp.asarray(FAR, jnp.float32)
    got, want = (pointwise(f, z) for f in (getattr(fcjax, name), plain_activation(name)))
    atol = 2 * jnp.finfo(z.dtype).eps if name in LOSES_DIGITS_FAR_OUT else 1e-37
    # exp(−300) may or may not be flushed to zero
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5, atol=1e-37)
    np.testing.assert_allclose(got[1], want[1], rtol=1e-5, atol=atol)


@pytest.mark.parametrize("name", ELEMENTWISE)
@DTYPES
def test_far_out_everything_is_finite(name, dtype):
    z = jnp.asarray(FAR, dtype)
    value, derivative = pointwise(getattr(fcjax, name), z)
    assert np.all(np.isfinite(np.asarray(value, np.float64)))
    assert np.all(np.isfinite(np.asarray(derivative, np.float64)))


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "squareplus"])
@pytest.mark.parametrize("size", [1e15, 1e30, 3e38])
def test_powers_of_a_huge_input_do_not_overflow(name, size):
    value, derivative = pointwise(getattr(fcjax, name), jnp.asarray([-size, size], jnp.float32))
    np.testing.assert_allclose(derivative, [0, 1], atol=1e-29)
    np.testing.assert_allclose(value[1], np.float32(size), rtol=1e-6)


@DTYPES
@pytest.mark.parametrize("slope", [0.01, 1e-6])
def test_leaky_relu_has_its_slope_where_the_product_underflows(dtype, slope):
    z = -jnp.asarray([jnp.finfo(dtype).tiny, 10 * jnp.finfo(dtype).tiny], dtype)
    value, derivative = pointwise(partial(fcjax.leaky_relu, negative_slope=slope), z)
    assert np.all(value < 0)
    np.testing.assert_array_equal(derivative, jnp.full_like(z, slope))


def test_exact_gelu_far_out():
    got, want = (
        pointwise(partial(f, approximate=False), jnp.asarray(FAR, jnp.float32))
        for f in (fcjax.gelu, jax.nn.gelu)
    )
    np.testing.assert_allclose(got[1], want[1], rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize("as_array", [False, True], ids=["number", "array"])
def test_squareplus_keeps_its_digits_far_out(as_array):
    # jax.nn.squareplus cancels for negative z: fifty decimal digits are the oracle
    z = np.concatenate([FAR, KINKS]).astype(np.float32)
    b = jnp.float32(4) if as_array else 4.0
    value, derivative = pointwise(partial(fcjax.squareplus, b=b), jnp.asarray(z))
    with decimal.localcontext(prec=50):
        exact = np.array([decimal.Decimal(float(v)) for v in z.flat])
        step = decimal.Decimal("1e-15")
        want = _exact_squareplus(exact)
        slopes = (_exact_squareplus(exact + step) - _exact_squareplus(exact - step)) / (2 * step)
    np.testing.assert_allclose(value.ravel(), want.astype(np.float64), rtol=1e-6)
    np.testing.assert_allclose(derivative.ravel(), slopes.astype(np.float64), rtol=1e-6)


@np.vectorize
def _exact_squareplus(z):
    return (z + (z * z + 4).sqrt()) / 2


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_of_large_numbers_does_not_overflow(name):
    z = jnp.asarray([[1e4, -1e4, 0.0], [1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]])
    (got, pull), (want, plain_pull) = (
        jax.vjp(f, z) for f in (getattr(fcjax, name), plain_activation(name))
    )
    dy = random_like(got)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_allclose(pull(dy)[0], plain_pull(dy)[0], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_masked_entries_take_no_part(name, x64):
    z, mask = jnp.asarray(normal(5, 3, 4), x64), jnp.asarray(normal(6, 3, 4) < 0.5)
    assert 0 < mask.sum() < mask.size

    def loss(f, z):
        # a masked entry of log_softmax is −∞: it is left out, as a user would
        return jnp.sum(jnp.where(mask, dy * f(z, where=mask), 0))

    dy = random_like(z)
    got, want = (
        jax.grad(partial(loss, f))(z) for f in (getattr(fcjax, name), plain_activation(name))
    )
    assert_close(got, want, 1e-14 if x64 == jnp.float64 else 1e-6)
    assert not np.any(np.asarray(got)[~np.asarray(mask)])


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_cotangents_of_masked_entries_are_ignored(name):
    z, mask = jnp.asarray([[1.0, 2.0, 3.0]]), jnp.asarray([[True, False, True]])
    _, pull = jax.vjp(partial(getattr(fcjax, name), where=mask), z)
    (quiet,), (loud,) = pull(jnp.asarray([[1.0, 0.0, 2.0]])), pull(jnp.asarray([[1.0, 9.0, 2.0]]))
    np.testing.assert_array_equal(quiet, loud)
    assert quiet[0, 1] == 0


# --- what is kept ---------------------------------------------------------------------------

# g' is no function of the output: the function is not monotone, or flat beyond a kink at which
# the derivative is not that of the flat side.
KEEPS_INPUT = ["gelu", "glu", "hard_silu", "hard_swish", "hard_tanh", "mish", "silu"]
KEEPS_INPUT += ["sparse_sigmoid", "swish"]
KEEPS_OUTPUT = [name for name in NAMES if name not in KEEPS_INPUT]


def test_only_where_it_must_does_a_rule_keep_its_input():
    keeps_input = [name for name in NAMES if rule_of(getattr(fcjax, name)).keeps == "input"]
    assert keeps_input == KEEPS_INPUT
    assert all(rule_of(getattr(fcjax, name)).keeps == "output" for name in KEEPS_OUTPUT)


def kept_arrays(function, z):
    """The arrays that stay alive between the forward and the backward pass, other than constants.

    Small ones, such as a parameter, do not count.
    """
    a, pull = jax.vjp(function, z)
    return a, [leaf for leaf in jax.tree.leaves(pull) if leaf.size > 1]


@pytest.mark.parametrize("name", KEEPS_OUTPUT)
def test_the_output_is_all_that_is_kept(name):
    (z,) = cast([Z], jnp.float32)
    a, kept = kept_arrays(getattr(fcjax, name), z)
    assert len(kept) == 1
    np.testing.assert_array_equal(kept[0], a)
    rule_a, rule_kept = rule_of(getattr(fcjax, name)).fwd(z)
    assert rule_kept is rule_a


@pytest.mark.parametrize("name", KEEPS_INPUT)
def test_the_input_is_all_that_is_kept(name):
    (z,) = cast([Z], jnp.float32)
    _, kept = kept_arrays(getattr(fcjax, name), z)
    assert len(kept) == 1
    np.testing.assert_array_equal(kept[0], z)
    _, rule_kept = rule_of(getattr(fcjax, name)).fwd(z)
    assert rule_kept is z


@pytest.mark.parametrize(
    ("name", "parameter"), [("leaky_relu", 0.3), ("elu", 0.7), ("celu", 0.7), ("squareplus", 1.5)]
)
def test_a_constant_parameter_leaves_the_output_as_all_that_is_kept(name, parameter):
    (z,) = cast([Z], jnp.float32)
    a, kept = kept_arrays(lambda z: getattr(fcjax, name)(z, parameter), z)
    assert len(kept) == 1
    np.testing.assert_array_equal(kept[0], a)


@pytest.mark.parametrize("name", NAMES)
def test_the_two_halves_are_those_of_the_function(name):
    function, (z,) = getattr(fcjax, name), cast([Z], jnp.float32)
    a, pull = jax.vjp(function, z)
    rule = rule_of(function)
    rule_a, kept = rule.fwd(z)
    dA = random_like(a)
    np.testing.assert_array_equal(rule_a, a)
    np.testing.assert_array_equal(rule.bwd(kept, dA), pull(dA)[0])


# --- facts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        partial(fcjax.leaky_relu, negative_slope=0.2),
        partial(partial(fcjax.elu, alpha=0.7)),
        partial(fcjax.gelu, approximate=False),
        partial(fcjax.glu, axis=0),
        partial(fcjax.softmax, axis=0),
        partial(fcjax.log_softmax, where=jnp.asarray([True, False, True, True])),
    ],
    ids=lambda function: f"{function.func.__name__} {function.keywords}",
)
def test_a_partial_keeps_its_rule(function):
    z = jnp.asarray(normal(4, 6, 4), jnp.float32)
    rule = rule_of(function)
    assert rule.keeps == rule_of(function.func).keeps
    (a, kept), (want, pull) = rule.fwd(z), jax.vjp(function, z)
    dA = random_like(a)
    np.testing.assert_array_equal(a, want)
    np.testing.assert_array_equal(rule.bwd(kept, dA), pull(dA)[0])


@pytest.mark.parametrize("slope", [jnp.float32(0.2), -0.2, 0.0], ids=["array", "negative", "zero"])
def test_a_slope_without_a_fixed_rule_is_left_to_jax(slope):
    function = partial(fcjax.leaky_relu, negative_slope=slope)
    z = jnp.asarray(Z, jnp.float32)
    rule = rule_of(function)
    assert rule.keeps == "pullback"
    a, kept = rule.fwd(z)
    np.testing.assert_array_equal(rule.bwd(kept, jnp.ones_like(a)), jnp.where(z < 0, slope, 1))


def test_an_unknown_option_is_named_with_the_activation():
    with pytest.raises(TypeError, match=r"relu\(\) got an unexpected keyword argument 'slope'"):
        rule_of(partial(fcjax.relu, slope=0.2))
    with pytest.raises(TypeError, match=r"leaky_relu\(\) got an unexpected .* 'slop'"):
        rule_of(partial(fcjax.leaky_relu, slop=0.2))


def test_a_wrapper_does_not_pass_for_what_it_wraps():
    @functools.wraps(fcjax.relu)
    def doubled(z):
        return 2 * fcjax.relu(z)

    assert doubled.facts is facts_of(fcjax.relu)  # wraps copies attributes
    assert facts_of(doubled) is None
    A, kept = rule_of(doubled).fwd(jnp.ones(3))
    np.testing.assert_array_equal(rule_of(doubled).bwd(kept, jnp.ones(3)), 2 * A / 2)


@pytest.mark.parametrize(
    "name", [name for name in ELEMENTWISE if facts_of(getattr(fcjax, name)).kinks]
)
def test_the_derivative_at_a_kink_is_the_one_that_the_facts_say(name):
    kinks = facts_of(getattr(fcjax, name)).kinks
    for dtype in (jnp.float32, jnp.float16):
        da = jax.vmap(jax.grad(getattr(fcjax, name)))(jnp.asarray(list(kinks), dtype))
        np.testing.assert_allclose(da, list(kinks.values()), rtol=1e-3)


def test_wherever_the_two_sides_differ_the_facts_name_a_kink():
    z = jnp.asarray(KINKS.ravel(), jnp.float32)
    h = jnp.float32(1e-3)
    for name in ELEMENTWISE:
        function = getattr(fcjax, name)
        left, middle, right = (function(z + step) for step in (-h, 0, h))
        jump = np.abs((right - middle) / h - (middle - left) / h)
        found = {float(point) for point, size in zip(z, jump, strict=True) if size > 0.05}
        # elu and celu have a kink for other parameters than the defaults
        declared = set(facts_of(function).kinks) - ({0.0} if name in ("elu", "celu") else set())
        assert found == declared, name
