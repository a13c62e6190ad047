"""The transpose of a pullback: from `dy ↦ Jᵀ dy` to `ẋ ↦ J ẋ`."""

import jax
import jax.numpy as jnp
from jax import Array

from .._jax import (
    Flags,
    JaxprEqn,
    Program,
    ShapedArray,
    as_function,
    inline_calls,
    lost_derivatives,
    rule_in,
    says_no_reverse_mode,
)
from .._types import Function, Tree

_NO_REVERSE_MODE = (
    "fun must have a derivative in reverse mode, because forward mode is computed from it: "
)
_NOT_LINEAR = (
    "fun contains a backward rule that is not linear in its cotangent, or that JAX cannot "
    "transpose{}; fcjax.check_rule reports which argument is wrong"
)


def transposed(
    pullback: Function, types: tuple[ShapedArray, ...], directions: tuple[Array, ...]
) -> tuple[Array, ...]:
    """Return `J ẋ` for a pullback `dy ↦ Jᵀ dy`, which takes a tuple of cotangents of `types`."""
    if not types or not directions:
        return tuple(jnp.zeros(y.shape, y.dtype) for y in types)
    try:
        (dys,) = jax.linear_transpose(_without_rules(pullback), types)(directions)
    except ValueError as error:
        if is_about_reverse_mode(error):
            raise no_reverse_mode(error) from error
        raise _not_linear(error) from error
    except jax.errors.JaxRuntimeError:  # an error of the device, such as out of memory
        raise
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        raise _not_linear(error) from error
    return dys


def _without_rules(pullback: Function) -> Function:
    """Return `pullback` with each rule that depends on the cotangent replaced by its primal.

    A rule has no transpose, but the function that it decorates does. Rules that depend on the
    residuals only are kept, so that the residuals are still differentiated by hand-written rules.
    """

    def plain(*cotangents: Tree) -> Tree:
        program, result = jax.make_jaxpr(pullback, return_shape=True)(*cotangents)
        leaves = jax.tree.leaves(cotangents)
        depends = [True] * len(leaves)
        _require_derivatives(program, depends)
        outputs = as_function(inline_calls(program, _has_no_transpose, depends))(*leaves)
        return jax.tree.unflatten(jax.tree.structure(result), outputs)

    return plain


def _require_derivatives(program: Program, depends: Flags) -> None:
    """Raise TypeError if JAX would silently treat a derivative in the cotangent as zero."""
    for reason in lost_derivatives(program, depends):
        raise TypeError(f"{reason} of the cotangent")


def _has_no_transpose(equation: JaxprEqn, _: Flags) -> bool:
    rule = rule_in(equation)
    return rule is not None and rule.is_backward


def is_about_reverse_mode(error: ValueError) -> bool:
    """Whether JAX raised this error about reverse mode, rather than an inner `jvp` of ours."""
    message = str(error)
    return says_no_reverse_mode(message) and _NO_REVERSE_MODE not in message


def no_reverse_mode(error: ValueError) -> ValueError:
    """Return the error of JAX with a message that names `fun`."""
    return ValueError(_NO_REVERSE_MODE + str(error))


def _not_linear(error: Exception) -> TypeError:
    # the messages of JAX's assertions are not informative
    says_why = str(error) and not isinstance(error, AssertionError)
    return TypeError(_NOT_LINEAR.format(f" ({error})" if says_why else ""))
