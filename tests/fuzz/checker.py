"""Calls of `fcjax.verify`: few, because each of them compiles programs."""

import functools

import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

import fcjax
from fcjax import verify

from .judge import Call
from .registry import calls_of
from .rules import wrong_key, wrong_option
from .spec import require
from .values import Pair, filled, floats, junk, rarely, wrong_ones

POINT = (jnp.asarray(filled((2, 3)), jnp.float32), jnp.asarray(filled((3, 2)), jnp.float32))


def function(x, w):
    return fcjax.tanh(fcjax.dense(x, w))


def plain(x, w):
    return jnp.tanh(x @ w)


RIGHT = {
    "reference": (None, plain),
    "kwargs": (None, {}),
    "key": (None,),
    "checks": (["vjp"], "vjp", ("dtype", "vjp")),
    "expected_failures": (None, {}),
    "kinks": (None, {}),
    "rtol": (None, 1e-6, 0),
    "atol": (None, 0.0),
    "time_limit": (None, 1e3),
}
WRONG = {
    "reference": (3, "f", lambda x: x, lambda x, w: x, lambda x, w: "text"),
    "kwargs": (3, "k", [1], {"y": 3}, {3: 3}, {"x": 3}),
    "checks": (["vpj"], "vpj", 3, [3], [None], {"vjp": 1}, [["vjp"]], "v" * 500),
    "expected_failures": (
        *(3, "vjp", ["vjp"], {"vpj": "x"}, {"vjp": "nobody"}, {"vjp": 3}, {"vjp": None}, {3: "x"}),
        *({"vjp": [3]}, {"vjp": {}}),
    ),
    "kinks": (
        3,
        "x",
        {"x": 3},
        {"nobody": {0.0: 0.0}},
        {"x": {"a": 0.0}},
        {"x": None},
        {3: {0.0: 1.0}},
    ),
}
OPTIONS = tuple(RIGHT)


@st.composite
def wrong_value(draw, name):
    if name == "key":
        return draw(wrong_key())
    if name in WRONG:
        return draw(st.one_of(st.sampled_from(WRONG[name]), junk()))
    return draw(wrong_option())


WRONG_POINTS = (
    *(
        None,
        3,
        "x",
        (),
        (POINT[0],),
        (*POINT, 3),
        POINT[::-1],
        dict(enumerate(POINT)),
        (None, None),
    ),
    *((POINT[0] > 0, POINT[1] > 0), (POINT[0] + 1j, POINT[1]), ("a", "b"), [*POINT], Pair(*POINT)),
    *((POINT[0][:0], POINT[1]), (POINT[0] * np.nan, POINT[1])),
)


def is_right(**given):
    """The spec of a call whose arguments were all drawn right."""
    return lambda report: None if report.verdict == "right" else str(report)


def is_answered(**given):
    """The spec of a call that may be refused, and otherwise gives a report."""

    def problem(report):
        known = isinstance(report, verify.RuleReport)
        return None if known and len(str(report)) < 100_000 else f"{report}"

    return problem


def check_arguments(draw, names):
    wrong = wrong_ones(draw, ["fun", "args", *names], valid=1)
    given = {"fun": function, "args": draw(st.sampled_from((POINT, [*POINT])))}
    for name in names:
        if name in wrong:
            given[name] = draw(wrong_value(name))
        elif name == "checks" or rarely(draw):
            given[name] = draw(st.sampled_from(RIGHT[name]))
    if "fun" in wrong:
        odd = (
            None,
            "f",
            3,
            lambda x: x,
            lambda x, w: None,
            lambda x, w: "text",
            lambda x, w: len(w),
        )
        given["fun"] = draw(st.one_of(st.sampled_from(odd), junk()))
    if "args" in wrong:
        given["args"] = draw(st.one_of(st.sampled_from(WRONG_POINTS), junk()))
    return given, wrong


@calls_of("check_rule", cases=120)
def check_rule_calls(draw):
    given, wrong = check_arguments(draw, OPTIONS)
    spec = is_answered if wrong else is_right
    return Call(fcjax.check_rule, given, spec, wrong=wrong, uncertain=bool(wrong))


@calls_of("assert_rule", cases=60)
def assert_rule_calls(draw):
    given, wrong = check_arguments(draw, OPTIONS)

    def assert_rule(**given):
        try:
            return fcjax.assert_rule(**given)
        except AssertionError:  # how it says that a rule is not right
            if not wrong:
                raise
            return fcjax.check_rule(**given)

    spec = is_answered if wrong else is_right
    return Call(assert_rule, given, spec, wrong=wrong, uncertain=bool(wrong))


@calls_of("verify.check_at_points", cases=60)
def check_at_points_calls(draw):
    names = ("reference", "kwargs", "checks", "expected_failures", "rtol", "atol")
    given, wrong = check_arguments(draw, names)
    first = given.pop("args")
    points = [first, (POINT[0] * 2, POINT[1])] if first is POINT or "args" not in wrong else [first]
    if "args" in wrong and rarely(draw, 2):
        points = draw(
            st.one_of(st.sampled_from((POINT, [POINT, (POINT[0],)], [POINT, POINT[::-1]])), junk())
        )
    given["points"] = points

    def check_at_points(**given):
        return list(verify.check_at_points(**given))

    def spec(**given):
        def problem(reports):
            return next(filter(None, map(is_answered() if wrong else is_right(), reports)), None)

        return problem

    names = ("points", "args", *wrong)
    return Call(check_at_points, given, spec, wrong=names, uncertain=bool(wrong))


@calls_of("check_elementwise", cases=60)
def check_elementwise_calls(draw):
    wrong = wrong_ones(
        draw, ["fun", "name", "dtype", "tolerance", "floor", "state", "progress", "value"], valid=1
    )
    given = {"fun": fcjax.tanh, "name": "tanh"}
    odd = {
        "fun": (
            None,
            "tanh",
            3,
            jnp.sum,
            lambda z: 3,
            lambda z: None,
            lambda z: z[:3],
            lambda z: z.astype(jnp.float32),
            lambda a, b: a,
        ),
        "name": ("tanhh", "", None, 3, ["tanh"]),
        "dtype": ("float64", "int8", "bfloat", None, 3, jnp.float8_e5m2, "float16", object()),
        "state": (3, ["a"], "a\0b", b"x", 2.5),
        "value": (3, "tanh", lambda a, b: a),
    }
    for name in wrong:
        values = st.sampled_from(odd[name]) if name in odd else wrong_option()
        given[name] = draw(values if name in ("state", "value") else st.one_of(values, junk()))

    def spec(**given):
        def problem(report):
            known = isinstance(report, verify.elementwise.ElementwiseReport)
            return None if known and (report.ok or wrong) else str(report)

        return problem

    if isinstance(given.get("state"), str) and "\0" not in given["state"]:
        del given["state"]
    return Call(fcjax.check_elementwise, given, spec, wrong=wrong, uncertain=bool(wrong))


def called(name):
    """Return `rules_in`, or the call of what `without_rules` returns."""

    def rules_in(fun, args):
        return verify.rules_in(fun, *args)

    def without_rules(fun, args):
        return verify.without_rules(fun)(*args)

    return {"rules_in": rules_in, "without_rules": without_rules}[name]


@calls_of("verify.rules_in", "verify.without_rules", cases=100)
def rules_calls(draw, name):
    wrong = wrong_ones(draw, ["fun"])
    shape = draw(st.sampled_from(((3,), (2, 3))))
    given = {"fun": fcjax.tanh, "args": (draw(floats(shape, forms=("jax", "numpy"))),)}
    name = name.split(".")[1]
    if wrong:
        not_functions = st.sampled_from((None, 3, "f", [fcjax.tanh], {}, 1.5))
        given["fun"] = draw(not_functions)

    def spec(fun, args):
        require(fun is fcjax.tanh, "fun")
        if name == "rules_in":
            return lambda got: None if [call.name for call in got] == ["tanh"] else f"{got}"
        want = np.tanh(np.asarray(args[0], np.float64))
        return lambda got: (
            None
            if np.allclose(np.asarray(got, np.float64), want, atol=2e-2, equal_nan=True)
            else f"{got}"
        )

    return Call(called(name), given, spec, wrong=wrong)


@functools.cache
def _names():
    return tuple(fcjax.activations.ACTIVATIONS)


@calls_of("facts_of", "is_fixed", "rule_of", cases=100)
def facts_calls(draw, name):
    wrong = wrong_ones(draw, ["function"])
    chosen = getattr(fcjax, draw(st.sampled_from(_names())))
    given = {"function": draw(junk()) if wrong else chosen}

    def spec(function):
        if name == "rule_of":
            require(callable(function), "function")
            return lambda got: None if callable(got.fwd) and callable(got.bwd) else f"{got}"
        if name == "facts_of":
            return lambda got: None if (got is None) == (function is not chosen) else f"{got}"
        return lambda got: (
            None if got in (True, False) and (got or function is not chosen) else f"{got}"
        )

    return Call(getattr(fcjax, name), given, spec, wrong=wrong)
