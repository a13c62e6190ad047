"""The branches of a traced program: which `cond` or `switch` there is, and how to see its index."""

from collections.abc import Callable
from typing import NamedTuple

from .._jax import (
    JIT,
    ClosedJaxpr,
    JaxprEqn,
    branch_index,
    equations_in,
    inline_calls,
    name_of,
    number_of_branches,
    opened,
    rule_in,
    with_outputs,
)
from .._types import Tree


class Branches(NamedTuple):
    """Each `cond` and `switch` of a program that is not inside a loop or another branch.

    Attributes:
        equations: the equations.
        counts: how many branches each has.
        indices: the function from the inputs of the program to the index of each.
        inner: how many there are inside loops and branches.
    """

    equations: tuple[JaxprEqn, ...]
    counts: tuple[int, ...]
    indices: Callable[..., list[Tree]]
    inner: int


def branches_of(program: ClosedJaxpr) -> Branches:
    """Return the branches of a program; calls, also those of hand-written rules, are opened."""
    inlined = inline_calls(program, lambda equation, _: _is_call(equation))
    outer = tuple(e for e in opened(inlined).eqns if branch_index(e) is not None)
    indices = [index for e in outer if (index := branch_index(e)) is not None]
    inner = sum(branch_index(e) is not None for e in equations_in(inlined)) - len(outer)
    counts = tuple(map(number_of_branches, outer))
    return Branches(outer, counts, with_outputs(inlined, indices), inner)


def _is_call(equation: JaxprEqn) -> bool:
    return name_of(equation) in JIT or rule_in(equation) is not None
