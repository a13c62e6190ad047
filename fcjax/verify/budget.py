"""How long a search goes on."""

from typing import NamedTuple


class Budget(NamedTuple):
    """How long a search goes on: until one of the two is spent.

    Attributes:
        points: the number of points that are tried.
        seconds: the time, beyond that of compiling.

    >>> Budget(points=10_000, seconds=60).points
    10000
    """

    points: int = 200
    seconds: float = 1.0
