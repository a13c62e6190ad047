"""Traced programs: what they hold, and the same programs with some calls put in line.

A call of a `jax.custom_vjp` function is an equation with a derivative of its own and without a
transpose. Its primal program in its place has the derivative, and the transpose, that JAX finds.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
from jax.extend import core

JIT = ("jit", "pjit")

Flags = Sequence[bool] | None


def inner_jaxprs(equation: Any) -> Iterator[Any]:
    """Yield the programs that an equation holds in its parameters."""
    return filter(_is_jaxpr, jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr))


def put_in_line(jaxpr: Any, is_chosen: Callable[[Any, Flags], bool], depends: Flags = None) -> Any:
    """Return `jaxpr`, open or closed, with the primal of each chosen call in its place.

    Args:
        jaxpr: the program; those in its loops, branches and calls are treated alike.
        is_chosen: says of an equation, and of which of its inputs depend on the chosen ones,
            whether it is a call of a rule that is to be put in line.
        depends: the chosen inputs. Only equations that depend on them are asked for and changed.
            (Inside of loops and branches, which do not tell what is which, all are.) None: all.
    """
    if getattr(jaxpr, "jaxpr", jaxpr) is not jaxpr:  # closed, a class of its own before JAX 0.12
        return jaxpr.replace(jaxpr=put_in_line(jaxpr.jaxpr, is_chosen, depends))
    names: dict[Any, Any] = {}  # of variables that stand for another one
    chosen = zip(jaxpr.invars, depends, strict=True) if depends else ()
    reached = {variable for variable, flag in chosen if flag}
    equations = []
    for equation in jaxpr.eqns:
        flags = None if depends is None else [_is_in(v, reached) for v in equation.invars]
        if flags is None or any(flags):
            reached.update(equation.outvars)
            equations += _rewritten(equation, is_chosen, flags, names)
        else:
            equations.append(equation.replace(invars=_renamed(equation.invars, names)))
    changed: dict[str, Any] = {"eqns": equations, "outvars": _renamed(jaxpr.outvars, names)}
    return jaxpr.replace(**changed)


def _rewritten(
    equation: Any, is_chosen: Callable[[Any, Flags], bool], flags: Flags, names: dict[Any, Any]
) -> Iterable[Any]:
    """Return what stands for one equation, its inputs renamed."""
    inputs = _renamed(equation.invars, names)
    if is_chosen(equation, flags):
        primal = put_in_line(equation.params["call_jaxpr"], is_chosen, flags)
        equations, outputs = _applied(primal, inputs)
        names.update(zip(equation.outvars, outputs, strict=True))
        return equations
    # which inputs of a loop or a branch are which is known to its primitive alone
    inner = flags if equation.primitive.name in JIT else None
    params = {
        key: _in_parameter(value, lambda jaxpr: put_in_line(jaxpr, is_chosen, inner))
        for key, value in equation.params.items()
    }
    return [equation.replace(invars=inputs, params=params)]


def _applied(jaxpr: Any, inputs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return the equations of a closed jaxpr applied to `inputs`, and what they return."""
    assert not jaxpr.consts, "JAX passes what a rule closes over as arguments"
    fresh = core.gensym()
    names = dict(zip(jaxpr.jaxpr.invars, inputs, strict=True))
    equations = []
    for equation in jaxpr.jaxpr.eqns:
        invars = _renamed(equation.invars, names)
        outvars = [fresh(v.aval) for v in equation.outvars]
        names.update(zip(equation.outvars, outvars, strict=True))
        equations.append(equation.replace(invars=invars, outvars=outvars))
    return equations, _renamed(jaxpr.jaxpr.outvars, names)


def _in_parameter(value: Any, change: Callable[[Any], Any]) -> Any:
    """Change the jaxprs that a parameter holds, whatever its container."""
    if not any(map(_is_jaxpr, jax.tree.leaves(value, is_leaf=_is_jaxpr))):
        return value
    return jax.tree.map(lambda v: change(v) if _is_jaxpr(v) else v, value, is_leaf=_is_jaxpr)


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns")


def _is_in(variable: Any, variables: set[Any]) -> bool:
    return not isinstance(variable, core.Literal) and variable in variables


def _renamed(variables: Sequence[Any], names: dict[Any, Any]) -> list[Any]:
    return [v if isinstance(v, core.Literal) else names.get(v, v) for v in variables]
