"""The figures of each epoch, which of them is the best, and the argument `keep_best` of `fit`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .._arguments import describe

History = dict[str, list[float]]


class Figures(NamedTuple):
    """The figures of the first epochs, and the best of them by the monitored loss.

    The lists only grow, and the figures of all moments of a run share them, so that another epoch
    costs the same after the ten thousandth as after the first.
    """

    lists: History
    epochs: int = 0
    best: int = 0  # the number of the best epoch, or 0
    lowest: float = math.inf  # the loss of the best epoch

    @classmethod
    def of(cls, history: Mapping[str, Sequence[float]]) -> "Figures":
        """Return the figures that have a history."""
        found = cls({})
        for values in zip(*history.values(), strict=True):
            found = found.added(dict(zip(history, values, strict=True)))
        return found

    def added(self, figures: Mapping[str, float]) -> "Figures":
        """Return the figures with those of another epoch. NaN and infinity are never the best."""
        for name, value in figures.items():
            self.lists.setdefault(name, [])[self.epochs :] = [value]
        epochs, loss = self.epochs + 1, figures.get("val_loss", figures["loss"])
        if math.isfinite(loss) and loss < self.lowest:
            return Figures(self.lists, epochs, epochs, loss)
        return self._replace(epochs=epochs)

    @property
    def since_best(self) -> int:
        """Number of epochs since the best one."""
        return self.epochs - self.best

    def last(self) -> dict[str, float]:
        """Return the figures of the last epoch."""
        return {name: values[self.epochs - 1] for name, values in self.lists.items()}

    def history(self) -> History:
        """Return a copy of the figures, by name."""
        return {name: values[: self.epochs] for name, values in self.lists.items()}


class Best(NamedTuple):
    """The figure of which the best checkpoint is kept, and whether it is the highest."""

    figure: str
    highest: bool

    def steps(self, metadata: Mapping[int, Mapping[str, Any]]) -> set[int]:
        """Return the step of the best of some checkpoints, the earliest if there are several."""
        figures = {
            step: one["history"][self.figure][-1]
            for step, one in metadata.items()
            if one["history"].get(self.figure) and not one["position"][1]
        }
        finite = {step: value for step, value in figures.items() if math.isfinite(value)}
        if not finite:
            return set()
        return {min(finite, key=lambda step: (self.signed(finite[step]), step))}

    def signed(self, value: float) -> float:
        """Return a number that is the lower the better."""
        return -value if self.highest else value


def best_of(keep_best: str | None, figures: Sequence[str]) -> Best | None:
    """Read the argument `keep_best` of `fit`; `figures` are the names of those of an epoch."""
    if keep_best is None:
        return None
    words = keep_best.split() if isinstance(keep_best, str) else []  # pyright: ignore
    if len(words) != 2 or words[0] not in ("lowest", "highest") or words[1] not in figures:
        raise ValueError(
            f"keep_best must be 'lowest' or 'highest' and one of {', '.join(figures)}, such as "
            f"'lowest {figures[-1]}', got {describe(keep_best)}"
        )
    return Best(words[1], words[0] == "highest")
