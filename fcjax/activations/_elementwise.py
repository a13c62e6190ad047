"""Make a rule from an elementwise function and its derivative: `dZ = dA ⊙ g'(Z)`.

Every elementwise activation has the same differential, `Ȧ = g'(Z) ⊙ Ż`, hence
`⟨dA, Ȧ⟩ = ⟨dA ⊙ g'(Z), Ż⟩` and `dZ = dA ⊙ g'(Z)`. Activations differ in g', which is derived
beside each function, and in whether g' is a function of the output `A`. If it is, the residual is
A, which the next layer keeps anyway as its input, and Z is never stored.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, TypeGuard

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from .._arguments import check_broadcasts_to, floating, is_number
from .._cotangent import cotangent_of
from .._placement import beside
from .._types import Tree
from ._facts import Function, Rule, with_facts

NO_KINKS: Mapping[float, float] = MappingProxyType({})


def elementwise(
    derivative: Function,
    *,
    keeps: Literal["output", "input"],
    kinks: Mapping[float, float] = NO_KINKS,
    oracle: str | None = None,
) -> Callable[[Function], Function]:
    """Decorate `g(z)` with the rule whose backward pass is `dA * derivative(kept)`.

    `keeps` selects the residual that `derivative` reads, A or Z. `kinks` and `oracle` become facts
    of the activation; `oracle` defaults to the name of g.
    """

    def decorate(g: Function) -> Function:
        def fwd(Z: Array) -> tuple[Array, Array]:
            A = g(Z)
            return A, A if keeps == "output" else Z

        @functools.wraps(derivative)  # which has the derivation, for those who read it
        def pull(kept: Array, dA: Array) -> Array:
            return dA * derivative(kept)

        def bwd(kept: Array, dA: Array) -> tuple[Array]:
            return (pull(kept, dA),)

        def rule() -> Rule:
            return Rule(fwd, pull, keeps)

        decorated = _rule(g, fwd, bwd)

        @with_facts(rule, kinks=kinks, oracle=oracle or g.__name__)
        @functools.wraps(g)
        def activation(z: ArrayLike) -> Array:
            return decorated(floating("z", z))

        return activation

    return decorate


def parametric(
    *,
    from_output: Function,
    from_input: Function,
    wrt_parameter: Function,
    kinks: Mapping[float, float] = NO_KINKS,
) -> Callable[[Function], Function]:
    """Decorate `g(z, p)`, whose derivative also depends on a parameter p.

    If p is a positive Python number, it is a constant. A then determines on which side of the kink
    Z was, so A is the only residual. Any other p is an array of either sign, with the
    gradient `dp = Σ dA ⊙ ∂g/∂p`. The residuals are then Z and p.
    """

    def decorate(g: Function) -> Function:
        def constant_fwd(Z: Array, p: float) -> tuple[Array, Array]:
            A = g(Z, p)
            return A, A

        def constant_bwd(p: float, A: Array, dA: Array) -> tuple[Array]:
            return (_pull_constant(from_output, p, A, dA),)

        def fwd(Z: Array, p: Array) -> tuple[Array, tuple[Array, Array]]:
            return g(Z, p), (Z, p)

        def bwd(kept: tuple[Array, Array], dA: Array) -> tuple[Array, Array]:
            Z, p = kept
            dZ = dA * from_input(Z, p)
            dp = _sum_over_uses(p, dA * wrt_parameter(Z, p))
            return cotangent_of(Z, _sum_over_uses(Z, dZ)), cotangent_of(p, dp)

        constant = _rule(g, constant_fwd, constant_bwd, nondiff_argnums=(1,))
        free = _rule(g, fwd, bwd)
        signature = inspect.signature(g)
        _, (name, parameter) = signature.parameters.items()

        def rule(**options: object) -> Rule | None:
            p = signature.bind(None, **options).arguments.get(name, parameter.default)
            if not _is_constant(p):
                return None
            pull = functools.wraps(from_output)(functools.partial(_pull_constant, from_output, p))
            return Rule(lambda Z: constant_fwd(Z, p), pull, "output")

        @with_facts(rule, kinks=kinks, oracle=g.__name__)
        @functools.wraps(g)
        def activation(*args: ArrayLike, **kwargs: ArrayLike) -> Array:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            z, p = bound.arguments.values()
            z = floating("z", z)
            if _is_constant(p):
                return constant(z, float(p))
            p = jnp.asarray(p, z.dtype) if is_number(p) else floating(name, p)
            check_broadcasts_to(name, p, "z", z)
            return free(z, beside(p, z))

        return activation

    return decorate


def _is_constant(p: object) -> TypeGuard[int | float]:
    return is_number(p) and p > 0


def _pull_constant(from_output: Function, p: float, A: Array, dA: Array) -> Array:
    return dA * from_output(A, p)


def _sum_over_uses(p: Array, dp: Array) -> Array:
    """Sum `dp` over the dimensions along which `p` was broadcast."""
    new = dp.ndim - p.ndim
    axes = (i for i in range(dp.ndim) if i < new or p.shape[i - new] == 1)
    return jnp.sum(dp, tuple(axes)).reshape(p.shape)


def _rule(
    g: Function,
    fwd: Callable[..., tuple[Array, Tree]],
    bwd: Callable[..., tuple[Array, ...]],
    nondiff_argnums: tuple[int, ...] = (),
) -> Function:
    """Make the custom_vjp of `g`, and name its two functions after g, for stack traces."""
    fwd.__name__, bwd.__name__ = f"{g.__name__}_fwd", f"{g.__name__}_bwd"
    rule = jax.custom_vjp(g, nondiff_argnums=nondiff_argnums)
    rule.defvjp(fwd, bwd)
    return rule
