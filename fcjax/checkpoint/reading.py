"""Read checkpoints, and find damage."""

import contextlib
import errno
import os
import warnings
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._types import Tree
from ..distributed import largest_of_all_processes
from .checksum import checksum
from .folder import checked_directory, existing, name_of
from .orbax import orbax, os_error_of, quietly, reader, shortened
from .record import (
    FORMAT,
    DamagedCheckpointError,
    StoredArray,
    check_types,
    digest,
    is_key,
    raw,
    types_of,
)

_OF_MISSING_FILES = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}


def restore(directory: str | Path, like: Tree, *, step: int | None = None) -> Tree:
    """Read a checkpoint back, and compare the checksums.

    Args:
        directory: the folder of the checkpoints.
        like: a pytree with the structure, shapes, dtypes and shardings that the result must have,
            such as a newly initialized state. The checkpoint may have had other shardings.
        step: number of the checkpoint. None reads the newest one that is whole, with a warning for
            each damaged one that is newer.

    Raises:
        ImportError: Orbax is not installed.
        FileNotFoundError: there is no such checkpoint.
        OSError: the system cannot read it now, which says nothing of the checkpoint.
        DamagedCheckpointError: the checkpoint is damaged, or, with `step=None`, all are.
        MismatchError: `like` does not have the leaves of the checkpoint, or a leaf has another
            shape or dtype.

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> from fcjax.checkpoint import save
    >>> folder = tempfile.mkdtemp()
    >>> save(folder, jnp.arange(3.0), step=1)
    >>> restore(folder, jnp.zeros(3))
    Array([0., 1., 2.], dtype=float32)
    """
    return newest_whole(directory, lambda one: _read(directory, one, like), step)


def metadata(directory: str | Path, *, step: int | None = None) -> dict[str, Any]:
    """Read the metadata of a checkpoint.

    Args:
        directory: the folder of the checkpoints.
        step: number of the checkpoint. None reads the newest one whose record is whole.

    Raises:
        ImportError: Orbax is not installed.
        FileNotFoundError: there is no such checkpoint.
        DamagedCheckpointError: the record is damaged.

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> from fcjax.checkpoint import save
    >>> folder = tempfile.mkdtemp()
    >>> save(folder, jnp.zeros(3), step=1, metadata={"loss": 0.5})
    >>> metadata(folder)
    {'loss': 0.5}
    """
    return newest_whole(directory, lambda one: _read_record(directory, one)["metadata"], step)


def verify(directory: str | Path) -> dict[int, str | None]:
    """Read every checkpoint, and return what is wrong with it, by step; None if it is whole.

    Args:
        directory: the folder of the checkpoints.

    Raises:
        ImportError: Orbax is not installed.
        FileNotFoundError: there is no checkpoint.

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> from fcjax.checkpoint import save
    >>> folder = tempfile.mkdtemp()
    >>> save(folder, jnp.zeros(3), step=1)
    >>> verify(folder)
    {1: None}
    """
    return {step: _damage(directory, step) for step in existing(directory)}


def newest_whole(
    directory: str | Path, read: Callable[[int], Tree], step: int | None = None
) -> Tree:
    """Return `read(step)`, for the newest step for which it finds no damage if `step` is None.

    Warn of each damaged checkpoint that is newer.
    """
    found = existing(directory)
    if step is not None:
        if step not in found:
            raise FileNotFoundError(
                f"directory {str(directory)!r} holds no checkpoint of step {step}; it holds {found}"
            )
        return read(step)
    damaged: list[DamagedCheckpointError] = []
    for one in reversed(found):
        try:
            result = read(one)
        except DamagedCheckpointError as error:
            damaged.append(error)
            continue
        for error in damaged:
            warnings.warn(f"{error}; step {one} is used instead", stacklevel=3)
        return result
    raise damaged[0]


def _read(directory: str | Path, step: int, like: Tree) -> Tree:
    leaves, structure = jax.tree.flatten(like)
    # Only all processes together have such arrays, so all of them read.
    together = any(isinstance(a, jax.Array) and not a.is_fully_addressable for a in leaves)
    agreed = partial(in_all_processes, directory, step) if together else _alone
    stored = agreed(lambda: _read_record(directory, step))["arrays"]
    check_types(name_of(directory, step), stored, like)
    leaf_at = dict(zip(types_of(like), leaves, strict=True))
    places = [raw(leaf_at[one["path"]]) for one in stored]
    found = agreed(lambda: _read_arrays(directory, step, places, stored))
    agreed(lambda: _check_sums(directory, step, found, stored))
    found_at = {one["path"]: array for one, array in zip(stored, found, strict=True)}
    return jax.tree.unflatten(structure, [_as_in(leaf_at[p], found_at[p]) for p in leaf_at])


def in_all_processes(directory: str | Path, step: int, read: Callable[[], Any]) -> Any:
    """Return what all processes of the job read. If one of them finds damage, all raise.

    Each process reads its own parts of the arrays, so the others may find none. They would use
    another checkpoint, or wait for ever.
    """
    result, error = None, None
    try:
        result = read()
    except DamagedCheckpointError as damage:
        error = damage
    if largest_of_all_processes(error is not None, "the reading of a checkpoint"):
        raise error or DamagedCheckpointError(directory, step, "another process cannot read it")
    return result


def _alone(read: Callable[[], Any]) -> Any:
    return read()


def _as_in(leaf: Tree, found: Any) -> Tree:
    """Return what was read as the type of the leaf that was asked for."""
    if is_key(leaf):
        return jax.random.wrap_key_data(found, impl=jax.random.key_impl(leaf))
    if isinstance(leaf, jax.Array) and isinstance(found, np.ndarray):
        return jax.device_put(found)  # compiles nothing, unlike `jnp.asarray`
    return found if hasattr(leaf, "dtype") else type(leaf)(found.item())


def _damage(directory: str | Path, step: int) -> str | None:
    """Read a checkpoint into the memory of the host, and say what is wrong with it."""
    try:
        arrays = _read_record(directory, step)["arrays"]
        found = _read_arrays(directory, step, [None] * len(arrays), arrays)
        _check_sums(directory, step, found, arrays)
    except DamagedCheckpointError as error:
        return error.reason
    except OSError as error:
        return f"it cannot be read now ({os.strerror(error.errno or 0)})"
    return None


def _read_record(directory: str | Path, step: int) -> dict[str, Any]:
    ocp, path = orbax(), checked_directory(directory) / str(step) / "record"
    with _damage_named(directory, step, "its record cannot be read"):
        with reader(ocp.JsonCheckpointHandler()) as json:
            record = json.restore(path)
        whole = record["checksum"] == digest(record)
    if not whole:
        raise DamagedCheckpointError(directory, step, "its record does not have its checksum")
    if record["format"] != FORMAT:
        raise ValueError(
            f"{name_of(directory, step)} must have the format {FORMAT} of this version of fcjax, "
            f"got {record['format']}"
        )
    return record


def _read_arrays(
    directory: str | Path,
    step: int,
    like: Sequence[StoredArray | None],
    record: list[dict[str, Any]],
) -> list[StoredArray]:
    """Read the arrays of a checkpoint: on the devices of `like`, or for None into NumPy arrays."""
    ocp, path = orbax(), checked_directory(directory) / str(step) / "arrays"
    held = [i for i, one in enumerate(record) if 0 not in one["shape"]]
    args = {str(i): _restore_args(like[i]) for i in held} or {"none": _restore_args(None)}
    with (
        _damage_named(directory, step, "its arrays cannot be read"),
        reader(ocp.PyTreeCheckpointHandler()) as pytree,
    ):
        found = pytree.restore(path, ocp.args.PyTreeRestore(restore_args=args))
        return [found[str(i)] if str(i) in args else _empty(leaf) for i, leaf in enumerate(like)]


def _check_sums(
    directory: str | Path, step: int, arrays: list[StoredArray], record: list[dict[str, Any]]
) -> None:
    for array, stored in zip(arrays, record, strict=True):
        if checksum(array) != stored["checksum"]:
            what = f"the array {stored['path'] or 'at the top'}"
            raise DamagedCheckpointError(directory, step, f"{what} does not have its checksum")


def _empty(leaf: StoredArray | None) -> StoredArray:
    """Return an array without elements, which is as it was to be restored."""
    return np.zeros(0) if leaf is None else leaf


def _restore_args(leaf: StoredArray | None) -> Any:
    ocp = orbax()
    # Orbax would commit an array to its device, and programs would be compiled again for it.
    if not (isinstance(leaf, jax.Array) and leaf.committed):
        return ocp.RestoreArgs(restore_type=np.ndarray)
    return ocp.ArrayRestoreArgs(
        sharding=leaf.sharding, global_shape=leaf.shape, dtype=leaf.dtype, strict=True
    )


@contextlib.contextmanager
def _damage_named(directory: str | Path, step: int, what: str) -> Generator[None]:
    """Turn whatever Orbax and TensorStore raise for damaged files into the error that names them.

    Neither documents its exceptions; damaged files gave ten kinds. An error of the system says
    nothing of the files, unless one of them is missing.
    """
    try:
        with quietly():
            yield
    except (MemoryError, ImportError, jax.errors.JaxRuntimeError):
        raise
    except Exception as error:
        number = os_error_of(error)
        if number is not None and number not in _OF_MISSING_FILES:
            raise OSError(
                number, f"{name_of(directory, step)} could not be read: {os.strerror(number)}"
            ) from None
        reason = f"{what} ({type(error).__name__}: {shortened(error)})"
        raise DamagedCheckpointError(directory, step, reason) from None
