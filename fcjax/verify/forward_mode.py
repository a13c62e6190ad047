"""Forward mode from hand-written backward rules: what `jax.custom_vjp` itself refuses.

A rule gives the pullback `dx = Jᵀ dy`, a linear map of dy. The transpose of a linear map is found
by JAX from its program, and the transpose of the pullback is `dy = J dx`: the derivative along dx,
computed by the hand-written rule.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .plain import without_rules

Function = Callable[..., Any]


def jvp(fun: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Value of `fun` and its derivative along `tangents`, `J ṫ`, through hand-written rules.

    As `jax.jvp`, and for functions that contain `jax.custom_vjp` rules too. It can be nested, and
    stands under `jit`, `vmap` and `grad`.

    Args:
        fun: any function of arrays and pytrees.
        primals: its arguments.
        tangents: one direction for each, with the tree, shapes and dtypes of the primal. Leaves
            that are no floating-point arrays have no direction; whatever stands there is ignored.

    Returns:
        The value, and a tangent with its tree. Outputs that are no floating-point arrays have a
        tangent of dtype float0.

    Raises:
        TypeError: trees or dtypes do not match, or a backward rule is not linear in its cotangent.
        ValueError: the numbers of arguments, or shapes, do not match.

    Source: Radul et al., You only linearize once: tangents transpose to gradients, POPL 2023.

    >>> import fcjax
    >>> jvp(fcjax.tanh, (jnp.zeros(2),), (jnp.array([1.0, -3.0]),))
    (Array([0., 0.], dtype=float32), Array([ 1., -3.], dtype=float32))
    """
    primals, tangents = tuple(primals), tuple(tangents)
    y, push = linearize(fun, *primals)
    return y, push(*tangents)


def linearize(fun: Function, *primals: Any) -> tuple[Any, Function]:
    """Value of `fun`, and its derivative as a linear function of the direction.

    As `jax.linearize`: where many directions are needed at one point, `fun` runs once.

    Args:
        fun: any function of arrays and pytrees.
        *primals: its arguments.

    Returns:
        The value, and the function that maps tangents, as in `jvp`, to the value's tangent.

    Raises:
        TypeError: as `jvp`, when the returned function is called.

    Source: Radul et al., You only linearize once: tangents transpose to gradients, POPL 2023.

    >>> import fcjax
    >>> y, push = linearize(fcjax.relu, jnp.array([-1.0, 2.0]))
    >>> push(jnp.array([5.0, 7.0]))
    Array([0., 7.], dtype=float32)
    """
    linear = _Linear(fun, primals)
    return linear.value, linear.push


class _Linear:
    """A function at a point: its value, and its derivative in both directions."""

    def __init__(self, fun: Function, primals: tuple[Any, ...]):
        leaves, self._tree = jax.tree.flatten(primals)
        self._leaves = leaves
        self._wrt = [i for i, leaf in enumerate(leaves) if _is_floating(leaf)]

        def of_floating(*xs: Array) -> tuple[tuple[Array, ...], Any]:
            filled = list(leaves)
            for i, x in zip(self._wrt, xs, strict=True):
                filled[i] = x
            outputs = fun(*jax.tree.unflatten(self._tree, filled))
            return tuple(y for y in jax.tree.leaves(outputs) if _is_floating(y)), outputs

        xs = [jnp.asarray(leaves[i]) for i in self._wrt]
        self._ys, self._pull, self.value = jax.vjp(of_floating, *xs, has_aux=True)

    def push(self, *tangents: Any) -> Any:
        """Return `J ṫ`."""
        directions = self._directions(tangents)
        if not self._ys:
            return self._tangent_of_value(())
        # rules inside of a backward rule have no transpose; the program that they stand for has
        transposed = jax.linear_transpose(without_rules(self._pull), self._ys)
        try:
            (dys,) = transposed(directions)
        except (NotImplementedError, AssertionError, TypeError, ValueError) as error:
            raise TypeError(
                "fun contains a backward rule that is not linear in its cotangent, or that JAX "
                f"cannot transpose: {error or type(error).__name__}"
            ) from error
        return self._tangent_of_value(dys)

    def pull(self, dy: Any) -> Any:
        """Return `Jᵀ dy`, with zeros for what is not differentiated by."""
        dys = tuple(leaf for leaf in jax.tree.leaves(dy) if _is_floating(leaf))
        filled: list[Any] = [_no_tangent(leaf) for leaf in self._leaves]
        for i, dx in zip(self._wrt, self._pull(dys), strict=True):
            filled[i] = dx
        return jax.tree.unflatten(self._tree, filled)

    def _directions(self, tangents: tuple[Any, ...]) -> tuple[Array, ...]:
        """Return the tangents of the floating-point leaves, checked."""
        leaves, tree = jax.tree.flatten(tangents, is_leaf=lambda leaf: leaf is None)
        nones = jax.tree.structure(
            jax.tree.unflatten(self._tree, self._leaves), is_leaf=lambda leaf: leaf is None
        )
        if tree not in (self._tree, nones):
            raise TypeError(f"tangents must have the tree of the primals, {self._tree}, got {tree}")
        leaves = [leaf for leaf in leaves if leaf is not None] if tree == nones else leaves
        return tuple(_direction(leaves[i], self._leaves[i]) for i in self._wrt)

    def _tangent_of_value(self, dys: Sequence[Array]) -> Any:
        remaining = iter(dys)
        return jax.tree.map(
            lambda y: next(remaining) if _is_floating(y) else _no_tangent(y), self.value
        )


def _direction(tangent: Any, primal: Any) -> Array:
    tangent, primal = jnp.asarray(tangent), jnp.asarray(primal)
    if tangent.shape != primal.shape:
        raise ValueError(
            f"a tangent must have the shape of its primal, {list(primal.shape)}, "
            f"got {list(tangent.shape)}"
        )
    if tangent.dtype != primal.dtype:
        raise TypeError(
            f"a tangent must have the dtype of its primal, {primal.dtype}, got {tangent.dtype}"
        )
    return tangent


def _is_floating(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    if dtype is None:
        return isinstance(leaf, float)
    return jnp.issubdtype(dtype, jnp.floating)


def _no_tangent(leaf: Any) -> Any:
    return np.zeros(np.shape(leaf), jax.dtypes.float0)


def jacfwd(fun: Function, argnums: int | Sequence[int] = 0) -> Function:
    """Return the function that computes the Jacobian of `fun`, column by column.

    As `jax.jacfwd`; better than reverse mode where outputs outnumber inputs.

    Args:
        fun: any function of arrays and pytrees.
        argnums: the position of the argument to differentiate by, or several.

    Returns:
        A function with the arguments of `fun`. Each floating-point output y is replaced by the
        tree of the argument (a tuple of them for several), whose leaf for x has shape
        `(*y.shape, *x.shape)`.

    Raises:
        TypeError: as `jvp`, when the returned function is called; or the argument has leaves that
            are no floating-point arrays.

    Source: the columns of J are its products with the unit vectors.

    >>> import fcjax
    >>> jacfwd(fcjax.softmax)(jnp.zeros(2))
    Array([[ 0.25, -0.25],
           [-0.25,  0.25]], dtype=float32)
    """

    def jacobian(*args: Any) -> Any:
        several = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        chosen = args[argnums] if isinstance(argnums, int) else tuple(args[i] for i in several)

        def of_chosen(chosen: Any) -> Any:
            filled = list(args)
            for i, arg in zip(
                several, (chosen,) if isinstance(argnums, int) else chosen, strict=True
            ):
                filled[i] = arg
            return fun(*filled)

        leaves, tree = jax.tree.flatten(chosen)
        if not all(map(_is_floating, leaves)):
            raise TypeError("argnums must name arguments of floating-point arrays")
        y, push = linearize(of_chosen, chosen)
        columns = jax.vmap(lambda *units: push(jax.tree.unflatten(tree, units)))(*_units(leaves))
        return jax.tree.map(lambda y, c: _split(c, y, leaves, tree), y, columns)

    return jacobian


def _units(leaves: Sequence[Any]) -> list[Array]:
    """Return the unit vectors of all leaves together, as a batch of tangents for each leaf."""
    arrays = [jnp.asarray(leaf) for leaf in leaves]
    total, start, units = sum(array.size for array in arrays), 0, []
    for array in arrays:
        block = jnp.eye(total, array.size, -start, array.dtype)
        units.append(block.reshape(total, *array.shape))
        start += array.size
    return units


def _split(columns: Any, y: Any, leaves: Sequence[Any], tree: Any) -> Any:
    """Return the part of each leaf in the Jacobian of y, whose columns lie along the first axis."""
    if not _is_floating(y):
        return columns
    jacobian = jnp.moveaxis(columns, 0, -1)
    ends = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
    parts = jnp.split(jacobian, ends, axis=-1)
    shaped = [
        part.reshape(*np.shape(y), *np.shape(leaf))
        for part, leaf in zip(parts, leaves, strict=True)
    ]
    return jax.tree.unflatten(tree, shaped)


def hvp(fun: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Hessian of a scalar function times a vector, `H v`, through hand-written rules.

    The Hessian is symmetric, so that `H v = Hᵀ v`, which is the pullback of the gradient at v:
    reverse over reverse, which needs nothing of a rule but that it can be differentiated again.

    Args:
        fun: a function of arrays and pytrees that returns a floating-point scalar.
        primals: its arguments.
        tangents: v, one for each argument, as in `jvp`.

    Returns:
        `H v`: a tuple with the trees of the primals, float0 for what is not differentiated by.

    Raises:
        TypeError: `fun` does not return a floating-point scalar; or as `jvp`.
        ValueError: as `jvp`.

    Source: Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6 (1994).

    >>> import fcjax
    >>> def loss(w):
    ...     return fcjax.half_squared_error(w, jnp.zeros(2), reduction="sum")
    >>> hvp(loss, (jnp.ones(2),), (jnp.array([3.0, 4.0]),))
    (Array([3., 4.], dtype=float32),)
    """
    primals, tangents = tuple(primals), tuple(tangents)

    def gradient(*primals: Any) -> Any:
        linear = _Linear(fun, primals)
        y = linear.value
        if not _is_floating(y) or np.shape(y) != ():
            got = f"{y.dtype}{list(y.shape)}" if hasattr(y, "shape") else type(y).__name__
            raise TypeError(f"fun must return a floating-point scalar, got {got}")
        return linear.pull(jnp.ones_like(y))

    linear = _Linear(gradient, primals)
    directions = linear._directions(tangents)
    filled = list(jax.tree.leaves(linear.value))
    for i, direction in zip(linear._wrt, directions, strict=True):
        filled[i] = direction
    return linear.pull(jax.tree.unflatten(jax.tree.structure(linear.value), filled))


def gauss_newton_product(model: Function, loss: Function, params: Any, v: Any) -> Any:
    """Gauss-Newton matrix of a loss times a vector, `Jᵀ H_L J v`.

    `J` is the Jacobian of the model, `H_L` the Hessian of the loss by the model's output. The
    matrix is that of the whole loss without the model's second derivatives, and positive
    semi-definite for a convex loss.

    Args:
        model: maps parameters to an output, arrays or pytrees.
        loss: maps the output to a floating-point scalar.
        params: the parameters.
        v: the vector, with their tree, shapes and dtypes.

    Returns:
        The product, with the tree of `params`.

    Raises:
        TypeError: as `jvp` and `hvp`.
        ValueError: as `jvp`.

    Source: Schraudolph, Fast curvature matrix-vector products for second-order gradient descent,
    Neural Computation 14 (2002).

    >>> def model(w):
    ...     return jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]) @ w
    >>> def loss(y):
    ...     return 0.5 * jnp.sum(y**2)
    >>> gauss_newton_product(model, loss, jnp.zeros(2), jnp.array([1.0, 0.0]))
    Array([35., 44.], dtype=float32)
    """
    linear = _Linear(model, (params,))
    (curved,) = hvp(loss, (linear.value,), (linear.push(v),))
    (product,) = linear.pull(curved)
    return product
