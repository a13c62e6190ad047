"""Products of second-derivative matrices with vectors: `hvp` and `gauss_newton_product`."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from .._arguments import as_array, check_tree, describe
from .._jax import is_array
from .._types import Function, Tree
from .directions import Directions, as_sequence, is_inexact
from .linearization import linearized
from .transpose import transposed


def hvp(fun: Function, primals: Sequence[Tree], tangents: Sequence[Tree]) -> tuple[Tree, ...]:
    """Return the product of the Hessian of a scalar function with a vector, `H v`.

    The Hessian is symmetric, so `H v = Hᵀ v`, which is the pullback of the gradient at v. This is
    reverse over reverse. It costs a few gradients, and works for every rule whose forward and
    backward functions can be differentiated in reverse mode, even if these call other rules.
    `jax.jvp` of `jax.grad`, forward over reverse, needs less memory but raises if the forward or
    backward function of a rule calls another rule.

    Args:
        fun: a function of arrays and pytrees that returns a real floating-point scalar.
        primals: its arguments, a tuple or list.
        tangents: v, one tangent for each argument, as in `jvp`.

    Returns:
        `H v`: a tuple with the trees of the primals, with float0 for leaves that are not
        differentiable.

    Raises:
        TypeError: `fun` does not return a real floating-point scalar, or a primal is complex; or as
            `jvp`.
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


def gauss_newton_product(model: Function, loss: Function, params: Tree, v: Tree) -> Tree:
    """Return the product of the Gauss-Newton matrix of a loss with a vector, `Jᵀ H_L J v`.

    `J` is the Jacobian of the model, and `H_L` the Hessian of the loss with respect to the output
    of the model. The Gauss-Newton matrix is the Hessian of the composed loss without the terms that
    contain second derivatives of the model. It is positive semi-definite for a convex loss.

    Args:
        model: maps the parameters to an output; both are arrays or pytrees.
        loss: maps the output to a real floating-point scalar.
        params: the parameters.
        v: the vector, with the tree, shapes and dtypes of `params`, like a tangent in `jvp`.

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
    check_tree("params", params)
    Directions.at(params).split(v, "v", "params")
    at = linearized(model, (params,))
    (curved,) = _hessian_product("loss", loss, (at.value,), (at.push(v),))
    (product,) = at.pull(curved)
    return product


def _hessian_product(
    name: str, fun: Function, primals: Sequence[Tree], tangents: Sequence[Tree]
) -> tuple[Tree, ...]:
    primals, tangents = as_sequence("primals", primals), as_sequence("tangents", tangents)
    for leaf in jax.tree.leaves(primals):
        if is_inexact(leaf) and jnp.iscomplexobj(as_array("primals", leaf)):
            raise TypeError(f"primals must be real, got {describe(leaf)}")
    directions = Directions.at(primals).split(tangents)
    at = linearized(_gradient(name, fun), primals)
    return at.pull(at.outputs.join(directions))


def _gradient(name: str, fun: Function) -> Function:
    """Return the gradient of a scalar function; raise TypeError at a rule that is not linear."""

    def gradient(*primals: Tree) -> tuple[Tree, ...]:
        at = linearized(fun, primals)
        _require_scalar(name, at.value)
        # the derivative of a nonlinear rule is not a second derivative of fun: raise here
        jax.eval_shape(
            lambda directions: transposed(at.pullback, at.outputs.types, directions),
            at.inputs.types,
        )
        return at.pull(jnp.ones_like(at.value))

    return gradient


def _require_scalar(name: str, y: Tree) -> None:
    if not is_inexact(y) or np.shape(y) != () or jnp.iscomplexobj(y):
        got = describe(y) if is_array(y) else type(y).__name__
        raise TypeError(f"{name} must return a real floating-point scalar, got {got}")
