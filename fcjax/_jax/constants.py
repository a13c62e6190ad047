"""The constants of a traced program, and which of them belong to hand-written rules."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._types import AnyArray
from .programs import equations_in, inner_programs, opened
from .rules import is_hand_written, rule_in
from .types import ClosedJaxpr, Jaxpr, Program, Var


def constants_in(program: Program) -> Iterator[AnyArray]:
    """Yield the constants of a program and of its inner programs, such as captured arrays."""
    yield from getattr(program, "consts", ())
    for equation in opened(program).eqns:
        for inner in inner_programs(equation):
            yield from constants_in(inner)


def rule_constants(program: ClosedJaxpr) -> set[int]:
    """Return the ids of the constants of a closed program that a hand-written rule closes over.

    JAX passes them as the first inputs of the call of the rule, which gives them no gradient.
    """
    ids = {id(v): id(c) for v, c in zip(opened(program).constvars, program.consts, strict=True)}
    return {ids[v] for v in _closed_over(opened(program)) if v in ids}


def _closed_over(jaxpr: Jaxpr) -> Iterator[int]:
    """Yield the ids of the variables that a rule in a program closes over."""
    for equation in jaxpr.eqns:
        rule = rule_in(equation)
        yield from map(id, equation.invars[: rule.constants if rule else 0])
        for inner in map(opened, inner_programs(equation)):
            # the inputs of a loop or branch are the last inputs of its equation
            outer = dict(zip(map(id, inner.invars[::-1]), equation.invars[::-1], strict=False))
            yield from (id(outer[v]) for v in _closed_over(inner) if v in outer)


def constants_of_rules(program: Program) -> Iterator[AnyArray]:
    """Yield the constants inside the rules that a program calls, at any depth."""
    for equation in equations_in(program):
        if rule_in(equation) is not None:
            for inner in inner_programs(equation):
                yield from constants_in(inner)


def constants_into_rules(program: Program) -> set[int]:
    """Return the positions of the constants on which an argument of a rule may depend.

    A hand-written rule contributes to the gradients of these constants only. An input of a loop or
    a branch that contains a rule counts as an argument of that rule. JAX's own rules do not count.
    """
    variables = opened(program).constvars
    reached = {variable: {i} for i, variable in enumerate(variables)}
    found: set[int] = set()
    for equation in opened(program).eqns:
        into = [reached.get(v, set()) for v in equation.invars if isinstance(v, Var)]
        rule = rule_in(equation)
        if rule is not None and not rule.is_jaxs_own:
            free = equation.invars[rule.constants :]
            found.update(*(reached.get(v, set()) for v in free if isinstance(v, Var)))
        elif any(is_hand_written(e) for p in inner_programs(equation) for e in equations_in(p)):
            found.update(*into)
        if any(into):
            reached.update((v, set().union(*into)) for v in equation.outvars)
    return found


def original(constant: Any) -> Any:
    """Return the array from which a constant was made; JAX stores NumPy arrays as views."""
    if type(constant).__name__ == "TypedNdArray" and isinstance(constant.base, np.ndarray):
        return constant.base if _layout(constant.base) == _layout(constant) else constant
    return constant


def _layout(array: Any) -> tuple[Any, ...]:
    return array.ctypes.data, array.shape, array.strides, array.dtype
