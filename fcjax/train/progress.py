"""What a run of `fit` has reached."""

from typing import Any, NamedTuple

from .._types import Tree
from .figures import Figures
from .position import Part, Position
from .state import TrainState


class Progress(NamedTuple):
    """The state, the best parameters so far, the figures of each epoch, and the place in this one.

    `loader` is the state of the iterator of batches, if it has one and an epoch is under way.
    """

    state: TrainState
    best: Tree
    figures: Figures
    position: Position
    loader: Any = None

    @property
    def epochs(self) -> int:
        """Number of completed epochs."""
        return self.figures.epochs

    @property
    def step(self) -> int:
        """Number of completed steps."""
        return self.position.start + self.position.steps

    def after_part(self, part: Part) -> "Progress":
        """Return the progress after a part of an epoch."""
        return self._replace(state=part.state, position=part.position, loader=part.loader)

    def after_epoch(self, figures: dict[str, float]) -> "Progress":
        """Return the progress at the end of an epoch."""
        all_figures = self.figures.added(figures)
        best = self.state.params if all_figures.since_best == 0 else self.best
        return Progress(self.state, best, all_figures, Position(self.step))

    def out_of_patience(self, patience: int | None) -> bool:
        """Whether the monitored loss has not improved for `patience` epochs."""
        return patience is not None and self.epochs > 0 and self.figures.since_best >= patience
