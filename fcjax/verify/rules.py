"""Remove the hand-written rules from a computation, which gives an oracle for its gradient.

`jax.grad` of a `jax.custom_vjp` function calls the rule that is to be checked. Without its rules,
only the plain forward computation is left, which JAX differentiates itself.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
from jax import Array

from .._arguments import check_function, check_tree
from .._jax import (
    ClosedJaxpr,
    Flags,
    JaxprEqn,
    as_function,
    equations_in,
    inline_calls,
    is_array,
    rule_in,
)
from .._types import AnyArray, Function, Tree


class RuleCall(NamedTuple):
    """A hand-written rule in a traced program.

    Attributes:
        name: the name of the function that has the rule.
        source: file and line of its backward (or jvp) function.
        arguments: dtype and shape of each argument, with its name if JAX knows it.
    """

    name: str
    source: str
    arguments: tuple[str, ...]

    @property
    def origin(self) -> tuple[str, str]:
        """Name and source, which identify the rule across its calls."""
        return self.name, self.source


def without_rules(
    fun: Function, *, keep: Callable[[RuleCall], bool] = lambda call: False
) -> Function:
    """Return `fun` with every hand-written rule replaced by the function that it decorates.

    The computation is traced, and rules are removed everywhere: from `fun` itself, from the
    functions it calls, and inside `jit`, `scan`, `cond`, `while_loop`, `checkpoint`, `vmap` and
    `shard_map`. Values do not change; derivatives become those of JAX. A rule is a `jax.custom_vjp`
    or `jax.custom_jvp`, also with the flag `jax_custom_vjp3`, or a primitive of
    `jax.experimental.hijax`. The rules of JAX itself, such as that of `jax.nn.relu`, are kept. A
    rule is JAX's own if its backward (or jvp) function was written in JAX.

    Args:
        fun: any function that JAX can trace. Arguments that are not arrays (names, functions,
            Python numbers) are passed through unchanged.
        keep: returns whether the rule of a `RuleCall` is kept; by default, none is.

    Returns:
        A function with the arguments and results of `fun`.

    >>> import jax.numpy as jnp
    >>> import fcjax
    >>> params = fcjax.init(jax.random.key(0), (3, 5, 2))
    >>> def loss(params, x):
    ...     return jnp.sum(fcjax.mlp(params, x) ** 2)
    >>> x = jnp.ones((4, 3))
    >>> by_hand, by_jax = jax.grad(loss)(params, x), jax.grad(without_rules(loss))(params, x)
    >>> bool(jnp.allclose(by_hand[0].w, by_jax[0].w))
    True
    """

    def is_removed(equation: JaxprEqn, flags: Flags) -> bool:
        call = _call_in(equation)
        return call is not None and not keep(call)

    check_function("fun", fun)

    @functools.wraps(fun)
    def plain(*args: Tree, **kwargs: Tree) -> Tree:
        on_arrays, arrays = _of_arrays(fun, args, kwargs)
        closed, result = jax.make_jaxpr(on_arrays, return_shape=True)(*arrays)
        outputs = as_function(inline_calls(closed, is_removed))(*arrays)
        return jax.tree.unflatten(jax.tree.structure(result), outputs)

    return plain


def rules_in(fun: Function, *args: Tree, **kwargs: Tree) -> tuple[RuleCall, ...]:
    """Return the calls of hand-written rules in `fun(*args, **kwargs)`, except JAX's own.

    >>> import jax.numpy as jnp
    >>> import fcjax
    >>> [call.name for call in rules_in(lambda z: fcjax.tanh(fcjax.relu(z)), jnp.ones(3))]
    ['relu', 'tanh']
    """
    check_function("fun", fun)
    on_arrays, arrays = _of_arrays(fun, args, kwargs)
    return calls_in(jax.make_jaxpr(on_arrays)(*arrays))


def calls_in(program: ClosedJaxpr) -> tuple[RuleCall, ...]:
    """Return the calls of hand-written rules in a traced program, except JAX's own."""
    calls = map(_call_in, equations_in(program))
    return tuple(call for call in calls if call is not None)


def _call_in(equation: JaxprEqn) -> RuleCall | None:
    rule = rule_in(equation)
    if rule is None or rule.is_jaxs_own:
        return None
    return RuleCall(rule.name, rule.source, rule.arguments)


def _of_arrays(fun: Function, args: Tree, kwargs: Tree) -> tuple[Function, list[AnyArray]]:
    """Return the call as a function of its arrays alone, and the arrays."""
    check_tree("args", args)
    check_tree("kwargs", kwargs)
    leaves, tree = jax.tree.flatten((args, kwargs))
    traced = [i for i, leaf in enumerate(leaves) if is_array(leaf)]

    def on_arrays(*arrays: Array) -> Tree:
        filled = list(leaves)
        for i, array in zip(traced, arrays, strict=True):
            filled[i] = array
        args, kwargs = jax.tree.unflatten(tree, filled)
        result = fun(*args, **kwargs)
        check_tree("the output of fun", result)
        return result

    return on_arrays, [leaves[i] for i in traced]
