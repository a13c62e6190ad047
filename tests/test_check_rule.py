"""`check_rule`: wrong rules are caught, correct ones pass, and the report says why."""

import json
import re
import warnings

import correct_rules
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import EVERY
from wrong_rules import WRONG_RULES

import fcjax
from fcjax.verify import CHECKS, rules_in


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


ON_ONE_DEVICE = [name for name in CHECKS if name != "sharding"]
X, W, B = normal(5, 3), normal(3, 2, seed=1), normal(2, seed=2)


def affine(bwd):
    @jax.custom_vjp
    def affine(x, w, b):
        return x @ w + b

    affine.defvjp(lambda x, w, b: (x @ w + b, (x, w)), bwd)
    return affine


def right(kept, dZ):
    x, w = kept
    return dZ @ w.T, x.T @ dZ, dZ.sum(0)


def mean_for_sum(kept, dZ):
    return *right(kept, dZ)[:2], dZ.mean(0)


# --- power ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", WRONG_RULES, ids=lambda wrong: wrong.name)
def test_a_wrong_rule_is_caught_by_the_check_named_for_it(wrong):
    report = fcjax.check_rule(
        wrong.rule,
        wrong.args,
        reference=wrong.reference,
        kwargs=wrong.kwargs,
        kinks=wrong.kinks,
        checks=[wrong.check],
    )
    caught = [
        result
        for result in report.failures
        if result.name == wrong.check and wrong.argument in (None, result.argument)
    ]
    assert caught, f"{report}"
    assert wrong.hint is None or any(wrong.hint in (r.hint or "").lower() for r in caught)
    assert wrong.culprit is None or any(wrong.culprit in line for line in report.culprits)
    assert "NameError" not in str(report)


def test_every_check_has_a_wrong_rule_that_is_named_for_it():
    assert {wrong.check for wrong in WRONG_RULES} == set(CHECKS)


# Rules that take a minute each, and long ones that differ in one thing from another one.
LONG = {
    "checkpointed_while_loop",
    "pallas_rms_norm",
    "pallas_layer_norm",
    "network_under_jit",
    "network_under_checkpoint",
    "network_one_example_at_a_time",
}
FIRST = ["structure", "primal", "vjp", "finite_differences", "jit"]
# They take more time than all others together, so each runs on every ninth rule. `make test-every`
# runs them on all, and `make bench-power` at 20 points.
IN_TURN = [
    *("vmap", "scan", "second_order", "third_order", "precision", "search", "checkpoint"),
    *("repeated", "forward", "linearity", "jit"),
]


# Right at ordinary points only, as the search finds. The first four are mistakes of JAX itself.
WRONG_SOMEWHERE = {
    "sinc": "near 0 its derivative cancels: 3.1 for 2e-8 at 1e-8 in float32",
    "log_ndtr": "at -10,000 in float32, less than a third of its derivative is left",
    "xlogy": "NaN at (0, 0), though the function is 0 for x = 0 and any y",
    "determinant": "0 at some singular matrices, where a cofactor is not 0",
    "loop_with_an_implicit_system": "far away, the loop does not reach the equilibrium",
}


def checks_of(rule):
    if rule.name in LONG:
        return FIRST
    number = correct_rules.RULES.index(rule)
    left_out = [name for turn, name in enumerate(IN_TURN) if (number + turn) % (1 if EVERY else 9)]
    left_out += ["search"] if rule.name in WRONG_SOMEWHERE else []
    return [name for name in ON_ONE_DEVICE if name not in left_out]


@pytest.mark.parametrize("rule", correct_rules.available())
@pytest.mark.in_turn(2)
def test_a_correct_rule_raises_no_alarm(rule):
    fun, args = rule.make(seed=0, size=0)
    report = fcjax.check_rule(
        fun,
        args,
        reference=rule.reference,
        kwargs=rule.kwargs,
        expected_failures=rule.expected,
        checks=checks_of(rule),
    )
    assert report.ok, f"{report}"
    assert not [r for r in report.results if r.status == "unexpected pass"], f"{report}"


def test_large_sums_of_a_correct_rule_pass():
    checks = ["vjp", "precision", "linearity", "finite_differences"]
    for n_in, n_out in ((4096, 7), (7, 4096)):
        args = normal(3, n_in), normal(n_in, n_out), normal(n_out)
        report = fcjax.check_rule(affine(right), args, checks=checks)
        assert report.ok, f"{report}"


@pytest.mark.parametrize("argument", ["x", "w", "b"])
def test_a_small_factor_fails_at_any_size(argument):
    place = "xwb".index(argument)

    def slightly_off(kept, dZ):
        gradients = list(right(kept, dZ))
        gradients[place] = gradients[place] * 1.0005
        return tuple(gradients)

    for size in (1, 100):
        args = normal(3, 5 * size), normal(5 * size, 2), normal(2)
        report = fcjax.check_rule(affine(slightly_off), args, checks=["vjp"])
        assert [result.argument for result in report.failures] == [argument]
        assert "1.0005 times the correct gradient" in report.failures[0].hint


def test_each_point_is_checked_with_its_own_numbers():
    wrong_far_out = jax.custom_vjp(jnp.sin)
    wrong_far_out.defvjp(
        lambda x: (jnp.sin(x), x),
        lambda x, dy: (dy * jnp.cos(x) * jnp.where(x > 5, 2, 1),),
    )
    points = [(X,), (X + 9,), (X / 2,)]
    reports = fcjax.verify.check_at_points(wrong_far_out, points, checks=["vjp"])
    assert [report.verdict for report in reports] == ["right", "wrong", "right"]


def test_each_key_draws_its_own_cotangents():
    def failure(seed):
        key = jax.random.key(seed)
        return fcjax.check_rule(affine(mean_for_sum), (X, W, B), key=key, checks=["vjp"]).failures[
            0
        ]

    assert failure(0).want == failure(0).want != failure(1).want


# --- the report -----------------------------------------------------------------------------------


def test_the_first_lines_say_which_argument_how_much_and_why():
    report = fcjax.check_rule(affine(mean_for_sum), (X, W, B), checks=ON_ONE_DEVICE)
    first, second, third = str(report).splitlines()[:3]
    assert first.startswith("affine(x: float32[5, 3], w: float32[3, 2], b: float32[2]): ")
    assert second == "✗ vjp, b: an extra factor of 1/5 (5 is the size of axis 0 of x)"
    assert "got" in third
    assert "want" in third
    assert {result.argument for result in report.failures} == {"b"}


def test_a_terminal_gets_colours_and_a_pipe_plain_text():
    import io

    from rich.console import Console

    report = fcjax.check_rule(affine(mean_for_sum), (X, W, B), checks=["vjp"])
    shown = io.StringIO()
    Console(file=shown, force_terminal=True, width=120).print(report)
    assert "\x1b[" in shown.getvalue()
    assert "\x1b[" not in str(report)
    assert repr(report) == str(report)


def test_the_report_is_plain_data_for_other_programs():
    report = fcjax.check_rule(affine(mean_for_sum), (X, W, B))
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["ok"] is False
    failed = [result for result in data["results"] if result["status"] == "failed"]
    assert failed[0]["name"] == "vjp"
    assert failed[0]["argument"] == "b"
    assert failed[0]["max_abs"] > failed[0]["tolerance"]
    assert {"got", "want", "index", "hint", "max_rel"} <= set(failed[0])


module_level = affine(mean_for_sum)


def test_the_call_at_the_end_repeats_the_failure():
    args = {"x": X, "w": W}, B

    def fun(params, b):
        return module_level(params["x"], params["w"], b)

    report = fcjax.check_rule(fun, args, key=jax.random.key(7))
    line = report.call.splitlines()[-1]
    again = eval(line, {"fcjax": fcjax, "jnp": jnp, "jax": jax, "fun": fun})
    assert again.failures[0] == report.failures[0]
    assert str(report).rstrip().endswith(line)


def test_assert_rule_raises_with_the_whole_report():
    with pytest.raises(AssertionError, match="an extra factor of 1/5"):
        fcjax.assert_rule(affine(mean_for_sum), (X, W, B))
    assert fcjax.assert_rule(affine(right), (X, W, B), checks=["vjp"]).ok


# --- compositions ---------------------------------------------------------------------------------


def test_a_composition_names_the_wrong_rule_its_source_and_its_arguments():
    params = fcjax.init(jax.random.key(0), (3, 7, 2))
    wrong = affine(mean_for_sum)

    @jax.jit
    def loss(params, x, bias, labels):
        _, logits = jax.lax.scan(
            lambda c, row: (c, wrong(row[None], jnp.eye(2, dtype=row.dtype), bias)[0] * 2),
            0.0,
            fcjax.mlp(params, x, activations="gelu"),
        )
        return fcjax.softmax_cross_entropy(wrong(logits, jnp.ones((2, 2), x.dtype), bias), labels)

    labels = jnp.array([0, 1, 1, 0, 1])
    report = fcjax.check_rule(loss, (params, X, B, labels), checks=["vjp"])
    assert [result.argument for result in report.failures] == ["bias"]
    (line,) = report.culprits
    assert "the rule of affine (" in line
    assert "test_check_rule.py:" in line
    assert "float32[1,2], float32[2,2], float32[2]; float32[5,2]" in line
    assert "2 times" in line
    assert len({call.origin for call in rules_in(loss, params, X, B, labels)}) > 3


# --- what can be passed ---------------------------------------------------------------------------


def test_pytrees_keys_labels_names_and_numbers_pass_through():
    def loss(params, batch, name, rate, *, key, smoothing):
        x, labels = batch
        hidden = fcjax.dropout(fcjax.mlp(params["net"], x, activations=name), rate, key)
        value = fcjax.softmax_cross_entropy(hidden, labels, label_smoothing=smoothing)
        return {"loss": value, "count": jnp.sum(labels), "none": None}, key

    params = {"net": fcjax.init(jax.random.key(0), (3, 4, 2)), "unused": jnp.zeros((0, 3))}
    batch = (X, jnp.array([0, 1, 1, 0, 1]))
    kwargs = {"key": jax.random.key(3), "smoothing": 0.1}
    report = fcjax.check_rule(loss, (params, batch, "tanh", 0.5), kwargs=kwargs)
    assert report.ok, f"{report}"
    checked = {result.argument for result in report.results if result.name == "vjp"}
    assert checked == {
        "params['net'][0].w",
        "params['net'][0].b",
        "params['net'][1].w",
        "params['net'][1].b",
        "params['unused']",
        "batch[0]",
    }


def test_nothing_but_numpy_arrays_and_float64_are_fine(x64):
    args = (np.ones((3, 5)) / 7, np.linspace(0, 1, 10).reshape(5, 2), np.ones(2))
    assert fcjax.check_rule(fcjax.dense, args).ok


def test_a_function_without_rules_is_checked_against_differences():
    report = fcjax.check_rule(lambda x: jnp.sin(x) * 2, (X,))
    assert report.ok
    skipped = {result.name: result.message for result in report.results}
    assert "no hand-written rule was found" in skipped["vjp"]
    assert [r.status for r in report.results if r.name == "finite_differences"] == ["passed"]


def test_devices_are_used_where_there_are_several():
    report = fcjax.check_rule(affine(right), (X, W, B), checks=["sharding"])
    if len(jax.devices()) == 1:
        assert "one device" in report.results[-1].message
    else:
        hints = [result.hint for result in report.failures]
        assert "the sum over devices (psum) is missing for a replicated argument" in hints
    assert fcjax.check_rule(fcjax.dense, (X, W, B), checks=["vjp", "sharding"]).ok


# --- expected failures ----------------------------------------------------------------------------


@jax.custom_vjp
def straight_through(x, scale):
    return jnp.round(x) * scale


straight_through.defvjp(
    lambda x, scale: (jnp.round(x) * scale, (x, scale)),
    lambda kept, dy: (dy, jnp.sum(dy * jnp.round(kept[0]))),
)
DECLARED = {"vjp": "x"}


def test_an_expected_failure_does_not_count_but_others_do():
    args, checks = (X, jnp.float32(1.5)), {"checks": ON_ONE_DEVICE}
    report = fcjax.check_rule(straight_through, args, expected_failures=DECLARED, **checks)
    assert report.ok, f"{report}"
    assert {r.argument for r in report.results if r.status == "expected"} == {"x"}
    assert {r.name for r in report.results if r.status == "expected"} > {"vjp", "precision"}
    other = {"finite_differences": "x", "dot_product": True, "precision": ("x",), "exact": "x"}
    other |= {"search": "x"}
    report = fcjax.check_rule(straight_through, args, expected_failures=other, **checks)
    assert [(r.name, r.argument) for r in report.failures] == [("vjp", "x")]


def test_an_unexpected_pass_is_reported():
    args = (X, jnp.float32(1.5))
    options = {"expected_failures": {"vjp": ("x", "scale")}, "checks": ON_ONE_DEVICE}
    report = fcjax.check_rule(straight_through, args, **options)
    assert report.ok
    passed = [result for result in report.results if result.status == "unexpected pass"]
    assert [(result.name, result.argument) for result in passed] == [("vjp", "scale")]
    with pytest.warns(UserWarning, match="remove it from expected_failures"):
        fcjax.assert_rule(straight_through, args, **options)


# --- wrong input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"args": X}, "args must be a tuple of the positional arguments, got ArrayImpl"),
        ({"kwargs": [("x", 1)]}, "kwargs must map names to arguments, got list"),
        ({"args": (jnp.arange(3),)}, "args must contain at least one floating-point array"),
        ({"checks": ["vjpp"]}, "checks: 'vjpp' is unknown; accepted: structure"),
        ({"expected_failures": {"vpj": True}}, "expected_failures: 'vpj' is unknown"),
        ({"expected_failures": {"vjp": "y"}}, "expected_failures: 'y' is not an argument"),
        ({"kinks": {"y": {0.0: 0.0}}}, "kinks: 'y' is not an argument; accepted: x"),
        ({"reference": lambda x, y: x}, "reference must take the arguments of fun"),
        ({"reference": jnp.sum}, "reference must return the shapes"),
    ],
)
def test_wrong_input_raises_at_the_call(options, message, unchecked):
    options = {"args": (X,)} | options

    def fun(x):
        return jnp.tanh(x)

    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        fcjax.check_rule(fun, **options)


def test_the_checker_emits_no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fcjax.check_rule(jnp.exp, (X,)).ok
