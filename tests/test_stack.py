"""Runs of equal layers: one rule for all of them, the same numbers, and less memory."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import plain
import pytest
import reference
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from support import (
    Case,
    assert_close,
    assert_same_bits,
    assert_trees_close,
    check_gradients,
    check_transformations,
    long,
    normal,
    plain_activation,
    tolerance,
)

import fcjax
from fcjax._jax import quick_options
from fcjax.activations import ACTIVATIONS

# glu halves its argument, and no layer of its own width can follow
NAMES = sorted(set(ACTIVATIONS) - {"glu"})
each_name = pytest.mark.parametrize("name", NAMES)
DEPTH, UNITS = 5, 4
SIZES = (3, *(UNITS,) * (DEPTH + 1), 2)


def pairs(bias=True, sizes=SIZES):
    """Pairs (w, b) of NumPy float64: a layer, `DEPTH` stacked ones and the output layer."""
    return tuple(
        (normal(i, *shape) / 2, normal(50 + i, shape[1]) if bias else None)
        for i, shape in enumerate(pairwise(sizes))
    )


def parameters(dtype, **options):
    return tuple(
        fcjax.Layer(jnp.asarray(w, dtype), None if b is None else jnp.asarray(b, dtype))
        for w, b in pairs(**options)
    )


X, WEIGHTS = normal(90, 7, 3), normal(91, 7, 2)


def loss(params, x, weights, **options):
    """A scalar whose gradient at the output is not uniform."""
    return jnp.sum(weights * jnp.sin(fcjax.mlp(params, x, **options)))


def at_a_point(dtype, **options):
    return parameters(dtype, **options), jnp.asarray(X, dtype), jnp.asarray(WEIGHTS, dtype)


def compiled(function):
    """Under `jit`, compiled quickly rather than well."""
    return jax.jit(function, compiler_options=quick_options())


def gradients(params, x, weights, **options):
    """Of the loss by layers and x; those of stacked ones are given back layer by layer."""
    compute = jax.value_and_grad(partial(loss, **options), argnums=(0, 1))
    value, (dparams, dx) = compiled(compute)(params, x, weights)
    return value, fcjax.unstack(dparams), dx


# --- stack and unstack ----------------------------------------------------------------------


def shapes(params):
    return [layer.w.shape for layer in params]


def test_stack_finds_runs_of_equal_hidden_layers():
    params = fcjax.init(jax.random.key(0), (3, 4, 4, 4, 5, 5, 6, 6, 6, 6))
    assert shapes(fcjax.stack(params)) == [
        (3, 4), (2, 4, 4), (4, 5), (5, 5), (5, 6), (2, 6, 6), (6, 6),
    ]  # fmt: skip
    assert [layer.b.shape for layer in fcjax.stack(params)][1:3] == [(2, 4), (5,)]


def test_layers_that_differ_in_dtype_or_bias_are_not_equal():
    like = partial(fcjax.init, jax.random.key(0), (4,) * 4)
    narrow = partial(like, dtype=jnp.bfloat16)
    several = (*like(), *narrow(), *like(bias=False), *narrow(bias=False), *like())
    stacked = fcjax.stack(several)
    assert shapes(stacked) == [(3, 4, 4)] * 4 + [(2, 4, 4), (4, 4)]
    assert [layer.w.dtype for layer in stacked][:2] == [jnp.float32, jnp.bfloat16]
    assert stacked[2].b is None
    assert_same_bits(fcjax.unstack(stacked), several)


@pytest.mark.parametrize("bias", [True, False])
def test_unstack_is_the_inverse_of_stack(bias):
    params = parameters(jnp.float32, bias=bias)
    stacked = fcjax.stack(params)
    assert shapes(stacked) == [(3, UNITS), (DEPTH, UNITS, UNITS), (UNITS, 2)]
    assert_same_bits(fcjax.unstack(stacked), params)
    assert_same_bits(fcjax.stack(stacked), stacked)
    assert_same_bits(fcjax.unstack(params), params)
    assert isinstance(fcjax.unstack(stacked)[1], fcjax.Layer)


def test_the_output_layer_is_never_in_a_run():
    params = fcjax.init(jax.random.key(0), (4,) * 5)
    assert shapes(fcjax.stack(params)) == [(3, 4, 4), (4, 4)]
    assert shapes(fcjax.stack(params[:1])) == [(4, 4)]


def test_stack_is_differentiable():
    params, x, weights = at_a_point(jnp.float32)

    def stacked_inside(params):
        return loss(fcjax.stack(params), x, weights)

    assert_trees_close(
        compiled(jax.grad(stacked_inside))(params),
        jax.grad(loss)(params, x, weights),
        tolerance(jnp.float32),
    )


# --- the same numbers as layer by layer -----------------------------------------------------


@each_name
def test_a_run_is_its_layers(name, x64):
    params, *rest = at_a_point(x64)
    got = gradients(fcjax.stack(params), *rest, activations=name)
    want = gradients(params, *rest, activations=name)
    assert_trees_close(got, want, 4 * tolerance(x64))


@each_name
def test_a_run_is_the_numpy_program(name, x64):
    params, x, _ = at_a_point(x64)
    functions = (reference.ACTIVATIONS[name],) * (DEPTH + 1)
    want = reference.network(pairs(), X, (*functions, reference.ACTIVATIONS["identity"]))
    assert_close(fcjax.mlp(fcjax.stack(params), x, activations=name), want, 4 * tolerance(x64))


def run_alone(w, b, x, g="tanh", **options):
    """The output of stacked layers; the identity is the output layer."""
    n = w.shape[-1]
    return fcjax.mlp(
        (fcjax.Layer(w, b), fcjax.Layer(jnp.eye(n, dtype=w.dtype))), x, activations=g, **options
    )


def plain_stacked(w, b, x, g):
    return plain.mlp(list(zip(w, b, strict=True)), x, [plain_activation(g)] * len(w))


def program_of_run(w, b, x, g):
    return reference.network(zip(w, b, strict=True), x, [reference.ACTIVATIONS[g]] * len(w))


def case_of(name, *batch, **options):
    args = normal(1, 3, 4, 4) / 2, normal(2, 3, 4), normal(3, *batch, 4)
    return Case(
        f"{name}, batch {batch}, {options}",
        partial(run_alone, g=name, **options),
        partial(plain_stacked, g=name),
        partial(program_of_run, g=name),
        args,
    )


CASES = [
    case_of("tanh", 5),
    case_of("gelu", 5),
    case_of("softplus", 2, 3),
    case_of("gelu", 2, 3),
    case_of("silu", 5, remat_every=2),
    case_of("sigmoid", 5, remat_every=1),
    case_of("log_softmax", 5, remat_every=7),
]
each_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@each_case
def test_gradient_by_each_argument(case, x64):
    check_gradients(case, x64)


@pytest.mark.parametrize("case", CASES[1:5:3], ids=[case.name for case in CASES[1:5:3]])
def test_transformations(case, x64):
    check_transformations(case, x64)


@pytest.mark.parametrize("name", [pytest.param("tanh", marks=long), "gelu"])
def test_a_run_passes_its_own_checker(name):
    args = tuple(jnp.asarray(arg, jnp.float32) for arg in case_of(name, 5).args)
    fcjax.assert_rule(partial(run_alone, g=name), args)


@pytest.mark.parametrize(("name", "bias"), [("elu", True), ("gelu", False)])
@pytest.mark.parametrize("every", [1, 2, 3, 4, 5, 6, 100])
@pytest.mark.in_turn(2)
def test_remat_saves_less_and_changes_nothing(name, every, bias, x64):
    params, *rest = at_a_point(x64, bias=bias)
    got = gradients(fcjax.stack(params), *rest, activations=name, remat_every=every)
    want = gradients(params, *rest, activations=name)
    assert_trees_close(got, want, 4 * tolerance(x64))


def test_two_runs_with_activations_of_their_own(x64):
    sizes = (3, 4, 4, 4, 5, 5, 5, 2)
    params, *rest = at_a_point(x64, sizes=sizes)
    each = ("relu", "tanh", "tanh", "gelu", "softplus", "softplus")
    stacked = fcjax.stack(params)
    assert shapes(stacked) == [(3, 4), (2, 4, 4), (4, 5), (2, 5, 5), (5, 2)]
    for stacked_options in ({}, {"remat_every": 2}):
        got = gradients(stacked, *rest, activations=each, **stacked_options)
        want = gradients(params, *rest, activations=each)
        assert_trees_close(got, want, 4 * tolerance(x64))


def test_a_run_may_come_first(x64):
    params, x, weights = at_a_point(x64, sizes=(3, 3, 3, 3, 2))
    stacked = fcjax.stack(params)
    assert shapes(stacked) == [(3, 3, 3), (3, 2)]
    got, want = (gradients(p, x, weights, activations="gelu") for p in (stacked, params))
    assert_trees_close(got, want, 4 * tolerance(x64))


# --- a caller's own activation --------------------------------------------------------------


@jax.custom_vjp
def caller_square(z):
    return 0.1 * z**2


# Not the derivative: whoever differentiates the square instead is caught.
caller_square.defvjp(lambda z: (0.1 * z**2, z), lambda z, dA: (0.3 * z * dA,))


class Sine:
    """Callable, and as a holder of an array not hashable."""

    __hash__ = None

    def __init__(self):
        self.scale = jnp.asarray(0.7, jnp.float32)

    def __call__(self, z):
        return jnp.sin(self.scale.astype(z.dtype) * z)


CALLERS = {
    "lambda": lambda z: jnp.sin(z) * z,
    "custom_vjp": caller_square,
    "partial of a rule": partial(fcjax.leaky_relu, negative_slope=0.2),
    "function of jax.nn": jax.nn.gelu,
    "unhashable": Sine(),
    # the square root of x < 0 is NaN, and so is its derivative; x is not its argument
    "not defined everywhere": lambda z: jnp.sqrt(z * z + 1) + 0 * jnp.log(z * z + 1),
}


@pytest.mark.parametrize("function", CALLERS.values(), ids=CALLERS.keys())
@pytest.mark.parametrize("every", [None, 2])
def test_a_callers_own_activation(function, every, x64):
    params, *rest = at_a_point(x64)
    got = gradients(fcjax.stack(params), *rest, activations=function, remat_every=every)
    want = gradients(params, *rest, activations=function)
    assert_trees_close(got, want, 4 * tolerance(x64))


@pytest.mark.parametrize("every", [None, 2])
@pytest.mark.parametrize("differentiate", [jax.grad, jax.hessian], ids=["gradient", "hessian"])
def test_an_activation_around_learned_values(differentiate, every, x64):
    params, x, weights = at_a_point(x64)

    def of_slope(slope, params, **options):
        def learned(z):
            return fcjax.leaky_relu(z, slope["below"]) * slope["scale"]

        return loss(params, x, weights, activations=learned, **options)

    slope = {"below": jnp.asarray(0.3, x64), "scale": jnp.asarray(normal(5, UNITS), x64)}
    compute = compiled(differentiate(partial(of_slope, remat_every=every)))
    got = compute(slope, fcjax.stack(params))
    want = compiled(differentiate(of_slope))(slope, params)
    assert_trees_close(got, want, 16 * tolerance(x64))


def test_an_activation_is_not_used_on_the_input_of_stacked_layers(x64):
    """Where it is not defined there, no derivative of any order may know."""
    w, b = jnp.eye(3, dtype=x64)[None] * jnp.ones((4, 1, 1), x64), jnp.full((4, 3), 9, x64)
    x = -jnp.ones((2, 3), x64)
    layers = (fcjax.Layer(w, b), fcjax.Layer(jnp.eye(3, dtype=x64)))

    def total(layers, x):
        return jnp.sum(fcjax.mlp(layers, x, activations=jnp.log) ** 2)

    for differentiate in (jax.grad, jax.hessian, lambda f, n: jax.jacrev(jax.grad(f, n), n)):
        got, want = (
            differentiate(total, 1)(layers, x) for layers in (layers, fcjax.unstack(layers))
        )
        assert np.isfinite(got).all()
        assert_close(got, want, 16 * tolerance(x64))


# --- the textbook passes --------------------------------------------------------------------


@pytest.mark.parametrize("function", ["tanh", "gelu", "log_softmax", CALLERS["lambda"]])
@pytest.mark.parametrize("jitted", [False, True], ids=["eager", "jit"])
def test_the_textbook_passes_run_through_runs(function, jitted, x64):
    params, x, weights = at_a_point(x64)
    forward = partial(fcjax.forward, activations=function)
    backward, deltas = fcjax.backward, fcjax.deltas
    if jitted:
        forward, backward, deltas = map(jax.jit, (forward, backward, deltas))
    stacked = fcjax.stack(params)
    A, cache = forward(stacked, x)
    want_A, want_cache = forward(params, x)
    assert_close(A, want_A, 4 * tolerance(x64))
    assert [len(cache), cache[1].X.shape, cache[1].Z.shape] == [
        3, (DEPTH, 7, UNITS), (DEPTH, 7, UNITS),
    ]  # fmt: skip
    dparams, dX = backward(stacked, cache, weights)
    got = fcjax.unstack(dparams), dX
    assert_trees_close(got, backward(params, want_cache, weights), 4 * tolerance(x64))
    first, run, last = deltas(stacked, cache, weights)
    want = deltas(params, want_cache, weights)
    assert_trees_close((first, *run, last), want, 4 * tolerance(x64))


def test_the_cache_must_be_of_the_same_layers():
    params, x, weights = at_a_point(jnp.float32, sizes=(3, 3, 3, 3, 2))
    stacked = fcjax.stack(params)
    _, cache = fcjax.forward(stacked, x)
    other = (fcjax.Layer(stacked[0].w[:2], stacked[0].b[:2]), stacked[1])
    one = (fcjax.Layer(stacked[0].w[0], stacked[0].b[0]), stacked[1])
    for wrong in (other, one):
        with pytest.raises(ValueError, match=r"^cache\[0\] must match params\[0\].w"):
            fcjax.backward(wrong, cache, weights)


# --- transformations, dtypes ----------------------------------------------------------------


def test_vmap_over_networks_and_over_inputs(x64):
    params, x, weights = at_a_point(x64)
    several = jax.tree.map(lambda p: jnp.stack([p, 0.9 * p, 1.1 * p]), fcjax.stack(params))
    gradient = jax.grad(partial(loss, activations="gelu"))
    one_by_one = [gradient(jax.tree.map(lambda p: p[i], several), x, weights) for i in range(3)]  # noqa: B023
    want = jax.tree.map(lambda *leaves: jnp.stack(leaves), *one_by_one)
    got = compiled(jax.vmap(gradient, (0, None, None)))(several, x, weights)
    assert_trees_close(got, want, 4 * tolerance(x64))


def test_gradients_have_the_dtypes_of_their_parameters():
    params, x, weights = at_a_point(jnp.bfloat16)
    wide = x.astype(jnp.float32)
    got, want = (
        jax.grad(loss, (0, 1))(p, wide, weights.astype(jnp.float32))
        for p in (fcjax.stack(params), params)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(got[0])} == {jnp.dtype(jnp.bfloat16)}
    assert got[1].dtype == jnp.float32
    assert_trees_close((fcjax.unstack(got[0]), got[1]), want, tolerance(jnp.bfloat16))


def test_an_input_narrower_than_the_parameters():
    params, x, weights = at_a_point(jnp.float32, sizes=(3, 3, 3, 3, 2))
    narrow = x.astype(jnp.bfloat16)
    got, want = (jax.grad(loss, (0, 1))(p, narrow, weights) for p in (fcjax.stack(params), params))
    assert got[1].dtype == jnp.bfloat16
    assert_trees_close(fcjax.unstack(got[0]), want[0], tolerance(jnp.float32))
    assert_close(got[1], want[1], tolerance(jnp.bfloat16))


@pytest.mark.parametrize("name", ["relu", "gelu"])
@pytest.mark.parametrize("every", [None, 2])
def test_compute_dtype_rounds_the_operands_of_every_layer(name, every):
    params, *rest = at_a_point(jnp.float32)
    options = {"activations": name, "compute_dtype": jnp.bfloat16}
    got = gradients(fcjax.stack(params), *rest, remat_every=every, **options)
    # an operand at a rounding boundary may go either way in two programs
    assert_trees_close(got, gradients(params, *rest, **options), 2 * tolerance(jnp.bfloat16))
    assert {leaf.dtype for leaf in jax.tree.leaves(got)} == {jnp.dtype(jnp.float32)}
    exact = gradients(params, *rest, activations=name)
    assert abs(float(got[0] - exact[0])) > 1e-4


# --- meshes ---------------------------------------------------------------------------------

DEVICES = min(4, jax.device_count())
ON_A_MESH = pytest.mark.skipif(DEVICES < 2, reason="sharding needs at least two devices")
M = 8


def slope_learned(slope, w, b, x):
    return run_alone(w, b, x, lambda z: fcjax.leaky_relu(z, slope))


def passes(w, b, x):
    """A function whose value holds the gradients of the explicit passes."""
    params = fcjax.Layer(w, b), fcjax.Layer(jnp.eye(w.shape[-1]))
    A, cache = fcjax.forward(params, x, activations="gelu")
    return jnp.moveaxis(fcjax.deltas(params, cache, A)[0], 0, 1)


W, B = np.float32(normal(1, 3, 4, 4) / 2), np.float32(normal(2, 3, 4))
X_SPLIT = np.float32(normal(3, M, 4))
MESH_CASES = {
    "output kept": (run_alone, W, B),
    "input kept": (partial(run_alone, g="gelu"), W, B),
    "remat": (partial(run_alone, g="gelu", remat_every=2), W, B),
    "bfloat16": (partial(run_alone, compute_dtype=jnp.bfloat16), W, B),
    "a caller's own": (partial(run_alone, g=jax.nn.gelu), W, B),
    "learned": (slope_learned, np.float32(0.3), W, B),
    "no bias": (lambda w, x: run_alone(w, None, x), W),
    "textbook passes": (passes, W, B),
}
each_mesh_case = pytest.mark.parametrize("name", MESH_CASES)
KEY = jax.random.key(5)
ANYWHERE = {
    "dropout": (partial(run_alone, g="gelu", dropout=0.3, key=KEY), W, B),
    "dropout, remat": (partial(run_alone, dropout=0.3, key=KEY, remat_every=2), W, B),
}
CHECK_VMA = pytest.mark.parametrize("check_vma", [True, False], ids=["vma", "no vma"])


def allowed(name):
    # an operand at a rounding boundary may go either way in two programs
    return tolerance(jnp.bfloat16 if name == "bfloat16" else jnp.float32)


def on_a_mesh(name, axis_type):
    """Loss, what lies on every device, and what is split; on one device, and placed."""
    function, *shared = (MESH_CASES | ANYWHERE)[name]
    y = jax.eval_shape(function, *shared, X_SPLIT)
    batch = X_SPLIT, np.float32(normal(99, *y.shape))

    def total(shared, batch):
        x, dy = batch
        return jnp.sum(function(*shared, x) * dy)

    mesh = jax.make_mesh(
        (DEVICES,), ("data",), axis_types=(axis_type,), devices=jax.devices()[:DEVICES]
    )
    want = compiled(jax.value_and_grad(total, (0, 1)))(tuple(shared), batch)
    placed = (
        jax.device_put(tuple(shared), NamedSharding(mesh, P())),
        jax.device_put(batch, NamedSharding(mesh, P("data"))),
    )
    return total, mesh, placed, want


@ON_A_MESH
@pytest.mark.parametrize("name", MESH_CASES | ANYWHERE)
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
@pytest.mark.in_turn(2)
def test_a_run_on_a_mesh(name, axis_type):
    total, mesh, placed, want = on_a_mesh(name, axis_type)
    with jax.set_mesh(mesh):
        value, grads = compiled(jax.value_and_grad(total, (0, 1)))(*placed)
        if axis_type is AxisType.Explicit:
            specs = jax.tree.map(lambda V: jax.typeof(V).sharding.spec, (placed, grads))
            assert specs[0] == specs[1]
    assert_trees_close((value, grads), want, allowed(name))


@ON_A_MESH
@each_mesh_case
@CHECK_VMA
@pytest.mark.in_turn(2)
def test_gradient_of_a_run_in_a_shard_map(name, check_vma):
    total, mesh, placed, want = on_a_mesh(name, AxisType.Auto)

    @partial(
        jax.shard_map, mesh=mesh, in_specs=(P(), P("data")), out_specs=P(), check_vma=check_vma
    )
    def sharded(shared, batch):
        return jax.lax.psum(total(shared, batch), "data")

    got = compiled(jax.value_and_grad(sharded, (0, 1)))(*placed)
    assert_trees_close(got, want, allowed(name))


@ON_A_MESH
@each_mesh_case
@CHECK_VMA
@pytest.mark.in_turn(2)
def test_gradient_of_a_run_inside_a_shard_map(name, check_vma):
    total, mesh, placed, want = on_a_mesh(name, AxisType.Auto)

    @partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(P(), P("data")),
        out_specs=(P(), (P(), P("data"))),
        check_vma=check_vma,
    )
    def run(shared, batch):
        value, (dshared, dbatch) = jax.value_and_grad(total, (0, 1))(shared, batch)
        if not check_vma:
            dshared = jax.lax.psum(dshared, "data")
        return jax.lax.psum(value, "data"), (dshared, dbatch)

    assert_trees_close(compiled(run)(*placed), want, allowed(name))


@ON_A_MESH
@CHECK_VMA
def test_dropout_of_a_run_inside_a_shard_map(check_vma):
    """Each device draws masks for its own rows, so the oracle runs in the same `shard_map`."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])

    def plainly(w, b, x):
        for number in range(len(w)):
            x = jax.nn.gelu(x @ w[number] + b[number])
            kept = plain.survivors(0.3, jax.random.fold_in(KEY, number), x.shape)
            x = jnp.where(kept, x / (1 - 0.3), 0)
        return x

    def gradients_of(function):
        @partial(
            jax.shard_map,
            mesh=mesh,
            in_specs=(P(), P(), P("data")),
            out_specs=(P("data"), P("data"), P("data")),
            check_vma=check_vma,
        )
        def run(w, b, x):
            if check_vma:
                w, b = (jax.lax.pcast(V, "data", to="varying") for V in (w, b))
            dw, db, dx = jax.grad(lambda *V: jnp.sum(jnp.sin(function(*V))), (0, 1, 2))(w, b, x)
            return dw[None], db[None], dx

        return compiled(run)(W, B, X_SPLIT)

    rule = partial(run_alone, g="gelu", dropout=0.3, key=KEY)
    assert_trees_close(gradients_of(rule), gradients_of(plainly), tolerance(jnp.float32))


@ON_A_MESH
@CHECK_VMA
def test_weights_of_each_device_and_one_input(check_vma):
    """An ensemble: the loop's carry is the same on all devices at first, and differs later."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    w = jnp.asarray(np.stack([W, 0.9 * W]))

    def total(w, x):
        return jnp.sum(run_alone(w, None, x, "gelu") ** 2)

    @partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(P("data"), P()),
        out_specs=P("data"),
        check_vma=check_vma,
    )
    def each(w, x):
        return total(w[0], x)[None]

    def summed(w, x):
        return jnp.sum(each(w, x))

    def one_by_one(w, x):
        return total(w[0], x) + total(w[1], x)

    got, want = (compiled(jax.value_and_grad(f, (0, 1)))(w, X_SPLIT) for f in (summed, one_by_one))
    assert_trees_close(got, want, tolerance(jnp.float32))


# --- training -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    [optax.sgd(0.05), optax.adamw(1e-2), optax.lbfgs(), optax.adafactor(1e-2), optax.lion(1e-3)],
    ids=["sgd", "adamw", "lbfgs", "adafactor", "lion"],
)
def test_optimizers_train_a_stacked_network(optimizer):
    x = jnp.asarray(normal(7, 64, 3), jnp.float32)
    batch = x, x[:, :1] * x[:, 1:2] + x[:, 2:]
    params = fcjax.stack(fcjax.init(jax.random.key(0), (3, *(16,) * 5, 1)))

    def loss_fn(params, batch):
        predicted = fcjax.mlp(params, batch[0], activations="tanh")
        return fcjax.half_squared_error(predicted, batch[1])

    train_step = fcjax.make_train_step(loss_fn, optimizer)
    state, losses = fcjax.init_state(params, optimizer), []
    for _ in range(60):
        state, info = train_step(state, batch)
        losses.append(float(info.loss))
    assert min(losses[-5:]) < 0.7 * losses[0]
    assert shapes(state.params) == [(3, 16), (4, 16, 16), (16, 1)]


# --- what it costs --------------------------------------------------------------------------

COST = {"depth": 64, "units": 32, "batch": 32}


def lowered(apply, depth, units, batch):
    """`value_and_grad` of stacked layers, for shapes alone."""
    shape = partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    run = shape((depth, units, units)), shape((depth, units))
    x = shape((batch, units))

    def total(run, x, target):
        return jnp.sum((apply(run, x) - target) ** 2)

    return jax.jit(jax.value_and_grad(total)).lower(run, x, x)


def by_rule(name, **options):
    def apply(run, x):
        n = x.shape[-1]
        layers = fcjax.Layer(*run), fcjax.Layer(jnp.eye(n))
        return fcjax.mlp(layers, x, activations=name, **options)

    return apply


def by_autodiff(name):
    g = plain_activation(name)

    def apply(run, x):
        def step(A, layer):
            w, b = layer
            return g(A @ w + b), None

        A, _ = jax.lax.scan(step, x, run)
        return A @ jnp.eye(x.shape[-1])

    return apply


def temporaries(program):
    """In units of one saved array."""
    size = COST["batch"] * COST["units"] * 4
    return program.compile().memory_analysis().temp_size_in_bytes / size


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other compilers have other temporaries")
@each_name
@pytest.mark.in_turn(2)
def test_one_array_is_saved_for_each_layer(name):
    got = temporaries(lowered(by_rule(name), **COST))
    assert got <= 1.1 * COST["depth"]
    # the identity saves as much under autodiff; the two programs' other arrays may differ
    assert got < temporaries(lowered(by_autodiff(name), **COST)) + 1


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other compilers have other temporaries")
@pytest.mark.parametrize("name", ["relu", "gelu"])
@pytest.mark.parametrize("every", [7, 8])
def test_remat_saves_one_array_for_each_block(name, every):
    """Blocks' inputs, one block's layers, and as many arrays to work with as without remat."""
    got = temporaries(lowered(by_rule(name, remat_every=every), **COST))
    work = temporaries(lowered(by_rule(name), **COST)) - COST["depth"]
    assert got <= COST["depth"] / every + every + work + 2


@pytest.mark.parametrize("name", ["tanh", "gelu", "softplus"])
def test_no_product_is_computed_twice(name):
    flops = [
        lowered(apply, 64, 128, 512).compile().cost_analysis()["flops"]
        for apply in (by_rule(name), by_autodiff(name))
    ]
    # three products of a layer, the rest are elementwise
    assert flops[0] < 1.1 * flops[1]


@pytest.mark.parametrize("options", [{}, {"remat_every": 5}], ids=["", "remat"])
def test_the_program_does_not_grow_with_the_depth(options):
    lines = [
        len(lowered(by_rule("gelu", **options), depth, 32, 32).as_text().splitlines())
        for depth in (10, 1000)
    ]
    assert lines[0] == lines[1]


# --- what may be passed ---------------------------------------------------------------------

PARAMS = fcjax.init(jax.random.key(0), (3, 4, 4, 4, 2))
STACKED = fcjax.stack(PARAMS)
RUN = STACKED[1]
ONES = jnp.ones((2, 3))


def with_stacked(**fields):
    return (STACKED[0], RUN._replace(**fields), STACKED[2])


def to_bfloat16(z):
    return z.astype(jnp.bfloat16)


WRONG = {
    "stack of pairs": (TypeError, r"^params .*Layers", lambda: fcjax.stack((tuple(PARAMS[0]),))),
    "unstack of nothing": (TypeError, r"^params .*one or more", lambda: fcjax.unstack(())),
    "stacked layers at the end": (
        ValueError, r"^params must end with a single layer.*\[2, 4, 4\]",
        lambda: fcjax.mlp(STACKED[:2], ONES),
    ),
    "stacked layers that are not square": (
        ValueError, r"^params\[1\]\.w of stacked layers .*\(L, n, n\).*\[2, 4, 3\]",
        lambda: fcjax.mlp(with_stacked(w=jnp.ones((2, 4, 3))), ONES),
    ),
    "stacked layers of no layers": (
        ValueError, r"^params\[1\]\.w of stacked layers .*L at least 1",
        lambda: fcjax.mlp(with_stacked(w=jnp.ones((0, 4, 4)), b=None), ONES),
    ),
    "a bias that does not fit": (
        ValueError, r"^params\[1\]\.b must have shape \(2, 4\).*got float32\[4\]",
        lambda: fcjax.mlp(with_stacked(b=jnp.ones(4)), ONES),
    ),
    "stacked layers of integers": (
        TypeError, r"^params\[1\]\.w must be a floating.*int32",
        lambda: fcjax.mlp(with_stacked(w=jnp.ones((2, 4, 4), jnp.int32)), ONES),
    ),
    "x against stacked layers": (
        ValueError, r"^x must have shape \(\.\.\., 4\)", lambda: fcjax.mlp(STACKED[1:], ONES),
    ),
    "activations that differ when stacked": (
        ValueError,
        r"^activations must be the same for the 2 stacked layers.*params\[1\].*tanh, relu",
        lambda: fcjax.mlp(STACKED, ONES, activations=("gelu", "tanh", "relu")),
    ),
    "activations counted after stacking": (
        ValueError, r"^activations .*3 hidden layers, got 2",
        lambda: fcjax.mlp(STACKED, ONES, activations=("gelu", "tanh")),
    ),
    "an activation that halves": (
        ValueError, r"^activations of stacked layers must keep the shape",
        lambda: fcjax.mlp(STACKED[1:], jnp.ones((2, 4)), activations="glu"),
    ),
    "an activation that narrows": (
        TypeError, r"^activations of stacked layers must not narrow",
        lambda: fcjax.mlp(STACKED[1:], jnp.ones((2, 4)), activations=to_bfloat16),
    ),
    "remat_every a float": (
        TypeError, r"^remat_every must be an integer.*2\.5",
        lambda: fcjax.mlp(STACKED, ONES, remat_every=2.5),
    ),
    "remat_every zero": (
        ValueError, r"^remat_every must be positive, got 0",
        lambda: fcjax.mlp(STACKED, ONES, remat_every=0),
    ),
    "remat_every without stacked layers": (
        ValueError, r"^remat_every=3 needs stacked layers.*stack\(params\)",
        lambda: fcjax.mlp(PARAMS, ONES, remat_every=3),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("error", "message", "call"), WRONG.values(), ids=WRONG.keys())
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be(error, message, call):
    with pytest.raises(error, match=message):
        call()


# --- activations that change between calls --------------------------------------------------------


class _Scaled:
    """Equal to every other one, whatever its slope."""

    def __init__(self, slope):
        self.slope = slope

    def __call__(self, z):
        return self.slope * z

    def __eq__(self, other):
        return isinstance(other, _Scaled)

    def __hash__(self):
        return 0


def _closing_over_a_variable():
    slope = 1.0

    def change():
        nonlocal slope
        slope = 2.0

    return lambda z: slope * z, change


def _with_an_attribute():
    g = _Scaled(1.0)
    return g, lambda: setattr(g, "slope", 2.0)


def _with_an_array_as_option():
    slope = np.float32([1.0])
    return partial(fcjax.leaky_relu, negative_slope=slope), lambda: slope.fill(2.0)


@pytest.mark.parametrize(
    "make", [_closing_over_a_variable, _with_an_attribute, _with_an_array_as_option]
)
@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_an_activation_that_changed_is_evaluated_anew(make, run):
    params = fcjax.stack(fcjax.init(jax.random.key(0), (4, *[8] * 5, 3)))
    x = jnp.asarray(normal(0, 5, 4), jnp.float32)
    g, change = make()

    def value_and_gradient(params, x):
        return jax.value_and_grad(lambda p: jnp.sum(fcjax.mlp(p, x, activations=g)))(params)

    for _ in range(2):
        got = run(lambda *args: value_and_gradient(*args))(params, x)
        value, gradients = value_and_gradient(fcjax.unstack(params), x)
        assert_trees_close(got, (value, fcjax.stack(gradients)), 1e-5)
        change()


def test_equal_activations_with_other_numbers_are_not_confused():
    params = fcjax.stack(fcjax.init(jax.random.key(0), (4, *[8] * 5, 3)))
    x = jnp.asarray(normal(0, 5, 4), jnp.float32)
    one, two = (fcjax.mlp(params, x, activations=_Scaled(slope)) for slope in (1.0, 2.0))
    assert_trees_close(two, fcjax.mlp(fcjax.unstack(params), x, activations=_Scaled(2.0)), 1e-5)
    assert not np.allclose(one, two)
