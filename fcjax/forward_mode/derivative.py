"""Derivatives along a direction: `jvp` and `linearize`."""

from collections.abc import Sequence

from .._arguments import check_tree
from .._types import Function, Tree
from .directions import as_sequence
from .linearization import linearized


def jvp(
    fun: Function, primals: Sequence[Tree], tangents: Sequence[Tree], has_aux: bool = False
) -> tuple[Tree, ...]:
    """Return the value of `fun` and its derivative along `tangents`, `J ẋ`.

    Like `jax.jvp`, but it also differentiates functions that contain `jax.custom_vjp` rules. It can
    be nested, for derivatives of higher order, and works under `jit`, `vmap`, `scan` and `grad`.

    Args:
        fun: any function of arrays and pytrees.
        primals: its arguments, a tuple or list.
        tangents: one tangent for each primal, with its tree, shapes and dtypes. The tangent of an
            integer, a boolean or a PRNG key is None or an array of dtype float0.
        has_aux: whether `fun` returns `(output, aux)`; aux is returned unchanged.

    Returns:
        `(y, dy)`, or `(y, dy, aux)`: the value, and its tangent with the same tree. The tangent of
        an output that is not floating-point has dtype float0.

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


def linearize(fun: Function, *primals: Tree, has_aux: bool = False) -> tuple[Tree, ...]:
    """Return the value of `fun`, and its derivative as a linear function of the tangents.

    Like `jax.linearize`: for many tangents at one point, `fun` is evaluated only once. The
    derivative is a pytree of the saved arrays, so `jit` and `vmap` can return it.

    Args:
        fun: any function of arrays and pytrees.
        *primals: its arguments.
        has_aux: whether `fun` returns `(output, aux)`.

    Returns:
        `(y, f_jvp)`, or `(y, f_jvp, aux)`; `f_jvp` maps tangents, as in `jvp`, to the tangent of y.

    Raises:
        TypeError, ValueError: as `jvp`. Errors about tangents and about the linearity of rules are
            raised when `f_jvp` is called.

    Source: Radul et al., You only linearize once: tangents transpose to gradients, POPL 2023.

    >>> import fcjax
    >>> import jax.numpy as jnp
    >>> y, f_jvp = linearize(fcjax.relu, jnp.array([-1.0, 2.0]))
    >>> f_jvp(jnp.array([5.0, 7.0]))
    Array([0., 7.], dtype=float32)
    """
    check_tree("primals", primals)
    at = linearized(fun, primals, has_aux)
    return (at.value, at.push, at.aux) if has_aux else (at.value, at.push)
