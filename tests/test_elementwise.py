"""Elementwise rules at every input of 16 bits, the oracles, and rules that are barely wrong."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import fcjax
from fcjax.activations import ACTIVATIONS, facts_of
from fcjax.verify import elementwise, sweep
from fcjax.verify.oracles import ORACLES, Oracle

FACTS = [facts_of(function) for function in ACTIVATIONS.values()]
FUNCTIONS = {facts.oracle: facts.function for facts in FACTS if facts.oracle in ORACLES}
FUNCTIONS["gelu_exact"] = partial(fcjax.gelu, approximate=False)

# --- the rules ------------------------------------------------------------------------------

# Errors that are allowed, in spacings at max(|exact|, 1)
TOLERANCE = 2.1


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_rule_is_right_at_every_input(name, dtype):
    report = fcjax.check_elementwise(FUNCTIONS[name], name=name, dtype=dtype, tolerance=TOLERANCE)
    assert report.ok, report
    assert report.inputs == 1 << 16


def test_next_to_a_kink_the_derivative_is_that_of_its_side():
    functions = {"fcjax": fcjax.hard_sigmoid, "jax.nn": jax.nn.hard_sigmoid}
    reports = elementwise.compare_elementwise(functions, ORACLES["hard_sigmoid"], "bfloat16")
    # (z + 3)/6 rounds to 1 there
    assert reports["jax.nn"].failures == (("derivative", "scaled"),)
    assert 2.9 < reports["jax.nn"].derivative.scaled.input < 3
    assert reports["fcjax"].derivative.scaled.size < 0.1


def test_a_finite_result_beyond_the_range_has_an_error():
    report = fcjax.check_elementwise(lambda z: 1.01 * z, value=lambda z: 1.02 * z)
    assert report.ok
    assert report.value.ulp.size > 1
    maximum = float(jnp.finfo("bfloat16").max)
    report = fcjax.check_elementwise(lambda z: jnp.clip(z, -maximum, maximum) / 2, name="identity")
    assert report.value.ulp.size > 60
    assert report.value.non_finite is None


# --- the oracles ----------------------------------------------------------------------------


def _gelu(z):
    return z * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (z + 0.044715 * z**3))) / 2


def _softplus(z):
    return mpmath.log(1 + mpmath.exp(z))


_SELU = (
    mpmath.mpf("1.0507009873554804934193349852946"),
    mpmath.mpf("1.6732632423543772848170429916717"),
)

# Smooth ones, as their definitions have them; ninety digits make up for every cancellation.
DEFINITIONS = {
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "tanh": mpmath.tanh,
    "softplus": _softplus,
    "log_sigmoid": lambda z: -_softplus(-z),
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
    "mish": lambda z: z * mpmath.tanh(_softplus(z)),
    "gelu": _gelu,
    "gelu_exact": lambda z: z * mpmath.erfc(-z / mpmath.sqrt(2)) / 2,
    "elu": lambda z: z if z > 0 else mpmath.expm1(z),
    "celu": lambda z: z if z > 0 else mpmath.expm1(z),
    "selu": lambda z: _SELU[0] * (z if z > 0 else _SELU[1] * mpmath.expm1(z)),
    "squareplus": lambda z: (z + mpmath.sqrt(z * z + 4)) / 2,
    "soft_sign": lambda z: z / (1 + abs(z)),
    "hard_silu": lambda z: z * min(max(z + 3, 0), 6) / 6,
    "hard_sigmoid": lambda z: min(max(z + 3, 0), 6) / mpmath.mpf(6),
    "sparse_plus": lambda z: 0 if z <= -1 else z if z >= 1 else ((z + 1) / 2) ** 2,
    "sparse_sigmoid": lambda z: min(max((z + 1) / 2, 0), 1),
    "hard_tanh": lambda z: min(max(z, -1), 1),
    "relu": lambda z: max(z, 0),
    "relu6": lambda z: min(max(z, 0), 6),
    "leaky_relu": lambda z: z if z > 0 else z * mpmath.mpf("0.01"),
    "identity": lambda z: z,
}
# Both tails to where float32 underflows, small numbers, and the middle; no kink.
POINTS = np.concatenate(
    [sign * np.geomspace(1e-12, 80, 30) for sign in (-1, 1)]
    + [np.random.default_rng(0).normal(0, 3, 30), [-1e4, 1e4]]
)
RELATIVE, ABSOLUTE = 1e-14, 1e-15
LEAST = 1e-40  # float32 has no such numbers


def test_every_activation_has_an_oracle_and_every_oracle_a_definition():
    of_jax = {facts.oracle for facts in FACTS if hasattr(jax.nn, facts.function.__name__)}
    assert of_jax - set(ORACLES) == {None}, "softmax and its like, which are not elementwise"
    assert sorted(FUNCTIONS) == sorted(ORACLES) == sorted(DEFINITIONS)
    assert fcjax.swish is fcjax.silu
    assert fcjax.hard_swish is fcjax.hard_silu


@pytest.mark.parametrize("name", DEFINITIONS)
def test_an_oracle_has_all_the_digits_of_float64(name):
    with jax.enable_x64(True):
        got = [np.asarray(jax.jit(function)(jnp.asarray(POINTS))) for function in ORACLES[name]]
    with mpmath.workdps(90):
        want = [_exactly(DEFINITIONS[name], mpmath.mpf(float(z))) for z in POINTS]
    for of_oracle, exact in zip(got, np.array(want).T, strict=True):
        # next to a zero of the derivative, the roundings of terms near 1 are all there is
        inside = (np.abs(POINTS) < 2) & (np.abs(exact) < 0.1)
        allowed = RELATIVE * np.abs(exact) + np.where(inside, ABSOLUTE, LEAST)
        worst = np.argmax(np.abs(of_oracle - exact) - allowed)
        assert abs(of_oracle - exact)[worst] <= allowed[worst], (POINTS[worst], exact[worst])


def _exactly(function, z):
    """Value and derivative: a central difference, at ninety digits, has forty right."""
    h = mpmath.mpf(10) ** -20
    return float(function(z)), float((function(z + h) - function(z - h)) / (2 * h))


@pytest.mark.parametrize("name", DEFINITIONS)
def test_an_oracle_has_the_conventions_of_jax_at_kinks(name):
    plain = {"tanh": jnp.tanh, "gelu_exact": partial(jax.nn.gelu, approximate=False)}
    kinks = [-3.0, -1.0, -0.0, 0.0, 1.0, 3.0, 6.0]
    with jax.enable_x64(True):
        z = jnp.asarray(kinks)
        a, pull = jax.vjp(plain.get(name) or getattr(jax.nn, name), z)
        (da,) = pull(jnp.ones_like(a))
        for got, want in zip([function(z) for function in ORACLES[name]], (a, da), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-14)


# --- wrong rules ----------------------------------------------------------------------------


def _tanh(z):
    return jnp.tanh(z)


def wrong(derivative, value=_tanh):
    """tanh, as a rule with this derivative of z."""
    function = jax.custom_vjp(value)
    function.defvjp(lambda z: (value(z), z), lambda z, dA: (dA * derivative(z),))
    return function


def _right(z):
    return (1 - jnp.tanh(z)) * (1 + jnp.tanh(z))


def test_a_derivative_that_is_off_in_a_narrow_interval_is_caught():
    rule = wrong(lambda z: jnp.where((z > 2.0) & (z < 2.02), 1.3, 1) * _right(z))
    report = fcjax.check_elementwise(rule, name="tanh", dtype="float16")
    assert report.failures == (("derivative", "scaled"),)
    assert 2 < report.derivative.scaled.input < 2.02
    assert report.value.scaled.size < 1
    assert report.derivative.scaled.got > 1.2 * report.derivative.scaled.want


def test_nan_at_saturation_is_caught():
    report = fcjax.check_elementwise(
        wrong(lambda z: 4 / jnp.square(jnp.exp(z) + jnp.exp(-z)) * jnp.exp(z) / jnp.exp(z)),
        name="tanh",
    )
    assert ("derivative", "non_finite") in report.failures
    count, place, got, want = report.derivative.non_finite
    assert count > 10000
    assert abs(place) > 80
    assert np.isnan(got)
    assert want < 1e-60


def test_a_zero_of_the_wrong_sign_is_caught():
    rule = wrong(_right, lambda z: jnp.where(z == 0, 0, jnp.tanh(z)))
    report = fcjax.check_elementwise(rule, name="tanh", dtype="float16")
    assert report.failures == (("value", "zero_sign"),)
    assert report.value.zero_sign.size == 1
    assert np.signbit(report.value.zero_sign.want)
    assert not np.signbit(report.value.zero_sign.got)


def test_a_lost_nan_and_a_wrong_limit_are_told():
    def relu(z):
        return jnp.where(z > 0, z, 0)

    report = fcjax.check_elementwise(relu, name="relu")
    assert report.ok
    assert np.isnan(report.value.special.input)
    assert report.value.special.size == 2 * 127  # NaN has so many bit patterns
    report = fcjax.check_elementwise(jax.nn.silu, name="silu")
    assert (report.value.special.size, report.value.special.input) == (1, -np.inf)


def test_a_sign_that_is_lost_to_underflow_is_caught():
    # what a leaky rectifier does that reads the sign of z from an output that underflowed
    def pulled(a, dA):
        return (dA * jnp.where(a >= 0, 1, 0.01).astype(a.dtype),)

    def value(z):
        return jnp.where(z >= 0, z, 0.01 * z)

    rule = jax.custom_vjp(value)
    rule.defvjp(lambda z: (value(z), value(z)), pulled)
    report = fcjax.check_elementwise(rule, name="leaky_relu", dtype="bfloat16")
    assert report.failures == (("derivative", "scaled"),)
    assert -1e-35 < report.derivative.scaled.input < 0
    assert fcjax.check_elementwise(fcjax.leaky_relu, name="leaky_relu", dtype="bfloat16").ok


# --- the options ----------------------------------------------------------------------------


def test_by_default_the_function_itself_in_float64_is_the_oracle():
    assert fcjax.check_elementwise(fcjax.silu, dtype="float16").ok
    rule = wrong(lambda z: 0.9 * _right(z))
    report = fcjax.check_elementwise(rule)
    assert report.failures == (("derivative", "scaled"),)


def test_an_oracle_that_is_nan_is_told():
    def sigmoid(z):
        return jnp.exp(z) / (1 + jnp.exp(z))

    report = fcjax.check_elementwise(sigmoid)
    assert ("value", "unjudged") in report.failures
    assert report.value.unjudged.input > 700
    assert ("value", "non_finite") in fcjax.check_elementwise(sigmoid, name="sigmoid").failures


def test_own_oracles_are_used():
    square = fcjax.check_elementwise(
        jnp.square, value=lambda z: z * z, derivative=lambda z: 2 * z, dtype="float16"
    )
    assert square.ok
    assert square.value.ulp.size <= 0.5
    assert square.derivative.scaled is None
    assert not fcjax.check_elementwise(jnp.square, derivative=lambda z: z).ok
    assert not fcjax.check_elementwise(jnp.square, value=lambda z: z).ok


def test_both_scales_are_told():
    report = fcjax.check_elementwise(fcjax.tanh, name="tanh")
    # 1 − a² of an a that was rounded to 1 is 0, where the exact derivative is 1e-6
    assert report.derivative.ulp.size > 200
    assert report.derivative.scaled.size < 1
    relative = fcjax.check_elementwise(fcjax.tanh, name="tanh", floor=0.0)
    assert relative.derivative.scaled == relative.derivative.ulp == report.derivative.ulp


def test_the_report_is_data_and_text():
    report = fcjax.check_elementwise(jax.nn.gelu, name="gelu")
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["ok"] is False
    assert report.to_dict()["derivative"]["non_finite"]["got"] == "nan"
    text = str(report)
    assert "gelu, all 65536 inputs of bfloat16: wrong" in text
    assert "NaN or ∞" in text
    assert "max(|exact|, 1)" in text


def test_bad_arguments_are_named():
    with pytest.raises(
        ValueError, match=r"name: 'tan' is unknown; did you mean 'tanh' or 'hard_tanh'"
    ):
        fcjax.check_elementwise(fcjax.tanh, name="tan")
    with pytest.raises(ValueError, match=r"dtype: float64 .* accepted: bfloat16"):
        fcjax.check_elementwise(fcjax.tanh, dtype="float64")
    with pytest.raises(TypeError, match="one number of dtype bfloat16 for each"):
        fcjax.check_elementwise(jnp.sum)
    with pytest.raises(TypeError, match="one number of dtype bfloat16 for each"):
        fcjax.check_elementwise(lambda z: z.astype(jnp.float32))


# --- float32, and the state file ------------------------------------------------------------


@pytest.fixture
def four_chunks(monkeypatch):
    """float32 with four chunks of its inputs only: around 0, 1, −1, and NaN."""
    size = sweep.LARGEST_CHUNK
    starts = [0, 0x3F800000, 0xBF800000, 0xFFC00000]
    monkeypatch.setattr(elementwise, "chunks", lambda dtype: [s // size * size for s in starts])


def _derivative_off_at_one_number(z):
    return jnp.where(z == jnp.asarray(1.2345678, z.dtype), 2, 1) * _right(z)


def test_one_wrong_number_of_float32_is_found(four_chunks):
    report = fcjax.check_elementwise(
        wrong(_derivative_off_at_one_number), name="tanh", dtype="float32"
    )
    assert report.failures == (("derivative", "scaled"),)
    assert report.derivative.scaled.input == np.float32(1.2345678)


def test_a_call_goes_on_where_the_file_ends(four_chunks, tmp_path, monkeypatch):
    rule, state = wrong(_derivative_off_at_one_number), tmp_path / "new" / "state.json"
    check = partial(fcjax.check_elementwise, rule, name="tanh", dtype="float32")
    whole = check()
    compare, compared = sweep.Sweep.compare, []

    def interrupted(limit):
        def of_sweep(self):
            def one(start):
                if len(compared) == limit:
                    raise KeyboardInterrupt
                compared.append(start)
                return compare(self)(start)

            return one

        return of_sweep

    monkeypatch.setattr(elementwise, "THREADS", 1)
    monkeypatch.setattr(sweep.Sweep, "compare", interrupted(2))
    with pytest.raises(KeyboardInterrupt):
        check(state=state)
    assert json.loads(state.read_text())["chunks"] == 2
    monkeypatch.setattr(sweep.Sweep, "compare", interrupted(None))
    assert check(state=state) == whole
    assert len(compared) == len(set(compared)) == 4
    assert check(state=state) == whole
    assert len(compared) == 4


def test_a_file_of_something_else_is_refused(tmp_path):
    state = tmp_path / "state.json"
    fcjax.check_elementwise(fcjax.tanh, name="tanh", state=state)
    for other, options in (
        (fcjax.tanh, {"dtype": "float16", "name": "tanh"}),
        (fcjax.sigmoid, {"name": "sigmoid"}),
        (fcjax.tanh, {"name": "sigmoid"}),
        (fcjax.tanh, {"name": "tanh", "floor": 0.5}),
        (wrong(_right), {"name": "tanh"}),
    ):
        with pytest.raises(ValueError, match=r"state: .* is of another"):
            fcjax.check_elementwise(other, state=state, **options)


def test_a_file_that_is_no_state_is_refused(tmp_path):
    state = tmp_path / "state.json"
    state.write_text("[1, 2")
    with pytest.raises(ValueError, match=r"state: .* is not a state file"):
        fcjax.check_elementwise(fcjax.tanh, name="tanh", state=state)


def test_progress_is_shown(capsys):
    fcjax.check_elementwise(fcjax.tanh, name="tanh", progress=True)
    out, err = capsys.readouterr()
    assert "tanh in bfloat16" in err
    assert "100%" in err
    assert out == "", "what is printed beside it can be redirected"
    fcjax.check_elementwise(fcjax.tanh, name="tanh")
    assert capsys.readouterr() == ("", "")


def test_the_sum_of_two_chunks_is_of_both():
    some = sweep.Errors(ulp=sweep.Finding(2, 1, 1, 1), zero_sign=sweep.Finding(5, 1, 0, -0.0))
    more = sweep.Errors(ulp=sweep.Finding(3, 2, 1, 1), zero_sign=sweep.Finding(1, 2, 0, -0.0))
    none = sweep.nothing_found(["f"])
    parts = [{"f": {"value": errors, "derivative": sweep.Errors()}} for errors in (some, more)]
    both = sweep.merged(sweep.merged(none, parts[0]), parts[1])
    assert both["f"]["value"].ulp == more.ulp
    assert both["f"]["value"].zero_sign == sweep.Finding(6, 1, 0, -0.0)
    assert both["f"]["derivative"] == sweep.Errors()


def test_functions_are_compared_side_by_side():
    functions = {"by hand": fcjax.tanh, "wrong": wrong(lambda z: 0.9 * _right(z))}
    reports = elementwise.compare_elementwise(functions, ORACLES["tanh"])
    assert [report.ok for report in reports.values()] == [True, False]
    assert isinstance(ORACLES["tanh"], Oracle)
