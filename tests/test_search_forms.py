"""The search of `check_rule` at other forms: sizes, integers, masks, options, branches."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_search import normal, with_rule

import fcjax
from fcjax.verify import Budget
from fcjax.verify.program import TimeUp
from fcjax.verify.search.screen import Screen

# --- other sizes ------------------------------------------------------------------------------


def sums_tiles(x):
    return jnp.sum(jnp.sin(x), 0)


def test_a_sum_over_one_tile_is_found_with_more_rows():
    def bwd(x, dy):
        return (jnp.where(jnp.arange(x.shape[0])[:, None] < 128, dy * jnp.cos(x), 0),)

    (finding,) = fcjax.check_rule(with_rule(sums_tiles, bwd), (normal(5, 3),), search=True).findings
    assert "with 129 instead of 5 along axis 0 of x" in finding.message
    assert finding.args[0].shape == (129, 3)


def test_a_rule_for_several_examples_is_found_with_one():
    def bwd(x, dy):
        return (dy * jnp.cos(x) / (1 if x.shape[0] > 1 else 2),)

    (finding,) = fcjax.check_rule(with_rule(sums_tiles, bwd), (normal(5, 3),), search=True).findings
    assert "with 1 instead of 5 along axis 0 of x" in finding.message


def test_labels_are_resized_with_the_rows():
    def loss(z, labels):
        return fcjax.softmax_cross_entropy(z, labels)

    assert fcjax.check_rule(loss, (normal(5, 3), jnp.array([0, 2, 1, 1, 0])), search=True).ok


# --- other integers and masks -------------------------------------------------------------------

LABELS = jnp.array([0, 2, 1, 1, 0])


def test_a_label_that_is_left_out_is_found():
    # the loss leaves examples with the label -100 out, its gradient does not
    def loss(z, labels):
        right = jnp.take_along_axis(jax.nn.log_softmax(z), jnp.maximum(labels, 0)[:, None], 1)
        return -jnp.sum(jnp.where(labels[:, None] == -100, 0, right))

    def bwd(z, labels, dy):
        one = jax.nn.one_hot(jnp.maximum(labels, 0), z.shape[1])
        return dy * (jax.nn.softmax(z) - one), None

    rule = with_rule(loss, bwd)
    assert fcjax.check_rule(rule, (normal(5, 3), LABELS), search=False).ok
    (finding,) = fcjax.check_rule(rule, (normal(5, 3), LABELS), checks=["search"]).findings
    assert (np.asarray(finding.args[1]) == -100).any()
    assert "labels = -100" in finding.message


def test_a_mask_that_is_false_everywhere_is_found():
    def mean(x, mask):
        return jnp.sum(jnp.where(mask, x, 0), 1) / jnp.maximum(jnp.sum(mask, 1), 1)

    def bwd(x, mask, dy):
        return jnp.where(mask, dy[:, None], 0) / jnp.sum(mask, 1, keepdims=True), None

    mask = jnp.arange(15).reshape(5, 3) % 4 != 1
    (finding,) = fcjax.check_rule(
        with_rule(mean, bwd), (normal(5, 3), mask), checks=["search"]
    ).findings
    assert (~np.asarray(finding.args[1]).any(1)).any()


def test_indices_stay_within_those_given():
    def chosen(x, index):
        return x[index] ** 2

    def bwd(x, index, dy):  # at an index out of bounds, JAX returns the nearest and drops dx
        return jnp.zeros_like(x).at[jnp.clip(index, 0, 4)].add(2 * dy * x[index]), None

    report = fcjax.check_rule(with_rule(chosen, bwd), (normal(5), LABELS), checks=["search"])
    assert not report.findings


# --- options ------------------------------------------------------------------------------------


def scaled(x, *, power=1, negative=False):
    """A rule for each option, wrong for the third power."""

    def bwd(x, dy):
        return (dy * power * x ** (power - 1) * (1.01 if power == 3 else 1) * sign,)

    sign = -1 if negative else 1
    return with_rule(lambda x: sign * x**power, bwd)(x)


def test_other_options_are_searched():
    args = (normal(5, 3),)
    assert fcjax.check_rule(scaled, args).ok
    report = fcjax.check_rule(scaled, args, options={"power": [1, 2, 3], "negative": [False, True]})
    (finding,) = report.findings
    assert finding.message == (
        "the gradient is wrong at the given point with power=3, negative=False"
    )
    assert "'power': 3" in finding.call
    assert not [line for line in report.unchecked if "options other than" in line]


def test_options_are_named_where_they_are_wrong():
    args = (normal(5, 3),)
    with pytest.raises(ValueError, match=r"options: fun cannot be called with powr=2: .*powr"):
        fcjax.check_rule(scaled, args, options={"powr": [2]})
    with pytest.raises(
        TypeError, match=r"options\['power'\] must be a list of values, got str 'ab'"
    ):
        fcjax.check_rule(scaled, args, options={"power": "ab"})
    for left_out in ({"search": False}, {"checks": ["vjp"]}):
        with pytest.raises(ValueError, match="options are tried by the search alone"):
            fcjax.check_rule(scaled, args, options={"power": [2]}, **left_out)


# --- branches -----------------------------------------------------------------------------------


def test_a_branch_behind_two_conditions_is_reached():
    def primal(x):
        return jax.lax.cond((x[0] > 3) & (x[1] < -3), jnp.sin, jnp.cos, x)

    def bwd(x, dy):
        wrong = (x[0] > 3) & (x[1] < -3)
        return (dy * jnp.where(wrong, -jnp.cos(x), -jnp.sin(x)),)

    # these points come first
    few = Budget(points=6)
    report = fcjax.check_rule(with_rule(primal, bwd), (normal(7),), search=few)
    finding = next(f for f in report.findings if f.severity == "wrong")
    x = np.asarray(finding.args[0])
    assert x[0] > 3 > -3 > x[1]
    assert not [line for line in report.unchecked if "was not taken" in line]


def test_a_branch_that_no_point_takes_is_told():
    def never(x):
        return jax.lax.cond(jnp.sum(x**2) < 0, jnp.sin, jnp.cos, x)

    (line,) = [s for s in fcjax.check_rule(never, (normal(7),)).unchecked if "branch" in s]
    assert line.endswith("branch 1 was not taken")


def test_a_branch_of_the_backward_rule_alone_is_reached():
    def bwd(x, dy):
        huge = jnp.sum(x**2) > 77.0
        return (jax.lax.cond(huge, lambda: 0 * x, lambda: dy * jnp.cos(x)),)

    report = fcjax.check_rule(with_rule(jnp.sin, bwd), (0.1 * normal(3),), checks=["search"])
    (finding,) = report.findings
    assert np.sum(np.square(finding.args[0])) > 77


@pytest.mark.parametrize("width", [0.8, 1e-4])
def test_the_side_of_a_mask_that_is_not_taken_is_reached(width):
    # no candidate has this norm; a wide side is hit by mixtures, a narrow one on its border
    def bwd(x, dy):
        norm = jnp.sqrt(jnp.sum(x**2))
        wrong = jnp.where(norm > 7.3, norm < 7.3 + width, False)
        return (jnp.where(wrong, 2.2, 2.0) * x * dy,)

    rule = with_rule(lambda x: jnp.sum(x**2), bwd)
    report = fcjax.check_rule(rule, (normal(5),), checks=["search"])
    (finding,) = [f for f in report.findings if f.severity == "wrong"]
    assert 7.3 < np.linalg.norm(np.float64(finding.args[0])) < 7.3 + width


# --- what a search may not do -------------------------------------------------------------------


def test_a_size_at_which_an_array_would_be_too_large_is_left_out_and_told():
    def pairs(x):  # a row and a column for each pair of examples: at 1,000, 8 TB
        products = (x @ x.T).ravel()
        return jnp.sum(jnp.sin(products[:, None] * products))

    report = fcjax.check_rule(
        with_rule(pairs, lambda x, dy: _autodiff(pairs, x, dy)), (normal(3, 2),)
    )
    assert report.verdict == "right"
    assert [line for line in report.unchecked if "memory" in line] == [
        "with 129 instead of 3 along axis 0 of x: it takes too much memory",
        "with 1000 instead of 3 along axis 0 of x: it takes too much memory",
    ]


def _autodiff(fun, x, dy):
    return jax.vjp(fun, x)[1](dy)


def test_a_declared_kink_has_the_declared_derivative():
    def bwd(z, dy):
        return (dy * jnp.where(z == 0, 5.0, z > 0),)

    rule = with_rule(lambda z: jnp.maximum(z, 0), bwd)
    z = (normal(5, 3),)
    assert fcjax.check_rule(rule, z, checks=["search"]).verdict == "wrong"
    assert fcjax.check_rule(rule, z, kinks={"z": {0.0: 5.0}}).ok


def test_a_slow_function_is_searched_within_its_time():
    def product(x, w):
        return jnp.sin(x @ w)

    rule = with_rule(product, lambda x, w, dy: _gradients(x, w, dy))
    args = normal(700, 701), normal(701, 703)
    start = time.process_time()
    fcjax.check_rule(rule, args, checks=["search"], search=Budget(1))
    middle = time.process_time()
    report = fcjax.check_rule(rule, args, checks=["search"], search=Budget(200, 1.0))
    # compiling and the given point are not counted; all 200 points take 80 times as long
    assert time.process_time() - middle < 15 * (middle - start)
    (message,) = {r.message for r in report.results if r.name == "search"}
    assert int(message.split()[-2]) < 200


def _gradients(x, w, dy):
    dz = dy * jnp.cos(x @ w)
    return dz @ w.T, x.T @ dz


def test_what_was_found_before_the_time_limit_is_kept(monkeypatch):
    looked = Screen.look

    def once(screen, points):
        monkeypatch.setattr(Screen, "look", _time_is_up)
        return looked(screen, points)

    def _time_is_up(*_):
        raise TimeUp

    monkeypatch.setattr(Screen, "look", once)
    rule = with_rule(jnp.sin, lambda x, dy: (dy * jnp.where(x == 0, 0, jnp.cos(x)),))
    report = fcjax.check_rule(rule, (normal(3),), checks=["search"])
    assert report.findings[0].message.endswith("] = 0")


def test_a_call_imports_only_what_its_name_means():
    rule = jax.custom_vjp(jnp.tan)
    rule.defvjp(lambda x: (jnp.tan(x), x), lambda x, dy: (dy * x,))
    report = fcjax.check_rule(rule, (normal(3),), checks=["search"])
    assert not report.findings[0].call.startswith("from")


def test_long_arguments_of_a_call_are_those_of_its_finding():
    rule = with_rule(jnp.sin, lambda x, dy: (dy * jnp.where(x == 0, 0, jnp.cos(x)),))
    (finding,) = fcjax.check_rule(rule, (normal(7, 11),), checks=["search"]).findings
    assert "# args: `args` of this finding, x: float32[7, 11]" in finding.call


def test_autodiff_that_the_slopes_refute_is_no_oracle_of_a_search():
    # of a number that is taken apart into bits, as by `ldexp`, autodiff is 0
    def negated(x):
        bits = jnp.dtype(f"uint{8 * x.dtype.itemsize}")
        sign = jnp.array(1, bits) << (8 * x.dtype.itemsize - 1)
        return jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(x, bits) ^ sign, x.dtype)

    rule = with_rule(negated, lambda x, dy: (-dy,))
    report = fcjax.check_rule(rule, (normal(5),), checks=["finite_differences", "search"])
    assert report.verdict == "right", str(report)
    wrong = with_rule(negated, lambda x, dy: (-2 * dy,))
    assert fcjax.check_rule(wrong, (normal(5),), checks=["search"]).verdict == "wrong"


# --- beside a note ------------------------------------------------------------------------------


def test_a_note_hides_no_mistake_with_another_mask_or_size():
    def norm(x, m):
        return jnp.sqrt(jnp.sum(jnp.where(m, x, 0.0) ** 2, -1))

    def forgets_mask(x, m, dy):
        return dy[:, None] * x / norm(x, m)[:, None], None

    def halves_one_row(x, m, dy):
        factor = 0.5 if len(x) == 1 else 1.0
        return factor * dy[:, None] * jnp.where(m, x, 0.0) / norm(x, m)[:, None], None

    for bwd, where in ((forgets_mask, "of m"), (halves_one_row, "with 1 instead of 5")):
        args = normal(5, 3), jnp.ones((5, 3), bool)
        report = fcjax.check_rule(with_rule(norm, bwd), args)
        assert {f.severity for f in report.findings} == {"note", "wrong"}
        assert any(where in f.message for f in report.findings if f.severity == "wrong")


def test_a_filter_of_even_length_is_tried():
    def filtered(x, w):
        return jnp.convolve(x, w, mode="same")

    def bwd(x, w, dy):
        (dw,) = jax.vjp(lambda w: filtered(x, w), w)[1](dy)
        return filtered(dy, w[::-1]), dw  # dx is right for odd lengths

    report = fcjax.check_rule(with_rule(filtered, bwd), (normal(8), normal(3)))
    assert "with 2 instead of 3 along axis 0 of w" in str(report)


@pytest.mark.parametrize("outside", [lambda y: y < 0, lambda y: ~(y >= 0)], ids=["<", ">="])
def test_integers_on_the_other_side_of_a_comparison_are_tried(outside):
    def loss(z, y):
        logp = jax.nn.log_softmax(z)
        chosen = jnp.take_along_axis(logp, jnp.maximum(y, 0)[:, None], 1)[:, 0]
        kept = ~outside(y)
        return -jnp.sum(jnp.where(kept, chosen, 0.0)) / jnp.maximum(kept.sum(), 1)

    def bwd(z, y, dy):  # divides by all examples
        dz = jax.nn.softmax(z) - jax.nn.one_hot(y, z.shape[1])
        return dy * jnp.where(outside(y)[:, None], 0, dz) / y.size, None

    report = fcjax.check_rule(with_rule(loss, bwd), (normal(5, 4), jnp.array([0, 1, 2, 3, 1])))
    assert report.verdict == "wrong", f"{report}"
    assert "y = -1" in str(report)


def test_indices_are_within_a_smaller_table():
    def added(x, i, u):
        return x.at[i].add(u)

    rule = with_rule(added, lambda x, i, u, dy: (dy, None, dy[i]))
    report = fcjax.check_rule(rule, (normal(5), jnp.array([0, 3, 3]), normal(3)))
    assert report.verdict == "right", f"{report}"


def test_a_negative_index_that_is_counted_from_the_end_is_not_tried():
    def loss(z, y):
        return -jnp.sum(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1))

    def bwd(z, y, dy):  # one_hot(-1) is 0, but z[-1] is the last class
        return dy * (jax.nn.softmax(z) - jax.nn.one_hot(y, z.shape[1])), None

    report = fcjax.check_rule(with_rule(loss, bwd), (normal(5, 4), jnp.array([0, 1, 2, 3, 1])))
    assert report.verdict == "right", f"{report}"


def test_arrays_that_the_search_does_not_move_are_told():
    scale = with_rule(
        lambda w, x: jnp.maximum(w, 0.0) * x, lambda w, x, dy: (jnp.sum(dy * x), dy * w)
    )
    w, x = jnp.asarray(0.7), normal(4)
    assert fcjax.check_rule(scale, (w, x)).verdict == "wrong"
    report = fcjax.check_rule(lambda x: scale(w, x), (x,))
    assert report.unchecked == ("other numbers of w: the search moves arguments alone",)
