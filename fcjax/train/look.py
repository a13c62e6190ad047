"""One look at data in memory before training: what would end as a loss of NaN, by row and column.

What the loss makes of the data is unknown but for two things. While it is traced, a loss of this
package tells the range of the targets that it is given; where they are an array of the batch as it
is, that array is held to it. And a number that is not finite is a fault only if the loss, or its
gradient, is finite without it: a loss that masks it is left alone.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._arguments import describe
from .._ranges import Range, collected_ranges
from .epoch import count_examples

Loss = Callable[[Any, Any, Array | None], tuple[Array, Any]]


class _Held(NamedTuple):
    """An array of the data: its place in words and in the batch, and the data it is one of."""

    name: str
    path: str
    array: Any
    data: Any


def refuse_other_than_numbers(name: str, data: Any) -> None:
    """Raise TypeError for strings and Python objects in arrays."""
    for held in _arrays(name, data):
        if isinstance(held.array, np.ndarray) and held.array.dtype.kind in "OSUMm":
            first = "".join(f", such as {describe(x)}" for x in held.array.ravel()[:1].tolist())
            raise TypeError(f"{held.name} must hold numbers, got {describe(held.array)}{first}")


def look_at(
    name: str, data: Any, loss: Loss, params: Any, *, rows: int | None, key: Array | None
) -> None:
    """Raise ValueError for the first row that the loss cannot take.

    Args:
        name: what the data are called.
        data: a tuple or dict of arrays, or a list of batches; or None.
        loss: `loss(params, batch, key) -> (value, aux)`.
        params: at which the loss is evaluated, and only if a number is not finite.
        rows: how many rows of arrays a batch has; None for all.
        key: for the loss.
    """
    if data is None or (isinstance(data, list) and not data):
        return
    ranges = _ranges(loss, params, _first_batch(name, data, rows), key)
    for held in _arrays(name, data):
        _refuse_outside(held, ranges.get(held.path))
        place = _first(held.array, lambda array: ~np.isfinite(array), _is_infinite(held.array))
        if place is not None and not _can_take(loss, params, _batch_of(held, place[0], rows), key):
            raise ValueError(
                f"{held.name} must hold finite numbers where the loss does not mask them, "
                f"got {np.asarray(held.array)[place]} in {_words(place)}"
            )


def _arrays(name: str, data: Any) -> Iterator[_Held]:
    """Yield the arrays of the data, or of each batch of a list."""
    several = isinstance(data, list)
    for i, batch in enumerate(data if several else [data]):
        part = f"{name}[{i}]" if several else name
        for path, leaf in jax.tree_util.tree_leaves_with_path(batch):
            place = jax.tree_util.keystr(path)
            if hasattr(leaf, "dtype") and getattr(leaf, "shape", ()):
                yield _Held(part + place, place, _near(leaf), batch)


def _near(leaf: Any) -> Any:
    """Return an array as NumPy's unless that means fetching it from an accelerator."""
    if not isinstance(leaf, jax.Array):
        return np.asarray(leaf)
    is_typed = jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    on_host = all(device.platform == "cpu" for device in leaf.devices())
    return np.asarray(leaf) if on_host and not is_typed else leaf


def _first_batch(name: str, data: Any, rows: int | None) -> Any:
    """Return the types of the arrays that the loss is called with."""
    batch, part = (data[0], f"{name}[0]") if isinstance(data, list) else (data, name)
    count_examples(batch, part)

    def typed(leaf: Any) -> jax.ShapeDtypeStruct:
        dtype = jax.dtypes.canonicalize_dtype(leaf.dtype)
        return jax.ShapeDtypeStruct((len(leaf[:rows]), *leaf.shape[1:]), dtype)

    return jax.tree.map(typed, batch)


def _ranges(loss: Loss, params: Any, batch: Any, key: Array | None) -> dict[str, Range]:
    """Return the ranges of those arrays of a batch that are the targets of a loss."""
    found: dict[str, Range] = {}

    def trace(params: Any, batch: Any) -> Array:
        with collected_ranges() as heard:
            value, _ = loss(params, batch, key)
        for path, leaf in jax.tree_util.tree_leaves_with_path(batch):
            found.update({jax.tree_util.keystr(path): r for target, r in heard if target is leaf})
        return value

    jax.eval_shape(trace, params, batch)
    return found


def _refuse_outside(held: _Held, accepted: Range | None) -> None:
    array = held.array
    if accepted is None or (
        accepted.integers_only and not jnp.issubdtype(array.dtype, jnp.integer)
    ):
        return
    low, high, ignored = accepted.low, accepted.high, accepted.ignored

    def is_outside(array: np.ndarray) -> np.ndarray:
        outside = (array < low) | (array > high)
        return outside if ignored is None else outside & (array != ignored)

    place = _first(array, is_outside, bool(array.min() < low) or bool(array.max() > high))
    if place is not None:
        what = "classes" if accepted.integers_only else "numbers"
        other = "" if ignored is None else f" or ignore_index, {ignored},"
        raise ValueError(
            f"{held.name} must hold {what} from {low} to {high}{other} for {accepted.loss}, "
            f"got {np.asarray(array)[place]} in {_words(place)}"
        )


def _is_infinite(array: Any) -> bool:
    """Whether a number is NaN or infinite: the least and the largest then are."""
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return False
    return not (np.isfinite(float(array.min())) and np.isfinite(float(array.max())))


def _first(
    array: Any, is_bad: Callable[[np.ndarray], np.ndarray], any_bad: bool
) -> tuple[int, ...] | None:
    """Return the place of the first bad entry; only where there is one does this take memory."""
    if not any_bad:
        return None
    bad = is_bad(np.asarray(array))
    return tuple(map(int, np.unravel_index(np.argmax(bad), bad.shape))) if bad.any() else None


def _words(place: tuple[int, ...]) -> str:
    if len(place) > 2:
        return f"row {place[0]}, at {list(place[1:])}"
    return ", ".join(f"{name} {i}" for name, i in zip(("row", "column"), place, strict=False))


def _batch_of(held: _Held, row: int, rows: int | None) -> Any:
    """Return a batch with that row: as many as training takes, for a loss may average over them."""
    first = np.arange(len(held.array) if rows is None else min(rows, len(held.array)))
    chosen = first if row in first else np.append(first[:-1], row)
    return jax.tree.map(lambda leaf: jnp.asarray(_near(leaf)[chosen]), held.data)


def _can_take(loss: Loss, params: Any, batch: Any, key: Array | None) -> bool:
    """Whether loss and gradient of a batch are finite, or are not so without its NaNs either."""

    @jax.jit
    def is_finite(batch: Any) -> Array:
        found = jax.value_and_grad(loss, has_aux=True)(params, batch, key)
        return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(found)]).all()

    def without(leaf: Any) -> Array:
        is_floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.where(jnp.isfinite(leaf), leaf, 0) if is_floating else leaf

    return bool(is_finite(batch)) or not bool(is_finite(jax.tree.map(without, batch)))
