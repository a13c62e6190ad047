"""Calls of `fcjax.distributed`: meshes, and where parameters and batches lie on them."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from jax.sharding import AxisType, PartitionSpec

from fcjax import distributed

from .judge import Call
from .networks import network
from .registry import calls_of
from .spec import canonical, integer, leaves_of, require
from .values import junk, rarely, wrong_ones

LAYOUTS = ("replicated", "tensor", "fsdp", "fsdp+tensor")


def mesh(shape=None, devices=None):
    devices = jax.devices() if devices is None else devices
    if isinstance(devices, np.ndarray):
        devices = [*devices.flat]
    is_sequence = isinstance(devices, tuple | list)
    require(is_sequence and all(isinstance(d, jax.Device) for d in devices), "devices")
    require(devices and len(set(devices)) == len(devices), "devices")
    shape = {"data": len(devices)} if shape is None else shape
    require(isinstance(shape, dict), "shape")
    for name, size in shape.items():
        require(isinstance(name, str), "shape")
        integer("shape", size, 1)
    require(np.prod([*shape.values()], dtype=float) == len(devices), "shape", "devices")
    return lambda made: None if dict(made.shape) == shape else f"{made}, want {shape}"


@calls_of("distributed.mesh", cases=400)
def mesh_calls(draw):
    wrong = wrong_ones(draw, ["shape", "devices"])
    number = draw(st.sampled_from((1, 2, 4)))
    devices = jax.devices()[:number]
    shapes = st.sampled_from(
        ({"data": number}, {"data": 1, "model": number}, {"a": number, "b": 1}, None)
    )
    forms = st.sampled_from((devices, tuple(devices), np.array(devices)[:, None]))
    given = {"shape": draw(shapes), "devices": draw(forms)}
    if "shape" in wrong:
        odd = st.sampled_from(
            (
                {},
                {"data": 3},
                {"data": 0},
                {"data": -1},
                {"data": True},
                {"data": 2.0},
                {1: number},
                {"data": "2"},
                {"": number},
                {"data": None},
                [("data", number)],
                (number,),
                {"data": 2**70},
                {"data": np.int64(number)},
                {"data": -1, "model": -number},
                {"x" * 500: number},
                {str(i): 7 for i in range(100)},
            )
        )
        given["shape"] = draw(st.one_of(odd, junk()))
    if "devices" in wrong:
        odd = st.sampled_from(
            (devices * 2, [], devices[0], ["cpu"], [None], jax.devices, {devices[0]})
        )
        given["devices"] = draw(st.one_of(odd, junk()))
    return Call(distributed.mesh, given, mesh, wrong=wrong)


@st.composite
def meshes(draw):
    shape = draw(st.sampled_from(({"data": 2}, {"data": 1}, {"data": 2, "model": 2}, {"model": 2})))
    return distributed.mesh(shape, devices=jax.devices()[: int(np.prod([*shape.values()]))])


def is_mesh(value):
    return isinstance(value, jax.sharding.Mesh) and AxisType.Manual not in value.axis_types


@st.composite
def wrong_mesh(draw):
    devices = np.array(jax.devices()[:2])
    manual = jax.sharding.Mesh(devices, ("data",), axis_types=(AxisType.Manual,))
    odd = st.sampled_from(
        (
            manual,
            manual.abstract_mesh,
            {"data": 2},
            jax.devices(),
            jax.sharding.Mesh(devices, ("data",)),
        )
    )
    return draw(st.one_of(odd, junk()))


def same_values(tree):
    with np.errstate(over="ignore"):  # float32 holds what is too large for it as infinity
        want = [
            values.astype(canonical(values.dtype)) for values in map(numbers, jax.tree.leaves(tree))
        ]

    def problem(got):
        found = [*map(numbers, jax.tree.leaves(got))]
        same = len(want) == len(found) and all(map(_equal, found, want))
        return None if same else "other values"

    return problem


def numbers(leaf):
    return np.asarray(jax.random.key_data(leaf) if is_keys(leaf) else leaf)


def is_keys(leaf):
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _equal(a, b):
    return a.shape == b.shape and np.array_equal(
        a.astype(np.float64), b.astype(np.float64), equal_nan=True
    )


def is_array(leaf):
    numbers = hasattr(leaf, "dtype") and getattr(leaf.dtype, "kind", "O") in "biufcV"
    known = isinstance(leaf, jax.Array | np.ndarray | np.generic)
    known = known and not isinstance(leaf, np.ma.MaskedArray)
    if not (known and numbers) or (isinstance(leaf, jax.Array) and leaf.is_deleted()):
        return False
    return (
        leaf.dtype != jax.dtypes.float0 and leaf.dtype.names is None and leaf.dtype != np.longdouble
    )


def place(params, mesh, layout="replicated"):
    require(isinstance(layout, str) or callable(layout), "layout")
    require(is_mesh(mesh), "mesh")
    for leaf in leaves_of("params", params):
        require(is_array(leaf) or is_keys(leaf), "params")
    if not callable(layout):
        require(layout in LAYOUTS, "layout")
        return lambda got: same_values(params)(got)
    return lambda got: same_values(params)(got)


@calls_of("distributed.place", cases=400)
def place_calls(draw):
    wrong = wrong_ones(draw, ["params", "mesh", "layout"])
    sizes = draw(st.sampled_from(((2, 4, 2), (3, 5), (4, 4, 4, 2))))
    given = {"params": network(sizes, 0, bias=not rarely(draw)), "mesh": draw(meshes())}
    fitting = {
        "data": ("replicated", "fsdp"),
        "model": ("tensor",),
        "both": ("tensor", "fsdp+tensor"),
    }
    axes = given["mesh"].axis_names
    kind = "both" if len(axes) == 2 else axes[0]
    given["layout"] = draw(st.sampled_from(fitting[kind] if sizes[1] != 5 else ("replicated",)))
    if sizes[1] == 5 and "model" in axes:
        given["layout"] = lambda name, shape: PartitionSpec()
    if "mesh" in wrong:
        given["mesh"] = draw(wrong_mesh())
    if "params" in wrong:
        odd = st.sampled_from(
            ({"w": "text"}, [None, 3], (), ({"a": object()},), jnp.ones(3), ["a"])
        )
        given["params"] = draw(st.one_of(odd, junk()))
    if "layout" in wrong:
        odd = st.sampled_from(
            (
                "tensr",
                "",
                "Tensor",
                None,
                3,
                ("fsdp",),
                lambda name, shape: None,
                lambda name, shape: PartitionSpec("nowhere"),
                lambda name, shape: PartitionSpec(*"abcdef"),
                lambda name: PartitionSpec(),
                lambda name, shape: ("data",),
                *LAYOUTS,
            )
        )
        given["layout"] = draw(st.one_of(odd, junk()))
    uncertain = bool(wrong) and is_mesh(given["mesh"])
    return Call(distributed.place, given, place, wrong=wrong, uncertain=uncertain)


def batch_size(batch):
    found = leaves_of("batch", batch)
    require(found, "batch")
    lengths = set()
    for leaf in found:
        require((is_array(leaf) or is_keys(leaf)) and leaf.shape, "batch")
        lengths.add(leaf.shape[0])
    require(len(lengths) == 1 and 0 not in lengths, "batch")
    return lengths.pop()


def shards(mesh):
    return int(np.prod([size for name, size in mesh.shape.items() if name != "model"]))


def place_batch(batch, mesh):
    require(is_mesh(mesh), "mesh")
    require(batch_size(batch) % shards(mesh) == 0, "batch")
    return same_values(batch)


def padded(batch, mesh):
    require(is_mesh(mesh), "mesh")
    examples = batch_size(batch)
    extra = -examples % shards(mesh)
    arrays = [*map(numbers, jax.tree.leaves(batch))]
    arrays = [np.concatenate([V, np.repeat(V[-1:], extra, 0)]) for V in arrays]
    return same_values((arrays, np.arange(examples + extra) < examples))


@calls_of("distributed.place_batch", "distributed.padded", cases=300)
def batch_calls(draw, name):
    wrong = wrong_ones(draw, ["batch", "mesh"])
    examples = draw(st.sampled_from((2, 4) if name.endswith("place_batch") else (1, 2, 3)))
    X, y = np.ones((examples, 3), np.float32), jnp.arange(examples)
    given = {"batch": draw(st.sampled_from(((X, y), {"x": X, "y": y}, X))), "mesh": draw(meshes())}
    if "mesh" in wrong:
        given["mesh"] = draw(wrong_mesh())
    if "batch" in wrong:
        odd = st.sampled_from(
            (
                (X, y[:-1]),
                (X, 3.0),
                [[1.0, 2.0], [3.0, 4.0]],
                (),
                {},
                None,
                (X[:0], y[:0]),
                X[:1],
                (X, "text"),
                {"x" * 300: X, "y" * 300: y[:1]},
                [X[: i % 2] for i in range(100)],
                (X, None),
                (X, ["a"] * examples),
                np.array(["a"] * examples),
                np.array([None] * examples, object),
            )
        )
        given["batch"] = draw(st.one_of(odd, junk()))
    function = getattr(distributed, name.split(".")[1])
    return Call(function, given, globals()[name.split(".")[1]], wrong=wrong)
