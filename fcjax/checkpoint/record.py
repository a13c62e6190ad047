"""What a checkpoint holds: the arrays, and the record of what they are."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._arguments import check_tree, describe
from .._errors import Portable
from .._types import Tree
from .checksum import checksum
from .folder import name_of

FORMAT = 1
StoredArray = np.ndarray | Array


class DamagedCheckpointError(Portable, ValueError):
    """A checkpoint is damaged or incomplete. `step` is its number."""

    def __init__(self, directory: str | Path, step: int, reason: str):
        """Make a message that names the checkpoint."""
        self.step, self.reason = step, reason
        super().__init__(f"{name_of(directory, step)} is damaged: {reason}")


class MismatchError(Portable, ValueError):
    """The tree to restore does not have the arrays of the checkpoint.

    `place` is the path of the first array that differs, and `what` says how.
    """

    def __init__(self, name: str, place: str, what: str):
        """Make a message that names the checkpoint."""
        self.place, self.what = place, what
        super().__init__(f"like must have the arrays of {name}: {what}")


def arrays_of(tree: Tree) -> dict[str, StoredArray]:
    """Return the leaves by their number; their paths, in which Orbax sees parts, are recorded.

    Orbax refuses leaves without elements, and a tree without leaves. The record is all there is of
    the former, and one byte stands for the latter.
    """
    leaves = enumerate(map(raw, jax.tree.leaves(tree)))
    return {str(i): leaf for i, leaf in leaves if leaf.size} or {"none": np.zeros(1, np.uint8)}


def raw(leaf: Tree) -> StoredArray:
    """Return a leaf as an array of numbers, and a PRNG key as its words."""
    if is_key(leaf):
        return jax.random.key_data(leaf)
    return leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)


def is_key(leaf: object) -> TypeGuard[Array]:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _is_numeric(leaf: object) -> bool:
    dtype = getattr(leaf, "dtype", None)
    return (
        isinstance(leaf, bool | int | float | complex)
        if dtype is None
        else dtype.kind not in "OSUMm"
    )


def types_of(tree: Tree, of: str = "tree") -> dict[str, dict[str, Any]]:
    """Return shape and dtype of each leaf, by its path; errors call the tree `of`."""
    found: dict[str, dict[str, Any]] = {}
    check_tree(of, tree)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path)
        if not (is_key(leaf) or _is_numeric(leaf)):
            raise TypeError(f"{of}{name} must be an array or a number, got {describe(leaf)}")
        dtype = str(leaf.dtype) if is_key(leaf) else str(raw(leaf).dtype)
        found[name] = {"shape": list(np.shape(leaf)), "dtype": dtype}
    return found


def record_of(tree: Tree, metadata: Mapping[str, object]) -> dict[str, Any]:
    types, leaves = types_of(tree), jax.tree.leaves(tree)
    different = {id(leaf): leaf for leaf in leaves}  # the best parameters may be the last ones
    checksums = {key: checksum(raw(leaf)) for key, leaf in different.items()}
    arrays = [
        {"path": path, **kind, "checksum": checksums[id(leaf)]}
        for (path, kind), leaf in zip(types.items(), leaves, strict=True)
    ]
    try:
        written = json.loads(json.dumps(metadata))
        if not _has_text_keys(metadata):
            raise TypeError("its keys must be text")
    except (TypeError, ValueError) as error:
        raise TypeError(f"metadata must be a dict that JSON can hold: {error}") from error
    record = {"format": FORMAT, "arrays": arrays, "metadata": written}
    return {**record, "checksum": digest(record)}


def _has_text_keys(value: object) -> bool:
    """Whether the keys of all dicts are text, as JSON would otherwise make them."""
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return all(isinstance(key, str) and _has_text_keys(item) for key, item in items)
    if isinstance(value, list | tuple):
        return all(map(_has_text_keys, cast("list[object]", value)))
    return True


def digest(record: Mapping[str, Any]) -> str:
    text = json.dumps({k: v for k, v in record.items() if k != "checksum"}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class _Type(NamedTuple):
    shape: list[int]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype}{self.shape}"


def check_types(name: str, stored: list[dict[str, Any]], like: Tree) -> None:
    """Raise MismatchError that names the first leaf of another shape or dtype."""
    there = {one["path"]: _Type(one["shape"], one["dtype"]) for one in stored}
    wanted = {path: _Type(**kind) for path, kind in types_of(like, "like").items()}
    differ = [place for place in there | wanted if there.get(place) != wanted.get(place)]
    if differ:
        place = differ[0]
        what = (
            f"{there.get(place, 'nothing')} is stored at {place or 'the top'}, "
            f"got {wanted.get(place, 'nothing')}"
        )
        raise MismatchError(name, place, what)
