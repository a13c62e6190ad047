"""Write checkpoints, in the background or not."""

import contextlib
import errno
import itertools
import os
import shutil
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from .._arguments import as_integer, describe
from .._types import Tree
from ..distributed import is_first_process, largest_of_all_processes, wait_for_all
from .folder import check_writable, checked_directory, steps
from .orbax import errors_of_writing, noting, orbax, quietly
from .ownership import owned
from .reading import metadata as metadata_of
from .record import DamagedCheckpointError, arrays_of, record_of

_PAUSE = 0.02  # seconds between looks at a save


class OneProcessFailedError(OSError):
    """This process could not write its part of a checkpoint, and the others do not know."""


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
    >>> from fcjax.checkpoint import restore
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
            OSError: the folder cannot be created or written, or another job writes it.
            ValueError: `directory` is empty, a pattern such as `run*`, or one of the checkpoints,
                or the processes of this job do not share it.

        >>> import tempfile
        >>> import jax.numpy as jnp
        >>> from fcjax.checkpoint import steps
        >>> folder = tempfile.mkdtemp()
        >>> with Writer(folder, max_to_keep=2) as writer:
        ...     for step in range(4):
        ...         writer.save(jnp.ones(3), step=step)
        >>> steps(folder)
        [2, 3]
        """
        self._directory = checked_directory(directory)
        check_writable(self._directory)
        self._preservation = _Preservation({}, max_to_keep, keep)
        self._failures: list[Exception] = []
        with contextlib.ExitStack() as stack:
            stack.enter_context(owned(self._directory))
            stack.enter_context(quietly())  # a save may fail at any time
            if after is not None:
                _set_aside(self._directory, after, "damaged")
            if keep is not None:
                for step in steps(directory):
                    with contextlib.suppress(DamagedCheckpointError):
                        self._preservation.note(step, metadata_of(directory, step=step))
            self._manager = _manager(self._directory, self._preservation, self._failures)
            self._until_closed = stack.pop_all()

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
        step = _checked_step(step)
        newest = self._manager.latest_step()
        lowest = 0 if newest is None else newest + 1
        if not lowest <= step < 2**63:
            raise ValueError(
                f"step must be at least {lowest}, after all in {str(self._directory)!r}, got {step}"
            )
        record, arrays = record_of(tree, metadata or {}), arrays_of(tree)
        if jax.process_count() > 1:
            self.wait()
            self._check_space(sum(array.nbytes for array in arrays.values()))
        self._preservation.note(step, dict(metadata or {}))
        args = orbax().args
        with self._errors():
            self._manager.save(
                step,
                args=args.Composite(arrays=args.PyTreeSave(arrays), record=args.JsonSave(record)),
                force=True,
            )

    def set_aside(self, *, after: int, why: str) -> None:
        """Rename the folders of later steps to `<step>.<why>`, so that they are no checkpoints.

        Args:
            after: number of the newest checkpoint that remains one, if there is one of that step.
            why: a word for the names of the folders.
        """
        self.wait()
        self._manager.close()
        _set_aside(self._directory, after, why)
        self._manager = _manager(self._directory, self._preservation, self._failures)

    def wait(self) -> None:
        """Wait until all is on disk.

        Raises:
            OSError: a checkpoint could not be written, for example because the disk is full.
        """
        with self._errors():
            while jax.process_count() > 1 and self._manager.is_saving_in_progress():
                if self._failures:  # Orbax would wait for the others for 20 minutes
                    raise self._failures[0]
                time.sleep(_PAUSE)
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _errors(self) -> Generator[None]:
        try:
            with errors_of_writing(self._directory):
                yield
        except OSError as error:
            if jax.process_count() == 1:
                raise
            raise OneProcessFailedError(f"{error}; the others cannot go on without it") from None

    def _check_space(self, size: int) -> None:
        """Raise in all processes if one of them finds too little space."""
        with errors_of_writing(self._directory):
            is_full = shutil.disk_usage(self._directory).free < size
            if largest_of_all_processes(is_full, "a save"):
                raise OSError(os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Wait until all is on disk, and end the background threads."""
        with self._until_closed:
            try:
                self.wait()
            except OneProcessFailedError:  # Orbax would wait for the others, which wait for this
                raise
            except BaseException:
                with contextlib.suppress(Exception):  # the same error once more
                    self._manager.close()
                raise
            self._manager.close()

    def abandon(self) -> None:
        """Write no more, and wait for nothing."""
        self._until_closed.close()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _checked_step(step: object) -> int:
    """Return the step as an integer of Python."""
    number = as_integer(step)
    if number is None:
        raise TypeError(f"step must be an integer, got {describe(step)}")
    return number


def _set_aside(directory: Path, after: int, why: str) -> None:
    if is_first_process():
        for step in (step for step in steps(directory) if step > after):
            names = (f"{step}.{why}{'' if i == 1 else f'-{i}'}" for i in itertools.count(1))
            free = (directory / name for name in names)
            (directory / str(step)).rename(next(p for p in free if not p.exists()))
    # also if there are none: another process may look too late
    wait_for_all("the renaming of checkpoints")


class _Preservation(NamedTuple):
    """Which checkpoints Orbax does not remove."""

    metadata: dict[int, Mapping[str, Any]]
    max_to_keep: int | None
    keep: Callable[[Mapping[int, Mapping[str, Any]]], set[int]] | None

    def note(self, step: int, metadata: Mapping[str, Any]) -> None:
        """Remember the metadata of a checkpoint for as long as `keep` may ask for it."""
        if self.keep is not None:
            self.metadata[step] = metadata

    def should_preserve(self, checkpoints: list[Any], *, context: object) -> list[bool]:
        """Return whether each checkpoint is kept; the newest ones come last."""
        del context
        found = [checkpoint.step for checkpoint in checkpoints]
        newest = found if self.max_to_keep is None else found[-self.max_to_keep :]
        known = {step: self.metadata[step] for step in found if step in self.metadata}
        kept = set(newest) | (self.keep(known) if self.keep else set())
        for step in found:
            if step not in kept:
                self.metadata.pop(step, None)
        return [step in kept for step in found]


def _manager(directory: Path, preservation: _Preservation, failures: list[Exception]) -> Any:
    ocp = orbax()
    options = ocp.CheckpointManagerOptions(
        cleanup_tmp_directories=True, preservation_policy=preservation
    )
    with errors_of_writing(directory):
        handlers = None
        if jax.process_count() > 1:  # Orbax tells a single process by itself
            handlers = {
                "arrays": noting(ocp.PyTreeCheckpointHandler(), failures),
                "record": noting(ocp.JsonCheckpointHandler(), failures),
            }
        return ocp.CheckpointManager(directory, options=options, item_handlers=handlers)
