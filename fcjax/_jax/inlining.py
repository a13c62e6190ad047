"""Rewrite a traced program with some of its calls inlined."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from .._types import Function, Tree
from .programs import (
    CUSTOM_CALLS,
    HIGH_CALL,
    JIT,
    closed_program,
    core,
    high_rule,
    is_program,
    name_of,
    opened,
    type_of,
)
from .types import (
    Atom,
    ClosedJaxpr,
    Flags,
    IsChosen,
    Jaxpr,
    JaxprEqn,
    Literal,
    Names,
    NewVariable,
    Program,
    ShapedArray,
    Var,
)


def inline_calls(program: ClosedJaxpr, is_chosen: IsChosen, depends: Flags = None) -> ClosedJaxpr:
    """Return `program` with each chosen call replaced by its body.

    A call of a `jax.custom_vjp` function is an equation with a hand-written derivative and no
    transpose. JAX can differentiate and transpose its body.

    Args:
        program: a closed jaxpr. Programs in its loops, branches and calls are changed too.
        is_chosen: returns whether to inline an equation. It gets the equation, and for each of its
            inputs whether that depends on a chosen input of the program.
        depends: for each input of the program, whether it is chosen. Only equations that depend on
            chosen inputs are considered. In loops and branches, dependence is not tracked, and
            all equations are considered. None: all equations are considered everywhere.
    """
    hoisted: list[tuple[Var, ArrayLike]] = []
    jaxpr = _inlined(opened(program), is_chosen, depends, _Hoist(hoisted))
    if hoisted:
        jaxpr = jaxpr.replace(constvars=[*jaxpr.constvars, *(v for v, _ in hoisted)])
    return closed_program(jaxpr, [*program.consts, *(value for _, value in hoisted)])


class _Hoist(NamedTuple):
    """Moves a constant of an inlined call to the outermost program, or into a literal."""

    pairs: list[tuple[Var, ArrayLike]] | None

    def __call__(self, variable: Var, value: ArrayLike, fresh: NewVariable) -> Atom:
        if self.pairs is None:
            return Literal(value, variable.aval)
        new = fresh(variable.aval)
        self.pairs.append((new, value))
        return new


def _inlined(jaxpr: Jaxpr, is_chosen: IsChosen, depends: Flags, hoist: _Hoist) -> Jaxpr:
    names: Names = {}  # maps outputs of inlined calls to the variables that replace them
    chosen = zip(jaxpr.invars, depends, strict=True) if depends else ()
    reached = {variable for variable, flag in chosen if flag}
    equations: list[JaxprEqn] = []
    for equation in jaxpr.eqns:
        flags = None if depends is None else [_is_in(v, reached) for v in equation.invars]
        if flags is None or any(flags):
            reached.update(equation.outvars)
            equations += _rewritten(equation, is_chosen, flags, names, hoist)
        else:
            equations.append(equation.replace(invars=_renamed(equation.invars, names)))
    return jaxpr.replace(eqns=equations, outvars=_renamed(jaxpr.outvars, names))


def _rewritten(
    equation: JaxprEqn,
    is_chosen: IsChosen,
    flags: Flags,
    names: Names,
    hoist: _Hoist,
) -> Iterable[JaxprEqn]:
    """Return the equations that replace one equation, with renamed inputs."""
    inputs = _renamed(equation.invars, names)
    if is_chosen(equation, flags):
        body = body_of(equation)
        inner = _inlined(opened(body), is_chosen, flags, hoist)
        equations, outputs = _applied(inner, getattr(body, "consts", ()), inputs, hoist)
        names.update(zip(equation.outvars, outputs, strict=True))
        return equations
    # only the primitive knows how the inputs of a loop or branch map to those of its body
    inner_flags = flags if name_of(equation) in JIT else None

    def change(program: Program) -> Program:
        jaxpr = _inlined(opened(program), is_chosen, inner_flags, _Hoist(None))
        return closed_program(jaxpr, program.consts) if isinstance(program, ClosedJaxpr) else jaxpr

    params = {key: _in_parameter(value, change) for key, value in equation.params.items()}
    return [equation.replace(invars=inputs, params=params)]


def body_of(equation: JaxprEqn) -> Program:
    """Return the program of a call: the primal function of a rule, or the body of a jit."""
    rule = high_rule(equation)
    if rule is not None:
        return _expanded(rule)
    return equation.params["jaxpr" if name_of(equation) in JIT else "call_jaxpr"]


def _expanded(rule: Any) -> ClosedJaxpr:
    """Return the program of a rule that is an object: its stored trace, or a new one."""
    traced = getattr(rule, "traced", None)
    # in rematerialization, JAX 0.12 gives a rule inputs that its program does not have
    if traced is not None and len(opened(traced.jaxpr).invars) == len(rule.in_avals_flat):
        return traced.jaxpr

    def on_leaves(*leaves: Array) -> list[Array]:
        return jax.tree.leaves(rule.expand(*jax.tree.unflatten(rule.in_tree, leaves)))

    return _traced_where(on_leaves, rule.in_avals_flat)


def _traced_where(function: Function, types: Sequence[ShapedArray]) -> ClosedJaxpr:
    """Trace a function on the mesh of its types, inside `shard_map` if the types are."""
    mesh = next((kind.sharding.mesh for kind in types), None)
    if mesh is None or mesh.empty:
        return jax.make_jaxpr(function)(*types)
    axes = [(axis, mesh.shape[axis]) for axis in mesh.manual_axes]
    with jax.sharding.use_abstract_mesh(mesh):
        return jax.make_jaxpr(function, axis_env=axes)(*types)


def _applied(
    jaxpr: Jaxpr, consts: Sequence[ArrayLike], inputs: Sequence[Atom], hoist: _Hoist
) -> tuple[list[JaxprEqn], list[Atom]]:
    """Return the equations of a program applied to `inputs`, and their outputs."""
    fresh = core().gensym()
    names = dict(zip(jaxpr.invars, inputs, strict=True))
    for variable, value in zip(jaxpr.constvars, consts, strict=True):
        names[variable] = hoist(variable, value, fresh)
    equations: list[JaxprEqn] = []
    for equation in jaxpr.eqns:
        invars = _renamed(equation.invars, names)
        outvars = [fresh(v.aval) for v in equation.outvars]
        names.update(zip(equation.outvars, outvars, strict=True))
        equations.append(equation.replace(invars=invars, outvars=outvars))
    return equations, _renamed(jaxpr.outvars, names)


def _in_parameter(value: Tree, change: Callable[[Program], Program]) -> Tree:
    """Apply `change` to the programs in a parameter, in any container."""
    if not any(map(is_program, jax.tree.leaves(value, is_leaf=is_program))):
        return value
    return jax.tree.map(lambda v: change(v) if is_program(v) else v, value, is_leaf=is_program)


def _is_in(variable: Atom, variables: set[Var]) -> bool:
    return isinstance(variable, Var) and variable in variables


def _renamed(variables: Sequence[Atom], names: Mapping[Var, Atom]) -> list[Atom]:
    return [names.get(v, v) if isinstance(v, Var) else v for v in variables]


def lost_derivatives(program: Program, depends: Flags) -> Iterator[str]:
    """Yield the operations on chosen inputs whose derivative JAX silently treats as zero.

    Operations in loops and branches, where dependence is not tracked, are not included.
    """
    for equation in _dependent(opened(program), depends):
        if name_of(equation) == "stop_gradient":
            # some packages register a transpose for it: the identity
            yield "lax.stop_gradient"
        elif name_of(equation) == "convert_element_type":
            dtype = type_of(equation.outvars[0]).dtype
            if not jnp.issubdtype(dtype, jnp.inexact):
                yield f"conversion to {dtype}"


def _dependent(jaxpr: Jaxpr, depends: Flags) -> Iterator[JaxprEqn]:
    """Yield the equations that depend on the chosen inputs, including those in calls."""
    reached = {v for v, flag in zip(jaxpr.invars, depends or (), strict=True) if flag}
    for equation in jaxpr.eqns:
        flags = [_is_in(v, reached) for v in equation.invars]
        if any(flags):
            reached.update(equation.outvars)
            yield equation
            if name_of(equation) in (*JIT, *CUSTOM_CALLS, HIGH_CALL):
                yield from _dependent(opened(body_of(equation)), flags)
