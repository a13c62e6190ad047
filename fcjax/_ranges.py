"""The range that a loss accepts for its targets.

Losses call `report_range` while they are traced. Inside `collected_ranges`, the reports are
collected; otherwise the call does nothing.
"""

import contextlib
from collections.abc import Generator
from contextvars import ContextVar
from typing import NamedTuple


class Range(NamedTuple):
    """The values that a loss accepts for an argument: from `low` to `high`, or equal to `ignored`.

    With `ends_only`, only `low` and `high` themselves are accepted.
    With `integers_only`, the range applies to integer arrays alone, because floating-point arrays
    hold distributions.
    """

    loss: str
    low: int
    high: int
    ignored: int | None = None
    integers_only: bool = False
    ends_only: bool = False


def class_range(loss: str, number: int, ignored: int | None) -> Range:
    """Return the range of integer class labels."""
    return Range(loss, 0, number - 1, ignored, integers_only=True)


_collector: ContextVar[list[tuple[object, Range]] | None] = ContextVar("ranges", default=None)


def report_range(argument: object, accepted: Range) -> None:
    """Report the range that a loss accepts for `argument`, the object that its caller passed."""
    collected = _collector.get()
    if collected is not None:
        collected.append((argument, accepted))


@contextlib.contextmanager
def collected_ranges() -> Generator[list[tuple[object, Range]]]:
    """Collect the reports of all losses that are called inside the `with` block."""
    collected: list[tuple[object, Range]] = []
    token = _collector.set(collected)
    try:
        yield collected
    finally:
        _collector.reset(token)
