"""The checkpoints of `fit`: what is saved and when, and how a run is found again."""

import base64
import json
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax

from .. import checkpoint
from .._arguments import describe
from ..distributed import texts_of_all_processes
from .arguments import check_same_in_all_processes
from .figures import Figures, Monitor
from .nonfinite import with_policy
from .position import Position
from .progress import Progress
from .schedule import Schedule
from .settings import Settings, check_settings

# In JSON, what stands for a state of bytes.
_BYTES = "bytes in base64"


class Saving(NamedTuple):
    """The arguments of `fit` about checkpoints."""

    directory: str | Path
    schedule: Schedule
    max_to_keep: int | None
    best: Monitor | None
    errors: str


class Store:
    """The checkpoints of a run. Does nothing if no folder was given."""

    def __init__(self, saving: Saving | None, settings: Settings):
        """Save `settings` in each checkpoint, and compare them when a run resumes."""
        self._saving, self._settings = saving, settings
        self._writer: checkpoint.Writer | None = None
        self._newest = -1
        self._best: Progress | None = None  # the best so far, until it is written
        self._lowest = math.inf  # the figure of the best so far, or minus it where high is good

    def restore(self, start: Progress) -> Progress:
        """Return the progress of the newest whole checkpoint, or `start` if there is none.

        Warn if the settings of the run differ from those of the checkpoint, and of damage. Then
        make the folder ready for writing.
        """
        if self._saving is None:
            return start
        directory = checkpoint.checked_directory(self._saving.directory, "checkpoint_dir")
        checkpoint.check_writable(directory, "checkpoint_dir")
        found = checkpoint.steps(directory)
        check_same_in_all_processes({"what checkpoint_dir holds": found})
        if found:
            self._newest, start = checkpoint.newest_whole(
                directory, lambda step: (step, self._read(step, start))
            )
        best = self._saving.best
        if best is not None:
            for value in start.figures.history().get(best.figure, ()):
                self._is_best(best, value)
        self._writer = checkpoint.Writer(
            directory,
            max_to_keep=self._saving.max_to_keep,
            keep=best.steps if best else None,
            after=self._newest,
        )
        return start

    def _read(self, step: int, start: Progress) -> Progress:
        assert self._saving is not None
        directory = self._saving.directory
        metadata = checkpoint.in_all_processes(
            directory, step, lambda: checkpoint.metadata(directory, step=step)
        )
        where = f"the checkpoint of step {step} in {os.fspath(directory)!r}"
        if "position" not in metadata:
            raise ValueError(f"checkpoint_dir must hold checkpoints of fit alone, got {where}")
        position = Position(*metadata["position"])
        saved = metadata["settings"]
        changes = check_settings(saved, self._settings, where, inside=position.steps > 0)
        policies = saved["nonfinite"], self._settings["nonfinite"]
        like = {"state": with_policy(start.state, *policies[::-1]), "best": start.best}
        try:
            tree = checkpoint.restore(directory, like, step=step)
        except checkpoint.MismatchError as error:
            name = "optimizer" if "opt_state" in error.place else "params"
            raise ValueError(f"{name} must have the arrays of {where}: {error.what}") from error
        if changes:
            warnings.warn(f"{where} was made with other arguments: {changes}", stacklevel=2)
        loader = _loader_of(metadata["loaders"], where)
        state = with_policy(tree["state"], *policies)
        figures = Figures.of(metadata["history"], start.figures.monitor)
        return Progress(state, tree["best"], figures, position, loader)

    @property
    def is_open(self) -> bool:
        """Whether checkpoints are written."""
        return self._writer is not None

    def save_if_due(self, progress: Progress, *, complete: bool) -> None:
        """Save if it is time to. The best epoch is saved at the next such time too."""
        if self._saving is None:
            return
        best = self._saving.best
        if complete and best and self._is_best(best, progress.figures.last()[best.figure]):
            self._best = progress
        if self._saving.schedule.is_due(
            step=progress.step, epochs=progress.epochs, complete=complete
        ):
            self.save(progress)

    def _is_best(self, best: Monitor, value: float) -> bool:
        """Whether the figure of an epoch is better than all before."""
        value = best.signed(value)
        if not (math.isfinite(value) and value < self._lowest):
            return False
        self._lowest = value
        return True

    def save(self, progress: Progress) -> None:
        """Begin to write a checkpoint, unless the newest one is of this step."""
        if self._saving is None or self._writer is None:
            return
        self._saving.schedule.saved()
        self.wait()  # an error of the save before is not one of this
        if progress.step <= self._newest:
            return
        if self._best is not None and self._newest < self._best.step < progress.step:
            self._write(self._best, self._writer)
            if not self.wait():
                return  # after a save of this step, the best could not be saved any more
        self._best = None
        self._write(progress, self._writer)

    def back_to(self, good: Progress) -> None:
        """Make a good state the newest checkpoint, and put later ones, which led to NaN, aside."""
        if self._saving is not None and self._writer is not None and good.step < self._newest:
            self._writer.set_aside(after=good.step, why="nonfinite")
            self._newest = max(checkpoint.steps(self._saving.directory), default=-1)
        if self._best is not None and self._best.step > good.step:
            self._best = None
        self.save(good)

    def _write(self, progress: Progress, writer: checkpoint.Writer) -> None:
        tree = {"state": progress.state, "best": progress.best}
        metadata = {
            "history": progress.figures.history(),
            "position": list(progress.position),
            "loaders": texts_of_all_processes(_loader_to_text(progress.loader), "a save"),
            "settings": self._settings,
        }
        if self._attempt(lambda: writer.save(tree, step=progress.step, metadata=metadata)):
            self._newest = progress.step

    def wait(self) -> bool:
        """Wait until all is on disk, so that `where` is true; return whether it could be."""
        if self._saving is None or self._writer is None or self._attempt(self._writer.wait):
            return True
        self._newest = max(checkpoint.steps(self._saving.directory), default=-1)
        return False

    def _attempt(self, write: Callable[[], None]) -> bool:
        """Write; an error ends training or is a warning, as the caller of `fit` chose."""
        assert self._saving is not None
        try:
            write()
        except OSError as error:
            if self._saving.errors == "raise" or isinstance(
                error, checkpoint.OneProcessFailedError
            ):
                if self._writer is not None:
                    self._writer.abandon()
                self._writer = None
                raise
            warnings.warn(f"{error}; training goes on", stacklevel=2)
            return False
        return True

    @property
    def where(self) -> str | None:
        """What to say of the newest checkpoint, None if there is none."""
        if self._saving is None or self._newest < 0:
            return None
        return f"step {self._newest} is saved in {os.fspath(self._saving.directory)!r}"

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Wait until all is on disk; an error of writing does not hide another one."""
        if self._writer is not None:
            try:
                self._attempt(self._writer.close)
            except OSError as unsaved:
                if error is None:
                    raise
                error.add_note(str(unsaved))


def _loader_to_text(loader: Any) -> str:
    """Return the state of a loader as JSON; Grain's are bytes or dicts of numbers."""
    if isinstance(loader, bytes):
        loader = {_BYTES: base64.b64encode(loader).decode()}
    try:
        return json.dumps(loader)
    except TypeError as error:
        raise TypeError(
            "the state of the iterator of data must be bytes or JSON to be saved, got "
            f"{describe(loader)}"
        ) from error


def _loader_of(states: list[str], where: str) -> Any:
    """Return the state of the loader of this process."""
    if set(states) == {"null"}:
        return None
    if len(states) != jax.process_count():
        raise ValueError(
            f"data must go on in {len(states)} processes, of whose loaders {where} has the states, "
            f"got {jax.process_count()}"
        )
    loader = json.loads(states[jax.process_index()])
    if isinstance(loader, dict) and loader.keys() == {_BYTES}:
        return base64.b64decode(loader[_BYTES])
    return loader
