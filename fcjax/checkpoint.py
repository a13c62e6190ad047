"""Checkpoints of any pytree of arrays, written by Orbax: one folder per step.

Needs the extra `fcjax[checkpoint]`.
"""

import contextlib
from collections.abc import Generator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ._types import Tree

# Orbax requires a container at the top of the tree, so the tree is wrapped in a dict.
_ROOT = "root"


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
        ValueError: `step` is negative, or not larger than the latest one.

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> folder = tempfile.mkdtemp()
    >>> save(folder, {"w": jnp.arange(3.0)}, step=7, metadata={"loss": 0.5})
    >>> restore(folder, {"w": jnp.zeros(3)})
    {'w': Array([0., 1., 2.], dtype=float32)}
    """
    newest = latest(directory)
    lowest = 0 if newest is None else newest + 1
    if step < lowest:
        raise ValueError(f"step must be at least {lowest}, after all in {directory}, got {step}")
    with _manager(directory) as manager:
        args = _orbax().args
        manager.save(
            step,
            args=args.Composite(
                tree=args.StandardSave({_ROOT: tree}),
                metadata=args.JsonSave(metadata or {}),
                shapes=args.JsonSave(_shapes(tree)),
            ),
        )
        manager.wait_until_finished()


def latest(directory: str | Path) -> int | None:
    """Return the number of the newest checkpoint, or None if there is none.

    Args:
        directory: the folder of the checkpoints; it need not exist.

    Raises:
        ImportError: Orbax is not installed.

    >>> latest("/no/such/folder") is None
    True
    """
    if not Path(directory).is_dir():
        return None
    with _manager(directory) as manager:
        return manager.latest_step()


def restore(directory: str | Path, like: Tree, *, step: int | None = None) -> Tree:
    """Read a checkpoint back.

    Args:
        directory: the folder of the checkpoints.
        like: a pytree with the structure, shapes, dtypes and shardings that the result must have,
            such as a newly initialized state.
        step: number of the checkpoint; None reads the newest.

    Raises:
        ImportError: Orbax is not installed.
        FileNotFoundError: there is no such checkpoint.
        ValueError: `like` does not have the leaves of the checkpoint, or a leaf has another shape.

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> folder = tempfile.mkdtemp()
    >>> save(folder, jnp.arange(3.0), step=1)
    >>> restore(folder, jnp.zeros(3))
    Array([0., 1., 2.], dtype=float32)
    """
    args = _orbax().args
    with _open_checkpoint(directory, step) as read:
        if read.has("shapes"):  # checkpoints of older versions have no shapes
            _check_shapes(read, like)
        return read.item("tree", args.StandardRestore({_ROOT: like}))[_ROOT]


def _shapes(tree: Tree) -> dict[str, list[int]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): list(jnp.shape(leaf)) for path, leaf in leaves}


def _check_shapes(read: "_Reader", like: Tree) -> None:
    """Raise ValueError that names the first leaf whose shape differs from the stored one."""
    stored, wanted = read.item("shapes", _orbax().args.JsonRestore()), _shapes(like)
    differ = [place for place in stored | wanted if stored.get(place) != wanted.get(place)]
    if differ:
        place = differ[0]
        raise ValueError(
            f"like must have the arrays of {read.name}: {_in_words(stored.get(place))} is "
            f"stored at {place or 'the top'}, got {_in_words(wanted.get(place))}"
        )


def _in_words(shape: list[int] | None) -> str:
    return "nothing" if shape is None else f"shape {shape}"


def metadata(directory: str | Path, *, step: int | None = None) -> dict[str, Any]:
    """Read the metadata of a checkpoint.

    Args:
        directory: the folder of the checkpoints.
        step: number of the checkpoint; None reads the newest.

    Raises:
        ImportError: Orbax is not installed.
        FileNotFoundError: there is no such checkpoint.

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> folder = tempfile.mkdtemp()
    >>> save(folder, jnp.zeros(3), step=1, metadata={"loss": 0.5})
    >>> metadata(folder)
    {'loss': 0.5}
    """
    with _open_checkpoint(directory, step) as read:
        return read.item("metadata", _orbax().args.JsonRestore())


class _Reader(NamedTuple):
    """A checkpoint that is open for reading."""

    manager: Any
    directory: Path
    step: int

    @property
    def name(self) -> str:
        return f"the checkpoint of step {self.step} in {str(self.directory)!r}"

    def has(self, item: str) -> bool:
        return (self.directory / str(self.step) / item).exists()

    def item(self, name: str, how: object) -> Any:
        return self.manager.restore(self.step, args=_orbax().args.Composite(**{name: how}))[name]


@contextlib.contextmanager
def _open_checkpoint(directory: str | Path, step: int | None) -> Generator[_Reader]:
    """Open the checkpoint of `step`, or the newest if None; raise FileNotFoundError if absent."""
    none = f"directory {str(directory)!r} holds no checkpoint"
    if not Path(directory).is_dir():
        raise FileNotFoundError(none)
    with _manager(directory) as manager:
        steps = sorted(manager.all_steps())
        if not steps:
            raise FileNotFoundError(none)
        if step is not None and step not in steps:
            raise FileNotFoundError(f"{none} of step {step}; it holds {steps}")
        yield _Reader(manager, Path(directory), steps[-1] if step is None else step)


def _manager(directory: str | Path) -> Any:
    ocp = _orbax()
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
    return ocp.CheckpointManager(Path(directory).absolute(), options=options)


def _orbax() -> ModuleType:
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise ImportError("checkpoints need Orbax: pip install 'fcjax[checkpoint]'") from error
    return ocp
