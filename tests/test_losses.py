"""Losses: their gradients by each argument, their reductions, and what other libraries compute."""

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import plain
import pytest
import reference
import sklearn.metrics
from support import (
    Case,
    assert_close,
    check_gradients,
    check_transformations,
    names,
    normal,
    random_like,
    uniform,
)

import fcjax

REDUCTIONS = ("mean", "sum", "none")
M, N = 5, 3
WEIGHTS = uniform(10, M, low=0.2, high=2.0)

# --- losses of pairs ------------------------------------------------------------------------

# predictions and targets in the domain of each loss, at a distance from its kinks
POINTS = {
    "squared_error": (normal(0, M, N), normal(1, M, N)),
    "half_squared_error": (normal(0, M, N), normal(1, M, N)),
    "mean_squared_error": (normal(0, M, N), normal(1, M, N)),
    "absolute_error": (normal(0, M, N), normal(1, M, N)),
    "huber": (2 * normal(0, M, N), normal(1, M, N)),
    "poisson": (normal(0, M, N), uniform(1, M, N, high=4)),
    "hinge": (normal(0, M, N), normal(1, M, N)),
    "binary_cross_entropy": (uniform(0, M, N, low=0.1, high=0.9), uniform(1, M, N)),
    "sigmoid_binary_cross_entropy": (2 * normal(0, M, N), uniform(1, M, N)),
}
PAIRWISE = sorted(POINTS)


def reduced(library, name, reduction, **options):
    """`f(pred, target[, weights])` made of the loss and the reduction of a reference library."""
    loss = partial(getattr(library, name), **options)

    def f(pred, target, weights=None):
        return library.reduce(loss(pred, target), weights, reduction)

    return f


def pairwise_case(name, reduction, *, weighted, shape=lambda array: array, **options):
    def rule(pred, target, weights=None):
        return getattr(fcjax, name)(pred, target, weights=weights, reduction=reduction, **options)

    pred, target = (shape(point) for point in POINTS[name])
    weights = (uniform(10, *(pred.shape[:-1] or pred.shape), low=0.2, high=2.0),)
    return Case(
        f"{name}, {reduction}{', weights' * weighted}",
        rule,
        reduced(plain, name, reduction, **options),
        reduced(reference, name, reduction, **options),
        (pred, target, *weights * weighted),
    )


PAIRWISE_CASES = [
    pairwise_case(name, reduction, weighted=weighted)
    for name, reduction, weighted in itertools.product(PAIRWISE, REDUCTIONS, (False, True))
]


def test_every_loss_of_the_library_is_tested():
    public = {name for name in vars(fcjax.losses) if not name.startswith("_")}
    functions = {name for name in public if callable(getattr(fcjax.losses, name))}
    assert {*PAIRWISE, "softmax_cross_entropy"} <= functions
    assert functions - {*PAIRWISE, "softmax_cross_entropy"} == {"dense_softmax_cross_entropy"}


@pytest.mark.parametrize("case", PAIRWISE_CASES, ids=names(PAIRWISE_CASES))
def test_pairwise_gradients(case, x64):
    check_gradients(case, x64, jit=False)


@pytest.mark.parametrize("name", PAIRWISE)
@pytest.mark.parametrize(
    "dtypes",
    [
        (jnp.float32, jnp.float32, jnp.float32),
        (jnp.bfloat16, jnp.bfloat16, jnp.bfloat16),
        (jnp.bfloat16, jnp.float32, jnp.bfloat16),
        (jnp.float32, jnp.bfloat16, jnp.float32),
    ],
    ids=lambda dtypes: "-".join(jnp.dtype(d).name for d in dtypes),
)
def test_pairwise_gradients_in_narrow_and_mixed_dtypes(name, dtypes):
    check_gradients(pairwise_case(name, "mean", weighted=True), *dtypes, jit=False)


@pytest.mark.parametrize("name", PAIRWISE)
def test_pairwise_transformations(name, x64):
    check_transformations(pairwise_case(name, "mean", weighted=True), x64)


SHAPES = {
    "two batch dimensions": lambda array: np.stack([array, 0.9 * array]),
    "one number per example": lambda array: array[:, 0],
    "one feature": lambda array: array[:, :1],
    "one example": lambda array: array[:1],
}


@pytest.mark.parametrize("name", ["mean_squared_error", "huber", "poisson", "binary_cross_entropy"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.in_turn(2)
def test_pairwise_shapes(name, shape, x64):
    for weighted in (False, True):
        case = pairwise_case(name, "mean", weighted=weighted, shape=shape)
        check_gradients(case, x64, jit=False)


@pytest.mark.parametrize("delta", [0.3, 2.0, 5.0])
def test_huber_with_another_delta(delta, x64):
    check_gradients(pairwise_case("huber", "mean", weighted=True, delta=delta), x64, jit=False)


def test_the_mean_divides_by_examples_or_by_the_sum_of_weights():
    pred, target = jnp.asarray([[1.0, 2.0], [3.0, 4.0], [0.0, 1.0]]), jnp.zeros((3, 2))
    weights = jnp.asarray([1.0, 2.0, 0.0])
    assert fcjax.squared_error(pred, target) == pytest.approx((5 + 25 + 1) / 3)
    assert fcjax.half_squared_error(pred, target) == pytest.approx((5 + 25 + 1) / 6)
    assert fcjax.mean_squared_error(pred, target) == pytest.approx((5 + 25 + 1) / 6)
    assert fcjax.squared_error(pred, target, weights=weights) == pytest.approx((5 + 50) / 3)
    total = fcjax.squared_error(pred, target, reduction="sum")
    assert total == pytest.approx(jnp.linalg.norm(pred - target) ** 2)


@pytest.mark.parametrize("name", [*PAIRWISE, "softmax_cross_entropy"])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_loss_of_narrow_predictions_is_float32(name, dtype, reduction):
    pred = jax.ShapeDtypeStruct((M, N), dtype)
    loss = jax.eval_shape(partial(getattr(fcjax, name), reduction=reduction), pred, pred)
    assert loss.dtype == jnp.float32


def test_a_narrow_mean_has_more_digits_than_its_inputs():
    pred = jnp.asarray([[1.0], [1.0], [1.0078125]], jnp.bfloat16)
    want = (2 + 1.0078125**2) / 3
    assert fcjax.squared_error(pred, jnp.zeros_like(pred)) == pytest.approx(want, rel=1e-6)


# --- kinks and saturation -------------------------------------------------------------------


def gradients(name, pred, target, **options):
    """Loss of each example, and its gradients by pred and target."""
    loss = partial(getattr(fcjax, name), reduction="none", **options)
    value, pull = jax.vjp(loss, jnp.asarray(pred, jnp.float32), jnp.asarray(target, jnp.float32))
    return value, *pull(jnp.ones_like(value))


def test_absolute_error_has_gradient_zero_at_its_kink():
    value, dp, dt = gradients("absolute_error", [1.0, -1e4], [1.0, 1e4])
    np.testing.assert_array_equal(value, [0, 2e4])
    np.testing.assert_array_equal(dp, [0, -1])
    np.testing.assert_array_equal(dt, [0, 1])


def test_hinge_has_gradient_zero_at_its_kink():
    value, dp, dt = gradients("hinge", [1.0, -2.0, 0.5], [1.0, -0.5, 1.0])
    np.testing.assert_array_equal(value, [0, 0, 0.5])
    np.testing.assert_array_equal(dp, [0, 0, -1])
    np.testing.assert_array_equal(dt, [0, 0, -0.5])


def test_huber_at_its_seam_and_far_out():
    value, dp, dt = gradients("huber", [1.0, -1.0, 1e4, -1e30, 0.0], [0.0] * 5)
    np.testing.assert_allclose(value, [0.5, 0.5, 9999.5, 1e30, 0])
    np.testing.assert_array_equal(dp, [1, -1, 1, -1, 0])
    np.testing.assert_array_equal(dt, -dp)


def test_saturated_logits_of_two_classes():
    value, dz, dt = gradients("sigmoid_binary_cross_entropy", [1e4, -1e4, 1e4, -1e4], [1, 0, 0, 1])
    np.testing.assert_array_equal(value, [0, 0, 1e4, 1e4])
    np.testing.assert_array_equal(dz, [0, 0, 1, -1])
    np.testing.assert_array_equal(dt, [-1e4, 1e4, -1e4, 1e4])


@pytest.mark.parametrize("far", [1e4, 3e38])
def test_second_derivatives_of_saturated_logits_are_zero(far):
    def loss(z):
        return fcjax.sigmoid_binary_cross_entropy(z, jnp.asarray([1.0, 0.0]), reduction="sum")

    hessian = jax.hessian(loss)(jnp.asarray([far, far]))
    np.testing.assert_array_equal(hessian, np.zeros((2, 2)))


def test_a_small_loss_of_a_sure_prediction_keeps_its_digits():
    value, dz, _ = gradients("sigmoid_binary_cross_entropy", [30.0, -30.0], [1, 0])
    np.testing.assert_allclose(value, math.log1p(math.exp(-30)), rtol=1e-5)
    np.testing.assert_allclose(dz[1], math.exp(-30), rtol=1e-5)


def test_certain_probabilities():
    probs, target = [0.0, 1.0, 0.0, 1.0], [0, 1, 1, 0]
    value, dp, _ = gradients("binary_cross_entropy", probs, target)
    # right: no loss, and the slope ∓1 of −log(1 − p) at 0 and of −log p at 1
    np.testing.assert_array_equal(value, [0, 0, np.inf, np.inf])
    np.testing.assert_array_equal(dp, [1, -1, -np.inf, np.inf])


def test_a_weight_of_zero_silences_an_example():
    weights = jnp.asarray([1.0, 0.0])
    gradient = jax.grad(lambda p: fcjax.squared_error(p, jnp.zeros(2), weights=weights))
    np.testing.assert_array_equal(gradient(jnp.asarray([3.0, 5.0])), [6, 0])


def test_poisson_far_out():
    value, dr, _ = gradients("poisson", [-1e4, 0.0], [3.0, 0.0])
    np.testing.assert_array_equal(value, [3e4, 1])
    np.testing.assert_array_equal(dr, [-3, 1])


@pytest.mark.parametrize(
    "name", ["hinge", "poisson", "binary_cross_entropy", "sigmoid_binary_cross_entropy"]
)
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, jnp.bool_])
def test_classes_and_counts_may_be_integers(name, dtype, unchecked):
    pred = jnp.asarray(POINTS[name][0], jnp.float32)
    target = jnp.asarray(normal(7, M, N) > 0, dtype)
    loss = getattr(fcjax, name)
    got = jax.value_and_grad(loss)(pred, target)
    want = jax.value_and_grad(loss)(pred, target.astype(jnp.float32))
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], want[1])


# --- softmax cross-entropy ------------------------------------------------------------------

K = 4
LOGITS = normal(20, M, K)
LABELS = np.array([0, 3, 1, 3, 2], np.int32)
DISTRIBUTIONS = reference.softmax(normal(21, M, K))
CLASS_WEIGHTS = uniform(22, K, low=0.2, high=2.0)


def cross_entropy(library, labels, reduction, smoothing, ignored, class_weighted, weighted):
    """`f(logits, *others)` of a reference library; the others are what is differentiable."""

    def f(logits, *others):
        given = _named(others, labels, class_weighted, weighted)
        losses, counts = library.softmax_cross_entropy(
            logits, given["labels"], smoothing, ignored, given.get("class_weights")
        )
        return library.reduce(losses, given.get("weights"), reduction, counts)

    return f


def _named(others, labels, class_weighted, weighted):
    others = list(others)
    given = {"labels": others.pop(0) if labels is None else labels}
    if class_weighted:
        given["class_weights"] = others.pop(0)
    if weighted:
        given["weights"] = others.pop(0)
    assert not others
    return given


def cross_entropy_case(
    reduction, *, soft=False, smoothing=0.0, ignored=None, class_weighted=False, weighted=False
):
    labels = None if soft else LABELS
    options = labels, reduction, smoothing, ignored, class_weighted, weighted

    def rule(logits, *others):
        given = _named(others, labels, class_weighted, weighted)
        return fcjax.softmax_cross_entropy(
            logits,
            label_smoothing=smoothing,
            ignore_index=ignored,
            reduction=reduction,
            **{**given, "labels": jnp.asarray(given["labels"])},
        )

    return Case(
        f"{reduction}{', distributions' * soft}, smoothing {smoothing}, ignored {ignored}"
        f"{', class weights' * class_weighted}{', weights' * weighted}",
        rule,
        cross_entropy(plain, *options),
        cross_entropy(reference, *options),
        (LOGITS, *(DISTRIBUTIONS,) * soft, *(CLASS_WEIGHTS,) * class_weighted)
        + (WEIGHTS,) * weighted,
    )


CROSS_ENTROPY_CASES = [
    cross_entropy_case(
        reduction,
        soft=soft,
        smoothing=smoothing,
        ignored=ignored,
        class_weighted=class_weighted,
        weighted=weighted,
    )
    for reduction, (soft, ignored), smoothing, class_weighted, weighted in itertools.product(
        REDUCTIONS,
        [(False, None), (False, 3), (True, None)],
        [0.0, 0.1],
        [False, True],
        [False, True],
    )
]


@pytest.mark.parametrize("case", CROSS_ENTROPY_CASES, ids=names(CROSS_ENTROPY_CASES))
def test_cross_entropy_gradients(case, x64):
    check_gradients(case, x64, jit=False)


EVERY_OPTION = cross_entropy_case(
    "mean", smoothing=0.1, ignored=3, class_weighted=True, weighted=True
)
SOFT = cross_entropy_case("mean", soft=True, smoothing=0.1, class_weighted=True, weighted=True)


@pytest.mark.parametrize("case", [EVERY_OPTION, SOFT], ids=["labels", "distributions"])
def test_cross_entropy_transformations(case, x64):
    check_transformations(case, x64)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_cross_entropy_gradients_in_narrow_dtypes(dtype):
    check_gradients(EVERY_OPTION, dtype, jit=False)
    check_gradients(SOFT, dtype, jit=False)


def test_cross_entropy_gradients_in_mixed_dtypes():
    check_gradients(SOFT, jnp.bfloat16, jnp.float32, jnp.bfloat16, jnp.float32, jit=False)
    check_gradients(SOFT, jnp.float32, jnp.bfloat16, jnp.float32, jnp.bfloat16, jit=False)


@pytest.mark.parametrize("batch", [(), (2, 3)], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy_with_any_batch_dimensions(batch, reduction, x64):
    logits, weights = normal(30, *batch, K), uniform(31, *batch, low=0.5)
    labels = np.random.default_rng(32).integers(0, K, batch)

    def rule(logits, weights):
        options = {"weights": weights, "reduction": reduction}
        return fcjax.softmax_cross_entropy(logits, jnp.asarray(labels), **options)

    def oracle(library, labels, logits, weights):
        return library.reduce(
            *(library.softmax_cross_entropy(logits, labels)[:1]), weights, reduction
        )

    case = Case(
        "batch",
        rule,
        partial(oracle, plain, jnp.asarray(labels)),
        partial(oracle, reference, np.asarray(labels)),
        (logits, np.asarray(weights)),
    )
    check_gradients(case, x64, jit=False)


def test_the_gradient_of_a_label_is_softmax_minus_one_hot():
    logits, labels = jnp.asarray(LOGITS, jnp.float32), jnp.asarray(LABELS)
    gradient = jax.grad(lambda z: fcjax.softmax_cross_entropy(z, labels, reduction="sum"))(logits)
    np.testing.assert_allclose(gradient, jax.nn.softmax(logits) - np.eye(K)[LABELS], atol=1e-6)


@pytest.mark.parametrize("outside", [-1, K, 127, -100])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_label_outside_the_classes_gives_nan(outside, smoothing):
    logits, labels = jnp.asarray(LOGITS, jnp.float32), jnp.asarray([0, outside, 1, 3, 2])
    loss = partial(fcjax.softmax_cross_entropy, label_smoothing=smoothing, reduction="none")
    value, pull = jax.vjp(lambda z: loss(z, labels), logits)
    (dz,) = pull(jnp.ones_like(value))
    outside_row = np.arange(M) == 1
    np.testing.assert_array_equal(np.isnan(value), outside_row)
    np.testing.assert_array_equal(np.isnan(dz), np.broadcast_to(outside_row[:, None], dz.shape))
    assert np.isnan(fcjax.softmax_cross_entropy(logits, labels))


@pytest.mark.parametrize("ignored", [3, -100, 255])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_an_ignored_label_counts_for_nothing(ignored, reduction):
    kept = np.array([True, False, True, True, False])
    labels = jnp.asarray(np.where(kept, [0, 0, 1, 2, 0], ignored), jnp.int32)
    logits = jnp.asarray(LOGITS, jnp.float32)

    def loss(z, labels):
        return fcjax.softmax_cross_entropy(z, labels, ignore_index=ignored, reduction=reduction)

    value, pull = jax.vjp(lambda z: loss(z, labels), logits)
    want, plain_pull = jax.vjp(lambda z: loss(z, labels[kept]), logits[kept])
    np.testing.assert_allclose(value[kept] if reduction == "none" else value, want, rtol=1e-6)
    (dz,), (plain_dz,) = pull(jnp.ones_like(value)), plain_pull(jnp.ones_like(want))
    np.testing.assert_allclose(dz[kept], plain_dz, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(dz[~kept], 0)


def test_the_logits_of_an_ignored_label_may_be_anything():
    logits, labels = jnp.asarray([[1.0, 2.0], [jnp.nan, jnp.inf]]), jnp.asarray([0, -1])

    def loss(z):
        return fcjax.softmax_cross_entropy(z, labels, ignore_index=-1)

    value, dz = jax.value_and_grad(loss)(logits)
    assert np.isfinite(value)
    np.testing.assert_array_equal(dz[1], [0, 0])


def test_the_mean_of_nothing_is_nan_and_the_sum_is_zero():
    logits, labels = jnp.asarray(LOGITS, jnp.float32), jnp.full(M, 3)
    loss = partial(fcjax.softmax_cross_entropy, logits, labels, ignore_index=3)
    assert np.isnan(loss())
    assert loss(reduction="sum") == 0
    np.testing.assert_array_equal(loss(reduction="none"), np.zeros(M))


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.uint8, jnp.int16, jnp.uint32])
def test_narrow_labels_of_many_classes(dtype):
    logits, labels = jnp.asarray(normal(40, 4, 300), jnp.float32), jnp.asarray([0, 1, 100, 127])
    got = jax.value_and_grad(fcjax.softmax_cross_entropy)(logits, labels.astype(dtype))
    want = jax.value_and_grad(fcjax.softmax_cross_entropy)(logits, labels)
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], want[1])


def test_an_ignored_label_that_a_narrow_type_cannot_hold():
    logits, labels = jnp.asarray(normal(40, 3, 300), jnp.float32), jnp.asarray([0, 1, 200])
    loss = partial(fcjax.softmax_cross_entropy, logits, ignore_index=-100)
    np.testing.assert_array_equal(loss(labels.astype(jnp.uint8)), loss(labels))


@pytest.mark.parametrize("soft", [False, True], ids=["labels", "distributions"])
@pytest.mark.parametrize("class_weighted", [False, True], ids=["", "class weights"])
def test_an_impossible_class_without_mass_costs_nothing(soft, class_weighted):
    logits = jnp.asarray([[1.0, -jnp.inf, 2.0], [-jnp.inf, 0.5, -1.0]])
    labels = jnp.asarray([2, 1])
    labels = jax.nn.one_hot(labels, 3) if soft else labels
    class_weights = jnp.asarray([1.0, 2.0, 3.0]) if class_weighted else None

    def loss(z, c):
        return fcjax.softmax_cross_entropy(z, labels, class_weights=c)

    value, pull = jax.vjp(loss, logits, class_weights)
    dz, dc = pull(jnp.ones_like(value))
    finite = jnp.where(jnp.isinf(logits), -1e9, logits)
    np.testing.assert_allclose(value, loss(finite, class_weights), rtol=1e-6)
    np.testing.assert_allclose(dz, jax.grad(loss)(finite, class_weights), rtol=1e-6)
    assert dc is None or np.all(np.isfinite(dc))


def test_saturated_logits():
    logits = jnp.asarray([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0]])
    labels = jnp.asarray([0, 1])
    loss = partial(fcjax.softmax_cross_entropy, reduction="none")
    value, pull = jax.vjp(lambda z: loss(z, labels), logits)
    np.testing.assert_array_equal(value, [0, 2e4])
    np.testing.assert_array_equal(pull(jnp.ones(2))[0], [[0, 0, 0], [1, -1, 0]])


@pytest.mark.parametrize("labels", [LABELS, DISTRIBUTIONS], ids=["labels", "distributions"])
def test_logits_with_a_large_common_term_lose_no_digits(labels):
    # the sums are exact in float32: 2^-10 is its spacing at 10,000
    differences = np.round(LOGITS * 2**10) / 2**10
    logits, labels = jnp.asarray(differences + 10_000, jnp.float32), jnp.asarray(labels)
    if labels.dtype != jnp.int32:
        labels = labels.astype(jnp.float32)
    loss = partial(fcjax.softmax_cross_entropy, reduction="none")
    value, pull = jax.vjp(lambda z: loss(z, labels), logits)
    Q = np.eye(K)[LABELS] if labels.ndim == 1 else np.asarray(labels, np.float64)
    logp = reference.log_softmax(differences)
    np.testing.assert_allclose(value, -np.sum(Q * logp, -1), rtol=1e-6)
    np.testing.assert_allclose(pull(jnp.ones(M))[0], np.exp(logp) - Q, atol=3e-7)


@pytest.mark.parametrize("size", [1e-37, 1e37])
def test_class_weights_of_any_size_have_a_mean(size):
    logits, labels = jnp.asarray(LOGITS, jnp.float32), jnp.asarray(LABELS)
    c = uniform(11, K, low=0.5, high=2.0).astype(np.float32)

    def gradient(c):
        loss = partial(fcjax.softmax_cross_entropy, class_weights=jnp.asarray(c, jnp.float32))
        return jax.grad(loss)(logits, labels)

    np.testing.assert_allclose(gradient(c * size), gradient(c), atol=1e-6)


def test_a_distribution_without_gradient_may_be_jitted():
    loss = jax.jit(jax.grad(fcjax.softmax_cross_entropy))
    got = loss(jnp.asarray(LOGITS, jnp.float32), jnp.asarray(DISTRIBUTIONS, jnp.float32))
    want = (reference.softmax(LOGITS) - DISTRIBUTIONS) / M
    np.testing.assert_allclose(got, want, atol=1e-6)


# --- other libraries ------------------------------------------------------------------------


def floats(*arrays):
    return tuple(jnp.asarray(array, jnp.float32) for array in arrays)


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("squared_error", optax.losses.squared_error),
        ("half_squared_error", optax.losses.l2_loss),
        ("huber", optax.losses.huber_loss),
        ("hinge", optax.losses.hinge_loss),
        ("sigmoid_binary_cross_entropy", optax.losses.sigmoid_binary_cross_entropy),
    ],
)
def test_pairwise_losses_are_those_of_optax(name, peer):
    pred, target = floats(*POINTS[name])
    loss = partial(getattr(fcjax, name), reduction="none")
    np.testing.assert_allclose(loss(pred, target), peer(pred, target).sum(-1), rtol=2e-6)


def test_cross_entropy_is_that_of_optax():
    logits, distributions = floats(LOGITS, DISTRIBUTIONS)
    loss = partial(fcjax.softmax_cross_entropy, logits, reduction="none")
    soft = optax.losses.softmax_cross_entropy
    hard = optax.losses.softmax_cross_entropy_with_integer_labels
    np.testing.assert_allclose(loss(distributions), soft(logits, distributions), rtol=2e-6)
    np.testing.assert_allclose(
        loss(jnp.asarray(LABELS)), hard(logits, jnp.asarray(LABELS)), rtol=2e-6
    )
    smooth = optax.losses.smooth_labels(jax.nn.one_hot(LABELS, K), 0.1)
    np.testing.assert_allclose(
        loss(jnp.asarray(LABELS), label_smoothing=0.1), soft(logits, smooth), rtol=2e-6
    )


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weights"])
def test_losses_are_those_of_scikit_learn(weights):
    pred, target = POINTS["mean_squared_error"]
    given = None if weights is None else jnp.asarray(weights, jnp.float32)
    got = fcjax.mean_squared_error(*floats(pred, target), weights=given)
    want = sklearn.metrics.mean_squared_error(target, pred, sample_weight=weights)
    assert got == pytest.approx(want, rel=1e-5)
    probs = reference.softmax(LOGITS)
    want = sklearn.metrics.log_loss(LABELS, probs, sample_weight=weights)
    got = fcjax.softmax_cross_entropy(*floats(LOGITS), jnp.asarray(LABELS), weights=given)
    assert got == pytest.approx(want, rel=1e-5)
    want = sklearn.metrics.log_loss(LABELS > 1, probs[:, 0], sample_weight=weights)
    got = fcjax.binary_cross_entropy(*floats(probs[:, 0]), jnp.asarray(LABELS > 1), weights=given)
    assert got == pytest.approx(want, rel=1e-5)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is the peer")


def compare_with_torch(torch, rule, peer, pred):
    """Value and gradient by the predictions, in float64."""
    if jnp.asarray(pred).dtype != jnp.float64:
        pytest.skip("this machine has no float64")
    got, pull = jax.vjp(rule, jnp.asarray(pred))
    tensor = torch.tensor(pred, requires_grad=True)
    want = peer(tensor)
    dy = random_like(got)
    want.backward(torch.tensor(np.asarray(dy)))
    assert_close(got, want.detach().numpy(), 1e-13, "value")
    assert_close(pull(dy)[0], tensor.grad.numpy(), 1e-13, "gradient")


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weighted", [False, True], ids=["", "class weights"])
@pytest.mark.parametrize(
    ("soft", "ignored"), [(False, None), (False, 3), (False, -100), (True, None)]
)
def test_cross_entropy_is_that_of_torch(
    torch, x64, reduction, smoothing, class_weighted, soft, ignored
):
    labels = DISTRIBUTIONS if soft else np.where(LABELS == 1, ignored or 1, LABELS)
    class_weights = CLASS_WEIGHTS if class_weighted else None

    def rule(logits):
        return fcjax.softmax_cross_entropy(
            logits,
            jnp.asarray(labels),
            label_smoothing=smoothing,
            ignore_index=ignored,
            class_weights=None if class_weights is None else jnp.asarray(class_weights),
            reduction=reduction,
        )

    def peer(logits):
        return torch.nn.functional.cross_entropy(
            logits,
            torch.tensor(labels if soft else labels.astype(np.int64)),
            weight=None if class_weights is None else torch.tensor(class_weights),
            ignore_index=-100 if ignored is None else ignored,
            label_smoothing=smoothing,
            reduction=reduction,
        )

    compare_with_torch(torch, rule, peer, LOGITS)


@pytest.mark.parametrize(
    ("name", "peer", "features"),
    [
        ("mean_squared_error", "mse_loss", N),
        ("squared_error", "mse_loss", 1),
        ("absolute_error", "l1_loss", 1),
        ("huber", "huber_loss", 1),
        ("poisson", "poisson_nll_loss", 1),
        ("binary_cross_entropy", "binary_cross_entropy", 1),
        ("sigmoid_binary_cross_entropy", "binary_cross_entropy_with_logits", 1),
    ],
)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_pairwise_losses_are_those_of_torch(torch, x64, name, peer, features, reduction):
    # PyTorch averages over every number: with one number per example the two are the same
    pred, target = POINTS[name]
    if features == 1 or reduction != "mean":
        pred, target = pred[:, 0], target[:, 0]
    function = getattr(torch.nn.functional, peer)
    compare_with_torch(
        torch,
        lambda pred: getattr(fcjax, name)(pred, jnp.asarray(target), reduction=reduction),
        lambda pred: function(pred, torch.tensor(target), reduction=reduction),
        pred,
    )


def test_labels_of_four_bits_are_labels():
    logits, labels = jnp.array([[2.0, 0.0], [0.0, 1.0]]), jnp.array([0, 1])
    got = fcjax.softmax_cross_entropy(logits, labels.astype(jnp.int4))
    assert got == fcjax.softmax_cross_entropy(logits, labels)


def test_the_loss_of_an_infinite_logit_is_infinite_or_zero():
    logits, target = jnp.array([jnp.inf, -jnp.inf]), jnp.array([0.25, 0.25])
    got = fcjax.sigmoid_binary_cross_entropy(logits, target, reduction="none")
    assert jnp.isposinf(got).all()


def test_an_array_as_parameter_of_squareplus_promotes_as_that_of_every_activation():
    z = jnp.ones(3, jnp.bfloat16)
    assert fcjax.squareplus(z, jnp.ones(3)).dtype == fcjax.elu(z, jnp.ones(3)).dtype == jnp.float32
