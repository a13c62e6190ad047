"""Batches on a mesh: each device has some of the examples."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .._arguments import check_arrays, count_examples
from .._types import AnyArray, Tree
from .agreement import of_all_processes, other_than_first
from .meshes import MODEL, check_mesh, example_axes, number_of_shards
from .putting import checksum_of, put_on_mesh


def place_batch(batch: Tree, mesh: Mesh, *, local: bool = False, name: str = "batch") -> Tree:
    """Put arrays on a mesh, and split their examples over all axes except "model".

    If the mesh has the devices of several processes, each either passes all examples, and keeps
    those of its own devices, or, with `local=True`, passes only those. The first compares a
    checksum of the arrays in all processes, and the second their number of examples, and also a
    checksum if the mesh has an axis "model".

    Args:
        batch: arrays whose first dimension counts the examples.
        mesh: a mesh, as from `fcjax.distributed.mesh`.
        local: whether these are the examples of this process alone. The batch is then those of all
            processes, in the order of their devices on the mesh. Each process must pass the same
            number. Processes that "model" splits the layers between must pass the same examples.
        name: what errors call the batch.

    Raises:
        TypeError: `mesh` is not a mesh, or the batch holds anything but arrays.
        ValueError: the arrays have no examples or different numbers of them, the devices cannot
            share these equally, or the processes pass different arrays or numbers of examples.

    >>> import fcjax
    >>> one_device = fcjax.distributed.mesh({"data": 1}, devices=jax.devices()[:1])
    >>> batch = place_batch(jnp.ones((4, 3)), one_device)
    >>> tuple(batch.sharding.spec)
    ('data',)
    """
    check_mesh(mesh, required=True)
    examples = _count_arrays(batch, name)
    sharding = NamedSharding(mesh, PartitionSpec(example_axes(mesh)))
    if local and mesh.is_multi_process:
        return _join_rows(batch, sharding, examples, name)
    if examples % number_of_shards(mesh):
        raise ValueError(
            f"{_shared(f'the number of examples of {name}', examples, mesh)}; "
            "fcjax.distributed.padded adds examples of weight 0"
        )
    return put_on_mesh(name, batch, jax.tree.map(lambda _: sharding, batch))


def _join_rows(batch: Tree, sharding: NamedSharding, examples: int, name: str) -> Tree:
    """Return the batch that the examples of all processes form."""
    shards = sharding.num_devices  # an example per device: each shard of the examples has a row
    indices = sharding.addressable_devices_indices_map((shards,)).values()
    parts = sorted({rows.indices(shards) for index in indices if index for rows in index[:1]})
    if examples % len(parts):
        raise ValueError(
            f"the number of examples of {name} in this process must be a multiple of {len(parts)}, "
            f"the parts into which its devices split them, got {examples}"
        )
    # JAX would infer another whole in each process, and compile another program for it
    found = of_all_processes(examples, f"the placing of {name}")
    process = other_than_first(found)
    if process is not None:
        raise ValueError(
            f"the number of examples of {name} must be the same in all processes, got {found[0]} "
            f"in process 0 and {found[process]} in process {process}"
        )
    if MODEL in sharding.mesh.axis_names:
        _check_equal_where_shared(batch, parts, name)

    def join(V: AnyArray) -> Array:
        return jax.make_array_from_process_local_data(sharding, np.asarray(V))

    return jax.tree.map(join, batch)


def _check_equal_where_shared(batch: Tree, parts: list[tuple[int, ...]], name: str) -> None:
    """Raise ValueError in all processes if some hold the same examples, and pass different ones."""
    at = f"the placing of {name}"
    wholes = of_all_processes(zlib.crc32(repr(parts).encode()), at)
    sums = of_all_processes(checksum_of([np.asarray(V) for V in jax.tree.leaves(batch)]), at)
    first: dict[int, int] = {}
    for process, whole in enumerate(wholes):
        one = first.setdefault(whole, process)
        if sums[one] != sums[process]:
            raise ValueError(
                f"{name} must have the same examples in processes {one} and {process}, between "
                f"which {MODEL!r} splits the layers, got different ones"
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
        TypeError: `mesh` is not a mesh, or the batch holds anything but arrays.
        ValueError: the arrays have no examples, or different numbers of them.

    >>> import fcjax
    >>> one_device = fcjax.distributed.mesh({"data": 1}, devices=jax.devices()[:1])
    >>> padded(jnp.arange(3), one_device)
    (Array([0, 1, 2], dtype=int32), Array([1., 1., 1.], dtype=float32))
    """
    check_mesh(mesh, required=True)
    examples = _count_arrays(batch, "batch")
    extra = -examples % number_of_shards(mesh)

    def pad(V: Array) -> Array:
        V = jnp.asarray(V)
        return jnp.concatenate([V, jnp.repeat(V[-1:], extra, axis=0)]) if extra else V

    weights = jnp.arange(examples + extra) < examples
    return jax.tree.map(pad, batch), weights.astype(jnp.float32)


def place_parts(batch: Tree, mesh: Mesh, *, name: str = "batch") -> list[Tree]:
    """Split the examples over the mesh as far as they divide, and replicate the others."""
    examples = np.shape(jax.tree.leaves(batch)[0])[0]
    full = examples - examples % number_of_shards(mesh)
    whole = jax.tree.map(lambda V: V[:full], batch)
    placed = [place_batch(whole, mesh, name=name)] if full else []
    if full < examples:
        rest = jax.tree.map(lambda V: V[full:], batch)
        everywhere = NamedSharding(mesh, PartitionSpec())
        placed.append(put_on_mesh(name, rest, jax.tree.map(lambda _: everywhere, rest)))
    return placed


def _count_arrays(batch: Tree, name: str) -> int:
    """Return the number of examples of a batch, which must be arrays of numbers."""
    examples = count_examples(batch, name)
    check_arrays(name, batch)
    return examples


def check_shared(name: str, number: int, mesh: Mesh) -> None:
    """Raise ValueError unless the devices can share a number of examples equally."""
    if number % number_of_shards(mesh):
        raise ValueError(_shared(name, number, mesh))


def _shared(name: str, number: int, mesh: Mesh) -> str:
    return (
        f"{name} must be a multiple of {number_of_shards(mesh)}, the parts into which the mesh "
        f"splits the examples, got {number}"
    )
