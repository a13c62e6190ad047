"""`fcjax.distributed`, and `fit` on a mesh."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P
from support import assert_same_bits, assert_trees_close, normal, tolerance

import fcjax
from fcjax import distributed

pytestmark = pytest.mark.skipif(jax.device_count() < 8, reason="the meshes have eight devices")

SIZES = (16, 64, 64, 10)
X = np.float32(normal(0, 96, 16))
LABELS = np.arange(96) % 10
# A mesh (data, model) for each layout.
MESHES = {"replicated": (8, 1), "tensor": (2, 4), "fsdp": (8, 1), "fsdp+tensor": (4, 2)}


def loss(params, batch):
    return fcjax.softmax_cross_entropy(fcjax.mlp(params, batch[0], activations="tanh"), batch[1])


def error_rate(params, batch):
    return jnp.mean(jnp.argmax(fcjax.mlp(params, batch[0]), -1) != batch[1])


def fit(sizes=SIZES, **options):
    defaults = {
        "loss": loss,
        "optimizer": optax.adam(1e-2),
        "epochs": 3,
        "batch_size": 32,
        "metrics": {"error": error_rate},
        "validation_data": (X[:37], LABELS[:37]),
    }
    data = options.pop("data", (X, LABELS))
    params = options.pop("params", fcjax.init(jax.random.key(0), sizes))
    return fcjax.fit(params, data, **(defaults | options))


def specs(params):
    return [tuple(V.sharding.spec) for V in jax.tree.leaves(params)]


def mesh(data=4, model=2):
    return distributed.mesh({"data": data, "model": model})


# --- where parameters lie -------------------------------------------------------------------------


def test_tensor_parallel_layers_come_in_pairs():
    params = distributed.place(fcjax.init(jax.random.key(0), (8, 16, 16, 16, 4)), mesh(), "tensor")
    columns, rows = [(None, "model"), ("model",)], [("model", None), (None,)]
    assert specs(params) == columns + rows + columns + rows


@pytest.mark.parametrize(("classes", "last"), [(4, (None, "model")), (5, (None, None))])
def test_a_last_layer_without_a_partner_is_split_if_it_can_be(classes, last):
    params = distributed.place(
        fcjax.init(jax.random.key(0), (8, 16, 16, classes)), mesh(), "tensor"
    )
    assert specs(params)[4] == last


def test_fully_sharded_parameters_take_an_eighth_of_the_memory():
    params = fcjax.init(jax.random.key(0), (16, 64, 64, 64, 32))
    for layout, shape in (("fsdp", (8, 1)), ("fsdp+tensor", (4, 2)), ("fsdp+tensor", (2, 4))):
        placed = distributed.place(params, mesh(*shape), layout)
        for V in jax.tree.leaves(placed):
            assert V.addressable_shards[0].data.nbytes * 8 == V.nbytes


def test_stacked_layers_are_never_split_along_their_depth():
    params = fcjax.stack(fcjax.init(jax.random.key(0), (16, *[64] * 8, 16)))
    fsdp = distributed.place(params, mesh(8, 1), "fsdp")
    both = distributed.place(params, mesh(4, 2), "fsdp+tensor")
    assert specs(fsdp)[2:4] == [(None, "data", None), (None, "data")]
    assert specs(both)[2:4] == [(None, "data", "model"), (None, ("model", "data"))]


@pytest.mark.parametrize(("layout", "shape"), MESHES.items())
def test_shapes_get_the_shardings_of_arrays(layout, shape):
    params = {"layers": fcjax.init(jax.random.key(0), SIZES), "scale": jnp.ones(3)}
    shapes = jax.eval_shape(lambda: params)
    placed = distributed.place(params, mesh(*shape), layout)
    assert distributed.shardings(shapes, mesh(*shape), layout) == jax.tree.map(
        lambda V: V.sharding, placed
    )


def test_shardings_of_what_no_machine_here_can_hold():
    shapes = jax.eval_shape(lambda: fcjax.init(jax.random.key(0), (2**20,) * 3, bias=False))
    assert sum(V.size for V in jax.tree.leaves(shapes)) == 2**41
    where = distributed.shardings(shapes, mesh(4, 2), "fsdp+tensor")
    assert [spec.spec for spec in jax.tree.leaves(where)] == [
        P("data", "model"),
        P("model", "data"),
    ]


def test_a_layout_may_be_a_function_of_path_and_shape():
    seen = {}

    def layout(path, shape):
        seen[path] = shape
        return P("data") if path == "['w']" else P()

    placed = distributed.place({"w": jnp.ones((8, 3)), "b": jnp.ones(3)}, mesh(), layout)
    assert seen == {"['w']": (8, 3), "['b']": (3,)}
    assert placed["w"].sharding.spec == P("data")
    assert placed["b"].sharding.spec == P()


@pytest.mark.parametrize(
    ("layout", "sizes", "shape", "message"),
    [
        ("tensr", SIZES, {"data": 8}, "layout: 'tensr' is unknown; did you mean 'tensor'?"),
        (3, SIZES, {"data": 8}, "layout must be a name or a function, got int 3"),
        ("tensor", SIZES, {"data": 8}, "mesh must have an axis 'model' for the layout 'tensor'"),
        ("fsdp+tensor", SIZES, {"model": 8}, "mesh must have an axis other than 'model'"),
        (
            "tensor",
            (4, 7, 7, 2),
            {"data": 4, "model": 2},
            r"divides each split size of params\[0\]",
        ),
        ("fsdp", (3, 7, 2), {"data": 8}, r"params\[0\].w must have a dimension that the 8 parts"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_layout_that_cannot_be(layout, sizes, shape, message):
    params = fcjax.init(jax.random.key(0), sizes)
    with pytest.raises((TypeError, ValueError), match=message):
        distributed.place(params, distributed.mesh(shape), layout)


def test_a_mesh_takes_all_devices():
    assert dict(distributed.mesh().shape) == {"data": jax.device_count()}
    with pytest.raises(ValueError, match="product is the number of devices, 8, got"):
        distributed.mesh({"data": 3})


# --- batches --------------------------------------------------------------------------------------


def test_padding_adds_examples_of_weight_zero():
    (x, labels), weights = distributed.padded((X[:37], LABELS[:37]), mesh())
    assert x.shape == (40, 16)
    assert weights.tolist() == [1] * 37 + [0] * 3
    params = fcjax.init(jax.random.key(0), SIZES)

    def weighted(params, batch):
        logits = fcjax.mlp(params, batch[0], activations="tanh")
        return fcjax.softmax_cross_entropy(logits, batch[1], weights=batch[2])

    batch = distributed.place_batch((x, labels, weights), mesh())
    got = jax.jit(jax.value_and_grad(weighted))(distributed.place(params, mesh(), "tensor"), batch)
    want = jax.jit(jax.value_and_grad(loss))(params, (X[:37], LABELS[:37]))
    assert_trees_close(got, want, tolerance(jnp.float32))


def test_the_rows_of_a_single_process_are_all_rows():
    everything = distributed.place_batch((X, LABELS), mesh())
    assert_same_bits(distributed.place_batch((X, LABELS), mesh(), local=True), everything)


def test_fit_takes_arrays_that_lie_on_a_mesh(on_one_device):
    result = fit(mesh=mesh(), layout="tensor", data=distributed.place_batch((X, LABELS), mesh()))
    assert_trees_close(result.params, on_one_device.params, 1e-3)


@pytest.mark.usefixtures("unchecked")
def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"examples of batch must be a multiple of 4.*got 37"):
        distributed.place_batch((X[:37],), mesh())
    with pytest.raises(ValueError, match=r"batch_size must be a multiple of 4.* got 30"):
        fit(mesh=mesh(), layout="tensor", batch_size=30)
    with pytest.raises(ValueError, match=r"examples of data must be a multiple of 4.* got 95"):
        fit(mesh=mesh(), layout="tensor", data=(X[:95], LABELS[:95]))
    with pytest.raises(ValueError, match="layout needs a mesh, got str 'fsdp'"):
        fit(layout="fsdp")
    with pytest.raises(TypeError, match="mesh must be a mesh"):
        fit(mesh=8)


# --- fit ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_one_device():
    return fit()


@pytest.mark.parametrize(("layout", "shape"), MESHES.items())
def test_fit_on_a_mesh_is_fit_on_one_device(on_one_device, layout, shape):
    result = fit(mesh=mesh(*shape), layout=layout)
    assert_trees_close(result.params, on_one_device.params, 1e-3)
    assert_trees_close(result.history, on_one_device.history, 1e-3)
    want = distributed.place(fcjax.init(jax.random.key(0), SIZES), mesh(*shape), layout)
    assert specs(result.params) == specs(want)


@pytest.mark.parametrize("layout", ["tensor", "fsdp+tensor"])
def test_fit_over_batches_on_a_mesh(layout):
    batches = [(X[i : i + 32], LABELS[i : i + 32]) for i in range(0, 96, 32)]
    options = {"data": batches, "batch_size": None, "validation_data": batches[:1]}
    on_mesh, alone = fit(mesh=mesh(), layout=layout, **options), fit(**options)
    assert_trees_close(on_mesh.params, alone.params, 1e-3)
    assert_trees_close(on_mesh.history, alone.history, 1e-3)


@pytest.mark.parametrize(("layout", "shape"), MESHES.items())
@pytest.mark.in_turn(2)
def test_a_run_goes_on_with_other_devices(tmp_path, on_one_device, layout, shape):
    fit(mesh=mesh(*shape), layout=layout, epochs=1, checkpoint_dir=tmp_path)
    fit(mesh=mesh(2, 4), layout="tensor", epochs=2, checkpoint_dir=tmp_path)
    result = fit(epochs=3, checkpoint_dir=tmp_path)
    assert_trees_close(result.params, on_one_device.params, 1e-3)
    assert len(result.history["val_loss"]) == 3


def test_an_interrupted_run_on_a_mesh_ends_in_the_same_bits(tmp_path):
    whole = fit(mesh=mesh(), layout="fsdp+tensor")
    fit(mesh=mesh(), layout="fsdp+tensor", epochs=2, checkpoint_dir=tmp_path)
    resumed = fit(mesh=mesh(), layout="fsdp+tensor", checkpoint_dir=tmp_path)
    assert_same_bits(resumed.params, whole.params)


# --- wrong input ----------------------------------------------------------------------------------

PARAMS = fcjax.init(jax.random.key(0), (8, 16, 4))


@pytest.mark.parametrize("layout", ["tensor", "fsdp+tensor"])
def test_what_is_no_layer_is_placed_as_arrays(layout):
    w, b = jnp.ones((4, 8)), jnp.ones(8)
    for tree in ((fcjax.Layer(None),), (fcjax.Layer(b, w),), (fcjax.Layer({"w": w}, [b]),)):
        placed = distributed.place(tree, mesh(4, 2), layout)
        assert_same_bits(placed, tree)
        assert all(V.sharding.mesh == mesh(4, 2) for V in jax.tree.leaves(placed))


def deleted():
    array = jnp.ones(3) + 1
    array.delete()
    return array


MISUSES = [
    (lambda: distributed.mesh(8), "shape must map names of axes to positive integers, got int 8"),
    (lambda: distributed.mesh({"data": -2, "x": -4}), "shape must map names"),
    (lambda: distributed.mesh({"data": 8.0}), "shape must map names"),
    (lambda: distributed.mesh(devices=[]), "devices must be at least one"),
    (lambda: distributed.mesh(devices=3), "devices must be devices"),
    (lambda: distributed.mesh(devices=jax.devices()[:1] * 2), "all different"),
    (lambda: distributed.place(PARAMS, 3), "mesh must be a mesh, .* got int 3"),
    (lambda: distributed.place([1.0], mesh(8, 1)), r"params\[0\] must be an array .*got float"),
    *[
        (
            lambda V=V: distributed.place([PARAMS, V], mesh(8, 1)),
            rf"params\[1\] must be an array .*got {got}",
        )
        for V, got in (
            (SimpleNamespace(shape=(3,), dtype="float32", ndim=1), r"SimpleNamespace float32\[3\]"),
            (jax.ShapeDtypeStruct((3,), "float32"), r"ShapeDtypeStruct float32\[3\]"),
            (np.timedelta64(1, "s"), r"timedelta64 timedelta64\[s\]"),
            (np.zeros(3, jax.dtypes.float0), r"ndarray float0\[3\]"),
            (np.ma.masked_array([1.0]), r"MaskedArray float64\[1\]"),
            (np.array([None]), r"ndarray object\[1\]"),
            (np.ones(3, ">f4"), r"ndarray >f4\[3\]"),
        )
    ],
    (lambda: distributed.place(deleted(), mesh(8, 1)), r"params .*float32\[3\], .*deleted"),
    *[
        (lambda f=f, name=name: f({0: X, "a": X}, mesh(8, 1)), f"{name} must be a pytree.*sorted")
        for f, name in (
            (distributed.place, "params"),
            (distributed.shardings, "params"),
            (distributed.place_batch, "batch"),
            (distributed.padded, "batch"),
        )
    ],
    *[
        (
            lambda f=f: f({"x": np.array(["a"] * 8)}, mesh(8, 1)),
            r"batch\['x'\] must be an array of numbers",
        )
        for f in (distributed.place_batch, distributed.padded)
    ],
    *[
        (
            lambda f=f: distributed.place(PARAMS, mesh(8, 1), f),
            r"layout must be a function of the path and the shape .* raised for params\[0\]\.w",
        )
        for f in (len, int, lambda path: P())
    ],
    (lambda: distributed.place_batch(X, None), "mesh must be a mesh"),
    (lambda: distributed.place_batch((X, X[:8]), mesh(8, 1)), "batch must be arrays with equal"),
    (lambda: distributed.place_batch(1.0, mesh(8, 1)), "batch must be an array whose first dim"),
    (lambda: distributed.padded((X[:5], X[:6]), mesh(8, 1)), "batch must be arrays with equal"),
    (lambda: distributed.padded(X[:0], mesh(8, 1)), "at least 1; got"),
    (lambda: distributed.padded((), mesh(8, 1)), "batch must be arrays"),
    *[
        (
            lambda spec=spec: distributed.place(PARAMS, mesh(8, 1), lambda path, shape: spec),
            r"layout must return a PartitionSpec.* params\[0\]",
        )
        for spec in (
            *(P("zz"), P(None, None, "data"), "data", None, P("data", "data")),
            *(P(3), P((3,)), P(P.UNCONSTRAINED)),
        )
    ],
]


@pytest.mark.parametrize(("call", "message"), MISUSES)
@pytest.mark.usefixtures("unchecked")
def test_wrong_input_is_refused_by_name(call, message):
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        call()
    assert len(str(caught.value)) < 400


def test_parameters_are_placed_before_the_state_of_the_optimizer_is_made():
    """One device may have no memory for it."""
    seen, adam, devices = [], optax.adam(1e-2), mesh(8, 1)

    def init(params):
        seen.extend(V for V in jax.tree.leaves(params) if not isinstance(V, jax.core.Tracer))
        return adam.init(params)

    fit(optimizer=optax.GradientTransformation(init, adam.update), mesh=devices, layout="fsdp")
    assert seen
    assert all(V.sharding.mesh == devices for V in seen)
