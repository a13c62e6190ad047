"""Read a traced program: its equations, its constants, and what each equation does."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from .._types import Tree
from .leaves import has_dtype
from .types import Atom, ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Program, Var

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


def core() -> ModuleType:
    """Return the module with the functions of jaxprs."""
    from jax.extend import core  # late: it imports Pallas, which doubles the import time

    return core


def inner_programs(equation: JaxprEqn) -> Iterator[Program]:
    """Yield the programs in the parameters of an equation: bodies of loops, branches and calls."""
    rule = unbatched(high_rule(equation))
    if rule is not None and hasattr(rule, "traced"):
        yield rule.traced.jaxpr
    yield from filter(
        is_program, jax.tree.leaves(list(equation.params.values()), is_leaf=is_program)
    )


def high_rule(equation: JaxprEqn) -> Any | None:
    """Return the object that is the rule of an equation, None if it has no such object."""
    return equation.params["_prim"] if name_of(equation) == HIGH_CALL else None


def unbatched(rule: Any) -> Any:
    """Return the rule inside any number of `vmap`s, which wrap it before JAX 0.12."""
    while hasattr(rule, "prim"):
        rule = rule.prim
    return rule


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


def as_function(closed: ClosedJaxpr) -> Callable[..., list[Tree]]:
    """Return the function that evaluates a closed program."""
    return core().jaxpr_as_fun(closed)


def evaluate(
    closed: ClosedJaxpr, consts: Sequence[ArrayLike], inputs: Sequence[Array]
) -> list[Tree]:
    """Return the outputs of a closed program with `consts` in place of its constants."""
    return core().jaxpr_as_fun(closed_program(opened(closed), consts))(*inputs)


def with_outputs(closed: ClosedJaxpr, outputs: Sequence[Atom]) -> Callable[..., list[Tree]]:
    """Return the function that evaluates the variables `outputs` of a closed program."""
    jaxpr = opened(closed).replace(outvars=list(outputs))
    return as_function(closed_program(jaxpr, closed.consts))


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


def comparisons_of_indices(program: Program) -> Iterator[JaxprEqn]:
    """Yield the comparisons by which JAX counts a negative index from the end of an axis.

    In the same program, the length of the axis is added to the index.
    """
    equations = opened(program).eqns
    casts = {e.outvars[0]: e.invars[0] for e in equations if name_of(e) == "convert_element_type"}
    terms = [v for e in equations if name_of(e) == "add" for v in e.invars if isinstance(v, Var)]
    added = {id(casts.get(v, v)) for v in terms}
    for equation in equations:
        if name_of(equation) == "lt" and id(equation.invars[0]) in added and integers_in(equation):
            yield equation
        for inner in inner_programs(equation):
            yield from comparisons_of_indices(inner)


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


def place_in_source(equation: JaxprEqn) -> str:
    """Return the file and line of the user's code that made an equation, "" if unknown."""
    frame = None
    with contextlib.suppress(ImportError, AttributeError, TypeError):
        from jax._src import source_info_util

        frame = source_info_util.user_frame(equation.source_info.traceback)
    return f"{frame.file_name}:{frame.start_line}" if frame else ""


def closed_program(jaxpr: Jaxpr, consts: Sequence[ArrayLike]) -> ClosedJaxpr:
    """Return a program with its constants."""
    return ClosedJaxpr(jaxpr, list(consts))


def is_program(value: object) -> TypeGuard[Program]:
    """Whether a parameter of an equation is a program."""
    return hasattr(value, "eqns")
