"""The figures of each epoch, and which epoch is the best: `monitor` and `keep_best` of `fit`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .._arguments import check_one_of, describe

History = dict[str, list[float]]


class Monitor(NamedTuple):
    """The figure by which an epoch is the best; of equal epochs the first one, or the last."""

    figure: str
    highest: bool = False
    last: bool = False

    def signed(self, value: float) -> float:
        """Return a number that is the lower the better."""
        return -value if self.highest else value

    def is_better(self, value: float, best: float) -> bool:
        """Whether a signed value is better than the best so far. NaN and infinity never are."""
        return math.isfinite(value) and (value <= best if self.last else value < best)

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


class Figures(NamedTuple):
    """The figures of the first epochs, and the best of them by the monitored figure.

    The lists only grow, and the figures of all moments of a run share them, so that another epoch
    costs the same after the ten thousandth as after the first.
    """

    lists: History
    monitor: Monitor
    epochs: int = 0
    best: int = 0  # the number of the best epoch, or 0
    lowest: float = math.inf  # the figure of the best epoch, or minus it where high is good

    @classmethod
    def of(cls, history: Mapping[str, Sequence[float]], monitor: Monitor) -> "Figures":
        """Return the figures that have a history."""
        found = cls({}, monitor)
        for values in zip(*history.values(), strict=True):
            found = found.added(dict(zip(history, values, strict=True)))
        return found

    def added(self, figures: Mapping[str, float]) -> "Figures":
        """Return the figures with those of another epoch."""
        for name, value in figures.items():
            self.lists.setdefault(name, [])[self.epochs :] = [value]
        epochs, value = self.epochs + 1, self.monitor.signed(figures[self.monitor.figure])
        if self.monitor.is_better(value, self.lowest):
            return self._replace(epochs=epochs, best=epochs, lowest=value)
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


def best_of(keep_best: str | None, figures: Sequence[str]) -> Monitor | None:
    """Read the argument `keep_best` of `fit`; `figures` are the names of those of an epoch."""
    if keep_best is None:
        return None
    words = keep_best.split() if isinstance(keep_best, str) else []  # pyright: ignore
    if len(words) != 2 or words[0] not in ("lowest", "highest") or words[1] not in figures:
        raise ValueError(
            f"keep_best must be 'lowest' or 'highest' and one of {', '.join(figures)}, such as "
            f"'lowest {figures[-1]}', got {describe(keep_best)}"
        )
    return Monitor(words[1], words[0] == "highest")


def monitor_of(monitor: object, mode: object, ties: object, figures: Sequence[str]) -> Monitor:
    """Read the arguments `monitor`, `mode` and `ties` of `fit`."""
    check_one_of("mode", mode, ("min", "max"))
    check_one_of("ties", ties, ("first", "last"))
    if monitor is None:
        figure = "val_loss" if "val_loss" in figures else "loss"
        if mode == "max":
            raise ValueError(
                f"mode must be 'min' where monitor is None, which stands for {figure!r}, got 'max'"
            )
    elif isinstance(monitor, str):
        check_one_of("monitor", monitor, figures)
        figure = monitor
    else:
        raise TypeError(f"monitor must be the name of a figure or None, got {describe(monitor)}")
    return Monitor(figure, mode == "max", ties == "last")
