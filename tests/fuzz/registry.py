"""The properties: for each public function, a strategy of calls, and how many `make fuzz` makes."""

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import strategies as st


class Property(NamedTuple):
    """The calls of one public function, named as it is, `module.name` outside of `fcjax`.

    `cases` is their number in `make fuzz`. With `wide`, some of them are made with float64 on.
    """

    name: str
    calls: st.SearchStrategy
    cases: int
    wide: bool


PROPERTIES: dict[str, Property] = {}


def calls_of(*names: str, cases: int, wide: bool = False) -> Callable:
    """Register a function that draws a `Call`, `f(draw)`, or `f(draw, name)` for several names."""

    def register(f):
        for name in names:
            strategy = st.composite(f)() if len(names) == 1 else st.composite(f)(name)
            PROPERTIES[name] = Property(name, strategy, cases, wide)
        return f

    return register
