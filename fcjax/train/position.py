"""Where training is: between two parts of an epoch, the state and a `Position` are all there is."""

from typing import Any, NamedTuple

import numpy as np

from .state import TrainState


class Position(NamedTuple):
    """Where training is in an epoch.

    `start` is the number of steps completed when the epoch began, from which the order of its
    examples follows. `loss` is the sum of the losses so far, times their `examples`.
    """

    start: int
    steps: int = 0
    loss: float = 0.0
    examples: int = 0

    def after(self, losses: np.ndarray, skipped: np.ndarray, sizes: np.ndarray) -> "Position":
        """Return the position after some more steps, of which the skipped ones have no loss."""
        taken = ~skipped
        terms = (losses.astype(np.float64) * sizes)[taken]
        # one by one, so that the sum does not depend on how an epoch is cut into parts
        total = np.cumsum([self.loss, *terms])[-1]
        examples = self.examples + int(sizes[taken].sum())
        return Position(self.start, self.steps + len(losses), float(total), examples)

    @property
    def mean_loss(self) -> float:
        """The mean loss so far, NaN if every step was skipped."""
        return self.loss / self.examples if self.examples else float("nan")


class Part(NamedTuple):
    """The state after a part of an epoch, the position, and whether the epoch is complete.

    `loader` is the state of the iterator of batches, if it has one.
    """

    state: TrainState
    position: Position
    complete: bool
    loader: Any = None
