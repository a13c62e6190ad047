"""`compare_cost`: what a rule saves against autodiff, and what it costs."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fcjax
from fcjax.verify import compare_cost
from fcjax.verify.cost import Cost, CostReport, _in_turns

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


def cost(kept, seconds=1.0):
    return Cost(kept, 0, 0.0, 0.0, seconds, (seconds, seconds))


@pytest.mark.parametrize(
    ("kept", "spread", "verdict"),
    [
        ((10, 20), (0.5, 0.6), "The rule is worth having: it takes 55% of the time (50% to 60%) and"
         " keeps 10 B for 20 B."),
        ((20, 20), (0.9, 1.2), "The rule saves neither time nor memory: it is worth having for its"
         " numbers alone."),
        ((20, 20), (1.2, 1.4), "The rule is not worth having: it takes 130% of the time (120% to"
         " 140%)."),
        ((0, 20), (1.2, 1.4), "The rule keeps 0 B for 20 B, but takes 130% of the time (120% to"
         " 140%)."),
    ],
)  # fmt: skip
def test_one_line_says_whether_it_is_worth_having(kept, spread, verdict):
    ratio = sum(spread) / 2
    report = CostReport("f", "x", "cpu", cost(kept[0]), cost(kept[1]), ratio, spread)
    assert report.verdict == verdict


def test_both_sides_are_timed_in_turns():
    order = []

    class Side:
        def __init__(self, name):
            self.name = name

        def timed(self, calls):
            order.append(self.name)
            return 1.0

    times = _in_turns([Side("rule"), Side("autodiff")], 0.0)
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
    with pytest.raises(ValueError, match="seconds must be finite and not negative, got -1"):
        compare_cost(fcjax.tanh, (Z,), seconds=-1)
    with pytest.raises(ValueError, match="seconds must be positive and finite, got 0"):
        compare_cost(fcjax.tanh, (Z,), seconds=0)
    with pytest.raises(TypeError, match="args must be a tuple"):
        compare_cost(fcjax.tanh, Z)
    loop = jax.lax.while_loop

    def endless(x):
        return loop(lambda x: jnp.max(x) > 1e3, lambda x: x / 2, x)

    rule = with_rule(endless, lambda x: (endless(x), ()), lambda kept, dy: (dy,))
    with pytest.raises(ValueError, match="the reference cannot be differentiated"):
        compare_cost(rule, (Z,))
    assert compare_cost(rule, (Z,), reference=lambda x: x, seconds=0.01).rule.kept_bytes == 0
