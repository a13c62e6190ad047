"""Complex arguments and outputs of a rule, in JAX's convention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fcjax

RANDOM = np.random.default_rng(0)
Z = jnp.asarray(RANDOM.normal(size=(5, 3)) + 1j * RANDOM.normal(size=(5, 3)), jnp.complex64)
X = jnp.asarray(RANDOM.normal(size=(5, 3)), jnp.float32)


def with_rule(primal, bwd):
    rule = jax.custom_vjp(primal)
    rule.defvjp(lambda *args: (primal(*args), args), lambda args, dw: bwd(*args, dw))
    return rule


def test_the_convention_is_that_of_jax():
    # of a real function, ∂/∂x − i ∂/∂y; of a holomorphic one, its derivative
    z = np.complex64(0.3 - 0.8j)
    assert np.isclose(jax.grad(lambda z: jnp.real(z) ** 2 + 3 * jnp.imag(z))(z), 0.6 - 3j)
    assert np.isclose(jax.grad(jnp.exp, holomorphic=True)(z), np.exp(z))


@pytest.mark.parametrize(
    ("primal", "right", "wrong"),
    [
        (jnp.exp, lambda z, dw: (jnp.exp(z) * dw,), lambda z, dw: (jnp.exp(jnp.conj(z)) * dw,)),
        (jnp.conj, lambda z, dw: (jnp.conj(dw),), lambda z, dw: (dw,)),
        (jnp.real, lambda z, dw: (dw + 0j,), lambda z, dw: (1j * dw,)),
        (jnp.imag, lambda z, dw: (-1j * dw,), lambda z, dw: (1j * dw,)),
        (
            lambda z: jnp.stack([jnp.abs(z), jnp.angle(z)]),
            lambda z, dw: ((dw[0] * jnp.abs(z) - 1j * dw[1]) / z,),
            lambda z, dw: ((dw[0] * jnp.abs(z) + 1j * dw[1]) / z,),
        ),
    ],
    ids=["exp", "conj", "real", "imag", "polar"],
)
@pytest.mark.in_turn(2)
def test_right_and_wrong_rules_of_complex_functions(primal, right, wrong):
    report = fcjax.check_rule(with_rule(primal, right), (Z,))
    assert report.ok, report
    report = fcjax.check_rule(with_rule(primal, wrong), (Z,), checks=["vjp", "finite_differences"])
    assert report.verdict == "wrong", report


def test_numbers_of_both_kinds_in_one_tree():
    def scaled(params, x):
        return {"w": params["c"] * x, "size": jnp.sum(jnp.abs(params["c"]) ** 2)}

    def bwd(params, x, dy):
        c = params["c"]
        dc = jnp.sum(x * dy["w"]) + 2 * jnp.conj(c) * dy["size"]
        return {"c": dc}, jnp.real(c * dy["w"])

    args = {"c": jnp.asarray(0.3 - 2j)}, X
    report = fcjax.check_rule(with_rule(scaled, bwd), args)
    assert report.ok, report
    assert {r.argument for r in report.results} >= {"params['c'].real", "params['c'].imag", "x"}


def test_the_hint_names_the_convention():
    rule = with_rule(lambda z, w: z * w, lambda z, w, dy: (dy * jnp.conj(w), dy * z))
    report = fcjax.check_rule(rule, (Z, 2 * Z), checks=["vjp"])
    assert {r.argument for r in report.failures} == {"z.real", "z.imag"}
    assert all("conjugate is missing" in r.hint for r in report.failures)


def test_a_point_that_is_found_is_complex():
    rule = with_rule(lambda z: jnp.abs(z), lambda z, dw: (dw * jnp.conj(z) / jnp.abs(z),))
    (finding, *_) = fcjax.check_rule(rule, (Z,), checks=["search"], reference=safe_abs).findings
    assert finding.args[0].dtype == jnp.complex64
    assert "'complex64'" in finding.call
    names = {"fcjax": fcjax, "jnp": jnp, "rule": rule, "safe_abs": safe_abs}
    line = finding.call.splitlines()[-1].replace("<lambda>", "rule")
    assert eval(line, names).verdict == "wrong"


def safe_abs(z):
    square = jnp.real(z) ** 2 + jnp.imag(z) ** 2
    return jnp.where(square == 0, 0, jnp.sqrt(jnp.where(square == 0, 1, square)))


@pytest.mark.in_turn(2)
def test_a_failure_is_expected_of_the_whole_number():
    rule = with_rule(lambda z: z * 2, lambda z, dw: (3 * dw,))
    report = fcjax.check_rule(rule, (Z,), expected_failures={"vjp": "z"})
    assert report.ok, report
    with pytest.raises(ValueError, match="'y' is not an argument"):
        fcjax.check_rule(rule, (Z,), expected_failures={"vjp": "y"})


def test_a_complex_array_that_is_closed_over_is_not_passed_over():
    c = jnp.asarray([1 + 2j, 3, 4j])
    product = with_rule(lambda z, c: z * c, lambda z, c, dw: (c * dw, jnp.sum(dw, 0)))
    report = fcjax.check_rule(lambda z: product(z, c), (Z,))
    assert report.verdict == "inconclusive"
    assert "c (complex64[3]), which the function closes over" in str(report)
