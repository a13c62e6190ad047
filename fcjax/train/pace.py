"""How many steps to take before training looks up: at the clock, at signals, and for a save.

A part of an epoch is as many steps as take about a second. Which parts an epoch has depends on
the machine, but the result does not: every part runs the same compiled loop.
"""

import time

import jax

from ..distributed import of_first_process

_SECONDS = 1.0


class Pace:
    """Chooses the number of steps of each part."""

    def __init__(self, every: int | None = None):
        """End a part wherever the number of completed steps is a multiple of `every`."""
        self._every, self._count, self._began = every, 1, 0.0

    def begin(self, done: int, left: int | None = None) -> int:
        """Return the number of steps of the next part.

        Args:
            done: number of completed steps.
            left: number of steps until the end of the epoch; None if it is not known.
        """
        count = of_first_process(self._count, "the next steps of an epoch")
        if left is not None:
            count = min(count, left)
        if self._every is not None:
            count = min(count, self._every - done % self._every)
        self._began = time.perf_counter()
        return count

    def is_over(self) -> bool:
        """Whether a part has taken long enough, however many steps are left of it.

        Several processes must take the same number of steps, so there the clock does not decide.
        """
        return jax.process_count() == 1 and time.perf_counter() - self._began > _SECONDS

    def end(self, count: int) -> None:
        """Learn from the time that a part of `count` steps took."""
        seconds = time.perf_counter() - self._began
        self._count = max(1, int(count * _SECONDS / max(seconds, 1e-6)))
