"""`compare_cost`: what a rule saves against autodiff, and what it costs."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fcjax
from fcjax.verify import compare_cost
from fcjax.verify.cost import Cost, CostReport
from fcjax.verify.cost.measure import in_turns, time_ratio

Z = jnp.asarray(np.random.default_rng(0).normal(size=(64, 100)), jnp.float32)


def with_rule(primal, fwd, bwd):
    rule = jax.custom_vjp(primal)
    rule.defvjp(fwd, bwd)
    return rule


# sin(sin(x)): autodiff keeps two arrays that are no arguments, this rule one or none
def twice(x):
    return jnp.sin(jnp.sin(x))


def _from_argument(x, dy):
    return (dy * jnp.cos(x) * jnp.cos(jnp.sin(x)),)


keeps_nothing = with_rule(twice, lambda x: (twice(x), x), _from_argument)
keeps_one = with_rule(
    twice, lambda x: (twice(x), (x, jnp.sin(x))),
    lambda kept, dy: (dy * jnp.cos(kept[0]) * jnp.cos(kept[1]),),
)  # fmt: skip


def test_the_bytes_that_are_kept_are_exact():
    size = 4 * Z.size
    for rule, kept in ((keeps_nothing, 0), (keeps_one, size)):
        report = compare_cost(rule, (Z,), seconds=0.01)
        assert (report.rule.kept_bytes, report.autodiff.kept_bytes) == (kept, 2 * size)


def test_operations_and_temporaries_are_those_of_the_compiled_gradient():
    def product(x, w):
        return x @ w

    rule = with_rule(
        product, lambda x, w: (x @ w, (x, w)), lambda k, dy: (dy @ k[1].T, k[0].T @ dy)
    )
    report = compare_cost(rule, (Z, jnp.ones((100, 50))), seconds=0.01)
    # three products of 2 m n k operations each
    assert math.isclose(report.rule.operations, 3 * 2 * 64 * 100 * 50, rel_tol=0.02)
    assert report.rule.temporary_bytes >= 0


def test_a_slow_rule_is_said_to_be_slow():
    def bwd(x, dy):
        for _ in range(40):
            x = jnp.sin(x)
        return (dy * x,)

    report = compare_cost(with_rule(jnp.sin, lambda x: (jnp.sin(x), x), bwd), (Z,), seconds=0.2)
    assert report.time_ratio > 2
    assert "takes" in report.verdict
    assert report.time_spread[0] <= report.time_ratio <= report.time_spread[1]
    text = str(report)
    for row in ("kept between the passes", "temporaries", "operations", "time to compile"):
        assert row in text
    assert json.loads(json.dumps(report.to_dict()))["verdict"] == report.verdict


def cost(kept, temporary, operations=0.0, seconds=1.0):
    return Cost(kept, temporary, operations, 0.0, seconds, (seconds, seconds))


def report_of(rule, plain, spread=(0.9, 1.1), agrees=True):
    difference = None if agrees is None else 0.0
    ratio = sum(spread) / 2
    return CostReport("f", "x", "cpu", rule, plain, ratio, spread, agrees, difference, "")


@pytest.mark.parametrize(
    ("kept", "spread", "verdict"),
    [
        ((10, 20), (0.5, 0.6), "The rule is worth having: it takes 55% of the time (50% to 60%) and"
         " keeps 10 B instead of 20 B."),
        ((20, 20), (0.9, 1.2), "The rule saves neither time nor memory: it is worth having for its"
         " numbers alone."),
        ((20, 20), (1.2, 1.4), "The rule is not worth having: it takes 130% of the time (120% to"
         " 140%)."),
        ((0, 20), (1.2, 1.4), "The rule keeps 0 B instead of 20 B, but takes 130% of the time (120%"
         " to 140%)."),
    ],
)  # fmt: skip
def test_one_line_says_whether_it_is_worth_having(kept, spread, verdict):
    sides = [cost(size, None) for size in kept]
    assert report_of(*sides, spread).verdict == verdict


@pytest.mark.parametrize(
    ("kept", "temporary", "verdict"),
    [
        ((0, 20), (0, 0), "The rule is worth having: it keeps 0 B instead of 20 B. Compiled as one"
         " program, both need 0 B of temporaries: the bytes kept matter only where the passes run"
         " apart."),
        ((0, 10**6), (8, 0), "The rule is worth having: it keeps 0 B instead of 1 MB. Compiled as"
         " one program, it needs 8 B of temporaries and autodiff 0 B: the bytes kept matter only"
         " where the passes run apart."),
        ((0, 20), (68, 2), "The rule keeps 0 B instead of 20 B, but needs 68 B instead of 2 B of"
         " temporaries."),
        ((0, 20), (0, 20), "The rule is worth having: it keeps 0 B instead of 20 B and needs 0 B"
         " instead of 20 B of temporaries."),
        ((0, 20), (None, 0), "The rule is worth having: it keeps 0 B instead of 20 B."),
    ],
)  # fmt: skip
def test_the_temporaries_count_too(kept, temporary, verdict):
    assert report_of(*map(cost, kept, temporary)).verdict == verdict


def test_three_gains_are_listed():
    assert report_of(cost(0, 0), cost(20, 40), (0.5, 0.6)).verdict == (
        "The rule is worth having: it takes 55% of the time (50% to 60%), keeps 0 B instead of 20"
        " B, and needs 0 B instead of 40 B of temporaries."
    )


def test_gradients_that_could_not_be_compared_are_said_to_be_so():
    report = report_of(cost(0, None), cost(0, None), agrees=None)
    assert "could not be compared" in report.verdict
    assert json.loads(json.dumps(report.to_dict()))["agrees"] is None


def test_a_missing_count_of_operations_has_a_reason():
    assert "not counted" in str(report_of(cost(0, 0, None), cost(0, 0, 8.0)))
    assert "XLA leaves out sin" in str(report_of(cost(0, 0, None), cost(0, 0, 8.0)))
    assert "XLA leaves out sin" not in str(report_of(cost(0, 0, 8.0), cost(0, 0, 8.0)))


def test_the_ratio_is_that_of_the_times_shown():
    # the median of the ratios of the rounds is 1.25, the medians are equal
    of_rule, of_plain = [4.0, 5.0, 1.0, 4.0, 4.0], [4.0, 4.0, 4.0, 2.0, 3.0]
    ratio, (low, high) = time_ratio(of_rule, of_plain)
    assert ratio == 1.0
    assert low <= ratio <= high
    # outside of the quartiles of the rounds, the spread is widened
    ratio, (low, high) = time_ratio([1.2, 1.2, 12.0, 12.0, 5.0], [1.0, 1.0, 10.0, 10.0, 9.0])
    assert ratio == low == 5 / 9
    assert high == pytest.approx(1.2)
    report = compare_cost(keeps_one, (Z,), seconds=0.01)
    assert report.time_ratio == report.rule.seconds / report.autodiff.seconds


def test_a_wrong_gradient_is_not_called_worth_having():
    rule = with_rule(jnp.sin, lambda x: (jnp.sin(x), ()), lambda kept, dy: (dy,))
    report = compare_cost(rule, (Z,), seconds=0.01)
    assert report.agrees is False
    assert report.largest_difference > 0.5
    start = "The gradient with respect to x differs from that of autodiff by up to "
    assert report.verdict.startswith(start)
    assert "run check_rule" in report.verdict
    assert "worth having" not in report.verdict
    assert "keeps 0 B instead of 25.6 KB" in report.verdict
    assert json.loads(json.dumps(report.to_dict()))["agrees"] is False
    of_reference = compare_cost(rule, (Z,), reference=jnp.sin, seconds=0.01)
    assert "differs from that of the reference" in of_reference.verdict


def test_a_wrong_forward_rule_is_not_called_worth_having():
    rule = with_rule(jnp.sin, lambda x: (2 * jnp.sin(x), x), lambda x, dy: (dy * jnp.cos(x),))
    verdict = compare_cost(rule, (Z,), seconds=0.01).verdict
    assert verdict.startswith("The value of output 0 differs from that of the function by up to ")


def test_correct_gradients_agree():
    assert compare_cost(keeps_nothing, (Z,), seconds=0.01).agrees is True
    # the gradient of the sum of a softmax consists of rounding errors only
    for fun in (fcjax.softmax, fcjax.log_softmax):
        report = compare_cost(fun, (Z,), seconds=0.01)
        assert report.agrees is True
        assert report.largest_difference < 1e-6
    assert compare_cost(fcjax.gelu, (Z.astype(jnp.bfloat16),), seconds=0.01).agrees is True


def test_a_choice_at_a_kink_and_a_better_rule_are_no_disagreement():
    def of_kink(x, dy):
        return (jnp.where(x >= 0, dy, 0.0),)

    kink = with_rule(jax.nn.relu, lambda x: (jax.nn.relu(x), x), of_kink)
    assert compare_cost(kink, (jnp.zeros(5),), seconds=0.01).agrees is True

    def norm(x):
        return jnp.sqrt(jnp.sum(x * x))

    def of_norm(x, dy):
        return (dy * x / jnp.maximum(norm(x), 1e-30),)

    # autodiff gives NaN at 0
    rule = with_rule(norm, lambda x: (norm(x), x), of_norm)
    assert compare_cost(rule, (jnp.zeros(5),), seconds=0.01).agrees is True


@pytest.mark.parametrize("accuracy", [{}, {"rtol": 1e-3}, {"atol": 1e-3}], ids=str)
def test_an_iteration_that_stops_early_agrees_within_its_accuracy(accuracy):
    def root(a):  # two Newton steps leave an error of a few 1e-4
        x = (1 + a) / 2
        return ((x + a / x) / 2 + a / ((x + a / x) / 2)) / 2

    rule = with_rule(root, lambda a: (root(a), a), lambda a, dy: (dy / 2 / jnp.sqrt(a),))
    report = compare_cost(rule, (jnp.linspace(0.6, 2, 50),), seconds=0.01, **accuracy)
    assert report.agrees == bool(accuracy), f"{report}"


def test_nan_in_both_agrees_and_in_the_rule_alone_does_not():
    root = with_rule(jnp.sqrt, lambda x: (jnp.sqrt(x), x), lambda x, dy: (dy / 2 / jnp.sqrt(x),))
    assert compare_cost(root, (jnp.array([-1.0, 1.0]),), seconds=0.01).agrees is True

    def overflows(x, dy):  # in float32 alone
        return (dy * jnp.exp(x) / (1 + jnp.exp(x)),)

    softplus = jax.nn.softplus
    rule = with_rule(softplus, lambda x: (softplus(x), x), overflows)
    report = compare_cost(rule, (jnp.array([1.0, 100.0], jnp.float32),), seconds=0.01)
    assert "where only one of them is finite: run check_rule" in report.verdict
    assert report.to_dict()["largest_difference"] == "inf"


def test_a_reference_with_other_values_is_refused():
    rule = with_rule(jnp.exp, lambda x: (jnp.exp(x),) * 2, lambda y, dy: (dy * y,))
    with pytest.raises(ValueError, match="reference must return the values of fun up to rounding"):
        compare_cost(rule, (Z,), reference=jnp.sin)
    other = compare_cost(rule, (Z,), reference=lambda x: jnp.exp(x / 2) ** 2, seconds=0.01)
    assert other.agrees is True
    # a mask that depends on the dtype in which it is drawn
    key = jax.random.key(0)

    def masked(x):
        return jnp.where(jax.random.uniform(key, x.shape, jnp.float32) < 0.5, x, 0)

    def drawn_in_own_dtype(x):
        return jnp.where(jax.random.uniform(key, x.shape, x.dtype) < 0.5, x, 0)

    rule = with_rule(masked, lambda x: (masked(x), ()), lambda kept, dy: (masked(dy),))
    assert compare_cost(rule, (Z,), reference=drawn_in_own_dtype, seconds=0.01).agrees is True


def test_both_sides_are_timed_in_turns():
    order = []

    class Side:
        def __init__(self, name):
            self.name = name

        def timed(self, calls):
            order.append(self.name)
            return 1.0

    times = in_turns([Side("rule"), Side("autodiff")], 0.0)
    assert order[:2] == ["rule", "autodiff"]
    assert order[2:] == ["rule", "autodiff"] * 9
    assert [len(each) for each in times] == [9, 9]


def test_integers_trees_keyword_arguments_and_complex_numbers():
    labels = jnp.arange(64) % 100
    report = compare_cost(
        fcjax.softmax_cross_entropy, (Z, labels), kwargs={"label_smoothing": 0.1}, seconds=0.01
    )
    assert report.rule.kept_bytes < report.autodiff.kept_bytes
    rule = with_rule(jnp.exp, lambda z: (jnp.exp(z),) * 2, lambda y, dw: (dw * y,))
    assert compare_cost(rule, (Z + 1j * Z,), seconds=0.01).time_ratio > 0
    params = fcjax.init(jax.random.key(0), (100, 50, 3))
    report = compare_cost(fcjax.mlp, (params, Z), seconds=0.01)
    assert "params" in report.arguments


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="fun has no hand-written rule"):
        compare_cost(jnp.sin, (Z,))
    for wrong in (-1, 0, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"seconds must be positive and finite, got {wrong}"):
            compare_cost(fcjax.tanh, (Z,), seconds=wrong)
    for wrong in (None, "1", True):
        with pytest.raises(TypeError, match="seconds must be a number, got"):
            compare_cost(fcjax.tanh, (Z,), seconds=wrong)
    with pytest.raises(ValueError, match="fun cannot be called with args: TypeError: mul got"):
        compare_cost(lambda x, y: fcjax.tanh(x) * y, (jnp.ones(3), jnp.ones(4)))
    with pytest.raises(TypeError, match="fun must return at least one floating-point array"):
        compare_cost(lambda x: jnp.argmax(fcjax.tanh(x)), (Z,))
    with pytest.raises(ValueError, match="rtol must"):
        compare_cost(fcjax.tanh, (Z,), rtol=-1)
    with pytest.raises(TypeError, match="args must be a tuple"):
        compare_cost(fcjax.tanh, Z)
    loop = jax.lax.while_loop

    def endless(x):
        return loop(lambda x: jnp.max(x) > 1e3, lambda x: x / 2, x)

    rule = with_rule(endless, lambda x: (endless(x), ()), lambda kept, dy: (dy,))
    with pytest.raises(ValueError, match="the reference cannot be differentiated"):
        compare_cost(rule, (Z,))
    assert compare_cost(rule, (Z,), reference=lambda x: x, seconds=0.01).rule.kept_bytes == 0
