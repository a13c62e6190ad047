"""The same computation without its hand-written rules: an oracle for anything that contains them.

`jax.grad` of a `jax.custom_vjp` function runs the rule that is in question. Taking the rules out
leaves the plain forward computation, which JAX differentiates by itself.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core

from .._jaxpr import inner_jaxprs, put_in_line

CALLS = ("custom_vjp_call", "custom_jvp_call")


class RuleCall(NamedTuple):
    """A hand-written rule in a traced program: its name, its source line, and its arguments."""

    name: str
    source: str
    arguments: tuple[str, ...]

    @property
    def origin(self) -> tuple[str, str]:
        """What tells one rule from another, wherever it is called."""
        return self.name, self.source


def without_rules(
    fun: Callable[..., Any], *, keep: Callable[[RuleCall], bool] = lambda call: False
) -> Callable[..., Any]:
    """Return `fun` with every hand-written rule in it replaced by the function that it decorates.

    The computation is traced, and rules (`jax.custom_vjp`, `jax.custom_jvp`) are taken out
    wherever they stand: in `fun` itself, in what it calls, and inside `jit`, `scan`, `cond`,
    `while_loop`, `checkpoint`, `vmap` and `shard_map`. Values stay as they are; derivatives become
    JAX's own. Rules that belong to JAX itself, such as that of `jax.nn.relu`, stay.

    Args:
        fun: any function that JAX can trace. Arguments that are not arrays (names, functions,
            Python numbers) are handed through as they are.
        keep: says of a call of a rule whether it shall stay; by default none does.

    Returns:
        A function with the arguments and results of `fun`.

    Source: the primal function of JAX's custom_vjp, in the program that JAX traces.

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

    @functools.wraps(fun)
    def plain(*args: Any, **kwargs: Any) -> Any:
        on_arrays, arrays = _of_arrays(fun, args, kwargs)
        closed, result = jax.make_jaxpr(on_arrays, return_shape=True)(*arrays)

        def is_chosen(equation: Any, flags: Any) -> bool:
            return _is_rule(equation) and not keep(_rule_call(equation))

        outputs = core.jaxpr_as_fun(put_in_line(closed, is_chosen))(*arrays)
        return jax.tree.unflatten(jax.tree.structure(result), outputs)

    return plain


def rules_in(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[RuleCall, ...]:
    """Return the calls of hand-written rules in `fun(*args, **kwargs)`, JAX's own left out.

    Source: the program that JAX traces.

    >>> import jax.numpy as jnp
    >>> import fcjax
    >>> [call.name for call in rules_in(lambda z: fcjax.tanh(fcjax.relu(z)), jnp.ones(3))]
    ['relu', 'tanh']
    """
    on_arrays, arrays = _of_arrays(fun, args, kwargs)
    return tuple(_calls(jax.make_jaxpr(on_arrays)(*arrays)))


def _of_arrays(fun: Any, args: Any, kwargs: Any) -> tuple[Callable[..., Any], list[Any]]:
    """Return the call as a function of its arrays alone, and these."""
    leaves, tree = jax.tree.flatten((args, kwargs))
    traced = [i for i, leaf in enumerate(leaves) if is_array(leaf)]

    def on_arrays(*arrays: Any) -> Any:
        filled = list(leaves)
        for i, array in zip(traced, arrays, strict=True):
            filled[i] = array
        args, kwargs = jax.tree.unflatten(tree, filled)
        return fun(*args, **kwargs)

    return on_arrays, [leaves[i] for i in traced]


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array: a dtype, which has a dtype too, is none."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def _calls(jaxpr: Any) -> Iterator[RuleCall]:
    for equation in jaxpr.eqns:
        if _is_rule(equation):
            yield _rule_call(equation)
        for inner in inner_jaxprs(equation):
            yield from _calls(inner)


def _is_rule(equation: Any) -> bool:
    """Whether an equation calls a hand-written rule that is not one of JAX's own."""
    if equation.primitive.name not in CALLS:
        return False
    return not _where(equation)[1].startswith(str(Path(jax.__file__).parent))


def _where(equation: Any) -> tuple[str, str]:
    """Return the name and the source line of the function that a rule decorates."""
    info = equation.params["call_jaxpr"].jaxpr.debug_info
    name, _, source = (info.func_src_info or "").partition(" at ")
    return name, source


def _rule_call(equation: Any) -> RuleCall:
    inputs = equation.invars[equation.params.get("num_consts", 0) :]
    types = [v.aval.str_short() for v in inputs]
    names = equation.params["call_jaxpr"].jaxpr.debug_info.arg_names or ()
    if len(names) == len(types):
        types = [f"{name}: {kind}" for name, kind in zip(names, types, strict=True)]
    return RuleCall(*_where(equation), tuple(types))
