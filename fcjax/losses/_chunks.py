"""Evaluate a function on a batch chunk by chunk."""

import math
from collections.abc import Callable, Iterable, Mapping

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from .._types import Tree

# An entry of a PartitionSpec: the mesh axes over which an axis of an array is split.
Axes = str | tuple[str, ...] | None


def over_chunks(
    f: Callable[..., tuple[Tree, Tree]], batch: "Batch", arrays: tuple[Array, ...]
) -> tuple[Tree, Tree]:
    """Evaluate `summed, each = f(*arrays)` chunk by chunk, and combine the results.

    `summed` is added up over the chunks. `each` has one row per example, and its chunks are joined.
    Both are pytrees. Returns the combined pair.
    """
    cut = [batch.cut(V) for V in arrays]
    # The first chunk is evaluated outside of the loop. Its result initializes the sums with the
    # right types on any mesh.
    summed, first = f(*(chunk for chunk, _ in cut))
    if batch.chunks + bool(batch.remainder) == 1:
        return summed, jax.tree.map(lambda V: batch.join(V, None), first)

    def step(running: Tree, chunk: list[Array]) -> tuple[Tree, Tree]:
        summed, each = f(*chunk)
        return jax.tree.map(jnp.add, running, summed), each

    # If JAX differentiates this loop, recompute each chunk instead of storing its intermediates.
    step = jax.checkpoint(step, prevent_cse=False)
    summed, others = lax.scan(step, summed, [chunks for _, chunks in cut])
    return summed, jax.tree.map(batch.join, first, others)


class Batch:
    """The partition of a batch into chunks.

    The batch dimensions are reshaped to `(shards, local)`. There is one shard, or, if the first
    axis is explicitly sharded, one for each device that it is split over, so that cutting `local`
    never cuts across devices. Chunk j of n holds every n-th example starting at the j-th: where XLA
    shards the batch into contiguous blocks, each chunk has examples of every block. If the chunk
    size does not divide `local`, the first chunk is smaller and holds the remainder.
    """

    def __init__(self, X: Array, chunk: int):
        """Partition the batch of X, whose last axis is the feature axis."""
        sharding = jax.typeof(X).sharding
        mesh = jax.sharding.get_abstract_mesh() if sharding.mesh.empty else sharding.mesh
        first, *others = (*sharding.spec[: X.ndim - 1], None)
        self.shape = X.shape[:-1]
        self.mesh = mesh
        self.explicit = AxisType.Explicit in mesh.axis_types
        # Merging the batch axes preserves a sharding of the first one. Others are gathered.
        self.axes = None if any(others) else first
        self.shards = _devices(mesh.shape, self.axes)
        self.local = math.prod(self.shape) // self.shards
        self.size = min(chunk, self.local)
        self.chunks, self.remainder = divmod(self.local, self.size)

    def cut(self, V: Array) -> tuple[Array, Array]:
        """Return the first chunk (shards, ·, …) of V, and the others along a leading axis."""
        features = V.shape[len(self.shape) :]
        V = self._reshape(self._shard_batch(V), (self.shards, self.local), features)
        first, V = V[:, : self.remainder], V[:, self.remainder :]
        blocks = V.reshape(self.shards, self.size, self.chunks, *features)
        blocks = jnp.moveaxis(blocks, 2, 0)
        return (first, blocks) if self.remainder else (blocks[0], blocks[1:])

    def join(self, first: Array, others: Array | None) -> Array:
        """Join the results of all chunks in the order of the examples."""
        features = first.shape[2:]
        if others is not None:
            if not self.remainder:
                others = jnp.concatenate([first[None], others])
            V = jnp.moveaxis(others, 0, 2).reshape(self.shards, -1, *features)
            first = jnp.concatenate([first, V], axis=1) if self.remainder else V
        return self._reshape(first, self.shape, features)

    def _shard_batch(self, V: Array) -> Array:
        """Give the batch of V the sharding of the batch of X."""
        if not self.explicit:
            return V
        features = jax.typeof(V).sharding.spec[len(self.shape) :]
        return jax.sharding.reshard(V, self._sharding(len(self.shape), features))

    def _reshape(self, V: Array, batch: tuple[int, ...], features: tuple[int, ...]) -> Array:
        if not self.explicit:
            return V.reshape(*batch, *features)
        spec = jax.typeof(V).sharding.spec[V.ndim - len(features) :]
        sharding = self._sharding(len(batch), spec)
        return lax.reshape(V, (*batch, *features), out_sharding=sharding)

    def _sharding(self, batch: int, features: Iterable[Axes]) -> NamedSharding:
        leading = [self.axes, *[None] * (batch - 1)][:batch]
        return NamedSharding(self.mesh, PartitionSpec(*leading, *features))


def _devices(sizes: Mapping[str, int], axes: Axes) -> int:
    """Return the number of devices over which a PartitionSpec entry splits an axis."""
    if axes is None:
        return 1
    return math.prod(sizes[axis] for axis in (axes if isinstance(axes, tuple) else (axes,)))
