"""Hand-written rules of published packages, a module for each package.

A module names its `PACKAGE` as pip does, and adds to its `CASES` with `cases`. A case is a function
with the name of the rule, which imports the package and returns a function that calls the rule, and
arguments for it: `(fun, args)`, or `(fun, args, options)` with options of `check_rule`. The name of
a primitive is the name of the rule that JAX has for it. What follows `__` tells apart several cases
of one rule.
"""

from collections.abc import Callable
from typing import Any

Case = Callable[[], tuple[Any, ...]]


def collector(cases: list[Case]) -> Callable[[Case], Case]:
    """Return a decorator that adds a case to a list."""

    def case(function: Case) -> Case:
        cases.append(function)
        return function

    return case
