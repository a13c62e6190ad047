"""The two halves of a hand-written rule, kept where the explicit passes can find them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array


class Rule(NamedTuple):
    """Forward and backward half of an activation `A = g(Z)`.

    `fwd(Z)` returns A and what the backward half needs; `bwd(kept, dA)` returns dZ.
    """

    fwd: Callable[[Array], tuple[Array, Any]]
    bwd: Callable[[Any, Array], Array]


_RULES: dict[Callable[..., Array], Rule] = {}


def register(function: Callable[..., Array], rule: Rule) -> None:
    """Make `rule` the hand-written rule of the public `function`, called with its defaults."""
    _RULES[function] = rule


def rule_of(function: Callable[..., Array]) -> Rule:
    """Return the hand-written rule of `function`, or one that asks JAX for the pullback.

    The second case serves a caller's own activation. JAX then runs whatever rules that function
    contains, hand-written or not.
    """
    if function in _RULES:
        return _RULES[function]
    return Rule(lambda Z: jax.vjp(function, Z), _pull)


def _pull(pullback: Callable[[Array], tuple[Array]], dA: Array) -> Array:
    (dZ,) = pullback(dA)
    return dZ
