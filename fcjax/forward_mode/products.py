"""Products with matrices of second derivatives: `hvp` and `gauss_newton_product`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._arguments import describe
from .._jax import is_array
from .directions import Directions, as_sequence, is_inexact
from .linearization import Function, linearized
from .transpose import transposed


def hvp(fun: Function, primals: Any, tangents: Any) -> Any:
    """Hessian of a scalar function times a vector, `H v`, through hand-written rules.

    The Hessian is symmetric, so that `H v = Hᵀ v`, which is the pullback of the gradient at v.
    This is reverse over reverse: it costs a few gradients, and asks nothing of a rule but that its
    two halves can be differentiated in turn, whatever other rules they call. `jax.jvp` of
    `jax.grad`, forward over reverse, needs less memory, but raises at a rule inside of a rule.

    Args:
        fun: a function of arrays and pytrees that returns a real floating-point scalar.
        primals: its arguments, a tuple or list.
        tangents: v, one for each argument, as in `jvp`.

    Returns:
        `H v`: a tuple with the trees of the primals, float0 for what is not differentiated by.

    Raises:
        TypeError: `fun` does not return a floating-point scalar, a primal is complex; or as `jvp`.
        ValueError: as `jvp`.

    Source: Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6 (1994).

    >>> import fcjax
    >>> import jax.numpy as jnp
    >>> def loss(w):
    ...     return fcjax.half_squared_error(w, jnp.zeros(2), reduction="sum")
    >>> hvp(loss, (jnp.ones(2),), (jnp.array([3.0, 4.0]),))
    (Array([3., 4.], dtype=float32),)
    """
    return _hessian_product("fun", fun, primals, tangents)


def gauss_newton_product(model: Function, loss: Function, params: Any, v: Any) -> Any:
    """Gauss-Newton matrix of a loss times a vector, `Jᵀ H_L J v`.

    `J` is the Jacobian of the model, `H_L` the Hessian of the loss by the model's output. The
    matrix is the Hessian of the whole loss without the model's second derivatives, and positive
    semi-definite for a convex loss.

    Args:
        model: maps parameters to an output, arrays or pytrees.
        loss: maps the output to a real floating-point scalar.
        params: the parameters.
        v: the vector, with their tree, shapes and dtypes, as a tangent in `jvp`.

    Returns:
        The product, with the tree of `params`.

    Raises:
        TypeError, ValueError: as `jvp` and `hvp`.

    Source: Schraudolph, Fast curvature matrix-vector products for second-order gradient descent,
    Neural Computation 14 (2002).

    >>> import jax.numpy as jnp
    >>> def model(w):
    ...     return jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]) @ w
    >>> def loss(y):
    ...     return 0.5 * jnp.sum(y**2)
    >>> gauss_newton_product(model, loss, jnp.zeros(2), jnp.array([1.0, 0.0]))
    Array([35., 44.], dtype=float32)
    """
    Directions.at(params).split(v, "v", "params")
    at = linearized(model, (params,))
    (curved,) = _hessian_product("loss", loss, (at.value,), (at.push(v),))
    (product,) = at.pull(curved)
    return product


def _hessian_product(name: str, fun: Function, primals: Any, tangents: Any) -> Any:
    primals, tangents = as_sequence("primals", primals), as_sequence("tangents", tangents)
    for leaf in jax.tree.leaves(primals):
        if is_inexact(leaf) and jnp.iscomplexobj(leaf):
            raise TypeError(f"primals must be real, got {describe(leaf)}")
    directions = Directions.at(primals).split(tangents)
    at = linearized(_gradient(name, fun), primals)
    return at.pull(at.outputs.join(directions))


def _gradient(name: str, fun: Function) -> Function:
    """Return the gradient of a scalar function, whose backward rules must be linear."""

    def gradient(*primals: Any) -> Any:
        at = linearized(fun, primals)
        _require_scalar(name, at.value)
        # a rule that is not linear has a derivative of its own, but not the second one of fun
        jax.eval_shape(
            lambda directions: transposed(at.pullback, at.outputs.types, directions),
            at.inputs.types,
        )
        return at.pull(jnp.ones_like(at.value))

    return gradient


def _require_scalar(name: str, y: Any) -> None:
    if not is_inexact(y) or np.shape(y) != () or jnp.iscomplexobj(y):
        got = describe(y) if is_array(y) else type(y).__name__
        raise TypeError(f"{name} must return a real floating-point scalar, got {got}")
