"""All code that depends on the internals of JAX and XLA.

JAX promises compatibility for its public API only. Names of primitives, parameters of equations,
error messages, layouts and compiler options are not part of it, and change between releases. Only
this file depends on them, and `tests/test_jax_internals.py` tests each dependency.
"""

import contextlib
import functools
import inspect
import logging
import math
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax._src import core as _internals
from jax.core import AbstractValue, ShapedArray as ShapedArray, Tracer as Tracer
from jax.experimental.layout import Layout, with_layout_constraint
from jax.interpreters import ad, batching, mlir
from jax.sharding import PartitionSpec
from jax.typing import ArrayLike

from ._types import AnyArray, Function, Tree

if TYPE_CHECKING:
    from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var
else:  # the same classes; to import that module would load Pallas, and double the import time
    Jaxpr, JaxprEqn = _internals.Jaxpr, _internals.JaxprEqn
    Literal, Var = _internals.Literal, _internals.Var
    ClosedJaxpr = getattr(_internals, "ClosedJaxpr", Jaxpr)  # one class since JAX 0.12

# A traced program, with or without its constants.
Program = ClosedJaxpr | Jaxpr
# An input of an equation.
Atom = Var | Literal
Flags = Sequence[bool] | None
# Whether to inline an equation, from which of its inputs depend on a chosen input.
IsChosen = Callable[[JaxprEqn, Flags], bool]
# The variables that replace others.
Names = dict[Var, Atom]
NewVariable = Callable[[AbstractValue], Var]
R = TypeVar("R")

JIT = ("jit",)
CUSTOM_CALLS = ("custom_vjp_call", "custom_jvp_call")
# The primitive of a rule that is an object: by `jax_custom_vjp3`, `jax_custom_jvp3`, or a class of
# `jax.experimental.hijax`.
HIGH_CALL = "call_hi_primitive"
# Primitives that communicate between devices, or place arrays on them.
MESH_PRIMITIVES = (
    "all_gather", "all_gather_invariant", "all_to_all", "axis_index", "custom_partitioning",
    "pbroadcast", "pmax", "pmin", "ppermute", "preduced", "psum", "psum_invariant", "pvary",
    "ragged_all_to_all", "reduce_scatter", "reduced_vary_cast", "reduced_vary_cast_p", "reshard",
    "shard_map", "sharding_constraint", "unreduced_psum", "unreduced_reduce_scatter",
    "vary_unreduced_cast", "vary_unreduced_cast_p",
)  # fmt: skip


# --- programs -----------------------------------------------------------------------------------


def _core() -> ModuleType:
    """Return the module with the functions of jaxprs."""
    from jax.extend import core  # late: it imports Pallas, which doubles the import time

    return core


def inner_programs(equation: JaxprEqn) -> Iterator[Program]:
    """Yield the programs in the parameters of an equation: bodies of loops, branches and calls."""
    rule = _unbatched(_high_rule(equation))
    if rule is not None and hasattr(rule, "traced"):
        yield rule.traced.jaxpr
    yield from filter(
        _is_program, jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program)
    )


def opened(program: Program) -> Jaxpr:
    """Return a program without its constants: before JAX 0.12, the jaxpr of a closed jaxpr."""
    return program.jaxpr if isinstance(program, ClosedJaxpr) else program


def equations_in(program: Program) -> Iterator[JaxprEqn]:
    """Yield every equation of a program, including those in loops, branches and calls."""
    for equation in opened(program).eqns:
        yield equation
        for inner in inner_programs(equation):
            yield from equations_in(inner)


def largest_array(program: Program) -> int:
    """Return the bytes of the largest array that an equation of a program computes."""
    outputs = (variable.aval for e in equations_in(program) for variable in e.outvars)
    return max((_bytes_of(aval) for aval in outputs), default=0)


def _bytes_of(aval: Any) -> int:
    dtype = getattr(aval, "dtype", None)
    return math.prod(aval.shape) * getattr(dtype, "itemsize", 8) if dtype is not None else 0


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


def is_hand_written(equation: JaxprEqn) -> bool:
    """Whether an equation calls a hand-written rule that is not JAX's own."""
    rule = rule_in(equation)
    return rule is not None and not rule.is_jaxs_own


def original(constant: Any) -> Any:
    """Return the array from which a constant was made; JAX stores NumPy arrays as views."""
    if type(constant).__name__ == "TypedNdArray" and isinstance(constant.base, np.ndarray):
        return constant.base if _layout(constant.base) == _layout(constant) else constant
    return constant


def _layout(array: Any) -> tuple[Any, ...]:
    return array.ctypes.data, array.shape, array.strides, array.dtype


def as_function(closed: ClosedJaxpr) -> Callable[..., list[Tree]]:
    """Return the function that evaluates a closed program."""
    return _core().jaxpr_as_fun(closed)


def evaluate(
    closed: ClosedJaxpr, consts: Sequence[ArrayLike], inputs: Sequence[Array]
) -> list[Tree]:
    """Return the outputs of a closed program with `consts` in place of its constants."""
    return _core().jaxpr_as_fun(_closed(opened(closed), consts))(*inputs)


def with_outputs(closed: ClosedJaxpr, outputs: Sequence[Atom]) -> Callable[..., list[Tree]]:
    """Return the function that evaluates the variables `outputs` of a closed program."""
    jaxpr = opened(closed).replace(outvars=list(outputs))
    return as_function(_closed(jaxpr, closed.consts))


def type_of(atom: Atom) -> Any:
    """Return the type of an input or output; JAX declares no shape and dtype, which arrays have."""
    return atom.aval


def is_literal(atom: Atom) -> TypeGuard[Literal]:
    """Whether an input of an equation is a literal number."""
    return isinstance(atom, Literal)


def literals_of(equation: JaxprEqn) -> list[float]:
    """Return the literal floating-point numbers among the inputs of an equation."""
    values = [atom.val for atom in equation.invars if isinstance(atom, Literal)]
    return [float(v) for v in values if has_dtype(v, jnp.floating) or isinstance(v, float)]


def numbers_in(closed: ClosedJaxpr) -> Iterator[np.ndarray]:
    """Yield the floating-point constants of a program, at any level."""
    programs: list[Program] = [closed]
    for equation in equations_in(closed):
        yield np.asarray(literals_of(equation))
        programs += inner_programs(equation)
    for program in programs:
        constants = getattr(program, "consts", ())
        yield from (np.asarray(c) for c in constants if has_dtype(c, jnp.floating))


def integers_in(equation: JaxprEqn) -> list[int]:
    """Return the literal integers among the inputs of an equation."""
    values = [atom.val for atom in equation.invars if isinstance(atom, Literal)]
    # beside scalars, literals are `TypedInt`, a kind of int
    whole = (v for v in values if has_dtype(v, jnp.integer) or isinstance(v, int))
    return [int(v) for v in whole if not isinstance(v, bool)]


def name_of(equation: JaxprEqn) -> str:
    """Return the name of the primitive that an equation applies."""
    return equation.primitive.name


def contracted_size(equation: JaxprEqn) -> int | None:
    """Return the number of terms in each sum of a `dot_general`, None for other primitives."""
    if name_of(equation) != "dot_general":
        return None
    (axes, _), _ = equation.params["dimension_numbers"]
    return int(np.prod([type_of(equation.invars[0]).shape[axis] for axis in axes]))


def accumulates_in(equation: JaxprEqn) -> np.dtype | None:
    """Return the dtype in which a `dot_general` is told to add, None if it is not told."""
    dtype = getattr(equation.params.get("precision"), "accumulation_type", None)
    return None if dtype is None else jnp.dtype(dtype)


def repetitions(equation: JaxprEqn) -> int:
    """Return how often a `scan` evaluates its body, 1 for other primitives."""
    return equation.params.get("length", 1) if name_of(equation) == "scan" else 1


def may_not_end(equation: JaxprEqn) -> bool:
    """Whether an equation is a `while_loop`, whose number of iterations depends on its input."""
    return name_of(equation) == "while"


def is_iterated_by_lapack(equation: JaxprEqn) -> bool:
    """Whether an operation is an iteration that may not end for a matrix with infinities."""
    return name_of(equation) in ("eig", "eigh", "schur", "svd")


def stops_gradient(equation: JaxprEqn) -> bool:
    """Whether an equation is a `lax.stop_gradient`."""
    return name_of(equation) == "stop_gradient"


def has_any_period(equation: JaxprEqn) -> bool:
    """Whether an equation is a remainder whose divisor, the period, is not a constant."""
    return name_of(equation) == "rem" and not is_literal(equation.invars[1])


def takes_bits(equation: JaxprEqn) -> bool:
    """Whether an equation makes integers of the bits of numbers, which have no derivative."""
    if name_of(equation) != "bitcast_convert_type":
        return False
    was, becomes = (type_of(a).dtype for a in (equation.invars[0], equation.outvars[0]))
    return jnp.issubdtype(was, jnp.inexact) and not jnp.issubdtype(becomes, jnp.inexact)


def branch_index(equation: JaxprEqn) -> Atom | None:
    """Return the variable that selects the branch of a `cond` or `switch`, else None."""
    return equation.invars[0] if name_of(equation) == "cond" else None


def number_of_branches(equation: JaxprEqn) -> int:
    """Return the number of branches of a `cond` or `switch`."""
    return len(equation.params["branches"])


def differentiates(program: Program) -> bool:
    """Whether a program contains the result of `jax.grad`, `jax.vjp` or `jax.jvp`.

    JAX has then replaced the rules that were differentiated by their results. What a rule itself
    computes does not count.
    """
    for equation in opened(program).eqns:
        if any(getattr(s, "name", "") == "jvp" for s in equation.source_info.name_stack.stack):
            return True
        if rule_in(equation) is None and any(map(differentiates, inner_programs(equation))):
            return True
    return False


def place_in_source(equation: JaxprEqn) -> str:
    """Return the file and line of the user's code that made an equation, "" if unknown."""
    frame = None
    with contextlib.suppress(ImportError, AttributeError, TypeError):
        from jax._src import source_info_util

        frame = source_info_util.user_frame(equation.source_info.traceback)
    return f"{frame.file_name}:{frame.start_line}" if frame else ""


def _is_program(value: object) -> TypeGuard[Program]:
    return hasattr(value, "eqns")


# --- programs with some of their calls inlined ---------------------------------------------------


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
    return _closed(jaxpr, [*program.consts, *(value for _, value in hoisted)])


def _closed(jaxpr: Jaxpr, consts: Sequence[ArrayLike]) -> ClosedJaxpr:
    return ClosedJaxpr(jaxpr, list(consts))


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
        return _closed(jaxpr, program.consts) if isinstance(program, ClosedJaxpr) else jaxpr

    params = {key: _in_parameter(value, change) for key, value in equation.params.items()}
    return [equation.replace(invars=inputs, params=params)]


def body_of(equation: JaxprEqn) -> Program:
    """Return the program of a call: the primal function of a rule, or the body of a jit."""
    rule = _high_rule(equation)
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
    fresh = _core().gensym()
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
    if not any(map(_is_program, jax.tree.leaves(value, is_leaf=_is_program))):
        return value
    return jax.tree.map(lambda v: change(v) if _is_program(v) else v, value, is_leaf=_is_program)


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


# --- hand-written rules ---------------------------------------------------------------------------


class Rule(NamedTuple):
    """A call of a hand-written rule.

    Attributes:
        name: the name of the function that has the rule.
        source: file and line of the backward or jvp function.
        is_jaxs_own: whether that function was written in JAX itself.
        arguments: name (if JAX knows it), dtype and shape of each argument.
        constants: how many of the first inputs of the call are arrays that the function closes
            over, which get no gradient.
        sees_zeros: whether the rule receives symbolic zeros.
        is_backward: whether it is a backward rule (vjp) rather than a forward rule (jvp).
    """

    name: str
    source: str
    is_jaxs_own: bool
    arguments: tuple[str, ...]
    constants: int
    sees_zeros: bool
    is_backward: bool


def rule_in(equation: JaxprEqn) -> Rule | None:
    """Return the hand-written rule that an equation calls, or None."""
    high = _high_rule(equation)
    if high is not None:
        return _described_high_rule(high, equation)
    if name_of(equation) not in CUSTOM_CALLS:
        return None
    params = equation.params
    info = opened(params["call_jaxpr"]).debug_info
    name, _, place = (info.func_src_info or "").partition(" at ")
    halves = [params.get(key) for key in ("bwd", "jvp_jaxpr_fun", "fwd_jaxpr_thunk")]
    constants = params.get("num_consts", 0)
    return Rule(
        name,
        *_written_in(halves, place),
        _arguments(equation.invars[constants:], info.arg_names or ()),
        constants,
        bool(params["symbolic_zeros"]),
        name_of(equation) == "custom_vjp_call",
    )


def _high_rule(equation: JaxprEqn) -> Any | None:
    return equation.params["_prim"] if name_of(equation) == HIGH_CALL else None


def _unbatched(rule: Any) -> Any:
    """Return the rule inside any number of `vmap`s, which wrap it before JAX 0.12."""
    while hasattr(rule, "prim"):
        rule = rule.prim
    return rule


def _described_high_rule(rule: Any, equation: JaxprEqn) -> Rule:
    rule = _unbatched(rule)
    traced = getattr(rule, "traced", None)
    if traced is None:  # a user's subclass
        kind = type(rule)
        halves: list[object] = [
            getattr(kind, method)
            for method in ("vjp_bwd_retval", "vjp_bwd", "jvp")
            if not _is_jaxs(getattr(kind, method, None))
        ]
        name, constants, sees_zeros, is_backward = kind.__name__, 0, True, True
    else:
        halves = [getattr(rule, half, None) for half in ("bwd", "jvp_rule", "fwd")]
        name, sees_zeros = traced.fun_name, bool(rule.symbolic_zeros)
        is_backward = hasattr(rule, "bwd")
        constants = _promoted_constants(rule)
    place = _place(halves[0]) if halves else ""
    arguments = _arguments(equation.invars[constants:], ())
    return Rule(name, *_written_in(halves, place), arguments, constants, sees_zeros, is_backward)


def _promoted_constants(rule: Any) -> int:
    """Return how many captured arrays JAX has made the first arguments of a rule."""
    version = tuple(int(part) for part in jax.__version__.split(".")[:2])
    if version < (0, 11):
        return 0
    return len(jax.tree.leaves(rule.in_avals[0]))


def _arguments(inputs: Sequence[Atom], names: Sequence[str]) -> tuple[str, ...]:
    types = [v.aval.str_short() for v in inputs]
    if len(names) != len(types):
        return tuple(types)
    return tuple(f"{name}: {kind}" for name, kind in zip(names, types, strict=True))


def _written_in(halves: Iterable[object], place: str) -> tuple[str, bool]:
    """Return where a rule was written (`place` by default), and whether that is in JAX."""
    for half in halves:
        authors = list(_authors(half, set()))
        if authors:
            own = [author for author in authors if not _is_jaxs(author)]
            return _place((own or authors)[0]) or place, not own
    return place, _is_inside_jax(place)


# Modules of JAX that wrap the functions of a user and contain no rules.
_PLUMBING = re.compile(
    r"jax[/\\]_src[/\\](custom_derivatives|linear_util|hijax|util|api|api_util|traceback_util|core"
    r"|interpreters[/\\]\w+)\.py$"
)


def _authors(value: Any, seen: set[int]) -> Iterator[object]:
    """Yield the functions inside JAX's wrappers around a rule: those of its author."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, tuple | list):
        for item in value:
            yield from _authors(item, seen)
    elif isinstance(value, functools.partial):
        yield from _authors(value.func, seen)
    elif type(value).__name__ == "WrappedFun":
        yield from _authors(value.f, seen)
    elif callable(value) and not isinstance(value, type):
        function = unwrapped(getattr(value, "__func__", value))
        if function is not value:
            yield from _authors(function, seen)
        elif not isinstance(function, FunctionType):  # a callable object
            yield from () if _is_jaxs(function) else (function,)
        elif not _PLUMBING.search(_file(function)):
            yield function
        else:
            for cell in function.__closure__ or ():
                with contextlib.suppress(ValueError):  # a cell that is still empty
                    yield from _authors(cell.cell_contents, seen)


def wrapped_by(value: object) -> Any:
    """Return the function inside one decorator, or None.

    An object that creates attributes on demand, such as a mock, is not decorated. Nor is one whose
    class computes the attribute, such as a bound method of Equinox.
    """
    found = inspect.getattr_static(value, "__wrapped__", None)
    return None if isinstance(found, property) else found


def unwrapped(value: Any) -> Any:
    """Return the function inside all decorators."""
    while (inner := wrapped_by(value)) is not None:
        value = inner
    return value


def _file(function: object) -> str:
    code = getattr(function, "__code__", None)
    if code is not None:
        return code.co_filename
    module = inspect.getmodule(type(function))
    return getattr(module, "__file__", None) or ""


def _place(function: object) -> str:
    function = unwrapped(function)
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else _file(function)


def _is_jaxs(function: object) -> bool:
    return function is None or _is_inside_jax(_file(function))


def _is_inside_jax(place: str) -> bool:
    # by whole folder names: jaxopt and jax_md are siblings of jax
    return Path(jax.__file__).parent in Path(place).parents


# Primitives whose batching is written by the user, or involves a Python callback.
BATCHED_BY_HAND = (
    "custom_vmap_call", "custom_partitioning", "ffi_call", "io_callback", "pallas_call",
    "pure_callback", HIGH_CALL,
)  # fmt: skip


def is_batched_by_hand(equation: JaxprEqn) -> bool:
    """Whether the batching rule of a primitive is not JAX's own."""
    batcher = batching.fancy_primitive_batchers.get(equation.primitive)
    written_elsewhere = any(not _is_jaxs(author) for author in _authors(batcher, set()))
    return name_of(equation) in BATCHED_BY_HAND or written_elsewhere


class Halves(NamedTuple):
    """The parts of a `jax.custom_vjp` function, for calling them directly.

    Attributes:
        primal: the function that has the rule.
        forward: its forward function.
        backward: its backward function.
        static: the positions of the arguments that are not differentiated.
        sees_zeros: whether the rule receives symbolic zeros.
    """

    primal: Function
    forward: Callable[..., tuple[Tree, Tree]]
    backward: Callable[..., tuple[Tree, ...]]
    static: tuple[int, ...]
    sees_zeros: bool


def halves_of(fun: Any) -> Halves | None:
    """Return the halves of `fun` if it is a `jax.custom_vjp`, possibly under jit, else None."""
    # a jitted function takes the same arguments as the function inside it
    while hasattr(fun, "lower") and wrapped_by(fun) is not None:
        fun = wrapped_by(fun)
    rule: Any = fun
    if isinstance(fun, jax.custom_vjp) and rule.bwd is not None:
        return Halves(rule.fun, rule.fwd, rule.bwd, rule.nondiff_argnums, rule.symbolic_zeros)
    if type(fun).__name__ == "custom_vjp3" and rule.bwd is not None:
        static = tuple(sorted(rule.static_argnums))
        return Halves(rule.f, rule.fwd, rule.bwd, static, rule.symz)
    return None


# The classes of functions with a hand-written rule; what a call of one does is its `__call__`.
RULE_CLASSES: tuple[type, ...] = (jax.custom_vjp, jax.custom_jvp)


class Definition(NamedTuple):
    """A function with a hand-written rule.

    Attributes:
        name: its name.
        source: file and line of its backward or jvp function.
        module: the module of that function.
        is_jaxs_own: whether that function was written in JAX itself.
    """

    name: str
    source: str
    module: str
    is_jaxs_own: bool


def definition_of(fun: Any) -> Definition | None:
    """Return the rule of a `jax.custom_vjp` or `jax.custom_jvp`, None if none is defined yet."""
    halves = [fun.bwd, fun.fwd] if isinstance(fun, jax.custom_vjp) else [fun.jvp]
    if halves[0] is None:
        return None
    author = next((a for half in halves for a in _authors(half, set())), None)
    name = getattr(unwrapped(fun), "__name__", type(fun).__name__)
    module = getattr(author, "__module__", None) or ""
    source, is_jaxs_own = _written_in(halves, "")
    return Definition(name, source, module, is_jaxs_own)


# --- error messages -------------------------------------------------------------------------------


class WrongCotangent(NamedTuple):
    """The types in an error of JAX about a cotangent that does not match its argument."""

    got: str
    want: str
    got_shape: str
    want_shape: str


def wrong_cotangent(message: str) -> WrongCotangent | None:
    """Return the types in an error of JAX about the shape of a cotangent, or None."""
    patterns = (
        r"an output of type (\S+) corresponding to an input of type (\S+\])",
        r"an output of type (\S+) which doesn't match expected type (\S+\])",
    )
    for pattern in patterns:
        found = re.search(pattern, message)
        shapes = [re.search(r"\[(.*)\]", kind) for kind in found.groups()] if found else []
        if found and all(shapes):
            return WrongCotangent(*found.groups(), *(shape[1] for shape in shapes if shape))
    return None


def output_path(message: str) -> tuple[int, str] | None:
    """Return the argument and the path in it that an error about cotangents names, or None."""
    found = re.search(r"output\[(\d+)\]((?:\[[^\]]+\])*)", message)
    return (int(found[1]), found[2]) if found else None


def says_closed_over(message: str) -> bool:
    """Whether JAX rejects a rule because it closes over a value that is differentiated outside."""
    return "closed-over" in message or "close over Tracers" in message.replace("\n", " ")


def says_unimplemented(message: str) -> bool:
    """Whether the backend does not implement an operation, which is not the fault of a rule."""
    return "UNIMPLEMENTED" in message


def says_constants_are_lost(message: str) -> bool:
    """Whether a program that was compiled ahead misses the constants that JAX made its inputs.

    In JAX 0.12, this happens to `jax.checkpoint` and `lax.scan` of functions that are made anew at
    each call, and close over arrays. `jax.jit` passes the constants.
    """
    return message.startswith("Computation compiled for")


def says_axes_differ(message: str) -> bool:
    """Whether the types of a value and its cotangent vary along different mesh axes."""
    # JAX appends the axes to a type, in braces
    types = r"of type (\S+\])(\{\S*\})? which doesn't match expected type (\S+\])(\{\S*\})?"
    found = re.search(types, message)
    differ = found is not None and found[1] == found[3] and found[2] != found[4]
    return differ or "manual axis types do not match" in message


def says_checkpoint_lacks_complex(message: str) -> bool:
    """Whether an error of JAX says that `jax.checkpoint` cannot keep complex numbers."""
    return "reduce_precision" in message and "complex" in message


def says_no_reverse_mode(message: str) -> bool:
    """Whether JAX has no derivative in reverse mode, as for a `while_loop`."""
    return "everse-mode" in message


# --- placement of arrays --------------------------------------------------------------------------


def output_type(f: Callable[..., Array], *args: Array) -> ShapedArray:
    """Return the type of the array that `f` returns: shape, dtype, sharding and varying axes."""
    (output,) = jax.make_jaxpr(f)(*args).out_avals
    return output


def varying_axes(x: Array | ShapedArray) -> frozenset[str]:
    """Return the mesh axes of `shard_map` along which devices hold different values.

    `x` is an array, or the type of one. With `check_vma=False`, JAX does not track these axes, and
    the set is empty.
    """
    kind = x if isinstance(x, ShapedArray) else jax.typeof(x)
    return frozenset(kind.manual_axis_type.varying)


def make_varying(x: Array, axes: Iterable[str]) -> Array:
    """Mark a value that is equal on all devices along `axes` as one that may vary there."""
    return lax.pcast(x, tuple(sorted(axes)), to="varying")


def in_row_major_order(V: Array) -> Array:
    """Store `V` in row-major order, so that XLA cannot fold a transpose into its consumer."""
    return with_layout_constraint(V, Layout(major_to_minor=tuple(range(V.ndim))))


# The only primitive of fcjax. How it is lowered depends on what is known then and not before:
# whether XLA will partition the program.
_last_to_front = _internals.Primitive("last_to_front")


def last_to_front(X: Array, in_memory: Callable[[Array], Array]) -> Array:
    """Return X with its last axis moved to the front, computed by `in_memory`.

    XLA gathers an array whose layout is constrained on every device. In a program that XLA
    partitions, this is therefore a transpose that XLA may fold into its consumer.
    """
    return _last_to_front.bind(X, in_memory=in_memory)


def _moved(V: Array, **_: object) -> Array:
    return jnp.moveaxis(V, -1, 0)


def _moved_type(X: Any, **_: object) -> Any:
    spec = (*X.sharding.spec, *[None] * (X.ndim - len(X.sharding.spec)))
    return X.update(
        shape=(X.shape[-1], *X.shape[:-1]),
        sharding=X.sharding.update(spec=PartitionSpec(spec[-1], *spec[:-1])),
    )


def _lower_moved(context: Any, X: Any, *, in_memory: Callable[[Array], Array]) -> Any:
    function = _moved if _is_partitioned(context.module_context.axis_context) else in_memory
    return mlir.lower_fun(function, multiple_results=False)(context, X)


def _is_partitioned(axes: Any) -> bool:
    """Whether XLA partitions a program; inside `shard_map`, the program is that of one device."""
    if hasattr(axes, "manual_axes"):
        return set(axes.manual_axes) != set(axes.mesh.axis_names)
    return getattr(axes, "num_devices", 1) > 1


def _moved_batch(inputs: Any, axes: Any, **params: Any) -> tuple[Array, int]:
    return _last_to_front.bind(jnp.moveaxis(inputs[0], axes[0], 0), **params), 1


_last_to_front.def_impl(jax.jit(_last_to_front.bind, static_argnames="in_memory"))
_last_to_front.def_abstract_eval(_moved_type)
ad.deflinear2(_last_to_front, lambda dY, _, **__: [jnp.moveaxis(dY, 0, -1)])
batching.primitive_batchers[_last_to_front] = _moved_batch
mlir.register_lowering(_last_to_front, _lower_moved)


# --- compiling ------------------------------------------------------------------------------------

CompilerOptions = dict[str, Any]  # JAX's type for them has no integers

# Options of XLA that halve the compile time at the cost of slower programs: no LLVM optimizations,
# LLVM IR emitted directly rather than through MLIR, and small programs not split between threads.
# Some versions do not have them.
QUICK: CompilerOptions = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


def compiled(program: Callable[..., R], *inputs: Tree, quickly: bool) -> Callable[..., R]:
    """Compile a program, with little optimization if it is called only a few times."""
    return jax.jit(program).lower(*inputs).compile(quick_options() if quickly else None)


@functools.cache
def quick_options() -> CompilerOptions | None:
    """Return the options in `QUICK` that this version of XLA has, None on other backends."""
    if jax.default_backend() != "cpu":
        return None
    return {name: value for name, value in QUICK.items() if _is_known({name: value})}


@functools.cache
def direct_options() -> CompilerOptions | None:
    """Return the option to emit LLVM IR directly, where it exists.

    It compiles in about 60% of the time, to programs that are about as fast.
    """
    options: CompilerOptions = {"xla_cpu_use_fusion_emitters": False}
    return options if jax.default_backend() == "cpu" and _is_known(options) else None


def _is_known(option: CompilerOptions) -> bool:
    try:
        jax.jit(lambda: 0).lower().compile(option)
    except jax.errors.JaxRuntimeError:
        return False
    return True


@contextlib.contextmanager
def without_logs_of_callbacks() -> Generator[None]:
    """Keep JAX from logging the traceback of each error that a callback raises."""
    logger = logging.getLogger("jax._src.callback")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def is_tracing() -> bool:
    """Whether JAX is tracing: whether this is called inside jit, grad or vmap."""
    from jax._src import core as internals

    return not internals.trace_state_clean()


def unfiltered_tracebacks() -> contextlib.AbstractContextManager[None]:
    """Keep the frames of JAX in tracebacks, which show where an error was raised."""
    from jax._src import config

    return config.traceback_filtering("off")


def is_array(leaf: object) -> TypeGuard[AnyArray]:
    """Whether a leaf is an array. A dtype is not, though it also has an attribute `dtype`."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def has_dtype(leaf: object, kind: type[np.generic]) -> TypeGuard[AnyArray]:
    """Whether a leaf is an array whose dtype is of this kind."""
    return is_array(leaf) and jnp.issubdtype(leaf.dtype, kind)


def is_key(array: AnyArray) -> bool:
    """Whether an array consists of typed PRNG keys."""
    return jnp.issubdtype(array.dtype, jax.dtypes.prng_key)


# --- several processes ----------------------------------------------------------------------------


class ProcessGroup(NamedTuple):
    """The processes that `jax.distributed.initialize` has joined.

    Attributes:
        process: the number of this one.
        size: how many there are.
        host: the machine of process 0.
        client: the client of their coordination service, which has a store of keys and values.
    """

    process: int
    size: int
    host: str
    client: Any


def process_group() -> ProcessGroup:
    """Return the processes. Unlike `jax.process_count`, this does not start the backend."""
    from jax._src import distributed

    state = distributed.global_state
    host = (state.coordinator_address or "").rpartition(":")[0].strip("[]")
    return ProcessGroup(state.process_id, state.num_processes, host, state.client)


def finds_cluster() -> bool:
    """Whether `jax.distributed.initialize` detects a cluster from its environment."""
    from jax._src.clusters import ClusterEnv

    kinds = ClusterEnv._cluster_types  # pyright: ignore[reportPrivateUsage]
    return any(kind.is_env_present() for kind in kinds if not kind.opt_in_only_method)


# --- costs --------------------------------------------------------------------------------------


def bytes_kept(fun: Callable[..., Tree], inputs: Sequence[Array]) -> int:
    """Return the bytes that `jax.vjp` keeps for the backward pass, without the inputs themselves.

    The pullback is a pytree, whose leaves are what it keeps.
    """
    closed = jax.make_jaxpr(lambda *xs: jax.tree.leaves(jax.vjp(fun, *xs)[1]))(*inputs)
    there = {*closed.jaxpr.invars, *closed.jaxpr.constvars}
    kept = {v for v in closed.jaxpr.outvars if not isinstance(v, Literal)} - there
    return sum(int(np.prod(v.aval.shape)) * v.aval.dtype.itemsize for v in kept)


def compiled_cost(compiled: jax.stages.Compiled) -> tuple[int | None, float | None]:
    """Return the bytes of temporaries and the floating-point operations that XLA counts."""
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    temporary = getattr(memory, "temp_size_in_bytes", None)
    operations = cost.get("flops") if isinstance(cost, Mapping) else None
    return temporary, operations if isinstance(operations, float) else None
