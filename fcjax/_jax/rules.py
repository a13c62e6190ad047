"""Find hand-written rules: in a traced program, and by the objects that hold them."""

import contextlib
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import jax
from jax.interpreters import batching

from .._types import Function, Tree
from .programs import (
    CUSTOM_CALLS,
    HIGH_CALL,
    high_rule,
    inner_programs,
    name_of,
    opened,
    unbatched,
)
from .types import Atom, JaxprEqn, Program


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
    high = high_rule(equation)
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


def is_hand_written(equation: JaxprEqn) -> bool:
    """Whether an equation calls a hand-written rule that is not JAX's own."""
    rule = rule_in(equation)
    return rule is not None and not rule.is_jaxs_own


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


def _described_high_rule(rule: Any, equation: JaxprEqn) -> Rule:
    rule = unbatched(rule)
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
