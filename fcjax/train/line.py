"""The line that `fit` shows on a terminal."""

import time
from typing import Any

from .._progress import DELAY, tqdm
from ..distributed import is_first_process
from .learning_rate import learning_rate_of
from .progress import Progress

# Seconds between two looks of the line. A short epoch costs a look at the clock.
INTERVAL = 0.1
_FORMAT = "{n}/{total} epochs, {remaining} left{postfix}"  # no bar: figures take the width
_AT_THE_END = "{n}/{total} epochs in {elapsed}{postfix}"


class Line:
    """One line: epochs, time left, figures, the best epoch so far and the learning rate."""

    def __init__(self, epochs: int, run: Progress, progress: bool | None, monitors: bool):
        """Show the line at once (True), never (False), or on a terminal after two seconds (None).

        With `monitors`, the best epoch is part of it.
        """
        shown = progress if is_first_process() else False
        delay = 0 if shown else DELAY
        self._monitors = monitors
        self._bar: Any = tqdm(
            total=epochs, initial=run.epochs, disable=None if shown is None else not shown,
            delay=delay, miniters=0, mininterval=INTERVAL, bar_format=_FORMAT,
        )  # fmt: skip
        self._next = time.monotonic() + delay

    def show(self, run: Progress, steps: int | None) -> None:
        """Show what a run has reached, unless the line is fresh.

        Args:
            run: what is shown.
            steps: the number of steps of an epoch, if it is known.
        """
        if self._bar.disable or time.monotonic() < self._next:
            return
        self._set(run, steps)
        self._bar.update(0)
        self._next = time.monotonic() + INTERVAL

    def close(self, run: Progress) -> None:
        """End the line, if there is one. What follows is printed below."""
        if not self._bar.disable:
            self._set(run, None)
            self._bar.bar_format = _AT_THE_END
            self._bar.close()

    def _set(self, run: Progress, steps: int | None) -> None:
        part = run.position.steps / steps if steps else 0
        self._bar.n = round(run.epochs + part, 2) if part else run.epochs
        self._bar.set_postfix(self._figures(run, steps), refresh=False)

    def _figures(self, run: Progress, steps: int | None) -> dict[str, Any]:
        figures: dict[str, Any] = run.figures.last()
        if not run.epochs and run.position.examples:
            figures["loss"] = run.position.mean_loss
        if run.position.steps and not steps:
            figures["step"] = run.position.steps
        if self._monitors and run.figures.best:
            best = run.figures.monitor.signed(run.figures.lowest)
            figures["best"] = f"{best:.3g} at {run.figures.best}"
        rate = learning_rate_of(run.state.opt_state)
        return figures if rate is None else {**figures, "lr": rate}
