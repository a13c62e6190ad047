"""Checks of data in memory before training: find values that would make the loss NaN.

Errors name the row and the column of the value. Two things can be known about a user's loss:

- While they are traced, the losses of this package report the range of their targets. If the
  targets are an unchanged array of the batch, its values must lie in that range.
- A value that is not finite is an error only if loss and gradient are finite without it. A loss may
  mask such values.

Of an array that lies on the devices of several processes, each process checks its own rows, and
counts from the first of them.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._arguments import check_tree, count_examples, describe
from .._ranges import Range, collected_ranges
from .._types import Tree

Loss = Callable[[Tree, Tree, Array | None], tuple[Array, Tree]]
_Array = np.ndarray | Array


class _NamedArray(NamedTuple):
    """An array of the data: its name in errors, its path in the batch, and the whole batch."""

    name: str
    path: str
    array: _Array
    data: Tree


def check_dtypes(name: str, data: Tree) -> None:
    """Raise TypeError if an array holds strings, dates or Python objects, or bytes in odd order."""
    check_tree(name, data)
    for entry in _arrays(name, _of_this_process(data)):
        if not isinstance(entry.array, np.ndarray):
            continue
        if entry.array.dtype.kind in "OSUMm":
            first = "".join(f", such as {describe(x)}" for x in entry.array.ravel()[:1].tolist())
            raise TypeError(f"{entry.name} must hold numbers, got {describe(entry.array)}{first}")
        if not entry.array.dtype.isnative:
            raise TypeError(
                f"{entry.name} must have the byte order of this machine, got "
                f'{describe(entry.array)}; convert it with .astype(dtype.newbyteorder("="))'
            )


def check_values(
    name: str, data: Tree, loss: Loss, params: Tree, *, rows: int | None, key: Array | None
) -> None:
    """Raise ValueError for the first row with a value that the loss does not accept.

    Args:
        name: name of the data in errors.
        data: a tuple or dict of arrays, or a list of batches; or None.
        loss: `loss(params, batch, key) -> (value, aux)`.
        params: parameters at which the loss is evaluated, which happens only if a value is not
            finite.
        rows: number of rows in a batch, for arrays; None for all.
        key: the key passed to the loss.
    """
    if data is None or (isinstance(data, list) and not data):
        return
    data = _of_this_process(data)
    ranges = _ranges(loss, params, _first_batch(name, data, rows), key)
    is_finite = _finite_at(loss, params, key)
    for entry in _arrays(name, data):
        _check_range(entry, ranges.get(entry.path))
        index = _first_index(
            entry.array, lambda array: ~np.isfinite(array), _has_nonfinite(entry.array)
        )
        if index is not None and not _tolerates(is_finite, _batch_of(entry, index[0], rows)):
            raise ValueError(
                f"{entry.name} must hold finite numbers where the loss does not mask them, "
                f"got {np.asarray(entry.array)[index]} in {_in_words(index)}"
            )


def _of_this_process(data: Tree) -> Tree:
    """Replace the arrays that lie on devices of several processes by the rows of this one."""

    def rows_here(leaf: Tree) -> Tree:
        if getattr(leaf, "is_fully_addressable", True) or not leaf.ndim:
            return leaf
        parts = {shard.index[0].start or 0: shard.data for shard in leaf.addressable_shards}
        return np.concatenate([parts[first] for first in sorted(parts)])

    return jax.tree.map(rows_here, data)


def _arrays(name: str, data: Tree) -> Iterator[_NamedArray]:
    """Yield the arrays of the data, or of each batch in a list."""
    several = isinstance(data, list)
    for i, batch in enumerate(data if several else [data]):
        part = f"{name}[{i}]" if several else name
        for path, leaf in jax.tree_util.tree_leaves_with_path(batch):
            key_path = jax.tree_util.keystr(path)
            if hasattr(leaf, "dtype") and getattr(leaf, "shape", ()):
                yield _NamedArray(part + key_path, key_path, _as_numpy(leaf), batch)


def _as_numpy(leaf: object) -> _Array:
    """Return an array as a NumPy array, unless it would have to be copied from an accelerator."""
    if not isinstance(leaf, jax.Array):
        return np.asarray(leaf)
    is_typed = jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    on_host = all(device.platform == "cpu" for device in leaf.devices())
    return np.asarray(leaf) if on_host and not is_typed else leaf


def _first_batch(name: str, data: Tree, rows: int | None) -> Tree:
    """Return the shapes and dtypes of the first batch."""
    batch, part = (data[0], f"{name}[0]") if isinstance(data, list) else (data, name)
    count_examples(batch, part)

    def typed(leaf: _Array) -> jax.ShapeDtypeStruct:
        dtype = jax.dtypes.canonicalize_dtype(leaf.dtype)
        length = len(leaf) if rows is None else min(rows, len(leaf))
        return jax.ShapeDtypeStruct((length, *leaf.shape[1:]), dtype)

    return jax.tree.map(typed, batch)


def _ranges(loss: Loss, params: Tree, batch: Tree, key: Array | None) -> dict[str, Range]:
    """Return the ranges of the arrays of a batch that are the targets of a loss, by path."""
    found: dict[str, Range] = {}

    def trace(params: Tree, batch: Tree) -> Array:
        with collected_ranges() as collected:
            value, _ = loss(params, batch, key)
        for path, leaf in jax.tree_util.tree_leaves_with_path(batch):
            found.update(
                {jax.tree_util.keystr(path): r for target, r in collected if target is leaf}
            )
        return value

    jax.eval_shape(trace, params, batch)
    return found


def _check_range(entry: _NamedArray, accepted: Range | None) -> None:
    array = entry.array
    if accepted is None or (
        accepted.integers_only and not jnp.issubdtype(array.dtype, jnp.integer)
    ):
        return
    low, high, ignored = accepted.low, accepted.high, accepted.ignored

    def is_outside(array: np.ndarray) -> np.ndarray:
        outside = (array < low) | (array > high)
        if accepted.ends_only:
            outside = (array != low) & (array != high)
        return outside if ignored is None else outside & (array != ignored)

    may_be = accepted.ends_only or bool(array.min() < low) or bool(array.max() > high)
    index = _first_index(array, is_outside, may_be)
    if index is not None:
        what = "classes" if accepted.integers_only else "numbers"
        span = f"{low} or {high}" if accepted.ends_only else f"{what} from {low} to {high}"
        other = "" if ignored is None else f" or ignore_index, {ignored},"
        raise ValueError(
            f"{entry.name} must hold {span}{other} for {accepted.loss}, "
            f"got {np.asarray(array)[index]} in {_in_words(index)}"
        )


def _has_nonfinite(array: _Array) -> bool:
    """Whether a value is NaN or infinite; the minimum or the maximum then is too."""
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return False
    return not (np.isfinite(float(array.min())) and np.isfinite(float(array.max())))


def _first_index(
    array: _Array, is_bad: Callable[[np.ndarray], np.ndarray], any_bad: bool
) -> tuple[int, ...] | None:
    """Return the index of the first bad entry. The mask is allocated only if there is one."""
    if not any_bad:
        return None
    bad = is_bad(np.asarray(array))
    return tuple(map(int, np.unravel_index(np.argmax(bad), bad.shape))) if bad.any() else None


def _in_words(index: tuple[int, ...]) -> str:
    if len(index) > 2:
        return f"row {index[0]}, at {list(index[1:])}"
    return ", ".join(f"{name} {i}" for name, i in zip(("row", "column"), index, strict=False))


def _batch_of(entry: _NamedArray, row: int, rows: int | None) -> Tree:
    """Return a batch with this row, of the size used in training, on which a loss may depend."""
    first = np.arange(len(entry.array) if rows is None else min(rows, len(entry.array)))
    chosen = first if row in first else np.append(first[:-1], row)
    return jax.tree.map(lambda leaf: jnp.asarray(_as_numpy(leaf)[chosen]), entry.data)


def _finite_at(loss: Loss, params: Tree, key: Array | None) -> Callable[[Tree], Array]:
    """Return a function that tells whether loss and gradient of a batch are finite."""

    @jax.jit
    def is_finite(batch: Tree) -> Array:
        found = jax.value_and_grad(loss, has_aux=True)(params, batch, key)
        return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(found)]).all()

    return is_finite


def _tolerates(is_finite: Callable[[Tree], Array], batch: Tree) -> bool:
    """Whether the loss tolerates a batch with values that are not finite.

    It does if loss and gradient are finite. It also does if they are not finite even after 0
    replaces these values, because then the values are not the cause.
    """

    def without(leaf: Array) -> Array:
        is_floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.where(jnp.isfinite(leaf), leaf, 0) if is_floating else leaf

    return bool(is_finite(batch)) or not bool(is_finite(jax.tree.map(without, batch)))
