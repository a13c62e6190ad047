"""Training on a mesh, in every layout of the parameters: right numbers, and no wasted message."""

import itertools
import re
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from support import assert_trees_close, normal, tolerance

import fcjax
from fcjax.train import reuse
from fcjax.train.optimizers import optimizer_named

pytestmark = pytest.mark.skipif(jax.device_count() < 8, reason="the meshes have eight devices")

SIZES = (16, 64, 64, 32)
M = 32
X = jnp.asarray(normal(0, M, SIZES[0]), jnp.float32)
LABELS = jnp.asarray(np.arange(M) % SIZES[-1])
OPTIMIZER = optax.adam(1e-2)

# The specs of the weights and biases of even and of odd layers.
COLUMNS, ROWS = (P(None, "model"), P("model")), (P("model", None), P())
LAYOUTS = {
    "replicated": ((P(), P()), (P(), P())),
    "tensor": (COLUMNS, ROWS),
    "columns": (COLUMNS, COLUMNS),
    "rows": (ROWS, ROWS),
    "fsdp": ((P("data", None), P("data")), (P("data", None), P("data"))),
    "fsdp by columns": ((P(None, "data"), P("data")), (P(None, "data"), P("data"))),
    "fsdp over all devices": (
        (P(("data", "model"), None), P(("data", "model"))),
        (P(None, ("model", "data")), P(("model", "data"))),
    ),
    "fsdp and tensor": (
        (P("data", "model"), P(("model", "data"))),
        (P(("model", "data"), None), P("data")),
    ),
}


def logits(params, x, **options):
    return fcjax.mlp(params["layers"], x, activations="gelu", **options)


def plain(params, batch):
    return fcjax.softmax_cross_entropy(logits(params, batch[0]), batch[1])


def narrow(params, batch):
    return fcjax.softmax_cross_entropy(
        logits(params, batch[0], compute_dtype=jnp.bfloat16), batch[1]
    )


def fused(params, batch):
    *hidden, last = params["layers"]
    A = fcjax.mlp(tuple(hidden), batch[0], activations="tanh", output_activation="tanh")
    return fcjax.dense_softmax_cross_entropy(
        A, last.w, last.b, batch[1], label_smoothing=0.1, chunk_size=8
    )


def normalized(params, batch):
    A = batch[0]
    for layer in params["layers"]:
        Z = fcjax.dense(A, *layer)
        n = Z.shape[-1]
        A = fcjax.layer_norm(Z, params["scale"][:n], params["bias"][:n])
        A = fcjax.leaky_relu(fcjax.rms_norm(A, params["scale"][:n]), params["slope"][:n])
    return fcjax.softmax_cross_entropy(A, batch[1], class_weights=jnp.exp(params["bias"][:n]))


def textbook(params, batch):
    """A loss whose gradient contains the gradients of the explicit passes."""
    A, cache = fcjax.forward(params["layers"], batch[0], activations="tanh")
    gradients, dX = fcjax.backward(params["layers"], cache, A)
    return jnp.mean(dX**2) + sum(jnp.mean(g.w**2) + jnp.mean(g.b**2) for g in gradients)


LOSSES = [plain, narrow, fused, normalized, textbook]


def init():
    vectors = {
        "scale": jnp.asarray(1 + 0.1 * normal(1, 64), jnp.float32),
        "bias": jnp.asarray(0.1 * normal(2, 64), jnp.float32),
        "slope": jnp.asarray(0.1 + 0.1 * normal(3, 64) ** 2, jnp.float32),
    }
    return {"layers": fcjax.init(jax.random.key(0), SIZES)} | vectors


def mesh_of(axis_type, shape=(4, 2)):
    return jax.make_mesh(shape, ("data", "model"), axis_types=(axis_type,) * 2)


def placed(mesh, layout, params):
    specs = LAYOUTS[layout]
    put = lambda V, spec: jax.device_put(V, NamedSharding(mesh, spec))  # noqa: E731
    layers = tuple(
        fcjax.Layer(*map(put, layer, specs[i % 2])) for i, layer in enumerate(params["layers"])
    )
    vector = specs[0][1]
    others = {name: put(V, vector) for name, V in params.items() if name != "layers"}
    return {"layers": layers} | others


def stepped(loss, params, batch):
    state = fcjax.init_state(params, OPTIMIZER)
    return fcjax.make_train_step(loss, OPTIMIZER, grad_norm=True)(state, batch)


@pytest.fixture(scope="module")
def on_one_device():
    results = {}

    def of(loss):
        if loss not in results:
            results[loss] = stepped(loss, init(), (X, LABELS))
        return results[loss]

    return of


def on_mesh(axis_type, layout, loss, shape=(4, 2)):
    mesh = mesh_of(axis_type, shape)
    with jax.set_mesh(mesh):
        params = placed(mesh, layout, init())
        batch = jax.device_put((X, LABELS), NamedSharding(mesh, P("data")))
        return params, stepped(loss, params, batch)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.in_turn(3)
def test_a_step_with_explicit_axes(on_one_device, layout, loss):
    start, (state, info) = on_mesh(AxisType.Explicit, layout, loss)
    want, want_info = on_one_device(loss)
    allowed = 1e-2 if loss is narrow else 64 * tolerance(jnp.float32)
    assert_trees_close(state.params, want.params, allowed)
    assert_trees_close(info.grad_norm, want_info.grad_norm, allowed)
    for before, after in zip(jax.tree.leaves(start), jax.tree.leaves(state.params), strict=True):
        assert after.sharding.is_equivalent_to(before.sharding, before.ndim)


@pytest.mark.parametrize("layout", ["replicated", "fsdp", "fsdp and tensor"])
def test_a_step_needs_no_mesh_but_that_of_its_arrays(on_one_device, layout):
    mesh = mesh_of(AxisType.Explicit)
    batch = fcjax.distributed.place_batch((np.asarray(X), np.asarray(LABELS)), mesh)
    start = placed(mesh, layout, init())
    state, info = stepped(plain, start, batch)
    want, want_info = on_one_device(plain)
    assert_trees_close(state.params, want.params, 64 * tolerance(jnp.float32))
    assert_trees_close(info.loss, want_info.loss, 64 * tolerance(jnp.float32))
    epoch = fcjax.make_train_epoch(plain, OPTIMIZER, batch_size=16)
    epoch(fcjax.init_state(placed(mesh, layout, init()), OPTIMIZER), batch)


@pytest.mark.parametrize("loss", [plain, normalized])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.in_turn(2)
def test_a_step_with_automatic_axes(on_one_device, layout, loss):
    _, (state, _) = on_mesh(AxisType.Auto, layout, loss)
    assert_trees_close(state.params, on_one_device(loss)[0].params, 64 * tolerance(jnp.float32))


@pytest.mark.parametrize("name", ["lbfgs", "muon"])
def test_optimizers_that_multiply_matrices_or_search_a_line_meet_explicit_axes(name):
    """Optax's own functions do not say where their results lie, as explicit axes ask."""
    optimizer = optimizer_named(name, 0.01)
    step = fcjax.make_train_step(plain, optimizer)
    want, _ = step(fcjax.init_state(init(), optimizer), (X, LABELS))
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        batch = jax.device_put((X, LABELS), NamedSharding(mesh, P("data")))
        start = fcjax.init_state(placed(mesh, "fsdp and tensor", init()), optimizer)
        places = [leaf.sharding for leaf in jax.tree.leaves(start)]
        state, _ = step(start, batch)
    assert_trees_close(state.params, want.params, 64 * tolerance(jnp.float32))
    for leaf, place in zip(jax.tree.leaves(state), places, strict=True):
        assert leaf.sharding.is_equivalent_to(place, leaf.ndim)


def test_a_batch_split_over_more_axes_than_the_parameters(on_one_device):
    """The gradients are scattered over one axis of the examples, and summed over the other."""
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        params = placed(mesh, "fsdp", init())
        batch = jax.device_put((X, LABELS), NamedSharding(mesh, P(("data", "model"))))
        state, _ = stepped(plain, params, batch)
    assert_trees_close(state.params, on_one_device(plain)[0].params, 64 * tolerance(jnp.float32))


@pytest.mark.parametrize("shape", [(), (1,), (64,), (1, 64)], ids=str)
def test_a_learned_slope_of_any_shape_meets_split_features(shape):
    slope, z = jnp.full(shape, 0.3), jnp.asarray(normal(4, M, 64), jnp.float32)
    run = jax.jit(jax.value_and_grad(lambda p, z: jnp.sum(fcjax.leaky_relu(z, p) ** 2), (0, 1)))
    want = run(slope, z)
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        split = jax.device_put(z, NamedSharding(mesh, P("data", "model")))
        whole = jax.device_put(slope, NamedSharding(mesh, P()))
        assert_trees_close(run(whole, split), want, tolerance(jnp.float32))


# --- what is sent between devices -----------------------------------------------------------------

COLLECTIVE = re.compile(
    r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)\("
)
DEEP = (16, 64, 64, 64, 32)
# The parameters of a network of these sizes, and the loss.
NUMBERS = sum(n * m + m for n, m in itertools.pairwise(DEEP)) + 1


def compiled_step(layout, axis_type, shape, loss=plain):
    mesh = mesh_of(axis_type, shape)
    with jax.set_mesh(mesh):
        params = placed(mesh, layout, {"layers": fcjax.init(jax.random.key(0), DEEP)})
        batch = jax.device_put((X, LABELS), NamedSharding(mesh, P("data")))
        state = fcjax.init_state(params, OPTIMIZER)
        return fcjax.make_train_step(loss, OPTIMIZER).lower(state, batch).compile()


def messages(compiled):
    """The kind of each collective, and the shapes that it sends."""
    found = COLLECTIVE.findall(compiled.as_text())
    return [(kind, re.findall(r"\w+\[[\d,]*\]", result)) for result, kind in found]


def count(compiled):
    return dict(Counter(kind for kind, _ in messages(compiled)))


def numbers_sent(compiled):
    """How many numbers the collectives of a device hold."""
    return sum(
        int(np.prod([int(n) for n in shape[shape.index("[") + 1 : -1].split(",") if n]))
        for _, shapes in messages(compiled)
        for shape in shapes
    )


AXES = pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", ""])
SHAPES = pytest.mark.parametrize("shape", [(8, 1), (2, 4)], ids=["8", "2 x 4"])


@AXES
@SHAPES
@pytest.mark.parametrize("loss", [plain, narrow])
def test_data_parallel_adds_the_gradients_up_and_sends_nothing_else(axis_type, shape, loss):
    compiled = compiled_step("replicated", axis_type, shape, loss)
    assert count(compiled) == {"all-reduce": 1}
    assert numbers_sent(compiled) == NUMBERS


@AXES
@pytest.mark.parametrize("loss", [plain, narrow])
def test_tensor_parallel_sends_one_message_per_pair_of_layers_and_direction(axis_type, loss):
    compiled = compiled_step("tensor", axis_type, (2, 4), loss)
    # forward after each of two pairs, backward before the second one, and the gradients
    assert count(compiled) == {"all-reduce": 4}
    local = [shapes for _, shapes in messages(compiled) if len(shapes) == 1]
    assert sorted(local) == [["f32[16,32]"], ["f32[16,64]"], ["f32[16,64]"]]


@pytest.mark.parametrize("layout", ["fsdp", "fsdp by columns"])
@SHAPES
def test_fully_sharded_gathers_and_scatters_each_parameter_once(layout, shape):
    compiled = compiled_step(layout, AxisType.Explicit, shape)
    parameters = 2 * (len(DEEP) - 1)
    assert count(compiled) == {
        "all-gather": parameters,
        "reduce-scatter": parameters,
        "all-reduce": 1,
    }
    assert ["f32[]"] in [shapes for kind, shapes in messages(compiled) if kind == "all-reduce"]
    shards = shape[0]
    assert numbers_sent(compiled) == (NUMBERS - 1) + (NUMBERS - 1) // shards + 1


# --- epochs ---------------------------------------------------------------------------------------

# 3 full batches and a smaller one
EXAMPLES = 3 * M + M // 2
DATA = (
    jnp.asarray(normal(5, EXAMPLES, SIZES[0]), jnp.float32),
    jnp.asarray(np.arange(EXAMPLES) % SIZES[-1]),
)


def epoch(shuffle=True, batch_size=M):
    return fcjax.make_train_epoch(plain, OPTIMIZER, batch_size=batch_size, shuffle=shuffle)


def epoch_on_mesh(axis_type, layout, shuffle, shape=(4, 2)):
    mesh = mesh_of(axis_type, shape)
    with jax.set_mesh(mesh):
        data = jax.device_put(DATA, NamedSharding(mesh, P("data")))
        state = fcjax.init_state(placed(mesh, layout, init()), OPTIMIZER)
        train_epoch = epoch(shuffle)
        compiled = train_epoch.lower(state, data).compile()
        return compiled, train_epoch(state, data)


@AXES
@pytest.mark.parametrize("layout", ["replicated", "fsdp and tensor"])
@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
@pytest.mark.in_turn(2)
def test_an_epoch_is_that_of_one_device(axis_type, layout, shuffle):
    compiled, (state, info) = epoch_on_mesh(axis_type, layout, shuffle)
    want, want_info = epoch(shuffle)(fcjax.init_state(init(), OPTIMIZER), DATA)
    assert_trees_close(state.params, want.params, 64 * tolerance(jnp.float32))
    assert_trees_close(info.loss, want_info.loss, 64 * tolerance(jnp.float32))
    if layout == "replicated":
        rows = {"all-to-all": 3} if not shuffle else {}
        # the loop over full batches, and the last batch
        assert count(compiled) == {"all-reduce": 2} | rows


@AXES
@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
def test_a_device_does_its_share_of_an_epoch(axis_type, shuffle):
    # a batch so large that the update, which every device does for itself, is below one percent
    train_epoch = epoch(shuffle, batch_size=4096)
    data = jnp.zeros((3 * 4096 + 2048, SIZES[0])), jnp.zeros(3 * 4096 + 2048, jnp.int32)
    state = fcjax.init_state(init(), OPTIMIZER)
    alone = train_epoch.lower(state, data).compile()
    mesh = mesh_of(axis_type, (8, 1))
    with jax.set_mesh(mesh):
        data = jax.device_put(data, NamedSharding(mesh, P("data")))
        state = fcjax.init_state(placed(mesh, "replicated", init()), OPTIMIZER)
        shared = train_epoch.lower(state, data).compile()
    operations = [compiled.cost_analysis()["flops"] for compiled in (alone, shared)]
    assert operations[1] <= 1.02 * operations[0] / 8
    inputs = [compiled.memory_analysis().argument_size_in_bytes for compiled in (alone, shared)]
    assert inputs[1] == inputs[0] - sum(array.nbytes for array in data) * 7 // 8


def test_a_batch_that_the_devices_cannot_share_is_refused():
    mesh = mesh_of(AxisType.Auto)
    data = jax.device_put(DATA, NamedSharding(mesh, P("data")))
    state = fcjax.init_state(init(), OPTIMIZER)
    with pytest.raises(
        ValueError, match=r"batch_size must be a multiple of the 4 devices .* got 6"
    ):
        epoch(batch_size=6)(state, data)
    with pytest.raises(ValueError, match=r"data\[0\] along data and data\[1\] along no axis"):
        epoch()(state, (data[0], DATA[1]))


# --- fit ------------------------------------------------------------------------------------------


@pytest.fixture
def programs(monkeypatch):
    """What `fit` compiles for its steps, and the order of its examples."""
    found = []
    equal_program = reuse._equal_program

    def note(program, args):
        found.append(program.lower(*args).compile())
        return equal_program(program, args)

    monkeypatch.setattr(reuse, "_equal_program", note)
    return found


def fit_on_mesh(shuffle, mesh=None, layout="replicated", batch_size=4096):
    data = jnp.zeros((3 * batch_size, SIZES[0])), jnp.zeros(3 * batch_size, jnp.int32)
    options = {"loss": plain, "optimizer": OPTIMIZER, "epochs": 1, "batch_size": batch_size}
    fcjax.fit(init(), data, shuffle=shuffle, mesh=mesh, layout=layout, **options)


@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
@pytest.mark.usefixtures("unchecked")
def test_a_device_does_its_share_of_fit(shuffle, programs):
    fit_on_mesh(shuffle)
    fit_on_mesh(shuffle, fcjax.distributed.mesh({"data": 8}))
    alone, shared = programs
    operations = [compiled.cost_analysis()["flops"] for compiled in (alone, shared)]
    assert operations[1] <= 1.02 * operations[0] / 8
    assert count(shared) == {"all-reduce": 1}


@pytest.mark.parametrize("layout", ["replicated", "fsdp", "tensor"])
@pytest.mark.usefixtures("unchecked")
def test_fit_sends_what_a_step_sends_and_a_few_words_on_its_health(layout, programs):
    mesh = fcjax.distributed.mesh({"data": 2, "model": 4} if "tensor" in layout else {"data": 8})
    fit_on_mesh(True, mesh, layout, batch_size=M)
    (compiled,) = programs
    with jax.set_mesh(mesh):
        params = fcjax.distributed.place(init(), mesh, layout)
        batch = fcjax.distributed.place_batch((X, LABELS), mesh)
        state = fcjax.distributed.on_mesh(fcjax.init_state(params, OPTIMIZER), mesh)
        step = fcjax.make_train_step(plain, OPTIMIZER).lower(state, batch).compile()
    health = [one for one in messages(compiled) if all(s.startswith("pred[]") for s in one[1])]
    found = Counter(kind for kind, _ in messages(compiled)) - Counter(kind for kind, _ in health)
    assert dict(found) == count(step)
    assert len(health) == (0 if layout == "replicated" else 2)
