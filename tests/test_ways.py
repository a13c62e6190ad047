"""Every way of calling a rule: cotangents, forward mode, checkpoints, orders, repetitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fcjax

X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)


def with_rule(primal, bwd):
    rule = jax.custom_vjp(primal)
    rule.defvjp(lambda *args: (primal(*args), args), lambda args, dy: bwd(*args, dy))
    return rule


def by_check(report):
    """The status of each check that has one."""
    return {r.name: r.status for r in report.results if r.argument is not None}


# --- the cotangent --------------------------------------------------------------------------------


def both(x):
    return {"sin": jnp.sin(x), "count": jnp.sum(x > 0), "cos": jnp.cos(x)}


def _forgets_cos(x, dy):
    return (dy["sin"] * jnp.cos(x),)


def test_a_chosen_cotangent_is_used():
    rule = with_rule(both, _forgets_cos)
    assert fcjax.check_rule(rule, (X,), checks=["vjp"]).verdict == "wrong"
    chosen = {"sin": jnp.ones_like(X), "count": jnp.zeros((), int), "cos": jnp.zeros_like(X)}
    report = fcjax.check_rule(rule, (X,), checks=["vjp", "finite_differences"], cotangent=chosen)
    assert report.ok, report
    chosen["cos"] = chosen["cos"].at[2, 1].set(1.0)
    report = fcjax.check_rule(rule, (X,), checks=["vjp"], cotangent=chosen)
    assert report.failures[0].index == (2, 1)
    assert "cotangent=" in report.call


def test_a_cotangent_of_a_complex_output_is_that_of_jax():
    z = X + 1j * X[::-1]
    dw = (1 - 2j) * jnp.ones_like(z)
    report = fcjax.check_rule(
        with_rule(jnp.exp, lambda z, dw: (jnp.exp(z) * dw,)), (z,), checks=["vjp"], cotangent=dw
    )
    want = np.asarray(jax.vjp(jnp.exp, z)[1](dw)[0])
    (of_real, of_imag) = (r for r in report.results if r.name == "vjp")
    assert np.isclose(of_real.want, want.real[of_real.index], rtol=1e-5)
    assert np.isclose(of_imag.want, -want.imag[of_imag.index], rtol=1e-5)


@pytest.mark.parametrize(
    ("cotangent", "message"),
    [
        (jnp.ones((5, 3)), "cotangent must have the tree of the output"),
        (
            {"sin": jnp.ones((5, 3)), "count": 0, "cos": jnp.ones(3)},
            r"cotangent must have a float32\[5, 3\] for this output, got float32\[3\]",
        ),
        (
            {"sin": jnp.ones((5, 3), int), "count": 0, "cos": jnp.ones((5, 3))},
            r"cotangent must have a float32\[5, 3\] for this output, got int32\[5, 3\]",
        ),
    ],
)
def test_a_cotangent_that_does_not_fit_is_named(cotangent, message):
    with pytest.raises(ValueError, match=message):
        fcjax.check_rule(with_rule(both, _forgets_cos), (X,), cotangent=cotangent)


def test_a_cotangent_of_zeros_would_prove_nothing():
    with pytest.raises(ValueError, match="cotangent must not be zero everywhere"):
        fcjax.check_rule(fcjax.tanh, (X,), cotangent=jnp.zeros_like(X))


# --- forward mode ---------------------------------------------------------------------------------


@jax.custom_jvp
def square(x):
    return x * x


@square.defjvp
def _square_jvp(primals, tangents):
    return square(*primals), 2 * primals[0] * tangents[0]


def test_forward_mode_is_checked_where_there_is_one():
    assert by_check(fcjax.check_rule(square, (X,), search=False))["forward"] == "passed"
    report = fcjax.check_rule(fcjax.tanh, (X,), checks=["forward"])
    (skipped,) = [r for r in report.results if r.name == "forward"]
    assert "the function has no forward mode" in skipped.message


def test_a_rule_with_forward_mode_alone_is_judged_by_it():
    @jax.custom_jvp
    def halved(x):
        return jax.lax.while_loop(lambda x: jnp.max(jnp.abs(x)) > 1, lambda x: x / 2, x)

    @halved.defjvp
    def _jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        y = halved(x)
        steps = jnp.round(jnp.log2(jnp.max(jnp.abs(x)) / jnp.max(jnp.abs(y))))
        return y, jax.lax.while_loop(lambda t: False, lambda t: t, t / 2**steps)

    report = fcjax.check_rule(halved, (4 * X,))
    assert report.verdict != "wrong", report  # newer releases of JAX have its reverse mode too
    assert [r.status for r in report.results if r.name == "forward"] == ["passed", "passed"]


# --- derivatives of derivatives -------------------------------------------------------------------


def _cosine_on_the_host(x):
    return jax.pure_callback(
        lambda x: np.cos(np.asarray(x)), jax.ShapeDtypeStruct(x.shape, x.dtype), x,
        vmap_method="expand_dims",
    )  # fmt: skip


# JAX can differentiate it once
differentiable_once = with_rule(jnp.sin, lambda x, dy: (dy * _cosine_on_the_host(x),))


def test_differences_judge_what_jax_cannot_differentiate_twice():
    right = with_rule(jnp.sin, lambda x, dy: (dy * jnp.cos(x),))
    stopped = with_rule(jnp.sin, lambda x, dy: (dy * jax.lax.stop_gradient(jnp.cos(x)),))
    for rule, status in ((right, "passed"), (stopped, "failed")):
        report = fcjax.check_rule(
            rule, (X,), reference=differentiable_once, checks=["vjp", "second_order"]
        )
        assert by_check(report)["vjp"] == "passed"
        assert by_check(report)["second_order"] == status


@pytest.mark.parametrize("distance", [0.01, 0.1, 0.3, 0.5, 0.6, 0.7, 0.9, 1.1, 1.5, 1.9])
def test_differences_over_a_kink_of_the_gradient_judge_nothing(distance):
    def on_the_host(x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(
            lambda x: 2 * np.maximum(x, 0), shape, x, vmap_method="expand_dims"
        )

    def squared(x):
        return x * jnp.maximum(x, 0)

    reference = with_rule(squared, lambda x, dy: (dy * on_the_host(x),))
    right = with_rule(squared, lambda x, dy: (dy * 2 * jnp.maximum(x, 0),))
    step = np.finfo(np.float64).eps ** 0.2  # of the differences
    x = jnp.array([distance, -distance, 1000.0, 2000.0]) * step
    report = fcjax.check_rule(right, (x,), reference=reference, checks=["vjp", "second_order"])
    assert report.verdict == "right", report


def test_a_third_derivative_is_compared_with_differences_of_the_second():
    # the cosine's own rule is right and stopped, so the third derivative is 0
    cosine = with_rule(jnp.cos, lambda x, dy: (-dy * jax.lax.stop_gradient(jnp.sin(x)),))
    wrong = with_rule(jnp.sin, lambda x, dy: (dy * cosine(x),))
    found = by_check(fcjax.check_rule(wrong, (X,), search=False))
    assert (found["second_order"], found["third_order"]) == ("passed", "failed")
    right = with_rule(jnp.sin, lambda x, dy: (dy * jnp.cos(x),))
    assert by_check(fcjax.check_rule(right, (X,), search=False))["third_order"] == "passed"


@pytest.mark.parametrize("point", [0.0, 1.0, -2.0])
def test_third_derivatives_at_kinks_raise_no_alarm(point):
    x = jnp.full((4, 3), point)
    for name in ("relu", "hard_tanh", "leaky_relu", "hard_swish", "squareplus", "selu"):
        report = fcjax.check_rule(fcjax.ACTIVATIONS[name], (x,), checks=["third_order"])
        assert not report.failures, report


# --- checkpoints and repetitions ------------------------------------------------------------------


def test_policies_and_repeated_calls_of_a_right_rule():
    report = fcjax.check_rule(fcjax.softmax, (X,), checks=["checkpoint", "repeated", "jit"])
    assert report.verdict == "inconclusive"  # none of them is evidence of a value
    assert [r.status for r in report.results if r.name == "checkpoint"] == ["passed"] * 4
    assert by_check(report)["repeated"] == by_check(report)["jit"] == "passed"


def test_a_rule_for_remat_is_checked_with_each_policy():
    rule = jax.custom_vjp(lambda x: jnp.sin(x) * x)
    rule.defvjp(
        lambda x: (jnp.sin(x) * x, x),
        lambda x, dy: (dy * (jnp.cos(x) * x + jnp.sin(x)),),
        optimize_remat=True,
    )
    report = fcjax.check_rule(rule, (X,))
    assert report.ok, report
    assert by_check(report)["checkpoint"] == "passed"
