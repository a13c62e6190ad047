"""Arrays that every process has, put on the devices of a mesh."""

import zlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .._types import AnyArray, Tree
from .agreement import of_all_processes, other_than_first


def put_on_mesh(name: str, tree: Tree, shardings: Tree) -> Tree:
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
    found = of_all_processes(checksum_of(jax.tree.leaves(arrays)), f"the placing of {name}")
    process = other_than_first(found)
    if process is not None:
        hint = "; place_batch(..., local=True) takes the examples of each process"
        raise ValueError(
            f"{name} must be equal in all processes, got different arrays in process {process} "
            "and in process 0"
            f"{'' if name == 'params' else hint}"
        )


def checksum_of(arrays: Sequence[np.ndarray]) -> int:
    """Return a checksum of arrays, of 32 bits."""
    facts = [(V.shape, str(V.dtype), zlib.crc32(V.tobytes())) for V in arrays]
    return zlib.crc32(repr(facts).encode())


def on_mesh(tree: Tree, mesh: Mesh) -> Tree:
    """Replicate the arrays that do not lie on the mesh yet, such as counters of an optimizer."""

    def put(V: Array) -> Array:
        sharding = V.sharding
        there = isinstance(sharding, NamedSharding) and sharding.mesh == mesh
        return V if there else jax.device_put(V, NamedSharding(mesh, PartitionSpec()))

    return jax.tree.map(put, tree)
