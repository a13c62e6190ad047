"""Last layer and cross-entropy in one rule: its gradients, its chunks, and what it costs."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest
import reference
from support import (
    Case,
    assert_close,
    assert_trees_close,
    check_gradients,
    check_transformations,
    names,
    normal,
    pullback,
    tolerance,
    uniform,
)

import fcjax

REDUCTIONS = ("mean", "sum", "none")
M, N_IN, K = 7, 3, 5
X, W, B = normal(0, M, N_IN), normal(1, N_IN, K), normal(2, K)
LABELS = np.array([0, 4, 1, 3, 2, 3, 4], np.int32)
DISTRIBUTIONS = reference.softmax(normal(3, M, K))
CLASS_WEIGHTS = uniform(4, K, low=0.2, high=2.0)
WEIGHTS = uniform(5, M, low=0.2, high=2.0)


def unfused(library, names, labels, reduction, smoothing, ignored):
    """The same in two steps of a reference library; `names` are those of the arguments."""

    def f(*args):
        given = {"b": None, "labels": labels, **dict(zip(names, args, strict=True))}
        losses, counts = library.softmax_cross_entropy(
            library.dense(given["x"], given["w"], given["b"]),
            given["labels"],
            smoothing,
            ignored,
            given.get("class_weights"),
        )
        return library.reduce(losses, given.get("weights"), reduction, counts)

    return f


def fused_case(
    reduction="mean",
    *,
    chunk_size=2,
    soft=False,
    bias=True,
    smoothing=0.0,
    ignored=None,
    class_weighted=False,
    weighted=False,
    compute_dtype=None,
):
    point = {"x": X, "w": W}
    point |= {"b": B} if bias else {}
    point |= {"labels": DISTRIBUTIONS} if soft else {}
    point |= {"class_weights": CLASS_WEIGHTS} if class_weighted else {}
    point |= {"weights": WEIGHTS} if weighted else {}
    labels = None if soft else LABELS

    def rule(*args):
        given = {"b": None, "labels": labels, **dict(zip(point, args, strict=True))}
        return fcjax.dense_softmax_cross_entropy(
            **given,
            chunk_size=chunk_size,
            reduction=reduction,
            label_smoothing=smoothing,
            ignore_index=ignored,
            compute_dtype=compute_dtype,
        )

    options = list(point), labels, reduction, smoothing, ignored
    name = f"{reduction}, {', '.join(point)}, smoothing {smoothing}, ignored {ignored}"
    programs = (unfused(library, *options) for library in (plain, reference))
    return Case(f"{name}, chunks of {chunk_size}", rule, *programs, tuple(point.values()))


# --- gradients by each argument ---------------------------------------------------------------

CHUNK_SIZES = (1, 2, 3, 4, M, M + 2, None)
CASES = [
    fused_case(
        reduction,
        chunk_size=chunk_size,
        soft=soft,
        smoothing=smoothing,
        ignored=ignored,
        class_weighted=class_weighted,
        weighted=weighted,
    )
    for (reduction, (soft, ignored), smoothing, class_weighted, weighted), chunk_size in zip(
        itertools.product(
            REDUCTIONS,
            [(False, None), (False, 3), (True, None)],
            [0.0, 0.1],
            [False, True],
            [False, True],
        ),
        itertools.cycle(CHUNK_SIZES),
        strict=False,
    )
]


@pytest.mark.parametrize("case", CASES, ids=names(CASES))
@pytest.mark.in_turn(2)
def test_gradients(case, x64):
    check_gradients(case, x64)


EVERY_OPTION = {"smoothing": 0.1, "class_weighted": True, "weighted": True}


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_every_chunk_size(chunk_size, reduction, x64):
    options = {"chunk_size": chunk_size, **EVERY_OPTION}
    check_gradients(fused_case(reduction, ignored=3, **options), x64)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_without_bias(reduction, x64):
    check_gradients(fused_case(reduction, bias=False, weighted=True), x64)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_narrow_dtypes(dtype, reduction):
    check_gradients(fused_case(reduction, ignored=3, **EVERY_OPTION), dtype)
    check_gradients(fused_case(reduction, soft=True, **EVERY_OPTION), dtype)


def test_mixed_dtypes():
    case = fused_case(soft=True, **EVERY_OPTION)
    wide, narrow = jnp.float32, jnp.bfloat16
    check_gradients(case, narrow, wide, narrow, wide, narrow, wide)
    check_gradients(case, wide, narrow, wide, narrow, wide, narrow)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_compute_dtype_rounds_operands_and_no_gradient(reduction):
    """Against autodiff for operands that are rounded already, so that dZ alone is rounded."""
    args = [jnp.asarray(V, jnp.bfloat16).astype(jnp.float32) for V in (X, W, B)]
    case = fused_case(reduction, smoothing=0.1, compute_dtype=jnp.bfloat16)
    run = (jax.vjp(f, *args) for f in (case.rule, case.plain))
    (loss, pull), (plain_loss, plain_pull) = run
    assert_close(loss, plain_loss, tolerance(jnp.float32), "the loss meets no rounding")
    dy = jnp.asarray(normal(6, *loss.shape), jnp.float32)
    for got, want in zip(pull(dy), plain_pull(dy), strict=True):
        assert got.dtype == jnp.float32
        assert_close(got, want, tolerance(jnp.bfloat16))
        assert np.any(got != got.astype(jnp.bfloat16).astype(jnp.float32))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_logits_are_not_rounded_to_narrow_dtypes(dtype):
    case = fused_case("none")
    args = [jnp.asarray(10 * V, dtype) for V in (X, W, B)]
    want = case.program(*(np.asarray(V).astype(np.float64) for V in args))
    got = case.rule(*args)
    assert got.dtype == jnp.float32
    assert_close(got, want, tolerance(jnp.float32))


BATCHES = (), (1,), (2, 3), (2, 1, 3)
# Every batch with every reduction and every chunk size, and every two of the latter together.
SQUARE = [
    (batch, reduction, (1, 4, None)[(i + j) % 3])
    for i, batch in enumerate(BATCHES)
    for j, reduction in enumerate(REDUCTIONS)
]


@pytest.mark.parametrize(("batch", "reduction", "chunk_size"), SQUARE, ids=str)
def test_any_batch_dimensions(batch, chunk_size, reduction, x64):
    x, weights = jnp.asarray(normal(10, *batch, N_IN)), jnp.asarray(uniform(11, *batch, low=0.5))
    w, b = jnp.asarray(W), jnp.asarray(B)
    options = {"label_smoothing": 0.1, "reduction": reduction}
    integers = jnp.asarray(np.random.default_rng(12).integers(0, K, batch))
    for labels in (integers, jax.nn.softmax(jnp.asarray(normal(13, *batch, K)))):

        def fused(x, w, b, weights, labels=labels):
            options_here = {"weights": weights, "chunk_size": chunk_size, **options}
            return fcjax.dense_softmax_cross_entropy(x, w, b, labels, **options_here)

        def in_two(x, w, b, weights, labels=labels):
            losses, _ = plain.softmax_cross_entropy(plain.dense(x, w, b), labels, 0.1)
            return plain.reduce(losses, weights, reduction)

        dy = jnp.asarray(normal(14, *(batch if reduction == "none" else ())))
        got, want = (pullback(f, (x, w, b, weights), dy) for f in (fused, in_two))
        assert_trees_close(got, want, tolerance(x64))


@pytest.mark.parametrize(
    ("reduction", "soft"), [("none", False), ("mean", True)], ids=["labels", "distributions"]
)
def test_transformations(reduction, soft, x64):
    ignored = None if soft else 3
    case = fused_case(reduction, chunk_size=3, soft=soft, ignored=ignored, **EVERY_OPTION)
    check_transformations(case, x64)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_assert_rule(reduction):
    args = [jnp.asarray(V, jnp.float32) for V in (X, W, B)]
    kwargs = {"weights": jnp.asarray(WEIGHTS, jnp.float32), "ignore_index": 3, "chunk_size": 3}
    checks = ["vjp", "finite_differences", "linearity", "second_order", "jit", "vmap", "dtype"]
    fcjax.assert_rule(
        fcjax.dense_softmax_cross_entropy,
        (*args, jnp.asarray(LABELS)),
        kwargs={"reduction": reduction, **kwargs},
        checks=checks,
    )


# --- labels and logits at the edge ------------------------------------------------------------


def floats(*arrays):
    return tuple(jnp.asarray(array, jnp.float32) for array in arrays)


def rows(labels, **options):
    """The loss of each example, and dX for a cotangent of ones."""
    x, w, b = floats(X, W, B)
    loss = partial(fcjax.dense_softmax_cross_entropy, reduction="none", chunk_size=2, **options)
    value, pull = jax.vjp(lambda x: loss(x, w, b, jnp.asarray(labels)), x)
    return value, pull(jnp.ones_like(value))[0]


@pytest.mark.parametrize("outside", [-1, K, 127, -100])
def test_a_label_outside_the_classes_gives_nan(outside):
    labels = np.where(np.arange(M) == 1, outside, LABELS)
    value, dx = rows(labels)
    np.testing.assert_array_equal(np.isnan(value), np.arange(M) == 1)
    np.testing.assert_array_equal(np.isnan(dx).any(-1), np.arange(M) == 1)
    loss = partial(fcjax.dense_softmax_cross_entropy, chunk_size=2)
    mean, dx = jax.value_and_grad(loss)(*floats(X, W, B), jnp.asarray(labels))
    assert np.isnan(mean)
    np.testing.assert_array_equal(np.isnan(dx).any(-1), np.arange(M) == 1)


def test_an_ignored_label_may_lie_outside_the_classes():
    labels = np.where(np.arange(M) == 1, -100, LABELS)
    value, dx = rows(labels, ignore_index=-100)
    assert value[1] == 0
    np.testing.assert_array_equal(dx[1], 0)
    kept = np.arange(M) != 1
    loss = partial(fcjax.dense_softmax_cross_entropy, chunk_size=3)
    run = jax.value_and_grad(loss, argnums=(1, 2))
    x, w, b = floats(X, W, B)
    got = jax.value_and_grad(partial(loss, ignore_index=-100), argnums=(1, 2))(
        x, w, b, jnp.asarray(labels)
    )
    want = run(x[kept], w, b, jnp.asarray(LABELS[kept]))
    assert_trees_close(got, want, tolerance(jnp.float32))


def test_if_nothing_counts_the_mean_is_nan():
    labels = jnp.full(M, 2)
    loss = partial(fcjax.dense_softmax_cross_entropy, *floats(X, W, B), labels, ignore_index=2)
    assert np.isnan(loss())
    assert loss(reduction="sum") == 0


def test_impossible_classes_and_saturated_logits():
    x, w = jnp.asarray([[1e4], [-1e4]]), jnp.asarray([[1.0, -1.0, 0.0]])
    b = jnp.asarray([0.0, 0.0, -jnp.inf])
    loss = partial(fcjax.dense_softmax_cross_entropy, reduction="sum", chunk_size=1)
    value, (dx, dw) = jax.value_and_grad(loss, argnums=(0, 1))(x, w, b, jnp.asarray([0, 0]))
    assert value == 2e4
    np.testing.assert_array_equal(dx, [[0], [-2]])
    np.testing.assert_array_equal(dw, [[1e4, -1e4, 0]])


def test_narrow_integers_hold_every_label():
    labels = jnp.asarray(LABELS, jnp.uint8)
    args = floats(X, W, B)
    got, want = (fcjax.dense_softmax_cross_entropy(*args, y) for y in (labels, LABELS))
    assert got == want


# --- what it costs: exact, for compiled programs are read and not run ----------------------------


def compiled(f, m, n_in, classes):
    """Compile for shapes alone; nothing of that size is allocated."""
    shapes = [(m, n_in), (n_in, classes), (classes,)]
    floats = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    lowered = jax.jit(f).lower(*floats, jax.ShapeDtypeStruct((m,), jnp.int32))
    return lowered, lowered.compile()


def temporaries(f, *sizes):
    return compiled(f, *sizes)[1].memory_analysis().temp_size_in_bytes


def in_two_steps(x, w, b, labels):
    return fcjax.softmax_cross_entropy(fcjax.dense(x, w, b), labels)


def with_gradients(f):
    return jax.value_and_grad(f, argnums=(0, 1, 2))


fused = fcjax.dense_softmax_cross_entropy
on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="bounds are those of XLA:CPU")
LARGE = 4096, 512, 32768


@on_cpu
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_seventh_of_the_memory(reduction):
    def loss(*args):
        return jnp.sum(fused(*args, reduction=reduction))

    limit = temporaries(with_gradients(in_two_steps), *LARGE) / 7
    assert temporaries(with_gradients(loss), *LARGE) <= limit
    assert temporaries(loss, *LARGE) <= limit


@on_cpu
def test_memory_for_a_batch_that_no_chunk_divides():
    odd = 4093, *LARGE[1:]
    assert temporaries(with_gradients(fused), *odd) <= 2**20 * 1024 / 7


@on_cpu
def test_a_million_classes():
    """One more dW than the result, and a few times the logits of 32 examples."""
    gradient, logits = 128 * 10**6 * 4, 32 * 10**6 * 4
    assert temporaries(with_gradients(fused), 256, 128, 10**6) <= gradient + 4 * logits


@on_cpu
def test_second_derivatives_hold_one_chunk_at_a_time():
    def hvp(loss):
        def run(x, w, b, labels):
            gradient = jax.grad(lambda x: loss(x, w, b, labels))
            return jax.grad(lambda x: jnp.vdot(gradient(x), jnp.sin(x)))(x)

        return run

    sizes = 4096, 64, 8192
    chunked = partial(fused, chunk_size=64)
    assert temporaries(hvp(chunked), *sizes) <= temporaries(hvp(in_two_steps), *sizes) / 7


def products(f, *sizes):
    """Matrix products in a program of one chunk."""
    return compiled(f, *sizes)[0].as_text().count("stablehlo.dot_general")


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_loss_alone_computes_no_gradient(reduction):
    def loss(*args):
        return jnp.sum(fused(*args, reduction=reduction))

    assert products(loss, 5, 3, 7) == 1
    assert products(with_gradients(loss), 5, 3, 7) == (4 if reduction == "none" else 3)


@on_cpu
def test_the_loss_alone_costs_what_it_costs_in_two_steps():
    flops = [compiled(f, 64, 128, 512)[1].cost_analysis()["flops"] for f in (fused, in_two_steps)]
    assert flops[0] <= 1.001 * flops[1]
    assert flops[0] == pytest.approx(2 * 64 * 128 * 512, rel=0.1)
