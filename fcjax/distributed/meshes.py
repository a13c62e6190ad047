"""A mesh: devices along named axes."""

import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from .._arguments import as_integer, brief, describe
from .._types import Tree

# The axis that splits the inputs or outputs of layers. Every other axis splits the examples.
MODEL = "model"


def mesh(
    shape: Mapping[str, int] | None = None, *, devices: Sequence[Tree] | np.ndarray | None = None
) -> Mesh:
    """Return a mesh with explicit axes.

    Args:
        shape: maps the names of the axes to their sizes. "model" splits the layers; every other
            axis splits the examples. None: all devices along "data".
        devices: the devices, in a sequence or an array; by default all, of all processes.

    Raises:
        TypeError: `shape` does not map names to integers, or `devices` are not devices.
        ValueError: the sizes do not multiply to the number of devices, or a device occurs twice.

    >>> dict(mesh({"data": 1}, devices=jax.devices()[:1]).shape)
    {'data': 1}
    """
    devices = jax.devices() if devices is None else devices
    if isinstance(devices, np.ndarray):
        devices = [*devices.flat]
    if not _are_devices(devices):
        raise TypeError(f"devices must be devices, as from jax.devices(), got {describe(devices)}")
    if not devices or len(set(devices)) != len(devices):
        raise ValueError(f"devices must be at least one, and all different, got {brief(devices)}")
    shape = {"data": len(devices)} if shape is None else shape
    if not _maps_names_to_counts(shape):
        raise TypeError(f"shape must map names of axes to positive integers, got {describe(shape)}")
    shape = {name: int(size) for name, size in shape.items()}
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
        isinstance(name, str) and (as_integer(size) or 0) > 0 for name, size in shape.items()
    )


def check_mesh(mesh: object, layout: object = "replicated", *, required: bool = False) -> None:
    """Raise TypeError unless `mesh` is a mesh or None, ValueError for a layout without a mesh."""
    if mesh is None and not required:
        if jax.process_count() > 1:
            raise ValueError(
                f"mesh must be given in {jax.process_count()} processes, such as "
                "fcjax.distributed.mesh(), got None"
            )
        if layout != "replicated":
            raise ValueError(f"layout needs a mesh, got {describe(layout)} and mesh=None")
    elif not isinstance(mesh, Mesh):
        raise TypeError(
            f"mesh must be a mesh, as from fcjax.distributed.mesh, got {describe(mesh)}"
        )
    elif AxisType.Manual in mesh.axis_types:
        raise ValueError("mesh must have explicit or automatic axes, got manual ones")


def number_of_shards(mesh: Mesh) -> int:
    """Return the number of parts into which a mesh splits the examples."""
    return math.prod(mesh.shape[axis] for axis in example_axes(mesh))


def example_axes(mesh: Mesh) -> tuple[str, ...]:
    return tuple(axis for axis in mesh.axis_names if axis != MODEL)
