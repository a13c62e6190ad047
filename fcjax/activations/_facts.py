"""What is known of an activation besides its value: the halves of its rule, kinks, its oracle."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar

import jax
from jax import Array

Function = Callable[..., Array]
F = TypeVar("F", bound=Function)


class Rule(NamedTuple):
    """The two halves of the gradient of an activation `A = g(Z)`.

    Attributes:
        fwd: `fwd(Z)` returns A and what the backward half needs.
        bwd: `bwd(kept, dA)` returns dZ.
        keeps: what `kept` is: the "output" A, the "input" Z, or the "pullback" of `jax.vjp`.
    """

    fwd: Callable[[Array], tuple[Array, Any]]
    bwd: Callable[[Any, Array], Array]
    keeps: Literal["output", "input", "pullback"]


@dataclass(frozen=True)
class Facts:
    """What is known of an activation.

    Attributes:
        function: the activation.
        rule: called with the activation's options, it returns the hand-written rule, or None where
            there is none with a fixed form (a learned slope has a gradient of its own).
        kinks: g' at each kink, by the convention of `jax.nn`, for the default options.
        oracle: the name of its formulas in `fcjax.verify.oracles`; None if it is not elementwise.
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
    """Decorate an activation with what is known of it; the function stays what it is."""

    def decorate(function: F) -> F:
        vars(function)["facts"] = Facts(function, rule, kinks, oracle)
        return function

    return decorate


def facts_of(function: Any) -> Facts | None:
    """Return what is known of an activation of this package, None for any other function.

    >>> import fcjax
    >>> facts_of(fcjax.relu).kinks
    {0.0: 0.0}
    """
    facts = getattr(function, "facts", None)
    # functools.wraps copies attributes to functions that compute something else
    return facts if isinstance(facts, Facts) and facts.function is function else None


def rule_of(function: Callable[[Array], Array]) -> Rule:
    """Return the two halves of the gradient of an activation.

    Those of a function of this package are its hand-written rule, also with options that
    `functools.partial` sets. Those of any other function are made by `jax.vjp`, which runs the
    rules that the function contains.

    >>> import jax.numpy as jnp
    >>> import fcjax
    >>> fwd, bwd, keeps = rule_of(fcjax.tanh)
    >>> A, kept = fwd(jnp.array([-1.0, 0.0, 1.0]))
    >>> bwd(kept, jnp.ones(3)).round(2), keeps
    (Array([0.42, 1.  , 0.42], dtype=float32), 'output')
    """
    base, options = function, {}
    if isinstance(function, functools.partial) and not function.args:
        base, options = function.func, function.keywords
    facts = facts_of(base)
    rule = None if facts is None else facts.rule(**options)
    return rule or Rule(functools.partial(jax.vjp, function), _pull, "pullback")


def _pull(pullback: Callable[[Array], tuple[Array]], dA: Array) -> Array:
    (dZ,) = pullback(dA)
    return dZ
