"""Forward mode from hand-written backward rules: what `jax.custom_vjp` itself refuses.

A rule gives the pullback `dx = Jᵀ dy`, a linear map of dy. JAX finds the transpose of a linear map
from its program, and the transpose of the pullback is `ẏ = J ẋ`: the derivative along ẋ, computed
by the hand-written rule.

What cannot be had in this way:

- the derivative through `lax.while_loop`, or `fori_loop` with bounds that are not constants, which
  have no reverse mode (ValueError);
- that of a backward rule that is not linear in its cotangent, such as one that clips it, or that
  JAX cannot transpose, such as one that calls back to Python (TypeError);
- the constant part of a rule that is affine, `dx = Jᵀ dy + c`: the result is `J ẋ`, without a
  word about c. `fcjax.check_rule` tells.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core

from ._arguments import describe
from ._jaxpr import Flags, put_in_line

Function = Callable[..., Any]


def jvp(fun: Function, primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """Value of `fun` and its derivative along `tangents`, `J ẋ`, through hand-written rules.

    As `jax.jvp`, and for functions that contain `jax.custom_vjp` rules too. It can be nested, for
    derivatives of higher order, and stands under `jit`, `vmap`, `scan` and `grad`.

    Args:
        fun: any function of arrays and pytrees.
        primals: its arguments, a tuple or list.
        tangents: one direction for each, with the tree, shapes and dtypes of the primal; None or
            an array of dtype float0 for integers, booleans and PRNG keys, which have none.
        has_aux: whether `fun` returns `(output, aux)`, aux being left alone.

    Returns:
        `(y, dy)`, or `(y, dy, aux)`: the value, and a tangent with its tree. Outputs that are no
        floating-point arrays have a tangent of dtype float0.

    Raises:
        TypeError: trees or dtypes do not match, or a backward rule is not linear in its cotangent.
        ValueError: shapes do not match, or `fun` has no derivative in reverse mode.

    Source: Radul et al., You only linearize once: tangents transpose to gradients, POPL 2023.

    >>> import fcjax
    >>> jvp(fcjax.tanh, (jnp.zeros(2),), (jnp.array([1.0, -3.0]),))
    (Array([0., 0.], dtype=float32), Array([ 1., -3.], dtype=float32))
    """
    primals, tangents = _sequence("primals", primals), _sequence("tangents", tangents)
    at = _differentiate(fun, primals, has_aux)
    dy = at.push(*tangents)
    return (at.value, dy, at.aux) if has_aux else (at.value, dy)


def linearize(fun: Function, *primals: Any, has_aux: bool = False) -> Any:
    """Value of `fun`, and its derivative as a linear function of the direction.

    As `jax.linearize`: where many directions are needed at one point, `fun` runs once. The
    derivative is a pytree of the saved arrays, which `jit` and `vmap` can return.

    Args:
        fun: any function of arrays and pytrees.
        *primals: its arguments.
        has_aux: whether `fun` returns `(output, aux)`.

    Returns:
        `(y, f_jvp)`, or `(y, f_jvp, aux)`; f_jvp maps tangents, as in `jvp`, to that of y.

    Raises:
        TypeError, ValueError: as `jvp`; what concerns tangents and their rules when the returned
            function is called.

    Source: Radul et al., You only linearize once: tangents transpose to gradients, POPL 2023.

    >>> import fcjax
    >>> y, f_jvp = linearize(fcjax.relu, jnp.array([-1.0, 2.0]))
    >>> f_jvp(jnp.array([5.0, 7.0]))
    Array([0., 7.], dtype=float32)
    """
    at = _differentiate(fun, primals, has_aux)
    return (at.value, at.push, at.aux) if has_aux else (at.value, at.push)


def jacfwd(fun: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """Return the function that computes the Jacobian of `fun`, column by column.

    As `jax.jacfwd`; better than reverse mode where outputs outnumber inputs.

    Args:
        fun: any function of arrays and pytrees.
        argnums: the position of the argument to differentiate by, or several.
        has_aux: whether `fun` returns `(output, aux)`.

    Returns:
        A function with the arguments of `fun`. Each output y is replaced by the tree of the
        argument (a tuple of them for several), whose leaf for x has shape `(*y.shape, *x.shape)`;
        with `has_aux`, a pair of this and aux.

    Raises:
        TypeError: as `jvp`, when the returned function is called; or an argument that is to be
            differentiated by has leaves that are not real floating-point arrays.
        ValueError: as `jvp`; or `argnums` names an argument that was not given.

    Source: the columns of J are its products with the unit vectors.

    >>> import fcjax
    >>> jacfwd(fcjax.softmax)(jnp.zeros(2))
    Array([[ 0.25, -0.25],
           [-0.25,  0.25]], dtype=float32)
    """

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        several = _positions(argnums, len(args))

        def of_chosen(*chosen: Any) -> Any:
            by_position = dict(zip(several, chosen, strict=True))
            return fun(*(by_position.get(i, arg) for i, arg in enumerate(args)), **kwargs)

        chosen = tuple(args[i] for i in several)
        leaves, tree = jax.tree.flatten(chosen)
        for leaf in leaves:
            if not _is_inexact(leaf) or jnp.iscomplexobj(leaf):
                raise TypeError(
                    "argnums must name arguments of real floating-point arrays, "
                    f"got {describe(leaf)}"
                )
        at = _differentiate(of_chosen, chosen, has_aux)
        # a tangent of dtype float0 has no batch: what has no derivative is filled in afterwards
        columns = jax.vmap(lambda *units: at.outputs.split(at.push(*tree.unflatten(units))))
        jacobians = iter(columns(*_unit_vectors(leaves)))

        def of_output(y: Any) -> Any:
            parts = _split(next(jacobians) if _is_inexact(y) else None, y, leaves)
            by_argument = tree.unflatten(parts)
            return by_argument[0] if isinstance(argnums, int) else by_argument

        result = jax.tree.map(of_output, at.value)
        return (result, at.aux) if has_aux else result

    return jacobian


def hvp(fun: Function, primals: Any, tangents: Any) -> Any:
    """Hessian of a scalar function times a vector, `H v`, through hand-written rules.

    The Hessian is symmetric, so that `H v = Hᵀ v`, which is the pullback of the gradient at v.
    This is reverse over reverse: it costs a few gradients, and asks nothing of a rule but that its
    two halves can be differentiated in turn, whatever other rules they call. `jax.jvp` of
    `jax.grad`, forward over reverse, saves less in memory, but raises at a rule inside of a rule.

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
    >>> def loss(w):
    ...     return fcjax.half_squared_error(w, jnp.zeros(2), reduction="sum")
    >>> hvp(loss, (jnp.ones(2),), (jnp.array([3.0, 4.0]),))
    (Array([3., 4.], dtype=float32),)
    """
    return _hessian_product("fun", fun, primals, tangents)


def gauss_newton_product(model: Function, loss: Function, params: Any, v: Any) -> Any:
    """Gauss-Newton matrix of a loss times a vector, `Jᵀ H_L J v`.

    `J` is the Jacobian of the model, `H_L` the Hessian of the loss by the model's output. The
    matrix is that of the whole loss without the model's second derivatives, and positive
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

    >>> def model(w):
    ...     return jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]) @ w
    >>> def loss(y):
    ...     return 0.5 * jnp.sum(y**2)
    >>> gauss_newton_product(model, loss, jnp.zeros(2), jnp.array([1.0, 0.0]))
    Array([35., 44.], dtype=float32)
    """
    _Directions.at(params).split(v, "v", "params")
    at = _differentiate(model, (params,))
    (curved,) = _hessian_product("loss", loss, (at.value,), (at.push(v),))
    (product,) = at.pull(curved)
    return product


class _Directions:
    """The directions at a point, a tree in which some leaves are floating-point and some not."""

    def __init__(self, tree: Any, leaves: Sequence[Any], paths: Sequence[str]):
        self.tree, self.leaves, self.paths = tree, tuple(leaves), tuple(paths)

    @classmethod
    def at(cls, point: Any) -> "_Directions":
        """Keep what a tree has for leaves: the type of floating-point arrays, else a shape."""
        found, tree = jax.tree.flatten_with_path(point, is_leaf=_is_none)
        types = [jax.typeof(jnp.asarray(v)) if _is_inexact(v) else _Fixed.at(v) for _, v in found]
        return cls(tree, types, [jax.tree_util.keystr(path) for path, _ in found])

    @property
    def types(self) -> tuple[Any, ...]:
        """The types of the floating-point leaves."""
        return tuple(kind for kind in self.leaves if not isinstance(kind, _Fixed))

    def split(
        self, tangents: Any, name: str = "tangents", of: str = "the primals"
    ) -> tuple[Any, ...]:
        """Return the directions of the floating-point leaves, all of them checked."""
        leaves, tree = jax.tree.flatten(tangents, is_leaf=_is_none)
        if tree != self.tree:
            raise TypeError(f"{name} must have the tree of {of}, {self.tree}, got {tree}")
        directions = []
        for path, leaf, kind in zip(self.paths, leaves, self.leaves, strict=True):
            primal = of.removeprefix("the ") + path
            if not isinstance(kind, _Fixed):
                directions.append(_direction(name + path, leaf, primal, kind))
            elif leaf is not None and getattr(leaf, "dtype", None) != jax.dtypes.float0:
                raise TypeError(
                    f"{name}{path} must be None or of dtype float0, because {primal}, "
                    f"{kind.description}, has no direction; got {describe(leaf)}"
                )
        return tuple(directions)

    def join(self, directions: Sequence[Any]) -> Any:
        """Return the tree with these directions, and float0 for the other arrays."""
        remaining = iter(directions)
        return self.tree.unflatten(
            kind.tangent() if isinstance(kind, _Fixed) else next(remaining) for kind in self.leaves
        )


class _Fixed(NamedTuple):
    """A leaf that is not differentiated by: an array of another dtype, None, a name."""

    shape: tuple[int, ...] | None
    description: str

    @classmethod
    def at(cls, leaf: Any) -> "_Fixed":
        is_array = _is_array(leaf)
        shape = np.shape(leaf) if is_array or isinstance(leaf, int) else None
        return cls(shape, describe(leaf) if is_array else type(leaf).__name__)

    def tangent(self) -> Any:
        return None if self.shape is None else np.zeros(self.shape, jax.dtypes.float0)


class _Differentiated(NamedTuple):
    """A function at a point: its value, and its derivative in both directions."""

    value: Any
    aux: Any
    inputs: _Directions
    outputs: _Directions
    pullback: Function

    @property
    def push(self) -> Function:
        """The function `ẋ ↦ J ẋ`, as a pytree of what the backward rules have saved."""
        inputs, outputs = self.inputs, self.outputs

        def f_jvp(pullback: Function, *tangents: Any) -> Any:
            return outputs.join(_transposed(pullback, outputs, inputs.split(tangents)))

        return jax.tree_util.Partial(f_jvp, self.pullback)

    def pull(self, dy: Any) -> Any:
        """Return `Jᵀ dy`."""
        return self.inputs.join(self.pullback(self.outputs.split(dy)))


def _differentiate(
    fun: Function, primals: tuple[Any, ...], has_aux: bool = False
) -> _Differentiated:
    if not callable(fun):
        raise TypeError(f"fun must be a function, got {describe(fun)}")
    leaves, tree = jax.tree.flatten(primals)
    by = [i for i, leaf in enumerate(leaves) if _is_inexact(leaf)]

    def of_floating(*xs: Array) -> tuple[tuple[Any, ...], Any]:
        filled = list(leaves)
        for i, x in zip(by, xs, strict=True):
            filled[i] = x
        result = fun(*tree.unflatten(filled))
        value, aux = _pair(result) if has_aux else (result, None)
        return tuple(y for y in jax.tree.leaves(value) if _is_inexact(y)), (value, aux)

    xs = [jnp.asarray(leaves[i]) for i in by]
    try:
        _, pullback, (value, aux) = jax.vjp(of_floating, *xs, has_aux=True)
    except ValueError as error:
        if not _lacks_reverse_mode(error):
            raise
        raise ValueError(_NO_REVERSE_MODE + str(error)) from error
    return _Differentiated(value, aux, _Directions.at(primals), _Directions.at(value), pullback)


_NO_REVERSE_MODE = (
    "fun must have a derivative in reverse mode, from which the one in forward mode is taken: "
)
_NOT_LINEAR = (
    "fun contains a backward rule that is not linear in its cotangent, or that JAX cannot "
    "transpose{}; fcjax.check_rule tells which argument is wrong"
)


def _transposed(
    pullback: Function, outputs: _Directions, directions: tuple[Any, ...]
) -> tuple[Any, ...]:
    """Return `J ẋ` for a pullback `dy ↦ Jᵀ dy`."""
    ys = outputs.types
    if not ys or not directions:
        return tuple(jnp.zeros(y.shape, y.dtype) for y in ys)
    try:
        transpose = jax.linear_transpose(_with_rules_in_line(pullback), ys)
        (dys,) = transpose(directions)
    except ValueError as error:
        if not _lacks_reverse_mode(error):
            raise TypeError(_NOT_LINEAR.format(_reason(error))) from error
        raise ValueError(_NO_REVERSE_MODE + str(error)) from error
    except jax.errors.JaxRuntimeError:  # of the device: out of memory, and the like
        raise
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        raise TypeError(_NOT_LINEAR.format(_reason(error))) from error
    return dys


def _with_rules_in_line(pullback: Function) -> Function:
    """Return `pullback` with each rule that depends on the cotangent replaced by its primal.

    A rule has no transpose; the program that it stands for has. Rules that depend on nothing but
    the residuals stay, so that their derivative by these is still the hand-written one.
    """

    def in_line(*cotangents: Any) -> Any:
        program, result = jax.make_jaxpr(pullback, return_shape=True)(*cotangents)
        leaves = jax.tree.leaves(cotangents)
        changed = put_in_line(program, _is_a_rule, [True] * len(leaves))
        outputs = core.jaxpr_as_fun(changed)(*leaves)
        return jax.tree.unflatten(jax.tree.structure(result), outputs)

    return in_line


def _is_a_rule(equation: Any, flags: Flags) -> bool:
    if equation.primitive.name == "stop_gradient" and flags is not None:
        # a transpose for it, that of the identity, comes with some other packages
        raise TypeError("lax.stop_gradient of the cotangent")
    if equation.primitive.name == "convert_element_type" and flags is not None:
        dtype = equation.outvars[0].aval.dtype
        if not jnp.issubdtype(dtype, jnp.inexact):
            # JAX takes the derivative of this for zero, and says nothing
            raise TypeError(f"the cotangent is converted to {dtype}")
    return equation.primitive.name == "custom_vjp_call"


def _lacks_reverse_mode(error: ValueError) -> bool:
    """Whether JAX says so, and not jvp already where it is nested."""
    return "everse-mode" in str(error) and _NO_REVERSE_MODE not in str(error)


def _reason(error: Exception) -> str:
    """Return what JAX says of a program without a transpose; its assertions say nothing."""
    return "" if isinstance(error, AssertionError) or not str(error) else f" ({error})"


def _hessian_product(name: str, fun: Function, primals: Any, tangents: Any) -> Any:
    primals, tangents = _sequence("primals", primals), _sequence("tangents", tangents)
    for leaf in jax.tree.leaves(primals):
        if _is_inexact(leaf) and jnp.iscomplexobj(leaf):
            raise TypeError(f"primals must be real, got {describe(leaf)}")

    def gradient(*primals: Any) -> Any:
        at = _differentiate(fun, primals)
        y = at.value
        if not _is_inexact(y) or np.shape(y) != () or jnp.iscomplexobj(y):
            got = describe(y) if _is_array(y) else type(y).__name__
            raise TypeError(f"{name} must return a real floating-point scalar, got {got}")
        # a rule that is not linear has a second derivative, but not that of fun: it is refused
        jax.eval_shape(partial(_transposed, at.pullback, at.outputs), at.inputs.types)
        return at.pull(jnp.ones_like(y))

    directions = _Directions.at(primals).split(tangents)
    at = _differentiate(gradient, primals)
    return at.pull(at.outputs.join(directions))


def _direction(name: str, tangent: Any, primal_name: str, primal: Any) -> Any:
    if not _is_array(tangent) and not isinstance(tangent, int | float | complex):
        raise TypeError(f"{name} must be an array like {primal_name}, got {describe(tangent)}")
    if np.shape(tangent) != primal.shape:
        raise ValueError(
            f"{name} must have the shape of {primal_name}, {list(primal.shape)}, "
            f"got {describe(tangent)}"
        )
    array = None if _dtype(tangent) == jax.dtypes.float0 else jnp.asarray(tangent)
    if array is None or array.dtype != primal.dtype:
        raise TypeError(
            f"{name} must have the dtype of {primal_name}, {primal.dtype}, got {describe(tangent)}"
        )
    return array


def _unit_vectors(leaves: Sequence[Any]) -> list[Array]:
    """Return the unit vectors of all leaves together, as a batch of tangents for each leaf."""
    arrays = [jnp.asarray(leaf) for leaf in leaves]
    total, start, units = sum(array.size for array in arrays), 0, []
    for array in arrays:
        block = jnp.eye(total, array.size, -start, array.dtype)
        units.append(block.reshape(total, *array.shape))
        start += array.size
    return units


def _split(columns: Array | None, y: Any, leaves: Sequence[Any]) -> list[Any]:
    """Return the part of each leaf in the Jacobian of y, whose columns lie along the first axis."""
    shapes = [(*np.shape(y), *np.shape(leaf)) for leaf in leaves]
    if columns is None:
        return [np.zeros(shape, jax.dtypes.float0) for shape in shapes]
    ends = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
    parts = jnp.split(jnp.moveaxis(columns, 0, -1), ends, axis=-1)
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _positions(argnums: Any, count: int) -> tuple[int, ...]:
    """Return `argnums` as positions among `count` arguments, counted from the first."""
    several = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for i in several:
        if not -count <= i < count:
            raise ValueError(f"argnums must name one of the {count} arguments given, got {i}")
    return tuple(i % count for i in several)


def _sequence(name: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple | list):
        raise TypeError(
            f"{name} must be a tuple or list, one item per argument, got {describe(value)}"
        )
    return tuple(value)


def _pair(result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            f"fun must return a pair (output, aux) where has_aux is True, got {describe(result)}"
        )
    return result


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if _is_array(leaf) else None


def _is_inexact(leaf: Any) -> bool:
    """Whether a leaf has a derivative: floating-point or complex, an array or a number."""
    if _is_array(leaf):
        return jnp.issubdtype(leaf.dtype, jnp.inexact)
    return isinstance(leaf, float | complex)


def _is_none(leaf: Any) -> bool:
    return leaf is None
