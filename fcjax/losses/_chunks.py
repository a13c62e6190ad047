"""A batch, some of its examples at a time."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def over_chunks(f: Callable[..., tuple[Any, Any]], batch: "Batch", arrays: tuple) -> tuple:
    """Call `summed, each = f(*arrays)` on a chunk of the arrays at a time.

    `summed` is added up over the chunks and `each`, one row per example, put together; both are
    trees, as are the two that are returned.
    """
    cut = [batch.cut(V) for V in arrays]
    # The first chunk stands outside of the loop: it starts the sums, with the types they have on
    # any mesh.
    summed, first = f(*(chunk for chunk, _ in cut))
    if batch.chunks + bool(batch.left) == 1:
        return summed, jax.tree.map(lambda V: batch.joined(V, None), first)

    def step(running: Any, chunk: list[Array]) -> tuple[Any, Any]:
        summed, each = f(*chunk)
        return jax.tree.map(jnp.add, running, summed), each

    # Differentiated again, by JAX, a chunk is computed again as well rather than stored.
    step = jax.checkpoint(step, prevent_cse=False)
    summed, others = lax.scan(step, summed, [chunks for _, chunks in cut])
    return summed, jax.tree.map(batch.joined, first, others)


class Batch:
    """How the leading dimensions of arrays are cut into chunks.

    They become `(shards, local)`: one shard, or one for each device that an explicitly sharded
    first axis is split over, so that cutting `local` never cuts across devices. Chunk j of n holds
    every n-th example from the j-th on: when XLA splits a batch by itself, into runs of examples,
    each chunk has some of every run. What is left over by a chunk size that does not divide
    `local` is a smaller chunk, the first.
    """

    def __init__(self, X: Array, chunk: int):
        """Cut batches like that of X, whose last axis is no batch dimension."""
        sharding = jax.typeof(X).sharding
        mesh = jax.sharding.get_abstract_mesh() if sharding.mesh.empty else sharding.mesh
        first, *others = (*sharding.spec[: X.ndim - 1], None)
        self.shape = X.shape[:-1]
        self.mesh = mesh
        self.explicit = AxisType.Explicit in mesh.axis_types
        # A split first axis is still split when axes are merged; any other one is gathered.
        self.axes = None if any(others) else first
        self.shards = _devices(mesh.shape, self.axes)
        self.local = math.prod(self.shape) // self.shards
        self.size = min(chunk, self.local)
        self.chunks, self.left = divmod(self.local, self.size)

    def cut(self, V: Array) -> tuple[Array, Array]:
        """Return the first chunk (shards, ·, …) of V, and the others along a leading axis."""
        features = V.shape[len(self.shape) :]
        V = self._reshaped(self._placed(V), (self.shards, self.local), features)
        first, V = V[:, : self.left], V[:, self.left :]
        blocks = V.reshape(self.shards, self.size, self.chunks, *features)
        blocks = jnp.moveaxis(blocks, 2, 0)
        return (first, blocks) if self.left else (blocks[0], blocks[1:])

    def joined(self, first: Array, others: Array | None) -> Array:
        """Put together again what was computed of each chunk."""
        features = first.shape[2:]
        if others is not None:
            if not self.left:
                others = jnp.concatenate([first[None], others])
            V = jnp.moveaxis(others, 0, 2).reshape(self.shards, -1, *features)
            first = jnp.concatenate([first, V], axis=1) if self.left else V
        return self._reshaped(first, self.shape, features)

    def _placed(self, V: Array) -> Array:
        """Split the batch of V like that of X."""
        if not self.explicit:
            return V
        features = jax.typeof(V).sharding.spec[len(self.shape) :]
        return jax.sharding.reshard(V, self._sharding(len(self.shape), features))

    def _reshaped(self, V: Array, batch: tuple[int, ...], features: tuple[int, ...]) -> Array:
        if not self.explicit:
            return V.reshape(*batch, *features)
        spec = jax.typeof(V).sharding.spec[V.ndim - len(features) :]
        sharding = self._sharding(len(batch), spec)
        return lax.reshape(V, (*batch, *features), out_sharding=sharding)

    def _sharding(self, batch: int, features: Any) -> NamedSharding:
        leading = [self.axes, *[None] * (batch - 1)][:batch]
        return NamedSharding(self.mesh, PartitionSpec(*leading, *features))


def _devices(sizes: Any, axes: Any) -> int:
    """Return how many devices an axis with this entry in its PartitionSpec is split over."""
    if axes is None:
        return 1
    return math.prod(sizes[axis] for axis in (axes if isinstance(axes, tuple) else (axes,)))
