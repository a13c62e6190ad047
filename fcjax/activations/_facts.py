"""Facts about an activation besides its value: its rule, its kinks, and its oracle."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeVar

import jax
from jax import Array

from .._arguments import check_function
from .._types import Tree

Function = Callable[..., Array]
F = TypeVar("F", bound=Function)


class Rule(NamedTuple):
    """The forward and backward functions of an activation `A = g(Z)`.

    Attributes:
        fwd: `fwd(Z)` returns A and the residual `kept`.
        bwd: `bwd(kept, dA)` returns dZ.
        keeps: the kind of residual: the "output" A, the "input" Z, or the "pullback" of `jax.vjp`.
    """

    fwd: Callable[[Array], tuple[Array, Tree]]
    bwd: Callable[[Tree, Array], Array]
    keeps: Literal["output", "input", "pullback"]


@dataclass(frozen=True)
class Facts:
    """Facts about an activation.

    Attributes:
        function: the activation.
        rule: a function of the activation's options that returns the hand-written rule. It returns
            None if a `Rule` cannot express it: it has no place for the gradient of a learned slope.
        kinks: g' at each kink, by the convention of `jax.nn`, for the default options.
        oracle: name of its formulas in `fcjax.verify.oracles`; None if it is not elementwise.
    """

    function: Function
    rule: Callable[..., Rule | None]
    kinks: Mapping[float, float]
    oracle: str | None


def with_facts(
    rule: Callable[..., Rule | None],
    *,
    kinks: Mapping[float, float] = MappingProxyType({}),
    oracle: str | None = None,
) -> Callable[[F], F]:
    """Attach facts to an activation, and return the same function."""

    def decorate(function: F) -> F:
        vars(function)["facts"] = Facts(function, rule, kinks, oracle)
        return function

    return decorate


def facts_of(function: object) -> Facts | None:
    """Return the facts about an activation of this package; None for any other function.

    >>> import fcjax
    >>> facts_of(fcjax.relu).kinks
    {0.0: 0.0}
    """
    facts = getattr(function, "facts", None)
    # functools.wraps copies attributes, possibly to a function that computes something else.
    return facts if isinstance(facts, Facts) and facts.function is function else None


def rule_of(function: Callable[[Array], Array]) -> Rule:
    """Return the forward and backward functions of an activation.

    For a function of this package, they are those of its hand-written rule. Options may be set with
    `functools.partial`. For any other function, they are made by `jax.vjp`, which applies the rules
    inside the function.

    >>> import jax.numpy as jnp
    >>> import fcjax
    >>> fwd, bwd, keeps = rule_of(fcjax.tanh)
    >>> A, kept = fwd(jnp.array([-1.0, 0.0, 1.0]))
    >>> bwd(kept, jnp.ones(3)).round(2), keeps
    (Array([0.42, 1.  , 0.42], dtype=float32), 'output')
    """
    check_function("function", function)
    base, options = _base_and_options(function)
    facts = facts_of(base)
    if facts is not None:
        _check_options(base, options)
    rule = None if facts is None else facts.rule(**options)
    return rule or Rule(functools.partial(jax.vjp, function), _pull, "pullback")


def is_fixed(function: Callable[[Array], Array]) -> bool:
    """Whether a function computes the same in every call, so that its program can be kept.

    This is known of the functions of this package and of JAX, with numbers as options. Any other
    function may read a variable that changes.

    >>> import fcjax
    >>> is_fixed(functools.partial(fcjax.leaky_relu, negative_slope=0.2)), is_fixed(lambda z: z)
    (True, False)
    """
    base, options = _base_and_options(function)
    numbers = all(isinstance(value, bool | int | float | str) for value in options.values())
    of_jax = getattr(base, "__module__", "").startswith("jax.")
    return numbers and (of_jax or facts_of(base) is not None)


def _base_and_options(function: Function) -> tuple[Function, Mapping[str, object]]:
    """Return the function inside a `functools.partial` and its options; otherwise none."""
    if isinstance(function, functools.partial) and not function.args:
        return function.func, function.keywords
    return function, {}


def _check_options(activation: Function, options: Mapping[str, object]) -> None:
    """Raise TypeError unless the activation takes the options."""
    try:
        inspect.signature(activation).bind(None, **options)
    except TypeError as error:
        raise TypeError(f"{activation.__name__}() {error}") from None


def _pull(pullback: Callable[[Array], tuple[Array]], dA: Array) -> Array:
    (dZ,) = pullback(dA)
    return dZ
