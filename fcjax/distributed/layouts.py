"""Layouts: where the parameters of a network lie on a mesh.

The parallelism is JAX's: a function of arrays that lie on a mesh runs on its devices. The rules of
fcjax say where their results lie, so meshes with explicit axes work everywhere.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .._arguments import brief, check_arrays, check_one_of, describe, named_leaves
from .._types import Tree
from .meshes import MODEL, check_mesh, example_axes, number_of_shards
from .putting import put_on_mesh

LAYOUTS = ("replicated", "tensor", "fsdp", "fsdp+tensor")
Layout = (
    Literal["replicated", "tensor", "fsdp", "fsdp+tensor"]
    | Callable[[str, tuple[int, ...]], PartitionSpec]
)
# An array, or its shape alone.
_Shaped = Array | jax.ShapeDtypeStruct
# The mesh axes along which each dimension of an array is split.
_Axes = tuple[tuple[str, ...], ...]


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
      dimension that all other axes divide, but vectors that they do not divide are replicated. A
      layer is gathered when it is used.
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
    >>> one_device = fcjax.distributed.mesh({"data": 1}, devices=jax.devices()[:1])
    >>> on_mesh = place(params, one_device, "fsdp")
    >>> tuple(on_mesh[0].w.sharding.spec)
    ('data', None)
    """
    check_arrays("params", params)
    return put_on_mesh("params", params, shardings(params, mesh, layout))


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
    >>> one_device = fcjax.distributed.mesh({"data": 1}, devices=jax.devices()[:1])
    >>> where = shardings(shapes, one_device, "fsdp")
    >>> tuple(where[0].w.spec)
    ('data', None)
    """
    if not (isinstance(layout, str) or callable(layout)):
        raise TypeError(f"layout must be a name or a function, got {describe(layout)}")
    check_mesh(mesh, layout, required=True)
    for name, leaf in named_leaves("params", params):
        if not (hasattr(leaf, "shape") and hasattr(leaf, "ndim")):
            raise TypeError(f"{name} must be an array, got {describe(leaf)}")
    if callable(layout):
        specs = _specs_of(params, mesh, layout)
    else:
        check_one_of("layout", layout, LAYOUTS)
        _check_axes(mesh, layout)
        specs = _named_specs(params, mesh, layout)
    return jax.tree.map(lambda _, spec: NamedSharding(mesh, spec), params, specs)


def _check_axes(mesh: Mesh, layout: str) -> None:
    if "tensor" not in layout and mesh.shape.get(MODEL, 1) > 1:
        raise ValueError(
            f"mesh must have no axis {MODEL!r} for the layout {layout!r}, in which its "
            f"{mesh.shape[MODEL]} devices would all do the same work"
        )
    missing = "tensor" in layout and MODEL not in mesh.axis_names
    if missing or ("fsdp" in layout and not example_axes(mesh)):
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
        try:
            spec = layout(name, V.shape)
        except TypeError as error:  # often because it takes other arguments
            raise TypeError(
                f"layout must be a function of the path and the shape of an array, "
                f"got {describe(layout)}, which raised for params{name}: {brief(error)}"
            ) from error
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
    by_dimension = [e if isinstance(e, tuple) else () if e is None else (e,) for e in spec]
    names = list(itertools.chain(*by_dimension))
    if not set(names) <= set(mesh.axis_names) or len(set(names)) != len(names):
        return False
    parts = [math.prod(mesh.shape[name] for name in names) for names in by_dimension]
    return len(parts) <= len(shape) and not any(
        size % count for size, count in zip(shape, parts, strict=False)
    )


def _is_layer(node: Any) -> bool:
    """Whether a node is a `Layer`, or any other named tuple of weights and a bias or None."""
    if getattr(node, "_fields", None) != ("w", "b"):
        return False
    w, b = (getattr(V, "ndim", None) for V in node)
    return w is not None and w > 1 and (node.b is None or b == w - 1)


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
    more = example_axes(mesh)
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
