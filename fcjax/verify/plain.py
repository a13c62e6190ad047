"""The same computation without its hand-written rules: an oracle for anything that contains them.

`jax.grad` of a `jax.custom_vjp` function runs the rule that is in question. Taking the rules out
leaves the plain forward computation, which JAX differentiates by itself.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend import core


def without_rules(fun: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fun` with every `jax.custom_vjp` in it replaced by the function that it decorates.

    The computation is traced, and rules are taken out wherever they stand: in `fun` itself, in what
    it calls, and inside `jit`, `scan`, `cond`, `while_loop`, `checkpoint`, `vmap` and `shard_map`.
    Values stay as they are; derivatives become JAX's own.

    Args:
        fun: any function that JAX can trace. Arguments that are not arrays or numbers (names,
            functions, None) are handed through as they are.

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
        leaves, tree = jax.tree.flatten((args, kwargs))
        traced = [i for i, leaf in enumerate(leaves) if _is_array(leaf)]

        def on_arrays(*arrays: Any) -> Any:
            filled = list(leaves)
            for i, array in zip(traced, arrays, strict=True):
                filled[i] = array
            args, kwargs = jax.tree.unflatten(tree, filled)
            return fun(*args, **kwargs)

        arrays = [leaves[i] for i in traced]
        closed, result = jax.make_jaxpr(on_arrays, return_shape=True)(*arrays)
        outputs = core.jaxpr_as_fun(take_out_rules(closed))(*arrays)
        return jax.tree.unflatten(jax.tree.structure(result), outputs)

    return plain


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") or isinstance(leaf, int | float | complex)


def take_out_rules(jaxpr: Any) -> Any:
    """Return `jaxpr`, open or closed, with the primal of each custom_vjp call in place of it."""
    if getattr(jaxpr, "jaxpr", jaxpr) is not jaxpr:  # closed, a class of its own before JAX 0.12
        return jaxpr.replace(jaxpr=take_out_rules(jaxpr.jaxpr))
    names: dict[Any, Any] = {}  # of variables that stand for another one
    equations = [new for old in jaxpr.eqns for new in _rewrite(old, names)]
    changed: dict[str, Any] = {"eqns": equations, "outvars": _renamed(jaxpr.outvars, names)}
    return jaxpr.replace(**changed)


def _rewrite(equation: Any, names: dict[Any, Any]) -> list[Any]:
    """Return what stands for one equation, its inputs renamed."""
    inputs = _renamed(equation.invars, names)
    if equation.primitive.name != "custom_vjp_call":
        params = {key: _in_parameter(value) for key, value in equation.params.items()}
        return [equation.replace(invars=inputs, params=params)]
    primal = take_out_rules(equation.params["call_jaxpr"])
    inlined, outputs = _inline(primal, inputs)
    names.update(zip(equation.outvars, outputs, strict=True))
    return inlined


def _inline(jaxpr: Any, inputs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return the equations of a closed jaxpr, applied to `inputs` with fresh variables."""
    assert not jaxpr.consts, "JAX passes what a custom_vjp function closes over as arguments"
    fresh = core.gensym()
    names = dict(zip(jaxpr.jaxpr.invars, inputs, strict=True))
    equations = []
    for equation in jaxpr.jaxpr.eqns:
        invars = _renamed(equation.invars, names)
        outvars = [fresh(v.aval) for v in equation.outvars]
        names.update(zip(equation.outvars, outvars, strict=True))
        equations.append(equation.replace(invars=invars, outvars=outvars))
    return equations, _renamed(jaxpr.jaxpr.outvars, names)


def _in_parameter(value: Any) -> Any:
    """Take the rules out of the jaxprs that a parameter holds, whatever its container."""
    if _is_jaxpr(value):
        return take_out_rules(value)
    if isinstance(value, tuple | list) and any(map(_is_jaxpr, value)):
        return type(value)(map(_in_parameter, value))
    return value


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns")


def _renamed(variables: Sequence[Any], names: dict[Any, Any]) -> list[Any]:
    return [v if isinstance(v, core.Literal) else names.get(v, v) for v in variables]
