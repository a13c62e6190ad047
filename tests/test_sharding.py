"""Every rule on a mesh: the gradients are those of one device, wherever the arrays lie."""

import functools
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from support import assert_trees_close, normal, tolerance, uniform

import fcjax

DEVICES = min(4, jax.device_count())
pytestmark = pytest.mark.skipif(DEVICES < 2, reason="sharding needs at least two devices")

M, N_IN, N_OUT = 8, 3, 5


class Sum(NamedTuple):
    """A loss `Σ dyᵢ f(shared, batch)ᵢ` over the examples of a batch.

    `shared` lies on every device; each array of `batch` is split along its first axis.
    """

    name: str
    function: Callable
    shared: tuple
    batch: tuple

    def loss(self, shared, batch):
        *inputs, dy = batch
        y = self.function(*shared, *inputs)
        return jnp.sum(y * dy)


def case(name, function, shared, *inputs):
    """The cotangent dy is one more array of the batch, and not uniform."""
    shared, inputs = (
        tuple(jnp.asarray(array, jnp.float32) for array in arrays) for arrays in (shared, inputs)
    )
    y = jax.eval_shape(function, *shared, *inputs)
    return Sum(name, function, shared, (*inputs, jnp.asarray(normal(99, *y.shape), jnp.float32)))


X, W, B = normal(0, M, N_IN), normal(1, N_IN, N_OUT), normal(2, N_OUT)
W2, B2 = normal(3, N_OUT, N_OUT), normal(4, N_OUT)
Z = normal(5, M, N_OUT)
PROBS, TARGET = uniform(6, M, N_OUT, low=0.1, high=0.9), uniform(7, M, N_OUT)
DISTRIBUTIONS = np.exp(Z) / np.exp(Z).sum(-1, keepdims=True)
CLASS_WEIGHTS = uniform(8, N_OUT, low=0.5, high=2)
LABELS = np.array([0, 4, 2, 2, 1, 3, 0, 4])


def dense(w, b, x, **options):
    return fcjax.dense(x, w, b, **options)


def network(w, b, w2, b2, x):
    params = (fcjax.Layer(w, b), fcjax.Layer(w2, b2))
    return fcjax.mlp(params, x, activations="tanh", output_activation="softplus")


def textbook(w, b, w2, b2, x):
    """A function whose value holds the gradients of the explicit passes."""
    params = (fcjax.Layer(w, b), fcjax.Layer(w2, b2))
    A, cache = fcjax.forward(params, x, activations="tanh")
    return fcjax.deltas(params, cache, A)[0]


def normalized_network(w, b, scale, bias, w2, b2, x):
    a = fcjax.gelu(fcjax.layer_norm(fcjax.dense(x, w, b), scale, bias))
    return fcjax.log_softmax(fcjax.dense(fcjax.rms_norm(a, scale), w2, b2))


def each_loss(name, **options):
    return lambda *args: getattr(fcjax, name)(*args, reduction="none", **options)


def cross_entropy_by_class(class_weights, logits, q):
    return fcjax.softmax_cross_entropy(
        logits, q, class_weights=class_weights, label_smoothing=0.1, reduction="none"
    )


def fused_cross_entropy(w, b, class_weights, x, q, **options):
    return fcjax.dense_softmax_cross_entropy(
        x, w, b, q, class_weights=class_weights, label_smoothing=0.1, **options
    )


def fused_none(*args):
    return fused_cross_entropy(*args, reduction="none", chunk_size=1)


R, S, BIASES = normal(9, 2, N_IN), normal(10, 2, N_OUT), normal(11, 2, N_OUT)
EDGES = np.array([[-1, 0, 0.7], [-2.2, -0.3, 1], [-0.9, 0.4, 2.1]])


def ensemble(w, r, s, b, x):
    return fcjax.ensemble_dense(x, w, r, s, b)


def grouped(w, b, x):
    return fcjax.grouped_dense(x, w, b)


CASES = [
    case("dense", dense, (W, B), X),
    case("dense, bfloat16", partial(dense, compute_dtype=jnp.bfloat16), (W, B), X),
    case("dense, no bias", lambda w, x: fcjax.dense(x, w), (W,), X),
    case("dense, two batch dimensions", dense, (W, B), np.stack([X, 2 * X], 1)),
    case("layer_norm", lambda s, b, x: fcjax.layer_norm(x, s, b), (B, B2), Z),
    case("rms_norm", lambda s, x: fcjax.rms_norm(x, s), (B,), Z),
    case("scale", lambda s, x: fcjax.scale(x, s), (B,), Z),
    case("ensemble_dense", ensemble, (W, R, S, BIASES), X[:, None]),
    case("ensemble_dense, members", ensemble, (W, R, S, BIASES), np.stack([X, 2 * X], 1)),
    case("grouped_dense", grouped, (np.stack([W, 2 * W]), BIASES), np.stack([X, 2 * X], 1)),
    case("encoding", lambda e, x: fcjax.piecewise_linear_encoding(x, e), (EDGES,), X),
    case("parametric", lambda a, z: fcjax.parametric(z, a, "mish"), (B,), Z),
    case("leaky_relu", lambda p, z: fcjax.leaky_relu(z, p), (B,), Z),
    case("leaky_relu, scalar", lambda p, z: fcjax.leaky_relu(z, p), (0.3,), Z),
    case("elu", lambda p, z: fcjax.elu(z, p), (B,), Z),
    case("celu", lambda p, z: fcjax.celu(z, p), (np.abs(B) + 0.5,), Z),
    case("squareplus", lambda p, z: fcjax.squareplus(z, p), (np.abs(B) + 0.5,), Z),
    case("softmax", fcjax.softmax, (), Z),
    case("glu", fcjax.glu, (), np.concatenate([Z, -Z], -1)),
    case("squared_error", each_loss("squared_error"), (), Z, TARGET),
    case("huber", each_loss("huber"), (), Z, TARGET),
    case("binary_cross_entropy", each_loss("binary_cross_entropy"), (), PROBS, TARGET),
    case("softmax_cross_entropy", cross_entropy_by_class, (CLASS_WEIGHTS,), Z, DISTRIBUTIONS),
    case("dense_softmax_cross_entropy", fused_none, (W, B, CLASS_WEIGHTS), X, DISTRIBUTIONS),
    case("network", network, (W, B, W2, B2), X),
    case("textbook passes", textbook, (W, B, W2, B2), X),
    case("normalized network", normalized_network, (W, B, B, B2, W2, B2), X),
]
each_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def mesh_of(axis_type, shape=(DEVICES,), names=("data",)):
    devices = jax.devices()[: int(np.prod(shape))]
    return jax.make_mesh(shape, names, axis_types=(axis_type,) * len(shape), devices=devices)


def gradients(loss):
    return jax.value_and_grad(loss, argnums=(0, 1))


@functools.cache
def on_one_device(name):
    case = next(case for case in CASES if case.name == name)
    return jax.jit(gradients(case.loss))(case.shared, case.batch)


def placed(mesh, shared, batch):
    replicated, split = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
    return jax.device_put(shared, replicated), jax.device_put(batch, split)


def check(got, case):
    # sums run in another order
    assert_trees_close(got, on_one_device(case.name), tolerance(jnp.float32))


@each_case
@pytest.mark.in_turn(2)
def test_automatic_axes(case):
    shared, batch = placed(mesh_of(AxisType.Auto), case.shared, case.batch)
    check(jax.jit(gradients(case.loss))(shared, batch), case)


@each_case
@pytest.mark.parametrize("jitted", [False, True], ids=["eager", "jit"])
@pytest.mark.in_turn(2)
def test_explicit_axes(case, jitted):
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        shared, batch = placed(mesh, case.shared, case.batch)
        run = gradients(case.loss)
        value, (dshared, dbatch) = (jax.jit(run) if jitted else run)(shared, batch)
        for V, dV in zip((*shared, *batch), (*dshared, *dbatch), strict=True):
            assert jax.typeof(dV).sharding.spec == jax.typeof(V).sharding.spec
    check((value, (dshared, dbatch)), case)


CHECK_VMA = pytest.mark.parametrize("check_vma", [True, False], ids=["vma", "no vma"])


@each_case
@CHECK_VMA
def test_gradient_of_a_shard_map(case, check_vma):
    """The gradient is taken outside: the boundary sums what VMA does not."""
    mesh = mesh_of(AxisType.Auto)

    @partial(
        jax.shard_map, mesh=mesh, in_specs=(P(), P("data")), out_specs=P(), check_vma=check_vma
    )
    def loss(shared, batch):
        return jax.lax.psum(case.loss(shared, batch), "data")

    check(jax.jit(gradients(loss))(*placed(mesh, case.shared, case.batch)), case)


@each_case
@CHECK_VMA
def test_gradient_inside_a_shard_map(case, check_vma):
    """The gradient of the local loss: with VMA the rule sums, without it the caller does."""
    mesh = mesh_of(AxisType.Auto)
    out_specs = (P(), (P(), P("data")))

    @partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(P(), P("data")),
        out_specs=out_specs,
        check_vma=check_vma,
    )
    def run(shared, batch):
        value, (dshared, dbatch) = gradients(case.loss)(shared, batch)
        if not check_vma:
            dshared = jax.lax.psum(dshared, "data")
        return jax.lax.psum(value, "data"), (dshared, dbatch)

    check(jax.jit(run)(*placed(mesh, case.shared, case.batch)), case)


# --- reductions -----------------------------------------------------------------------------

WEIGHTS = np.float32(uniform(10, M, low=0.2, high=2))


def weighted_cross_entropy(weights, w, b, x, labels, reduction):
    logits = fcjax.dense(x, w, b)
    loss = fcjax.softmax_cross_entropy(logits, labels, weights=weights, reduction=reduction)
    return jnp.sum(loss * loss)


def fused(weights, w, b, x, labels, reduction, chunk_size=1):
    options = {"weights": weights, "reduction": reduction, "chunk_size": chunk_size}
    loss = fcjax.dense_softmax_cross_entropy(x, w, b, labels, **options)
    return jnp.sum(loss * loss)


def fused_with_a_remainder(weights, w, b, x, labels, reduction):
    return fused(weights, w, b, x, labels, reduction, chunk_size=3)


def weighted_error(weights, w, b, x, labels, reduction):
    del labels
    loss = fcjax.mean_squared_error(
        fcjax.dense(x, w, b), 2 * x @ jnp.ones_like(w), weights=weights, reduction=reduction
    )
    return jnp.sum(loss * loss)


@pytest.mark.parametrize(
    "loss", [weighted_cross_entropy, weighted_error, fused, fused_with_a_remainder]
)
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("weights", [None, P(), P("data")], ids=["", "replicated", "split"])
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
@pytest.mark.in_turn(3)
def test_reductions_over_a_split_batch(loss, reduction, weights, axis_type):
    mesh = mesh_of(axis_type)
    w, b, x = (jnp.asarray(array, jnp.float32) for array in (W, B, X))
    given = None if weights is None else jnp.asarray(WEIGHTS)
    labels = jnp.asarray(LABELS)
    run = jax.jit(jax.value_and_grad(partial(loss, reduction=reduction), argnums=(0, 1, 2)))
    single = run(given, w, b, x, labels)
    with jax.set_mesh(mesh):
        shared, batch = placed(mesh, (w, b), (x, labels))
        if given is not None:
            given = jax.device_put(given, NamedSharding(mesh, weights))
        assert_trees_close(run(given, *shared, *batch), single, tolerance(jnp.float32))


@CHECK_VMA
@pytest.mark.parametrize("name", ["squared_error", "softmax_cross_entropy"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_replicated_weights_in_a_shard_map(name, reduction, check_vma):
    """Each shard weighs its examples with the same numbers: dw is the sum over the shards."""
    mesh, local = mesh_of(AxisType.Auto), M // DEVICES
    weights = jnp.asarray(WEIGHTS[:local])
    pred, target = (jnp.asarray(array, jnp.float32) for array in (Z, DISTRIBUTIONS))

    def local_loss(weights, pred, target):
        loss = getattr(fcjax, name)(pred, target, weights=weights, reduction=reduction)
        return jnp.sum(loss * loss)

    @partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(P(), P("data"), P("data")),
        out_specs=P(),
        check_vma=check_vma,
    )
    def loss(*args):
        return jax.lax.psum(local_loss(*args), "data")

    def shard_by_shard(weights, pred, target):
        shards = jnp.split(pred, DEVICES), jnp.split(target, DEVICES)
        return sum(local_loss(weights, *shard) for shard in zip(*shards, strict=True))

    args = weights, pred, target
    got, want = (
        jax.jit(jax.value_and_grad(f, argnums=(0, 1, 2)))(*args) for f in (loss, shard_by_shard)
    )
    assert_trees_close(got, want, tolerance(jnp.float32))


# --- split weights, weights off the mesh, whole networks --------------------------------------

TWO_AXES = pytest.mark.skipif(DEVICES < 4, reason="two mesh axes need at least four devices")


@TWO_AXES
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
@pytest.mark.parametrize(
    ("w_spec", "b_spec", "x_spec"),
    [
        (P(None, "model"), P("model"), P("data", None)),
        (P(None, "model"), P("model"), P(None, None)),
        (P(None, None), P(None), P(("data", "model"), None)),
        (P(None, "model"), P(None), P("data", None)),
    ],
    ids=["columns", "columns, whole batch", "batch over both axes", "bias replicated"],
)
def test_dense_with_split_weights(axis_type, w_spec, b_spec, x_spec):
    mesh = mesh_of(axis_type, (2, 2), ("data", "model"))
    w, b, x = normal(1, N_IN, 6), normal(2, 6), normal(0, M, N_IN)
    args = tuple(jnp.asarray(array, jnp.float32) for array in (w, b, x))
    dy = jnp.asarray(normal(3, M, 6), jnp.float32)

    def loss(w, b, x):
        return jnp.sum(jnp.sin(fcjax.dense(x, w, b)) * dy)

    run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
    single = run(*args)
    with jax.set_mesh(mesh):
        placed_args = tuple(
            jax.device_put(array, NamedSharding(mesh, spec))
            for array, spec in zip(args, (w_spec, b_spec, x_spec), strict=True)
        )
        assert_trees_close(run(*placed_args), single, tolerance(jnp.float32))


@TWO_AXES
@CHECK_VMA
def test_a_batch_that_a_shard_map_splits_over_two_axes(check_vma):
    mesh, axes, case = (
        mesh_of(AxisType.Auto, (2, 2), ("data", "model")),
        ("data", "model"),
        CASES[0],
    )

    @partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(P(), P(axes)),
        out_specs=(P(), (P(), P(axes))),
        check_vma=check_vma,
    )
    def run(shared, batch):
        value, (dshared, dbatch) = gradients(case.loss)(shared, batch)
        if not check_vma:
            dshared = jax.lax.psum(dshared, axes)
        return jax.lax.psum(value, axes), (dshared, dbatch)

    check(jax.jit(run)(case.shared, case.batch), case)


def test_weights_that_were_never_placed_on_the_mesh():
    """Arrays made before the mesh was set, and constants of the traced function."""
    w, b = (jnp.asarray(array, jnp.float32) for array in (W, B))
    x = jnp.asarray(X, jnp.float32)

    def loss(x):
        return jnp.sum(fcjax.dense(x, w, b) ** 2)

    single = jax.grad(loss)(x)
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        _, (x,) = placed(mesh, (), (x,))
        assert_trees_close(jax.jit(jax.grad(loss))(x), single, tolerance(jnp.float32))


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def test_a_loss_gradient_of_a_whole_network(axis_type):
    mesh = mesh_of(axis_type)
    params = fcjax.init(jax.random.key(0), (N_IN, 7, 7, N_OUT))
    x, labels = jnp.asarray(X, jnp.float32), jnp.asarray(LABELS)

    def loss(params, x, labels):
        logits = fcjax.mlp(params, x, activations=("gelu", "elu"))
        return fcjax.softmax_cross_entropy(logits, labels, label_smoothing=0.1, ignore_index=2)

    run = jax.jit(jax.value_and_grad(loss))
    single = run(params, x, labels)
    with jax.set_mesh(mesh):
        params, (x, labels) = placed(mesh, params, (x, labels))
        assert_trees_close(run(params, x, labels), single, tolerance(jnp.float32))


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_dropout_of_a_split_batch(rate):
    x, key = jnp.asarray(Z, jnp.float32), jax.random.key(0)
    run = jax.jit(jax.value_and_grad(lambda x: jnp.sum(fcjax.dropout(x, rate, key) ** 2)))
    single = run(x)
    _, (x,) = placed(mesh_of(AxisType.Auto), (), (x,))
    assert_trees_close(run(x), single, tolerance(jnp.float32))
