"""What `fit` trains on: arrays or batches, in memory or not, on a mesh or not."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from .._arguments import count_examples, describe
from .._types import Tree
from ..distributed import place_batch, place_parts
from .data_check import check_dtypes, check_values
from .step import LossFn, with_key, without_jit


def is_arrays(data: Tree) -> bool:
    """Whether `data` is arrays, rather than an iterable of batches such as a list or a loader."""
    return isinstance(data, tuple | dict) or hasattr(data, "shape")


def check_data(
    data: Tree,
    validation_data: Tree,
    loss: LossFn,
    params: Tree,
    batch_size: int | None,
    drop_last: bool,
    key: Array,
) -> None:
    """Raise for data in memory of which something is known to be wrong."""
    in_memory = {"data": _in_memory(data), "validation_data": _in_memory(validation_data)}
    for name, arrays in in_memory.items():
        check_dtypes(name, arrays)
    _check_batch_size(data, batch_size, drop_last)
    plain_loss = with_key(without_jit(loss), False, "loss")
    for name, arrays in in_memory.items():
        own_key = key if name == "data" else None
        check_values(name, arrays, plain_loss, params, rows=batch_size, key=own_key)


def _check_batch_size(data: Tree, batch_size: int | None, drop_last: bool) -> None:
    """Raise unless `data` is arrays with a batch size, or an iterable of batches without one."""
    if is_arrays(data):
        if batch_size is None:
            raise ValueError(
                "batch_size must be given for arrays, got None; to pass batches, use a list or a "
                "loader"
            )
        count_examples(data)
        return
    if not isinstance(data, Iterable):
        raise TypeError(
            "data must be a tuple or dict of arrays, or an iterable of batches, "
            f"got {describe(data)}"
        )
    if batch_size is not None:
        raise ValueError(
            f"batch_size must be None if data is an iterable of batches, got {batch_size}; "
            "pass data as a tuple of arrays to set it"
        )
    if drop_last:
        raise ValueError(
            "drop_last must be False if data is an iterable of batches, got True; leave the batch "
            "out of data"
        )


def _in_memory(data: Tree) -> Tree:
    """Return arrays and lists of batches; None for iterables that may be slow or single-use."""
    return data if is_arrays(data) or isinstance(data, list) else None


def placed(batches: Iterable[Tree], mesh: Mesh) -> Iterable[Tree]:
    """Return batches, each of which is put on a mesh when it is reached."""
    return _Placed(batches, lambda batch: [place_batch(batch, mesh)])


def as_batches(name: str, data: Tree, mesh: Mesh | None) -> Iterable[Tree]:
    """Return the batches of iterables; arrays are one, or a few parts on a mesh."""
    if not (is_arrays(data) or isinstance(data, Iterable)):
        raise TypeError(f"{name} must be arrays or an iterable of batches, got {describe(data)}")
    if not is_arrays(data):
        return data if mesh is None else _Placed(data, partial(place_parts, mesh=mesh, name=name))
    count_examples(data, name)
    return [jax.tree.map(jnp.asarray, data)] if mesh is None else place_parts(data, mesh, name=name)


@dataclass(frozen=True)
class _Placed:
    """An iterable of batches, each of which is put on a mesh when it is reached."""

    batches: Iterable[Tree]
    put: Callable[[Tree], list[Tree]]

    def __iter__(self) -> Iterator[Tree]:
        iterator = iter(self.batches)
        kind = _PlacedOfLoader if hasattr(iterator, "get_state") else _PlacedBatches
        return kind(iterator, self.put)


class _PlacedBatches:
    """The parts of the batches, on a mesh."""

    def __init__(self, batches: Any, put: Callable[[Tree], list[Tree]]):
        self._batches, self._put = batches, put
        self._parts: list[Tree] = []

    def __iter__(self) -> "_PlacedBatches":
        return self

    def __next__(self) -> Tree:
        while not self._parts:
            self._parts = self._put(next(self._batches))[::-1]
        return self._parts.pop()


class _PlacedOfLoader(_PlacedBatches):
    """The same for a loader whose state can be saved and restored."""

    def get_state(self) -> Any:
        return self._batches.get_state()

    def set_state(self, state: Any) -> None:
        self._batches.set_state(state)
