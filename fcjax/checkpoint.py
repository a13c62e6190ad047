"""Checkpoints of any pytree of arrays, kept by Orbax: one folder per step.

Needs the extra `fcjax[checkpoint]`.
"""

from pathlib import Path
from typing import Any

# Orbax wants a container at the top, so that a single array needs one around it.
_ROOT = "root"


def save(
    directory: str | Path, tree: Any, *, step: int, metadata: dict[str, Any] | None = None
) -> None:
    """Write `tree` as the checkpoint of `step`; returns when it is on disk.

    Args:
        directory: folder of all checkpoints of a run; made if it does not exist.
        tree: any pytree of arrays, PRNG keys included.
        step: number of the checkpoint, larger than those in the folder.
        metadata: anything that JSON can hold.

    Raises:
        ImportError: Orbax is not installed.
        ValueError: `step` is not larger than the latest one.

    Source: Orbax's `CheckpointManager`.

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> folder = tempfile.mkdtemp()
    >>> save(folder, {"w": jnp.arange(3.0)}, step=7, metadata={"loss": 0.5})
    >>> restore(folder, {"w": jnp.zeros(3)})
    {'w': Array([0., 1., 2.], dtype=float32)}
    """
    newest = latest(directory)
    if step < 0 or (newest is not None and step <= newest):
        raise ValueError(f"step must be larger than the latest, {newest}, got {step}")
    with _manager(directory) as manager:
        args = _orbax().args
        manager.save(
            step,
            args=args.Composite(
                tree=args.StandardSave({_ROOT: tree}), metadata=args.JsonSave(metadata or {})
            ),
        )
        manager.wait_until_finished()


def latest(directory: str | Path) -> int | None:
    """Return the number of the newest checkpoint, or None where there is none.

    Args:
        directory: the folder that was saved to; it need not exist.

    Raises:
        ImportError: Orbax is not installed.

    Source: Orbax's `CheckpointManager.latest_step`.

    >>> latest("/no/such/folder") is None
    True
    """
    if not Path(directory).is_dir():
        return None
    with _manager(directory) as manager:
        return manager.latest_step()


def restore(directory: str | Path, like: Any, *, step: int | None = None) -> Any:
    """Read a checkpoint back.

    Args:
        directory: the folder that was saved to.
        like: a pytree with the structure, shapes, dtypes and placement that the result is to have,
            such as a freshly made state.
        step: which checkpoint; None takes the newest.

    Raises:
        ImportError: Orbax is not installed.
        FileNotFoundError: there is no such checkpoint.
        ValueError: `like` does not fit what was saved.

    Source: Orbax's `CheckpointManager.restore`.

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> folder = tempfile.mkdtemp()
    >>> save(folder, jnp.arange(3.0), step=1)
    >>> restore(folder, jnp.zeros(3))
    Array([0., 1., 2.], dtype=float32)
    """
    args = _orbax().args
    return _read(directory, step, "tree", args.StandardRestore({_ROOT: like}))[_ROOT]


def metadata(directory: str | Path, *, step: int | None = None) -> dict[str, Any]:
    """Read the metadata of a checkpoint.

    Args:
        directory: the folder that was saved to.
        step: which checkpoint; None takes the newest.

    Raises:
        ImportError: Orbax is not installed.
        FileNotFoundError: there is no such checkpoint.

    Source: Orbax's `JsonRestore`.

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> folder = tempfile.mkdtemp()
    >>> save(folder, jnp.zeros(3), step=1, metadata={"loss": 0.5})
    >>> metadata(folder)
    {'loss': 0.5}
    """
    return _read(directory, step, "metadata", _orbax().args.JsonRestore())


def _read(directory: str | Path, step: int | None, item: str, how: Any) -> Any:
    step = latest(directory) if step is None else step
    if step is None:
        raise FileNotFoundError(f"directory {str(directory)!r} holds no checkpoint")
    with _manager(directory) as manager:
        if step not in manager.all_steps():
            raise FileNotFoundError(
                f"directory {str(directory)!r} holds no checkpoint of step {step}; "
                f"it holds {sorted(manager.all_steps())}"
            )
        return manager.restore(step, args=_orbax().args.Composite(**{item: how}))[item]


def _manager(directory: str | Path) -> Any:
    ocp = _orbax()
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
    return ocp.CheckpointManager(Path(directory).absolute(), options=options)


def _orbax() -> Any:
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise ImportError("checkpoints need Orbax: pip install 'fcjax[checkpoint]'") from error
    return ocp
