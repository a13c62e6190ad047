"""The time that a search may take."""

import time

from ..program import Deadline


class Clock:
    """CPU time without that of compiling, so that other processes change little of what is found.

    Attributes:
        seconds: how long it runs, from its first use on.
    """

    def __init__(self, seconds: float, deadline: Deadline):
        self.seconds, self._deadline = seconds, deadline
        self._start: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether the time has passed."""
        now = time.process_time() - self._deadline.compiling
        if self._start is None:
            self._start = now
        return now - self._start > self.seconds
