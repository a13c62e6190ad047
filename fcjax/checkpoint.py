"""Checkpoints of any pytree of arrays, written by Orbax, with a checksum of each array.

A checkpoint is a folder with the number of its step as its name. Orbax writes it under a temporary
name and renames it when it is complete, so a process that is killed leaves the earlier checkpoints
as they are. Nothing is pickled, and nothing in a folder is executed.

The folder holds the arrays and a record: the path, shape, dtype and checksum of each array, the
caller's metadata, and a checksum of all this. Needs the extra `fcjax[checkpoint]`.
"""

import contextlib
import gc
import hashlib
import itertools
import json
import logging
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ._arguments import describe
from ._checksum import checksum
from ._types import Tree
from .distributed import is_first_process, wait_for_all

_FORMAT = 1
_MAX_LENGTH = 120
_SETTLING = 0.2  # seconds in which the threads of Orbax notice an error of another one
_Array = np.ndarray | Array


class DamagedCheckpointError(ValueError):
    """A checkpoint is damaged or incomplete. `step` is its number."""

    def __init__(self, directory: str | Path, step: int, reason: str):
        """Make a message that names the checkpoint."""
        self.step, self.reason = step, reason
        super().__init__(f"{_name(directory, step)} is damaged: {reason}")


class MismatchError(ValueError):
    """The tree to restore does not have the arrays of the checkpoint.

    `place` is the path of the first array that differs, and `what` says how.
    """

    def __init__(self, name: str, place: str, what: str):
        """Make a message that names the checkpoint."""
        self.place, self.what = place, what
        super().__init__(f"like must have the arrays of {name}: {what}")


def save(
    directory: str | Path, tree: Tree, *, step: int, metadata: Mapping[str, object] | None = None
) -> None:
    """Write `tree` as the checkpoint of `step`, and return once it is on disk.

    Args:
        directory: folder of all checkpoints of a run; created if it does not exist.
        tree: any pytree of arrays, PRNG keys included.
        step: number of the checkpoint, larger than that of every checkpoint in the folder.
        metadata: a dict that can be written as JSON.

    Raises:
        ImportError: Orbax is not installed.
        OSError: the folder cannot be written, for example because the disk is full.
        TypeError: `tree` holds anything but arrays and numbers, or `metadata` anything that JSON
            does not have.
        ValueError: `step` is negative, or not larger than the latest one, or `directory` is empty.

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> folder = tempfile.mkdtemp()
    >>> save(folder, {"w": jnp.arange(3.0)}, step=7, metadata={"loss": 0.5})
    >>> restore(folder, {"w": jnp.zeros(3)})
    {'w': Array([0., 1., 2.], dtype=float32)}
    """
    with Writer(directory) as writer:
        writer.save(tree, step=step, metadata=metadata)


class Writer:
    """Writes checkpoints in the background, and removes those that are no longer needed.

    Use it as a context manager: leaving it waits until all is on disk. All processes of a job make
    the same calls.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        max_to_keep: int | None = None,
        keep: Callable[[Mapping[int, Mapping[str, Any]]], set[int]] | None = None,
        after: int | None = None,
    ):
        """Open or create a folder of checkpoints, and remove what unfinished saves left there.

        Args:
            directory: folder of all checkpoints of a run.
            max_to_keep: number of the newest checkpoints to keep; None keeps all.
            keep: a function from the metadata of all checkpoints, by step, to the steps that are
                kept besides the newest.
            after: number of the checkpoint that was restored. Folders of later steps, which are
                damaged, are renamed to `<step>.damaged`; nothing is deleted.

        Raises:
            ImportError: Orbax is not installed.
            OSError: the folder cannot be created or written.
            ValueError: `directory` is empty.

        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with Writer(folder, max_to_keep=2) as writer:
        ...     for step in range(4):
        ...         writer.save(jnp.ones(3), step=step)
        >>> steps(folder)
        [2, 3]
        """
        self._directory = _checked_directory(directory)
        _check_writable(self._directory)
        if after is not None:
            _set_aside(self._directory, [step for step in steps(directory) if step > after])
        self._records: dict[int, Mapping[str, Any]] = {}
        if keep is not None:
            for step in steps(directory):
                with contextlib.suppress(DamagedCheckpointError):
                    self._records[step] = metadata(directory, step=step)
        self._manager = _manager(self._directory, _Preservation(self._records, max_to_keep, keep))

    def save(self, tree: Tree, *, step: int, metadata: Mapping[str, object] | None = None) -> None:
        """Copy `tree`, and write it as the checkpoint of `step` in the background.

        Return at once, unless an earlier save is still being written. An error of that save is
        raised now.

        Args:
            tree: any pytree of arrays, PRNG keys included.
            step: number of the checkpoint, larger than that of every checkpoint in the folder.
            metadata: a dict that can be written as JSON.

        Raises:
            OSError: a checkpoint could not be written, for example because the disk is full.
            TypeError: as in `fcjax.checkpoint.save`.
            ValueError: `step` is negative, or not larger than the latest one.
        """
        _check_step(step)
        newest = self._manager.latest_step()
        lowest = 0 if newest is None else newest + 1
        if not lowest <= step < 2**63:
            raise ValueError(
                f"step must be at least {lowest}, after all in {str(self._directory)!r}, got {step}"
            )
        arrays, record = _arrays(tree), _record(tree, metadata or {})
        self._records[step] = dict(metadata or {})
        args = _orbax().args
        with _errors_of_writing(self._directory):
            self._manager.save(
                step,
                args=args.Composite(arrays=args.PyTreeSave(arrays), record=args.JsonSave(record)),
                force=True,
            )

    def wait(self) -> None:
        """Wait until all is on disk.

        Raises:
            OSError: a checkpoint could not be written, for example because the disk is full.
        """
        with _errors_of_writing(self._directory):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait until all is on disk, and end the background threads."""
        try:
            self.wait()
        finally:
            with contextlib.suppress(Exception):  # the same error once more
                self._manager.close()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def steps(directory: str | Path) -> list[int]:
    """Return the numbers of all complete checkpoints, in order.

    Args:
        directory: the folder of the checkpoints; it need not exist.

    Raises:
        ImportError: Orbax is not installed.
        ValueError: `directory` is empty.

    >>> steps("/no/such/folder")
    []
    """
    folder = _checked_directory(directory)
    return sorted(_orbax().utils.checkpoint_steps(folder)) if folder.is_dir() else []


def latest(directory: str | Path) -> int | None:
    """Return the number of the newest checkpoint, or None if there is none.

    Args:
        directory: the folder of the checkpoints; it need not exist.

    Raises:
        ImportError: Orbax is not installed.
        ValueError: `directory` is empty.

    >>> latest("/no/such/folder") is None
    True
    """
    return max(steps(directory), default=None)


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
        DamagedCheckpointError: the checkpoint is damaged, or, with `step=None`, all are.
        MismatchError: `like` does not have the leaves of the checkpoint, or a leaf has another
            shape or dtype.

    >>> import tempfile
    >>> import jax.numpy as jnp
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
    >>> folder = tempfile.mkdtemp()
    >>> save(folder, jnp.zeros(3), step=1)
    >>> verify(folder)
    {1: None}
    """
    return {step: _damage(directory, step) for step in _existing(directory)}


def newest_whole(
    directory: str | Path, read: Callable[[int], Tree], step: int | None = None
) -> Tree:
    """Return `read(step)`, for the newest step for which it finds no damage if `step` is None.

    Warn of each damaged checkpoint that is newer.
    """
    found = _existing(directory)
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


def _existing(directory: str | Path) -> list[int]:
    found = steps(directory)
    if not found:
        raise FileNotFoundError(f"directory {str(directory)!r} holds no checkpoint")
    return found


def _checked_directory(directory: object) -> Path:
    """Return the absolute path of a folder, or raise unless it is one or can become one."""
    if not isinstance(directory, str | Path):
        raise TypeError(f"directory must be a path, got {describe(directory)}")
    if str(directory) == "" or "\0" in str(directory):
        raise ValueError(f"directory must be the path of a folder, got {str(directory)!r}")
    path = Path(directory).absolute()
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"directory must be a folder, got the file {str(directory)!r}")
    return path


def _check_step(step: object) -> None:
    if not isinstance(step, int) or isinstance(step, bool):
        raise TypeError(f"step must be an integer, got {describe(step)}")


def _check_writable(directory: Path) -> None:
    """Raise OSError unless files can be created in the folder."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise OSError(f"directory {str(directory)!r} cannot be written: {error}") from error


def _set_aside(directory: Path, damaged: list[int]) -> None:
    """Rename folders, so that Orbax does not take them for checkpoints."""
    if damaged and is_first_process():
        for step in damaged:
            names = (f"{step}.damaged{'' if i == 1 else f'-{i}'}" for i in itertools.count(1))
            free = (directory / name for name in names)
            (directory / str(step)).rename(next(p for p in free if not p.exists()))
    if damaged:
        wait_for_all("set_aside")


def _name(directory: str | Path, step: int) -> str:
    return f"the checkpoint of step {step} in {str(directory)!r}"


# --- what is stored -------------------------------------------------------------------------------


def _arrays(tree: Tree) -> dict[str, _Array]:
    """Return the leaves by their number; their paths, in which Orbax sees parts, are recorded."""
    return {str(i): _raw(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}


def _raw(leaf: Tree) -> _Array:
    """Return a leaf as an array of numbers, and a PRNG key as its words."""
    if _is_key(leaf):
        return jax.random.key_data(leaf)
    return leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)


def _is_key(leaf: object) -> TypeGuard[Array]:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _is_numeric(leaf: object) -> bool:
    dtype = getattr(leaf, "dtype", None)
    return (
        isinstance(leaf, bool | int | float | complex)
        if dtype is None
        else dtype.kind not in "OSUMm"
    )


def _types(tree: Tree) -> dict[str, dict[str, Any]]:
    """Return shape and dtype of each leaf, by its path."""
    found: dict[str, dict[str, Any]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path)
        if not (_is_key(leaf) or _is_numeric(leaf)):
            raise TypeError(f"tree{name} must be an array or a number, got {describe(leaf)}")
        dtype = str(leaf.dtype) if _is_key(leaf) else str(_raw(leaf).dtype)
        found[name] = {"shape": list(np.shape(leaf)), "dtype": dtype}
    return found


def _record(tree: Tree, metadata: Mapping[str, object]) -> dict[str, Any]:
    types, leaves = _types(tree), jax.tree.leaves(tree)
    arrays = [
        {"path": path, **kind, "checksum": checksum(_raw(leaf))}
        for (path, kind), leaf in zip(types.items(), leaves, strict=True)
    ]
    try:
        written = json.loads(json.dumps(metadata))
    except (TypeError, ValueError) as error:
        raise TypeError(f"metadata must be a dict that JSON can hold: {error}") from error
    record = {"format": _FORMAT, "arrays": arrays, "metadata": written}
    return {**record, "checksum": _digest(record)}


def _digest(record: Mapping[str, Any]) -> str:
    text = json.dumps({k: v for k, v in record.items() if k != "checksum"}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


# --- what is read ---------------------------------------------------------------------------------


def _read(directory: str | Path, step: int, like: Tree) -> Tree:
    stored = _read_record(directory, step)["arrays"]
    _check_types(_name(directory, step), stored, like)
    leaves, structure = jax.tree.flatten(like)
    leaf_at = dict(zip(_types(like), leaves, strict=True))
    found = _read_arrays(directory, step, [_raw(leaf_at[one["path"]]) for one in stored], stored)
    found_at = {one["path"]: array for one, array in zip(stored, found, strict=True)}
    return jax.tree.unflatten(structure, [_as_in(leaf_at[p], found_at[p]) for p in leaf_at])


def _as_in(leaf: Tree, found: Any) -> Tree:
    """Return what was read as the type of the leaf that was asked for."""
    if _is_key(leaf):
        return jax.random.wrap_key_data(found, impl=jax.random.key_impl(leaf))
    if isinstance(leaf, jax.Array) and isinstance(found, np.ndarray):
        return jax.device_put(found)  # compiles nothing, unlike `jnp.asarray`
    return found if hasattr(leaf, "dtype") else type(leaf)(found.item())


def _damage(directory: str | Path, step: int) -> str | None:
    """Read a checkpoint into the memory of the host, and say what is wrong with it."""
    try:
        arrays = _read_record(directory, step)["arrays"]
        _read_arrays(directory, step, [None] * len(arrays), arrays)
    except DamagedCheckpointError as error:
        return error.reason
    return None


def _read_record(directory: str | Path, step: int) -> dict[str, Any]:
    ocp, path = _orbax(), _checked_directory(directory) / str(step) / "record"
    with _damage_named(directory, step, "its record cannot be read"):
        with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
            record = reader.restore(path)
        whole = record["checksum"] == _digest(record)
    if not whole:
        raise DamagedCheckpointError(directory, step, "its record does not have its checksum")
    if record["format"] != _FORMAT:
        raise ValueError(
            f"{_name(directory, step)} must have the format {_FORMAT} of this version of fcjax, "
            f"got {record['format']}"
        )
    return record


def _read_arrays(
    directory: str | Path, step: int, like: Sequence[_Array | None], record: list[dict[str, Any]]
) -> list[_Array]:
    """Read the arrays of a checkpoint: on the devices of `like`, or for None into NumPy arrays."""
    ocp, path = _orbax(), _checked_directory(directory) / str(step) / "arrays"
    args = {str(i): _restore_args(leaf) for i, leaf in enumerate(like)}
    with (
        _damage_named(directory, step, "its arrays cannot be read"),
        ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader,
    ):
        found = reader.restore(path, ocp.args.PyTreeRestore(restore_args=args))
        arrays = [found[str(i)] for i in range(len(like))]
    for array, stored in zip(arrays, record, strict=True):
        if checksum(array) != stored["checksum"]:
            what = f"the array {stored['path'] or 'at the top'}"
            raise DamagedCheckpointError(directory, step, f"{what} does not have its checksum")
    return arrays


def _restore_args(leaf: _Array | None) -> Any:
    ocp = _orbax()
    # Orbax would commit an array to its device, and programs would be compiled again for it.
    if not (isinstance(leaf, jax.Array) and leaf.committed):
        return ocp.RestoreArgs(restore_type=np.ndarray)
    return ocp.ArrayRestoreArgs(
        sharding=leaf.sharding, global_shape=leaf.shape, dtype=leaf.dtype, strict=True
    )


@contextlib.contextmanager
def _damage_named(directory: str | Path, step: int, what: str) -> Generator[None]:
    """Turn whatever Orbax and TensorStore raise for damaged files into the error that names them.

    Neither documents its exceptions; damaged files gave ten kinds.
    """
    try:
        with _quietly():
            yield
    except (MemoryError, ImportError, PermissionError):
        raise
    except Exception as error:
        reason = f"{what} ({type(error).__name__}: {_shortened(error)})"
        raise DamagedCheckpointError(directory, step, reason) from None


def _shortened(error: Exception) -> str:
    """Return the end of a message on one line; TensorStore's begin with long paths."""
    line = " ".join(str(error).split())
    return line if len(line) <= _MAX_LENGTH else f"... {line[-_MAX_LENGTH:]}"


class _Type(NamedTuple):
    shape: list[int]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype}{self.shape}"


def _check_types(name: str, stored: list[dict[str, Any]], like: Tree) -> None:
    """Raise MismatchError that names the first leaf of another shape or dtype."""
    there = {one["path"]: _Type(one["shape"], one["dtype"]) for one in stored}
    wanted = {path: _Type(**kind) for path, kind in _types(like).items()}
    differ = [place for place in there | wanted if there.get(place) != wanted.get(place)]
    if differ:
        place = differ[0]
        what = (
            f"{there.get(place, 'nothing')} is stored at {place or 'the top'}, "
            f"got {wanted.get(place, 'nothing')}"
        )
        raise MismatchError(name, place, what)


# --- Orbax ----------------------------------------------------------------------------------------


class _Preservation(NamedTuple):
    """Which checkpoints Orbax does not remove."""

    metadata: Mapping[int, Mapping[str, Any]]
    max_to_keep: int | None
    keep: Callable[[Mapping[int, Mapping[str, Any]]], set[int]] | None

    def should_preserve(self, checkpoints: list[Any], *, context: object) -> list[bool]:
        """Return whether each checkpoint is kept; the newest ones come last."""
        del context
        found = [checkpoint.step for checkpoint in checkpoints]
        newest = found if self.max_to_keep is None else found[-self.max_to_keep :]
        known = {step: self.metadata[step] for step in found if step in self.metadata}
        kept = set(newest) | (self.keep(known) if self.keep else set())
        return [step in kept for step in found]


def _manager(directory: Path, preservation: _Preservation) -> Any:
    ocp = _orbax()
    options = ocp.CheckpointManagerOptions(
        cleanup_tmp_directories=True, preservation_policy=preservation
    )
    with _errors_of_writing(directory):
        return ocp.CheckpointManager(directory, options=options)


@contextlib.contextmanager
def _errors_of_writing(directory: Path) -> Generator[None]:
    """Name the folder in errors of writing; TensorStore raises ValueError for a full disk."""
    try:
        with _quietly():
            yield
    except Exception as error:
        raise OSError(
            f"directory {str(directory)!r} could not be written; its earlier checkpoints are as "
            f"they were: {_shortened(error)}"
        ) from None


@contextlib.contextmanager
def _quietly() -> Generator[None]:
    """Let an error be the only word of it.

    Orbax also logs it, with hundreds of lines of traceback from each of its threads. And when one
    array fails, it closes the event loop to which the others are about to report.
    """
    hook = sys.unraisablehook

    def ignore_closed_loop(unraisable: Any) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            hook(unraisable)

    sys.unraisablehook = ignore_closed_loop
    try:
        yield
    except Exception as error:
        # The others end now, and not when the process does, which would report each.
        time.sleep(_SETTLING)
        traceback.clear_frames(error.__traceback__)
        gc.collect()
        raise
    finally:
        sys.unraisablehook = hook


def _is_not_from_orbax(record: logging.LogRecord) -> bool:
    return "/orbax/checkpoint/" not in record.pathname or record.levelno < logging.ERROR


def _orbax() -> ModuleType:
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise ImportError("checkpoints need Orbax: pip install 'fcjax[checkpoint]'") from error
    # The errors are raised, so they need not be logged too.
    logging.getLogger("absl").addFilter(_is_not_from_orbax)
    return ocp
