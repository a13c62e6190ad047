"""When a run is saved: the texts that `fit` accepts."""

import re
import time

from .._arguments import as_integer, describe
from ..distributed import of_first_process

_UNITS = {"epoch": 0.0, "step": 0.0, "second": 1.0, "minute": 60.0, "hour": 3600.0}
_EVERY = "a number of epochs, or a text such as '100 steps' or '10 minutes'"


class Schedule:
    """Says when to save: every so many epochs, steps, seconds, minutes or hours."""

    def __init__(self, every: object):
        """Read the argument `checkpoint_every` of `fit`."""
        number, self._unit = _number_and_unit(every)
        self._number = number * (_UNITS[self._unit] or 1)
        self._saved = time.monotonic()

    @property
    def steps(self) -> int | None:
        """The number of steps between two saves, if they are counted in steps."""
        return int(self._number) if self._unit == "step" else None

    def is_due(self, *, step: int, epochs: int, complete: bool) -> bool:
        """Whether to save after so many steps and epochs; all processes agree on it."""
        if self._unit == "epoch":
            return complete and epochs % self._number == 0
        if self._unit == "step":
            return step % self._number == 0
        late = time.monotonic() - self._saved >= self._number
        return bool(of_first_process(late, "the question whether to save"))

    def saved(self) -> None:
        """Measure the time from now."""
        self._saved = time.monotonic()


def _number_and_unit(every: object) -> tuple[float, str]:
    epochs = as_integer(every)
    if epochs is not None:
        every = f"{epochs} epochs"
    if not isinstance(every, str):
        raise TypeError(f"checkpoint_every must be {_EVERY}, got {describe(every)}")
    found = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*([a-z]+?)s?\s*", every)
    number, unit = (float(found[1]), found[2]) if found else (0.0, "")
    if unit not in _UNITS or number <= 0 or (not _UNITS[unit] and not number.is_integer()):
        raise ValueError(f"checkpoint_every must be {_EVERY}, and positive, got {every!r}")
    return number, unit
