"""The progress of `fit`, and its checkpoints."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import checkpoint
from .._types import Tree
from .settings import Settings, check_settings
from .state import TrainState

History = dict[str, list[float]]


class Progress(NamedTuple):
    """The state, the best parameters so far, and the figures of each epoch."""

    state: TrainState
    best: Tree
    history: History

    @property
    def epochs(self) -> int:
        """Number of completed epochs."""
        return len(self.history.get("loss", ()))

    def last_figures(self) -> dict[str, float]:
        """Return the figures of the last epoch."""
        return {name: values[-1] for name, values in self.history.items()}

    def after_epoch(self, state: TrainState, figures: dict[str, float]) -> "Progress":
        """Return the progress after one more epoch."""
        history = {name: [*self.history.get(name, ()), value] for name, value in figures.items()}
        improved = _since_best(history) == 0
        return Progress(state, state.params if improved else self.best, history)

    def out_of_patience(self, patience: int | None) -> bool:
        """Whether the monitored loss has not improved for `patience` epochs."""
        return patience is not None and self.epochs > 0 and _since_best(self.history) >= patience


def _since_best(history: History) -> int:
    """Return the number of epochs since the lowest monitored loss; NaN is never the lowest."""
    losses = history.get("val_loss", history["loss"])
    if np.isnan(losses).all():
        return len(losses)
    return len(losses) - 1 - int(np.nanargmin(losses))


class Store:
    """The checkpoints of a run. Does nothing if no folder was given."""

    def __init__(self, directory: str | Path | None, settings: Settings):
        """Save `settings` in each checkpoint, and compare them when a run resumes."""
        self._directory, self._settings = directory, settings

    def save(self, progress: Progress) -> None:
        """Write a checkpoint."""
        if self._directory is None:
            return
        tree = {"state": progress.state, "best": progress.best}
        metadata = {"history": progress.history, "settings": self._settings}
        checkpoint.save(self._directory, tree, step=int(progress.state.step), metadata=metadata)

    def restore(self, start: Progress) -> Progress:
        """Return the progress of the newest checkpoint, or `start` if there is none.

        Warn if the settings of the run differ from those of the checkpoint.
        """
        step = None if self._directory is None else checkpoint.latest(self._directory)
        if self._directory is None or step is None:
            return start
        metadata = checkpoint.metadata(self._directory, step=step)
        history = metadata["history"]
        saved = metadata.get("settings", {"figures": list(history)})  # absent in older checkpoints
        where = f"the checkpoint of step {step} in {str(self._directory)!r}"
        check_settings(saved, self._settings, where)
        like = {"state": start.state, "best": start.best}
        tree = checkpoint.restore(self._directory, like, step=step)
        return Progress(tree["state"], tree["best"], history)
