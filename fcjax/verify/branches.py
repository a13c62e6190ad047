"""The branches of a traced program, and its masks: how to see which are taken at given numbers."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from .._jax import (
    JIT,
    ClosedJaxpr,
    JaxprEqn,
    branch_index,
    equations_in,
    inline_calls,
    is_literal,
    name_of,
    number_of_branches,
    opened,
    rule_in,
    type_of,
    with_outputs,
)
from .._types import Tree

# At most so many masks are looked at.
MASKS = 64


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
    inlined = _inlined(program)
    outer = tuple(e for e in opened(inlined).eqns if branch_index(e) is not None)
    indices = [index for e in outer if (index := branch_index(e)) is not None]
    inner = sum(branch_index(e) is not None for e in equations_in(inlined)) - len(outer)
    counts = tuple(map(number_of_branches, outer))
    return Branches(outer, counts, with_outputs(inlined, indices), inner)


def masks_of(program: ClosedJaxpr) -> Callable[..., list[Array]] | None:
    """Return the function from the inputs of a program to the state of each mask of a `where`.

    The state is 0 if the mask is false everywhere, 2 if it is true everywhere, else 1. Return None
    if the program has no masks.
    """
    inlined = _inlined(program)
    masks = [e.invars[0] for e in opened(inlined).eqns if name_of(e) == "select_n"]
    masks = [m for m in masks if not is_literal(m) and type_of(m).dtype == bool]
    values_of = with_outputs(inlined, list(dict.fromkeys(masks))[:MASKS])

    def states(*inputs: Array) -> list[Array]:
        return [jnp.any(m).astype(int) + jnp.all(m) for m in values_of(*inputs)]

    return states if masks else None


def _inlined(program: ClosedJaxpr) -> ClosedJaxpr:
    return inline_calls(program, lambda equation, _: _is_call(equation))


def _is_call(equation: JaxprEqn) -> bool:
    return name_of(equation) in JIT or rule_in(equation) is not None
