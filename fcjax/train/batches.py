"""The batches of an epoch over arrays, on one device or spread over a mesh.

An epoch has N examples in batches of B; if B does not divide N, the last batch is smaller. With
S = gcd(N, B), the examples form S strata of N/S consecutive rows, and every batch of a shuffled
epoch has B/S examples of each stratum.

What is random: each stratum is visited in an order of its own, and all its orders are equally
likely. What is not: how many examples of a stratum a batch has. The variance of a batch's mean is
therefore never larger than in an order without strata. If B and N have no common divisor, there is
one stratum, and every order of the examples is equally likely.

A mesh that splits the examples over D devices needs D to divide N and B, hence S. Each device then
holds whole strata, and its part of every batch are the examples of these strata: it shuffles its
own rows, and nothing is communicated. The order depends on N, B, the key and the step alone, so a
run can go on with another number of devices.

Without shuffling, a batch is B consecutive rows, most of which lie on one device. One exchange at
the start of the epoch gives each device its part of every batch.
"""

import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import NamedSharding, PartitionSpec

from .._arguments import count_examples
from .._types import Tree
from .shuffle import random_order


def sharding_of_examples(data: Tree) -> NamedSharding | None:
    """Return how the first dimension of all arrays is split over a mesh, None if it is not.

    Inside `jit`, only the sharding along explicit axes is known.
    """
    shardings = {
        f"data{jax.tree_util.keystr(path)}": _sharding_of_rows(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(data)
    }
    first = next(iter(shardings), "")
    for name, other in shardings.items():
        if other != shardings[first]:
            raise ValueError(
                "data must be arrays whose examples are split in the same way, got "
                f"{first} along {_in_words(shardings[first])} and {name} along {_in_words(other)}"
            )
    return shardings.get(first)


def _sharding_of_rows(leaf: Tree) -> NamedSharding | None:
    sharding = getattr(leaf, "sharding", None)
    if not isinstance(sharding, NamedSharding) or not any(sharding.spec[:1]):
        return None
    return NamedSharding(sharding.mesh, PartitionSpec(sharding.spec[0]))


def _in_words(sharding: NamedSharding | None) -> str:
    return "no axis" if sharding is None else ", ".join(_axes_of(sharding))


def _axes_of(sharding: NamedSharding) -> tuple[str, ...]:
    axes = sharding.spec[0]
    return (axes,) if isinstance(axes, str) else tuple(axes)


def epoch_batches(
    data: Tree, batch_size: int, key: Array | None, sharding: NamedSharding | None
) -> tuple[Tree, Tree]:
    """Return the full batches along a new first dimension, and the remaining examples or None.

    Args:
        data: arrays with equal first dimensions.
        batch_size: examples per batch.
        key: key of the order in which the examples are visited; None leaves them in order.
        sharding: how the examples are split over a mesh, as from `sharding_of_examples`.
    """
    examples = count_examples(data)
    sizes = _Sizes(examples, min(batch_size, examples), 1)
    if sharding is None:
        return _cut(_in_order(data, key, sizes, None), sizes)
    axes, mesh = _axes_of(sharding), sharding.mesh
    shards = math.prod(mesh.shape[axis] for axis in axes)
    sizes = _Sizes(examples, min(batch_size, examples), shards)
    if sizes.batch % shards:
        raise ValueError(
            f"batch_size must be a multiple of the {shards} devices that {', '.join(axes)} splits "
            f"the examples over, got {sizes.batch}"
        )

    def on_one_device(data: Tree, key: Array | None) -> tuple[Tree, Tree]:
        return _cut(_in_order(data, key, sizes, axes), sizes)

    rest = PartitionSpec(axes) if sizes.rest else None
    return jax.shard_map(
        on_one_device,
        mesh=mesh,
        in_specs=(PartitionSpec(axes), PartitionSpec()),
        out_specs=(PartitionSpec(None, axes), rest),
    )(data, key)


class _Sizes:
    """Sizes of an epoch: of all of it, and of the part of one of the shards."""

    def __init__(self, examples: int, batch: int, shards: int):
        self.examples, self.batch, self.shards = examples, batch, shards
        self.steps, self.rest = divmod(examples, batch)
        self.local_batch, self.local_rest = batch // shards, self.rest // shards
        self.local = examples // shards
        self.strata = math.gcd(examples, batch)


def _in_order(data: Tree, key: Array | None, sizes: _Sizes, axes: tuple[str, ...] | None) -> Tree:
    """Return this shard's part of the examples, in the order in which they are visited."""
    shard = jnp.int32(0) if axes is None else lax.axis_index(axes)
    if key is not None:
        rows = _shuffled_rows(key, shard, sizes)
        # One gather for the whole epoch: one per batch costs a small network a tenth of its time.
        return jax.tree.map(lambda array: jnp.take(array, rows, axis=0, mode="clip"), data)
    return data if axes is None else _exchanged(data, shard, sizes, axes)


def _shuffled_rows(key: Array, shard: Array, sizes: _Sizes) -> Array:
    """Return the rows of this shard's strata in the order in which they are visited."""
    strata, in_stratum = sizes.strata // sizes.shards, sizes.examples // sizes.strata
    in_batch = sizes.batch // sizes.strata

    def order(stratum: Array) -> Array:
        return random_order(jax.random.fold_in(key, stratum), in_stratum)

    if sizes.strata == 1:  # one sort takes half the time of a batch of one sort
        return random_order(key, in_stratum)
    orders = jax.vmap(order)(shard * strata + jnp.arange(strata)).astype(jnp.int32)
    rows = orders + in_stratum * jnp.arange(strata, dtype=jnp.int32)[:, None]
    full = sizes.steps * in_batch
    by_step = rows[:, :full].reshape(strata, sizes.steps, in_batch).swapaxes(0, 1)
    return jnp.concatenate([by_step.reshape(-1), rows[:, full:].reshape(-1)])


def _exchanged(data: Tree, shard: Array, sizes: _Sizes, axes: tuple[str, ...]) -> Tree:
    """Send each example to the shard whose part of a batch it is in; return this shard's parts.

    A shard sends every other one the same number of slots, of which some may stay empty.
    """
    n, full = sizes.local, sizes.steps * sizes.batch
    row = shard * n + jnp.arange(n)
    step, at = row // sizes.batch, row % sizes.batch
    part = jnp.where(row < full, sizes.local_batch, max(sizes.local_rest, 1))
    owner, place = at // part, step * sizes.local_batch + at % part
    slots = min(n, (n // sizes.batch + 2) * sizes.local_batch + sizes.local_rest)
    order = jnp.argsort(owner, stable=True)
    owner = owner[order]
    slot = jnp.arange(n) - jnp.searchsorted(owner, jnp.arange(sizes.shards))[owner]
    sent = jnp.full((sizes.shards, slots), n).at[owner, slot].set(order)

    def exchange(array: Array) -> Array:
        there = jnp.take(array, sent, axis=0, mode="clip")
        return lax.all_to_all(there, axes, 0, 0).reshape(-1, *array.shape[1:])

    # an empty slot has a place past the end, where nothing is written
    places = exchange(jnp.append(place, n))
    return jax.tree.map(lambda V: jnp.zeros_like(V).at[places].set(exchange(V), mode="drop"), data)


def _cut(data: Tree, sizes: _Sizes) -> tuple[Tree, Tree]:
    steps, batch = sizes.steps, sizes.local_batch
    full = steps * batch
    batches = jax.tree.map(lambda a: a[:full].reshape(steps, batch, *a.shape[1:]), data)
    return batches, jax.tree.map(lambda a: a[full:], data) if sizes.rest else None


def each_batch(batches: tuple[Tree, Tree]) -> Iterator[Tree]:
    """Yield the batches of `epoch_batches` one by one."""
    full, rest = batches
    for step in range(len(jax.tree.leaves(full)[0])):
        yield jax.tree.map(lambda array, step=step: array[step], full)
    if rest is not None:
        yield rest
