"""Which range a loss accepts its targets in: told while somebody listens, and else to nobody."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple


class Range(NamedTuple):
    """What the argument of a loss may hold: numbers from `low` to `high`, or `ignored`.

    `of_integers` says that this is so for integers only: floating-point numbers are distributions.
    """

    loss: str
    low: int
    high: int
    ignored: int | None = None
    of_integers: bool = False


def classes(loss: str, number: int, ignored: int | None) -> Range:
    """Return the range of integer labels."""
    return Range(loss, 0, number - 1, ignored, of_integers=True)


_heard: ContextVar[list[tuple[Any, Range]] | None] = ContextVar("ranges", default=None)


def tell(argument: Any, accepted: Range) -> None:
    """Let a listener know what a loss accepts; `argument` is what its caller passed."""
    heard = _heard.get()
    if heard is not None:
        heard.append((argument, accepted))


@contextlib.contextmanager
def listening() -> Iterator[list[tuple[Any, Range]]]:
    """Collect what losses that are called meanwhile accept."""
    heard: list[tuple[Any, Range]] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)
