"""The search of `check_rule`: it finds the points at which a rule is wrong, and only those."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fcjax
from fcjax.verify import Budget

RANDOM = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RANDOM.normal(size=shape), jnp.float32)


def with_rule(primal, bwd, fwd=None):
    """Return `primal` with a backward rule that takes the arguments and the cotangent."""
    rule = jax.custom_vjp(primal)
    rule.defvjp(fwd or (lambda *args: (primal(*args), args)), lambda args, dy: bwd(*args, dy))
    return rule


# --- mistakes at points, none of which shows at ordinary arguments ------------------------------

MISTAKES = {}


def mistake(kind, shows, args):
    """Add a rule that is wrong in one way; `shows` says whether arguments show it."""

    def add(make):
        MISTAKES[make.__name__] = make, kind, shows, args
        return make

    return add


def safe_norm(x):
    square = jnp.sum(x * x, axis=-1)
    return jnp.where(square == 0, 0.0, jnp.sqrt(jnp.where(square == 0, 1.0, square)))


@mistake("not finite", lambda x: (np.abs(x).sum(-1) == 0).any(), (normal(5, 3),))
def norm_divides_by_zero():
    return with_rule(safe_norm, lambda x, dy: (dy[:, None] * x / safe_norm(x)[:, None],))


@mistake("wrong", lambda x: (x < 0).any(), (jnp.abs(normal(5, 3)) + 0.1,))
def cube_root_forgets_the_sign():
    return with_rule(lambda x: x**3, lambda x, dy: (3 * dy * x * jnp.abs(x),))


@mistake("wrong", lambda x: (x > 10).any(), (normal(5, 3),))
def clip_forgets_the_clip():
    return with_rule(lambda x: jnp.minimum(x, 10.0) ** 2, lambda x, dy: (2 * dy * x,))


@mistake("wrong", lambda x: (x == 0.625).any(), (normal(5, 3),))
def one_number_is_left_out():
    def bwd(x, dy):
        return (jnp.where(x == 0.625, 0.0, dy * jnp.cos(x)),)

    return with_rule(jnp.sin, bwd)


@mistake("not finite", lambda x, y: (x == y).any(), (normal(5, 3), normal(5, 3)))
def quotient_of_equal_arguments():
    def primal(x, y):
        near = jnp.abs(x - y) < 1e-4
        return jnp.where(near, jnp.exp(x), (jnp.exp(x) - jnp.exp(y)) / jnp.where(near, 1, x - y))

    def bwd(x, y, dy):
        slope = (jnp.exp(x) - jnp.exp(y)) / (x - y)
        return dy * (jnp.exp(x) - slope) / (x - y), dy * (slope - jnp.exp(y)) / (x - y)

    return with_rule(primal, bwd)


@mistake("not finite", lambda x: np.isneginf(x).any(), (normal(5, 3),))
def a_mask_of_infinities():
    def bwd(x, dy):
        p = jax.nn.softmax(x)
        return (p * dy - p * jnp.sum(p * dy, -1, keepdims=True) + 0 * x,)

    return with_rule(lambda x: jax.nn.softmax(x), bwd)


@mistake("another value", lambda x: (np.abs(x) > 5).any(), (normal(5, 3),))
def the_forward_rule_saturates_early():
    def fwd(x):
        return jnp.where(jnp.abs(x) > 5, jnp.sign(x), jnp.tanh(x / 3)), (x,)

    return with_rule(
        lambda x: jnp.tanh(x / 3), lambda x, dy: (dy * (1 - jnp.tanh(x / 3) ** 2) / 3,), fwd
    )


@mistake("wrong", lambda x: _has_tie(x), (normal(5, 3),))
def a_tie_counts_twice():
    def bwd(x, dy):
        return (dy[:, None] * (x == jnp.max(x, -1, keepdims=True)),)

    return with_rule(lambda x: jnp.max(x, -1), bwd)


@mistake("wrong", lambda x: (np.abs(x) == 1).any(), (0.5 * normal(5, 3),))
def a_kink_outside_of_its_slopes():
    def bwd(x, dy):
        return (jnp.where(jnp.abs(x) == 1, 1.5, jnp.abs(x) < 1) * dy,)

    return with_rule(lambda x: jnp.clip(x, -1.0, 1.0), bwd)


@mistake("wrong", lambda x, y: (x == y).any(), (normal(5, 3), normal(5, 3)))
def a_tie_of_two_arguments_counts_for_none():
    return with_rule(jnp.minimum, lambda x, y, dy: (dy * (x < y), dy * (y < x)))


@mistake("wrong", lambda x: (np.abs(x).sum(-1) == 0).any(), (normal(5, 3),))
def smooth_at_a_small_scale():
    def norm(x):
        return jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True) + 1e-12)

    def bwd(x, dy):
        is_zero = jnp.sum(jnp.abs(x), axis=-1, keepdims=True) == 0
        return (dy * jnp.where(is_zero, 1.0, x / norm(x)),)

    return with_rule(norm, bwd)


def _has_tie(x):
    return ((x == x.max(-1, keepdims=True)).sum(-1) > 1).any()


@mistake("no digit", lambda x: (np.abs(x) < 1e-2).any(), (normal(5, 3) + 3,))
def a_derivative_that_cancels():
    # ((1 - cos x)/x)'
    def bwd(x, dy):
        return (dy * (x * jnp.sin(x) + jnp.cos(x) - 1) / x**2,)

    return with_rule(lambda x: 2 * jnp.sin(x / 2) ** 2 / x, bwd)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_at_a_point_is_found_from_ordinary_arguments(name):
    make, kind, shows, args = MISTAKES[name]
    report = fcjax.check_rule(make(), args, checks=["vjp", "search"])
    assert report.verdict == "wrong", report
    finding = next(f for f in report.findings if f.severity == "wrong")
    assert kind in str(finding), finding
    assert shows(*map(np.asarray, finding.args)), finding
    assert "fcjax.check_rule(" in finding.call


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.in_turn(4)
def test_it_is_found_at_its_point_too(name):
    make, *_, args = MISTAKES[name]
    finding = fcjax.check_rule(make(), args, checks=["search"]).findings[0]
    assert fcjax.check_rule(make(), finding.args).verdict == "wrong"


def test_a_point_is_as_simple_as_possible():
    make, *_, args = MISTAKES["norm_divides_by_zero"]
    (finding,) = fcjax.check_rule(make(), args, checks=["search"]).findings
    assert (np.asarray(finding.args[0]) != args[0]).sum() == 3  # one row


def test_the_search_can_be_left_out_or_extended():
    make, *_, args = MISTAKES["one_number_is_left_out"]
    assert fcjax.check_rule(make(), args, search=False).ok
    for points in (0, 1):
        assert fcjax.check_rule(make(), args, search=Budget(points=points)).ok
    (result,) = [
        r
        for r in fcjax.check_rule(jnp.sin, args, search=Budget(5, 60)).results
        if r.name == "search"
    ]
    assert result.message == "no mistake of the rule at 5 points"
    with pytest.raises(TypeError, match="search"):
        fcjax.check_rule(make(), args, search=3)
    for budget in (Budget(-1), Budget(5, -1.0), Budget(5, float("nan")), Budget(10**400)):
        with pytest.raises(ValueError, match=r"search\.\w+ must be finite and not negative, got"):
            fcjax.check_rule(make(), args, search=budget)
    for budget in (Budget(None), Budget(1.5), Budget("5"), Budget(5, None)):
        with pytest.raises(TypeError, match=r"search"):
            fcjax.check_rule(make(), args, search=budget)


def test_a_wrong_value_of_one_of_several_outputs_is_found():
    def fwd(x):
        return (jnp.sin(x), jnp.cos(x), jnp.where(x > 9, 0.0, x)), (x,)

    def bwd(x, dys):
        return (dys[0] * jnp.cos(x) - dys[1] * jnp.sin(x) + dys[2],)

    rule = with_rule(lambda x: (jnp.sin(x), jnp.cos(x), x), bwd, fwd)
    (finding,) = fcjax.check_rule(rule, (normal(5, 3),), checks=["search"]).findings
    assert finding.argument is None
    assert finding.message.startswith("the forward rule returns another value than the function at")
    assert (np.asarray(finding.args[0]) > 9).any()


def test_a_declared_accuracy_is_allowed():
    rule = with_rule(jnp.sin, lambda x, dy: (dy * jnp.cos(x) * (1 + 1e-4 * jnp.sign(x)),))
    assert not fcjax.check_rule(rule, (normal(5, 3),), checks=["search"]).ok
    report = fcjax.check_rule(rule, (normal(5, 3),), checks=["search"], rtol=1e-4)
    assert not report.findings


def test_the_same_key_finds_the_same():
    make, *_, args = MISTAKES["one_number_is_left_out"]
    reports = [fcjax.check_rule(make(), args, checks=["search"]) for _ in range(2)]
    one, two = (np.asarray(report.findings[0].args[0]) for report in reports)
    np.testing.assert_array_equal(one, two)


# --- whose fault ------------------------------------------------------------------------------


def plain_norm(x):
    return jnp.sqrt(jnp.sum(x * x, axis=-1))


def test_a_rule_that_is_as_wrong_as_autodiff_gets_a_note():
    rule = with_rule(plain_norm, lambda x, dy: (dy[:, None] * x / plain_norm(x)[:, None],))
    report = fcjax.check_rule(rule, (normal(5, 3),), search=True)
    assert report.ok, report
    (finding,) = report.findings
    assert finding.severity == "note"
    assert "so is that of autodiff" in str(finding)


def test_a_function_without_a_rule_has_no_excuse():
    (finding,) = fcjax.check_rule(plain_norm, (normal(5, 3),), search=True).findings
    assert finding.severity == "wrong"
    assert "x[" in finding.message
    assert "= 0" in finding.message


def test_a_loop_that_may_not_end_is_not_searched():
    def wrapped(x):
        return jax.lax.while_loop(
            lambda c: jnp.max(jnp.abs(c)) > 3, lambda c: c - 6 * jnp.sign(c) * (jnp.abs(c) > 3), x
        )

    rule = with_rule(wrapped, lambda x, dy: (dy,))
    report = fcjax.check_rule(rule, (normal(5, 3),), checks=["search"], reference=lambda x: x)
    (result,) = (result for result in report.results if result.name == "search")
    assert result.status == "skipped"
    assert "may not terminate" in result.message


def test_an_infinite_output_has_no_gradient():
    # at +∞, where the plain function has the gradient -0 of another entry, by chance
    def logsumexp(x):
        return jax.nn.logsumexp(x, axis=-1)

    rule = with_rule(logsumexp, lambda x, dy: (dy[:, None] * jax.nn.softmax(x),))
    assert not fcjax.check_rule(rule, (normal(5, 3),), checks=["search"]).findings


def test_a_call_with_infinities_can_be_run():
    make, *_, args = MISTAKES["a_mask_of_infinities"]
    (finding,) = fcjax.check_rule(make(), args, checks=["search"]).findings
    names = {"fcjax": fcjax, "jnp": jnp, "<lambda>": None, "rule": make()}
    call = finding.call.splitlines()[-1].replace("<lambda>", "rule")
    assert "float('-inf')" in call
    assert eval(call, names).verdict == "wrong"


def test_a_note_is_repeated_at_its_point():
    def hypotenuse(x, y):
        return jnp.sqrt(x * x + y * y)

    rule = with_rule(
        hypotenuse, lambda x, y, dy: (dy * x / hypotenuse(x, y), dy * y / hypotenuse(x, y))
    )
    first, *_ = fcjax.check_rule(rule, (normal(5, 3), normal(5, 3)), checks=["search"]).findings
    again, *_ = fcjax.check_rule(rule, first.args, checks=["search"]).findings
    assert (first.severity, again.severity) == ("note", "note")


def test_an_expected_failure_that_does_not_occur_is_told():
    results = fcjax.check_rule(
        jnp.sin, (normal(5, 3),), checks=["search"], expected_failures={"search": "x"}
    ).results
    assert [r.status for r in results if r.name == "search"] == ["unexpected pass"]


def test_an_infinite_slope_is_right():
    # x log x, whose derivative at 0 is -∞
    def entropy(x):
        return jnp.where(x > 0, -x * jnp.log(x), jnp.where(x == 0, 0.0, -jnp.inf))

    assert not fcjax.check_rule(jax.scipy.special.entr, (jnp.abs(normal(5, 3)),)).findings
    rule = with_rule(entropy, lambda x, dy: (dy * (-jnp.log(x) - 1),))
    assert not [
        f
        for f in fcjax.check_rule(rule, (jnp.abs(normal(5, 3)),), checks=["search"]).findings
        if f.severity == "wrong"
    ]


def test_the_given_point_may_be_a_kink_or_an_edge():
    # the norm at 0, and a power on the edge of its domain; autodiff gives NaN
    for function, args in (
        (plain_norm, (jnp.zeros((1, 3)),)),
        (lambda x: jnp.exp(2 * jnp.log(x)), (jnp.array([0.0, 2.0]),)),
        (lambda x: jnp.std(x, axis=0), (jnp.array([[1.0, 2.0, 3.0]]),)),
    ):
        (finding, *_) = fcjax.check_rule(function, args, checks=["search"]).findings
        assert "is not finite at the given point" in finding.message


def test_a_function_that_is_inaccurate_at_the_given_point_loses_digits_there():
    def variance(x):
        return jnp.mean(x * x) - jnp.mean(x) ** 2

    def scaled(x):
        return x / jnp.sqrt(jnp.abs(variance(x)) + 1e-6)

    (finding, *_) = fcjax.check_rule(scaled, (1e4 + normal(12),), checks=["search"]).findings
    assert "no digit of the gradient is right at the given point" in finding.message


def test_lapack_gets_no_infinities():
    # it never returns from the singular values of a matrix with a row of them
    def singular_values(x):
        return jnp.linalg.svd(x, compute_uv=False)

    report = fcjax.check_rule(singular_values, (normal(4, 3),), checks=["search"])
    assert all(np.isfinite(finding.args[0]).all() for finding in report.findings)


def test_lapack_in_the_rule_alone_gets_no_infinities():
    # the SVD of LAPACK never ends for this matrix, which the determinant says nothing about
    def bwd(a, dy):
        u, s, vt = jnp.linalg.svd(a)
        others = jnp.prod(jnp.where(jnp.eye(s.size, dtype=bool), 1.0, s), axis=1)
        return (dy * jnp.linalg.det(u) * jnp.linalg.det(vt) * (u * others) @ vt,)

    report = fcjax.check_rule(with_rule(jnp.linalg.det, bwd), (normal(4, 4) + 4 * jnp.eye(4),))
    assert report.verdict == "right", f"{report}"


def test_a_pole_has_no_gradient():
    ndtri = jax.scipy.special.ndtri
    rule = with_rule(ndtri, lambda p, dy: (dy * jnp.sqrt(2 * jnp.pi) * jnp.exp(ndtri(p) ** 2 / 2),))
    report = fcjax.check_rule(rule, (jnp.array([0.2, 0.88, 0.37, 0.47, 0.56]),))
    assert report.verdict == "right", f"{report}"


def test_a_rule_that_mends_autodiff_is_right():
    rule = with_rule(
        plain_norm, lambda x, dy: (dy[:, None] * x / jnp.maximum(plain_norm(x), 1e-30)[:, None],)
    )
    report = fcjax.check_rule(rule, (normal(5, 3),), search=True)
    assert report.ok, report
    assert not report.findings


def test_alarms_that_were_false():
    # an odd root, whose slope at 0 is infinite; a kink next to 1, where float32 sees a tie; a
    # function of two infinite numbers
    def hinge(scores):
        margins = 1 + scores - scores[:, :1]
        return jnp.max(jnp.where(jnp.arange(3) == 0, 0.0, margins), axis=1)

    def bounded(x, y):
        return 1 / (1 + jnp.sum((x - y) ** 2, -1))

    for function, args in (
        (jnp.cbrt, (normal(4, 3),)),
        (hinge, (normal(4, 3),)),
        (bounded, (normal(4, 3), normal(4, 3))),
    ):
        assert not fcjax.check_rule(function, args, checks=["search"]).findings


def test_a_gradient_at_the_edge_of_a_domain_is_not_that_beside_it():
    # x² (1 - x)^0.6 and the like: some slopes are infinite at 0 and at 1, others are 0 there
    a, b = jnp.array([0.7, 2.0, 3.5, 1.2, 5.0]), jnp.array([1.5, 0.6, 2.5, 4.0, 3.0])
    x = jnp.array([0.3, 0.5, 0.2, 0.7, 0.6])
    for key in range(2):
        report = fcjax.check_rule(
            lambda x: jax.lax.betainc(a, b, x), (x,), checks=["search"], key=jax.random.key(key)
        )
        assert not report.findings, report


def test_a_remainder_has_the_slope_within_its_period():
    args = jnp.array([5.3, -2.1, 7.7]), jnp.array([1.5, 0.8, 2.0])
    for key in range(2):
        report = fcjax.check_rule(jax.lax.rem, args, checks=["search"], key=jax.random.key(key))
        assert not report.findings, report


def test_a_reference_that_has_no_value_is_no_oracle():
    # rows in two groups, each with a matrix of its own: by masks, both see the infinities of one
    def split(x, w):
        return jnp.concatenate([x[:2] @ w[0], x[2:] @ w[1]])

    def masked(x, w):
        is_first = (jnp.arange(5) < 2)[:, None] * 1.0
        return is_first * (x @ w[0]) + (1 - is_first) * (x @ w[1])

    function = with_rule(split, lambda x, w, dy: jax.vjp(split, x, w)[1](dy))
    report = fcjax.check_rule(function, (normal(5, 3), normal(2, 3, 2)), reference=masked)
    assert report.verdict == "right", report


def test_a_function_that_is_noise_in_float32_has_no_gradient_to_compare():
    # a kernel that adds in float32, at numbers of 1e4, beside a reference in float64
    def normalized(x, w):
        centred = x - jnp.mean(x, -1, keepdims=True)
        return w * centred / jnp.sqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-5)

    def kernel(x, w):
        return normalized(x.astype(jnp.float32), w.astype(jnp.float32)).astype(x.dtype)

    def gradients(x, w, dy):
        return jax.vjp(kernel, x, w)[1](dy)

    for key in range(2):
        report = fcjax.check_rule(
            with_rule(kernel, gradients),
            (normal(10, 3), normal(3)),
            reference=normalized,
            key=jax.random.key(key),
        )
        assert report.verdict == "right", report


@jax.custom_jvp
def projected(x):
    """Return the nearest point of the probability simplex."""
    falling, ranks = jnp.sort(x)[::-1], jnp.arange(1, len(x) + 1)
    sums = jnp.cumsum(falling)
    size = jnp.count_nonzero(1 / ranks + (falling - sums / ranks) > 0)
    return jax.nn.relu(1 / size + (x - sums[size - 1] / size))


@projected.defjvp
def projected_jvp(primals, tangents):
    p = projected(*primals)
    support = p > 0
    mean = jnp.dot(support, *tangents) / jnp.count_nonzero(support)
    return p, support * tangents[0] - mean * support


def sparsemax_loss(x):
    p = projected(x)
    margins = (x - x[2]).at[2].set(0.0)
    return jnp.dot(p, jnp.where(p, margins, 0.0)) + 0.5 * (1 - jnp.dot(p, p))


def test_a_rule_is_right_where_autodiff_loses_the_digits_of_a_sum():
    # as in jaxopt: at 9e18, the threshold is that number, and the others are rounded away
    x = jnp.array([-0.41675785, -0.05626683, -2.1361961, 1.6402708, -1.7934356])
    report = fcjax.check_rule(sparsemax_loss, (x,))
    assert report.verdict == "right", report


# --- what a reviewer from outside found -----------------------------------------------------------


@pytest.mark.parametrize("mode", [jnp.array(0), jnp.array([0])], ids=["scalar", "array"])
def test_integers_that_the_program_compares_with_are_tried(mode):
    def power(x, mode):
        return jnp.where(mode == 7, x**3, x**2)

    rule = with_rule(power, lambda x, mode, dy: (2 * x * dy, None))
    assert fcjax.check_rule(rule, (normal(3), mode)).verdict == "wrong"


def test_a_length_of_0_is_tried():
    def mean_of(x, length):
        return jnp.sum(jnp.where(jnp.arange(5) < length, x, 0)) / jnp.maximum(length, 1)

    def gradient(x, length, dy):
        one = jnp.maximum(length, 1)
        return jnp.where(jnp.arange(5) < one, dy / one, 0), None

    report = fcjax.check_rule(with_rule(mean_of, gradient), (normal(5), jnp.array(3)))
    assert [f.argument for f in report.failures] == ["x"]
    assert "length = 0" in report.failures[0].message


def test_infinities_are_tried_where_the_function_does_not_look():
    mask = jnp.array([True, False, True, True, False])
    rule = with_rule(lambda x: jnp.sum(jnp.where(mask, x, 0)), lambda x, dy: (dy * mask + 0 * x,))
    (finding,) = fcjax.check_rule(rule, (normal(5),), checks=["search"]).findings
    assert "not finite" in finding.message


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_rule_that_computes_in_float32_is_judged_by_its_rounding(dtype):
    # with one feature, all that is left of the gradient is what rounding leaves
    def unit(x):
        wide = x.astype(jnp.float32)
        size = jax.lax.rsqrt(jnp.sum(wide**2, -1, keepdims=True) + 1e-6)
        return (wide * size).astype(x.dtype)

    def gradient(x, dy):
        wide, dy = x.astype(jnp.float32), dy.astype(jnp.float32)
        size = jax.lax.rsqrt(jnp.sum(wide**2, -1, keepdims=True) + 1e-6)
        y = wide * size
        return ((size * (dy - y * jnp.sum(dy * y, -1, keepdims=True))).astype(x.dtype),)

    report = fcjax.check_rule(with_rule(unit, gradient), (normal(3, 4).astype(dtype),))
    assert report.verdict == "right", report


def test_a_value_that_depends_on_how_the_function_is_compiled_is_none():
    # at 7e-21, the compiled softmax is NaN where the other is 1
    def softmax(x, t):
        return jax.nn.softmax(x.astype(jnp.float32) / t.astype(jnp.float32)).astype(x.dtype)

    def gradients(x, t, dy):
        x, t, dy = (a.astype(jnp.float32) for a in (x, t, dy))
        p = jax.nn.softmax(x / t)
        dz = p * (dy - jnp.sum(p * dy, -1, keepdims=True))
        return tuple(a.astype(jnp.bfloat16) for a in (dz / t, -jnp.sum(dz * x) / t**2))

    x = jax.random.normal(jax.random.key(1), (3, 4), jnp.bfloat16)
    args = x, jnp.array(0.7, jnp.bfloat16)
    report = fcjax.check_rule(with_rule(softmax, gradients), args, checks=["search"])
    assert not report.findings, report


@jax.custom_vjp
def newton(a):
    """Return the root of a, if thirty steps reach it."""
    return jax.lax.fori_loop(0, 30, lambda _, x: 0.5 * (x + a / x), jnp.maximum(a, 1.0))


newton.defvjp(lambda a: (newton(a),) * 2, lambda root, dy: (dy / (2 * root),))


def test_points_outside_of_the_domain_are_not_tried():
    args = (jnp.array([0.5, 2.0, 9.0]),)
    assert fcjax.check_rule(newton, args).verdict == "wrong"
    seen = []

    def domain(a):
        seen.append(a)
        return (a > 0).all() & (a < 1e6).all()

    report = fcjax.check_rule(newton, args, domain=domain)
    assert report.verdict == "right", report
    assert len(seen) > 50


def test_a_domain_that_takes_other_arguments_is_named():
    with pytest.raises(TypeError, match="domain must take the positional arguments of fun"):
        fcjax.check_rule(jnp.multiply, (normal(3), normal(3)), domain=lambda x: True)


def test_a_domain_is_checked_at_the_call():
    args = (jnp.array([0.5, 2.0, 9.0]),)
    with pytest.raises(ValueError, match="args must be in the domain, got some for which"):
        fcjax.check_rule(newton, args, domain=lambda a: (a > 1).all())
    with pytest.raises(TypeError, match=r"domain must return True or False, got bool\[3\]"):
        fcjax.check_rule(newton, args, domain=lambda a: a > 1)
