"""Training on a mesh, in every layout of the parameters: right numbers, and no wasted message."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from support import assert_trees_close, normal, tolerance

import fcjax

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
def test_a_step_with_explicit_axes(on_one_device, layout, loss):
    start, (state, info) = on_mesh(AxisType.Explicit, layout, loss)
    want, want_info = on_one_device(loss)
    allowed = 1e-2 if loss is narrow else 64 * tolerance(jnp.float32)
    assert_trees_close(state.params, want.params, allowed)
    assert_trees_close(info.grad_norm, want_info.grad_norm, allowed)
    for before, after in zip(jax.tree.leaves(start), jax.tree.leaves(state.params), strict=True):
        assert after.sharding.is_equivalent_to(before.sharding, before.ndim)


@pytest.mark.parametrize("loss", [plain, normalized])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_step_with_automatic_axes(on_one_device, layout, loss):
    _, (state, _) = on_mesh(AxisType.Auto, layout, loss)
    assert_trees_close(state.params, on_one_device(loss)[0].params, 64 * tolerance(jnp.float32))
