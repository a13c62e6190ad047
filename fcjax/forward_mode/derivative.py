"""Derivatives along a direction: `jvp` and `linearize`."""

from typing import Any

from .directions import as_sequence
from .linearization import Function, linearized


def jvp(fun: Function, primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """Value of `fun` and its derivative along `tangents`, `J ẋ`, through hand-written rules.

    As `jax.jvp`, but for functions that contain `jax.custom_vjp` rules too. It can be nested, for
    derivatives of higher order, and works under `jit`, `vmap`, `scan` and `grad`.

    Args:
        fun: any function of arrays and pytrees.
        primals: its arguments, a tuple or list.
        tangents: one direction for each, with the tree, shapes and dtypes of the primal; None or
            an array of dtype float0 for integers, booleans and PRNG keys, which have none.
        has_aux: whether `fun` returns `(output, aux)`; aux is returned as it is.

    Returns:
        `(y, dy)`, or `(y, dy, aux)`: the value, and a tangent with its tree. Outputs that are not
        floating-point have a tangent of dtype float0.

    Raises:
        TypeError: trees or dtypes do not match, or a backward rule is not linear in its cotangent.
        ValueError: shapes do not match, or `fun` has no derivative in reverse mode.

    Source: Radul et al., You only linearize once: tangents transpose to gradients, POPL 2023.

    >>> import fcjax
    >>> import jax.numpy as jnp
    >>> jvp(fcjax.tanh, (jnp.zeros(2),), (jnp.array([1.0, -3.0]),))
    (Array([0., 0.], dtype=float32), Array([ 1., -3.], dtype=float32))
    """
    primals, tangents = as_sequence("primals", primals), as_sequence("tangents", tangents)
    at = linearized(fun, primals, has_aux)
    dy = at.push(*tangents)
    return (at.value, dy, at.aux) if has_aux else (at.value, dy)


def linearize(fun: Function, *primals: Any, has_aux: bool = False) -> Any:
    """Value of `fun`, and its derivative as a linear function of the direction.

    As `jax.linearize`: for many directions at one point, `fun` runs once. The derivative is a
    pytree of the saved arrays, which `jit` and `vmap` can return.

    Args:
        fun: any function of arrays and pytrees.
        *primals: its arguments.
        has_aux: whether `fun` returns `(output, aux)`.

    Returns:
        `(y, f_jvp)`, or `(y, f_jvp, aux)`; f_jvp maps tangents, as in `jvp`, to that of y.

    Raises:
        TypeError, ValueError: as `jvp`; what concerns tangents and the linearity of rules, when the
            returned function is called.

    Source: Radul et al., You only linearize once: tangents transpose to gradients, POPL 2023.

    >>> import fcjax
    >>> import jax.numpy as jnp
    >>> y, f_jvp = linearize(fcjax.relu, jnp.array([-1.0, 2.0]))
    >>> f_jvp(jnp.array([5.0, 7.0]))
    Array([0., 7.], dtype=float32)
    """
    at = linearized(fun, primals, has_aux)
    return (at.value, at.push, at.aux) if has_aux else (at.value, at.push)
