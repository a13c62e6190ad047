"""Networks on several devices: a mesh, and where parameters and batches lie on it.

The parallelism is JAX's: a function of arrays that lie on a mesh runs on its devices. The rules of
fcjax say where their results lie, so meshes with explicit axes work everywhere.

The devices may belong to several processes, all of which run the same program. Each then calls
these functions, in the same order, and holds the parts of the arrays that lie on its own devices.
"""

import itertools
import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from .._arguments import brief, check_one_of, describe
from .._types import AnyArray, Tree
from .agreement import of_all_processes

# The axis that splits the inputs or outputs of layers. Every other axis splits the examples.
MODEL = "model"

LAYOUTS = ("replicated", "tensor", "fsdp", "fsdp+tensor")
Layout = (
    Literal["replicated", "tensor", "fsdp", "fsdp+tensor"]
    | Callable[[str, tuple[int, ...]], PartitionSpec]
)
# An array, or its shape alone.
_Shaped = Array | jax.ShapeDtypeStruct
# The mesh axes along which each dimension of an array is split.
_Axes = tuple[tuple[str, ...], ...]


def mesh(shape: Mapping[str, int] | None = None, *, devices: Sequence[Tree] | None = None) -> Mesh:
    """Return a mesh with explicit axes.

    Args:
        shape: maps the names of the axes to their sizes. "model" splits the layers; every other
            axis splits the examples. None: all devices along "data".
        devices: the devices; by default all, of all processes.

    Raises:
        TypeError: `shape` does not map names to integers, or `devices` are not devices.
        ValueError: the sizes do not multiply to the number of devices, or a device occurs twice.

    >>> dict(mesh({"data": 1}, devices=jax.devices()[:1]).shape)
    {'data': 1}
    """
    devices = jax.devices() if devices is None else devices
    if not _are_devices(devices):
        raise TypeError(f"devices must be devices, as from jax.devices(), got {describe(devices)}")
    if not devices or len(set(devices)) != len(devices):
        raise ValueError(f"devices must be at least one, and all different, got {brief(devices)}")
    shape = {"data": len(devices)} if shape is None else shape
    if not _maps_names_to_counts(shape):
        raise TypeError(f"shape must map names of axes to positive integers, got {describe(shape)}")
    if math.prod(shape.values()) != len(devices):
        raise ValueError(
            f"shape must have sizes whose product is the number of devices, {len(devices)}, "
            f"got {brief(shape)}"
        )
    types = (AxisType.Explicit,) * len(shape)
    return jax.make_mesh(tuple(shape.values()), tuple(shape), axis_types=types, devices=devices)


def _are_devices(devices: object) -> bool:
    return isinstance(devices, Sequence) and all(isinstance(d, jax.Device) for d in devices)


def _maps_names_to_counts(shape: object) -> bool:
    return isinstance(shape, Mapping) and all(
        isinstance(name, str) and type(size) is int and size > 0 for name, size in shape.items()
    )


def place(params: Tree, mesh: Mesh, layout: Layout = "replicated") -> Tree:
    """Put parameters on a mesh.

    The layouts by name are made for the layers of a network (named tuples of `w` and `b`), in their
    order:

    - "replicated": all devices hold all parameters. Each works on a part of the batch.
    - "tensor": in pairs of layers, "model" splits the outputs of the first and the inputs of the
      second, so that one sum over devices serves two layers. It also splits the outputs of a last
      layer without a partner, if it divides them, and of stacked layers, whose outputs are then
      gathered after each layer. Other arrays are replicated.
    - "fsdp": fully sharded. Each device holds a part of every parameter, split along the first
      dimension that all other axes divide. A layer is gathered when it is used. Vectors that they
      do not divide are replicated.
    - "fsdp+tensor": "tensor", and the parts are split further as in "fsdp". What "model" does not
      split is split over all axes.

    A layout that does not use an axis "model" of several devices is refused, for they would all do
    the same work.

    Args:
        params: any pytree of arrays, for example from `init`.
        mesh: a mesh, as from `fcjax.distributed.mesh`.
        layout: one of the names, or a function from the path of an array, such as `"[0].w"`, and
            its shape to a `PartitionSpec`.

    Returns:
        The same parameters, each with a `NamedSharding`.

    Raises:
        TypeError: `layout` is neither a name nor a function, it returns anything but a
            `PartitionSpec`, `mesh` is not a mesh, or `params` holds anything but arrays.
        ValueError: `layout` is unknown, it needs an axis that `mesh` does not have, or the axis
            does not divide the size that it must split.

    Source: Shoeybi et al., Megatron-LM, arXiv:1909.08053, section 3 (tensor); Rajbhandari et al.,
    ZeRO, SC 2020, section 5 (fsdp).

    >>> import fcjax
    >>> params = fcjax.init(jax.random.key(0), (4, 8, 2))
    >>> on_mesh = place(params, mesh({"data": 1}, devices=jax.devices()[:1]), "fsdp")
    >>> tuple(on_mesh[0].w.sharding.spec)
    ('data', None)
    """
    return _put("params", params, shardings(params, mesh, layout))


def shardings(params: Tree, mesh: Mesh, layout: Layout = "replicated") -> Tree:
    """Return the sharding that `place` gives each parameter, and move nothing.

    Only shapes are read, so a program can be compiled for parameters that exist nowhere yet, and
    for devices that are not there.

    Args:
        params: any pytree of arrays, or of their shapes, for example from `jax.eval_shape`.
        mesh: as in `place`.
        layout: as in `place`.

    Raises:
        TypeError, ValueError: as `place`.

    >>> import fcjax
    >>> shapes = jax.eval_shape(lambda: fcjax.init(jax.random.key(0), (4, 8, 2)))
    >>> where = shardings(shapes, mesh({"data": 1}, devices=jax.devices()[:1]), "fsdp")
    >>> tuple(where[0].w.spec)
    ('data', None)
    """
    if not (isinstance(layout, str) or callable(layout)):
        raise TypeError(f"layout must be a name or a function, got {describe(layout)}")
    check_mesh(mesh, layout, required=True)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not hasattr(leaf, "shape"):
            name = jax.tree_util.keystr(path)
            raise TypeError(f"params{name} must be an array, got {describe(leaf)}")
    if callable(layout):
        specs = _specs_of(params, mesh, layout)
    else:
        check_one_of("layout", layout, LAYOUTS)
        _check_axes(mesh, layout)
        specs = _named_specs(params, mesh, layout)
    return jax.tree.map(lambda _, spec: NamedSharding(mesh, spec), params, specs)


def place_batch(batch: Tree, mesh: Mesh, *, local: bool = False, name: str = "batch") -> Tree:
    """Put arrays on a mesh, and split their examples over all axes except "model".

    If the mesh has the devices of several processes, each either passes all examples, and keeps
    those of its own devices, or, with `local=True`, passes only those. The first compares a
    checksum of the arrays in all processes; the second communicates nothing.

    Args:
        batch: arrays whose first dimension counts the examples.
        mesh: a mesh, as from `fcjax.distributed.mesh`.
        local: whether these are the examples of this process alone. The batch is then those of all
            processes, in the order of their devices on the mesh. Each process must pass the same
            number. Processes that "model" splits the layers between must pass the same examples.
        name: what errors call the batch.

    Raises:
        TypeError: `mesh` is not a mesh.
        ValueError: the arrays have no examples or different numbers of them, the devices cannot
            share these equally, or the processes pass different arrays.

    >>> batch = place_batch(jnp.ones((4, 3)), mesh({"data": 1}, devices=jax.devices()[:1]))
    >>> tuple(batch.sharding.spec)
    ('data',)
    """
    check_mesh(mesh, required=True)
    examples = _number_of_examples(batch, name)
    sharding = NamedSharding(mesh, PartitionSpec(_example_axes(mesh)))
    if local and mesh.is_multi_process:
        return _join_rows(batch, sharding, examples, name)
    if examples % number_of_shards(mesh):
        raise ValueError(
            f"{_shared(f'the number of examples of {name}', examples, mesh)}; "
            "fcjax.distributed.padded adds examples of weight 0"
        )
    return _put(name, batch, jax.tree.map(lambda _: sharding, batch))


def _join_rows(batch: Tree, sharding: NamedSharding, examples: int, name: str) -> Tree:
    """Return the batch that the examples of all processes form."""
    shards = sharding.num_devices  # an example per device: each shard of the examples has a row
    indices = sharding.addressable_devices_indices_map((shards,)).values()
    parts = len({rows.indices(shards) for index in indices if index for rows in index[:1]})
    if examples % parts:
        raise ValueError(
            f"the number of examples of {name} in this process must be a multiple of {parts}, the "
            f"parts into which its devices split them, got {examples}"
        )

    def join(V: AnyArray) -> Array:
        return jax.make_array_from_process_local_data(sharding, np.asarray(V))

    return jax.tree.map(join, batch)


def _put(name: str, tree: Tree, shardings: Tree) -> Tree:
    """Put the same arrays of every process on a mesh.

    `jax.device_put` does so too, but compares the arrays by gathering them all in each process.
    """
    spread = any(sharding.mesh.is_multi_process for sharding in jax.tree.leaves(shardings))
    if not spread or not all(map(_is_here, jax.tree.leaves(tree))):
        return jax.tree.map(jax.device_put, tree, shardings)
    arrays = jax.tree.map(_as_stored, tree)
    _check_equal_in_all_processes(name, arrays)

    def put(V: np.ndarray, sharding: NamedSharding) -> Array:
        return jax.make_array_from_callback(V.shape, sharding, lambda index: V[index])

    return jax.tree.map(put, arrays, shardings)


def _is_here(V: AnyArray) -> bool:
    """Whether this process has all of an array, which is not a typed key."""
    is_key = jnp.issubdtype(V.dtype, jax.dtypes.extended)
    return not is_key and getattr(V, "is_fully_addressable", True)


def _as_stored(V: AnyArray) -> np.ndarray:
    """Return a NumPy array with the dtype that JAX gives it: float32 for float64."""
    return np.asarray(V, jax.dtypes.canonicalize_dtype(V.dtype))


def _check_equal_in_all_processes(name: str, arrays: Tree) -> None:
    facts = [(V.shape, str(V.dtype), zlib.crc32(V.tobytes())) for V in jax.tree.leaves(arrays)]
    found = of_all_processes(zlib.crc32(repr(facts).encode()))
    if len(set(found)) > 1:
        hint = "; place_batch(..., local=True) takes the examples of each process"
        raise ValueError(
            f"{name} must be equal in all processes, got different arrays in process "
            f"{next(i for i, one in enumerate(found) if one != found[0])} and in process 0"
            f"{'' if name == 'params' else hint}"
        )


def padded(batch: Tree, mesh: Mesh) -> tuple[Tree, Array]:
    """Repeat the last example until the devices can share the examples, and give it weight 0.

    Args:
        batch: arrays whose first dimension counts the examples.
        mesh: a mesh, as from `fcjax.distributed.mesh`.

    Returns:
        The batch, and the weights of its examples for the argument `weights` of a loss: 1, or 0
        for the examples that were added.

    Raises:
        TypeError: `mesh` is not a mesh.
        ValueError: the arrays have no examples, or different numbers of them.

    >>> padded(jnp.arange(3), mesh({"data": 1}, devices=jax.devices()[:1]))
    (Array([0, 1, 2], dtype=int32), Array([1., 1., 1.], dtype=float32))
    """
    check_mesh(mesh, required=True)
    examples = _number_of_examples(batch, "batch")
    extra = -examples % number_of_shards(mesh)

    def pad(V: Array) -> Array:
        V = jnp.asarray(V)
        return jnp.concatenate([V, jnp.repeat(V[-1:], extra, axis=0)]) if extra else V

    weights = jnp.arange(examples + extra) < examples
    return jax.tree.map(pad, batch), weights.astype(jnp.float32)


def place_parts(batch: Tree, mesh: Mesh) -> list[Tree]:
    """Split the examples over the mesh as far as they divide, and replicate the others."""
    examples = np.shape(jax.tree.leaves(batch)[0])[0]
    full = examples - examples % number_of_shards(mesh)
    placed = [place_batch(jax.tree.map(lambda V: V[:full], batch), mesh)] if full else []
    if full < examples:
        rest = jax.tree.map(lambda V: V[full:], batch)
        everywhere = NamedSharding(mesh, PartitionSpec())
        placed.append(_put("batch", rest, jax.tree.map(lambda _: everywhere, rest)))
    return placed


def _number_of_examples(batch: Tree, name: str) -> int:
    """Return the first dimension that all arrays of a batch have, or raise ValueError."""
    shapes: dict[str, tuple[int, ...]] = {
        name + jax.tree_util.keystr(path): getattr(leaf, "shape", ())
        for path, leaf in jax.tree_util.tree_leaves_with_path(batch)
    }
    lengths = {shape[:1] for shape in shapes.values()}
    if len(lengths) != 1 or lengths & {(), (0,)}:
        raise ValueError(
            f"{name} must be arrays with equal first dimensions (the number of examples), at least "
            f"1; got the shapes {brief(shapes)}"
        )
    return next(shape[0] for shape in shapes.values())


def check_mesh(mesh: object, layout: object = "replicated", *, required: bool = False) -> None:
    """Raise TypeError unless `mesh` is a mesh or None, ValueError for a layout without a mesh."""
    if mesh is None and not required:
        if layout != "replicated":
            raise ValueError(f"layout needs a mesh, got {describe(layout)} and mesh=None")
    elif not isinstance(mesh, Mesh):
        raise TypeError(
            f"mesh must be a mesh, as from fcjax.distributed.mesh, got {describe(mesh)}"
        )
    elif AxisType.Manual in mesh.axis_types:
        raise ValueError("mesh must have explicit or automatic axes, got manual ones")


def check_shared(name: str, number: int, mesh: Mesh) -> None:
    """Raise ValueError unless the devices can share a number of examples equally."""
    if number % number_of_shards(mesh):
        raise ValueError(_shared(name, number, mesh))


def _shared(name: str, number: int, mesh: Mesh) -> str:
    return (
        f"{name} must be a multiple of {number_of_shards(mesh)}, the parts into which the mesh "
        f"splits the examples, got {number}"
    )


def number_of_shards(mesh: Mesh) -> int:
    """Return the number of parts into which a mesh splits the examples."""
    return math.prod(mesh.shape[axis] for axis in _example_axes(mesh))


def on_mesh(tree: Tree, mesh: Mesh) -> Tree:
    """Replicate the arrays that do not lie on the mesh yet, such as counters of an optimizer."""

    def put(V: Array) -> Array:
        sharding = V.sharding
        there = isinstance(sharding, NamedSharding) and sharding.mesh == mesh
        return V if there else jax.device_put(V, NamedSharding(mesh, PartitionSpec()))

    return jax.tree.map(put, tree)


def _example_axes(mesh: Mesh) -> tuple[str, ...]:
    return tuple(axis for axis in mesh.axis_names if axis != MODEL)


def _check_axes(mesh: Mesh, layout: str) -> None:
    if "tensor" not in layout and mesh.shape.get(MODEL, 1) > 1:
        raise ValueError(
            f"mesh must have no axis {MODEL!r} for the layout {layout!r}, in which its "
            f"{mesh.shape[MODEL]} devices would all do the same work"
        )
    missing = "tensor" in layout and MODEL not in mesh.axis_names
    if missing or ("fsdp" in layout and not _example_axes(mesh)):
        needed = f"an axis {MODEL!r}" if missing else f"an axis other than {MODEL!r}"
        raise ValueError(
            f"mesh must have {needed} for the layout {layout!r}, got the axes "
            f"{', '.join(mesh.axis_names)}"
        )


def _specs_of(
    params: Tree, mesh: Mesh, layout: Callable[[str, tuple[int, ...]], PartitionSpec]
) -> Tree:
    def spec_of(path: tuple[object, ...], V: _Shaped) -> PartitionSpec:
        name = jax.tree_util.keystr(path)
        spec = layout(name, V.shape)
        if not _is_spec(spec):
            raise TypeError(
                f"layout must return a PartitionSpec, got {describe(spec)} for params{name}"
            )
        if not _fits(spec, V.shape, mesh):
            raise ValueError(
                f"layout must return a PartitionSpec that fits params{name} {describe(V)} on the "
                f"axes {dict(mesh.shape)}, got {spec}"
            )
        return spec

    return jax.tree_util.tree_map_with_path(spec_of, params)


def _is_spec(value: object) -> bool:
    return isinstance(value, PartitionSpec)


def _fits(spec: PartitionSpec, shape: tuple[int, ...], mesh: Mesh) -> bool:
    """Whether a spec uses axes of the mesh, each once, that divide the dimensions of an array."""
    by_dimension = [() if e is None else (e,) if isinstance(e, str) else tuple(e) for e in spec]
    names = list(itertools.chain(*by_dimension))
    if not set(names) <= set(mesh.axis_names) or len(set(names)) != len(names):
        return False
    parts = [math.prod(mesh.shape[name] for name in names) for names in by_dimension]
    return len(parts) <= len(shape) and not any(
        size % count for size, count in zip(shape, parts, strict=False)
    )


def _is_layer(node: object) -> bool:
    """Whether a node is a `Layer`, or any other named tuple of a weight and a bias."""
    return getattr(node, "_fields", None) == ("w", "b")


def _named_specs(params: Tree, mesh: Mesh, layout: str) -> Tree:
    leaves, structure = jax.tree_util.tree_flatten_with_path(params, is_leaf=_is_layer)
    tensor = _tensor_specs([leaf for _, leaf in leaves], mesh, "tensor" in layout)
    specs: list[Tree] = []
    for (path, leaf), axes in zip(leaves, tensor, strict=True):
        name = f"params{jax.tree_util.keystr(path)}"
        arrays = {f"{name}.w": leaf.w, f"{name}.b": leaf.b} if _is_layer(leaf) else {name: leaf}
        each = [
            _array_spec(place, V, part, mesh, layout)
            for (place, V), part in zip(arrays.items(), axes, strict=True)
        ]
        specs.append(leaf._replace(w=each[0], b=each[1]) if _is_layer(leaf) else each[0])
    return jax.tree.unflatten(structure, specs)


def _tensor_specs(leaves: Iterable[Tree], mesh: Mesh, split: bool) -> list[tuple[_Axes, ...]]:
    """Return how "model" splits the arrays of each layer, and of what is no layer."""
    leaves = list(leaves)
    last = max((i for i, leaf in enumerate(leaves) if _is_layer(leaf)), default=-1)
    are_split = False  # whether "model" splits the output of the previous layer
    found: list[tuple[_Axes, ...]] = []
    for i, leaf in enumerate(leaves):
        if not _is_layer(leaf):
            found.append((((),) * np.ndim(leaf),))
            continue
        stack: _Axes = ((),) * (np.ndim(leaf.w) - 2)
        rows = split and are_split and not stack
        columns = split and not rows
        if i == last and leaf.w.shape[-1] % mesh.shape.get(MODEL, 1):
            columns = False
        model = (MODEL,)
        w = (*stack, model if rows else (), model if columns else ())
        found.append((w, (*stack, model if columns else ())))
        are_split = columns
    return found


def _array_spec(
    name: str, V: _Shaped | None, axes: _Axes, mesh: Mesh, layout: str
) -> PartitionSpec | None:
    """Return the spec of an array that "model" splits along `axes`."""
    if V is None:
        return None
    if "fsdp" in layout:
        axes = _further(name, V, axes, mesh, layout)
    for size, names in zip(V.shape, axes, strict=True):
        parts = math.prod(mesh.shape[axis] for axis in names)
        if size % parts:
            raise ValueError(
                f"mesh must have an axis {', '.join(names)} that divides each split size of "
                f"{name} {describe(V)}, got {parts} devices for {size}"
            )
    return PartitionSpec(*(_entry(names) for names in axes))


def _entry(names: tuple[str, ...]) -> str | tuple[str, ...] | None:
    return names[0] if len(names) == 1 else names or None


def _further(name: str, V: _Shaped, axes: _Axes, mesh: Mesh, layout: str) -> _Axes:
    """Split an array further over the axes of the examples, along a whole dimension if possible."""
    more = _example_axes(mesh)
    if layout == "fsdp+tensor" and not any(axes):
        more = (*more, MODEL)
    # the first dimension of stacked layers is the one that `scan` runs over
    first = V.ndim - 2 if name.endswith(".w") else V.ndim - 1 if name.endswith(".b") else 0
    dimensions = range(max(first, 0), V.ndim)
    whole = [d for d in dimensions if not axes[d]]
    for d in itertools.chain(whole, dimensions):
        wanted = (*axes[d], *more)
        if V.shape[d] % math.prod(mesh.shape[axis] for axis in wanted) == 0:
            return (*axes[:d], wanted, *axes[d + 1 :])
    if V.ndim > 1:
        raise ValueError(
            f"{name} must have a dimension that the {number_of_shards(mesh)} parts of "
            f"{', '.join(more)} divide, got {describe(V)}"
        )
    return axes
