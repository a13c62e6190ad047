"""The Jacobian, computed column by column: `jacfwd`."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from .._arguments import brief, check_function, check_tree, describe
from .._types import Function, Tree
from .directions import is_inexact
from .linearization import Linearization, linearized


def jacfwd(fun: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """Return the function that computes the Jacobian of `fun`, column by column.

    Like `jax.jacfwd`. It is cheaper than reverse mode if there are more outputs than inputs.

    Args:
        fun: any function of arrays and pytrees.
        argnums: the position, or positions, of the arguments to differentiate with respect to.
        has_aux: whether `fun` returns `(output, aux)`.

    Returns:
        A function with the arguments of `fun`. It returns the tree of outputs with each output y
        replaced by the tree of the chosen argument (a tuple of trees for several). There, the leaf
        for x has shape `(*y.shape, *x.shape)`. With `has_aux`, it returns a pair of this and aux.

    Raises:
        TypeError: `fun` is not a function, or `argnums` is not one integer or several. When the
            returned function is called: as `jvp`; or a chosen argument has leaves that are not real
            floating-point arrays.
        ValueError: as `jvp`; or there is no argument at a position in `argnums`, or one occurs
            twice.

    >>> import fcjax
    >>> import jax.numpy as jnp
    >>> jacfwd(fcjax.softmax)(jnp.zeros(2))
    Array([[ 0.25, -0.25],
           [-0.25,  0.25]], dtype=float32)
    """
    check_function("fun", fun)
    several = _several(argnums)

    def jacobian(*args: Tree, **kwargs: Tree) -> Tree:
        positions = _positions(several, len(args))
        chosen = tuple(args[i] for i in positions)
        for i, arg in zip(positions, chosen, strict=True):
            check_tree(f"argument {i} of fun", arg)
        _require_real(chosen)

        def of_chosen(*chosen: Tree) -> Tree:
            by_position = dict(zip(positions, chosen, strict=True))
            return fun(*(by_position.get(i, arg) for i, arg in enumerate(args)), **kwargs)

        at = linearized(of_chosen, chosen, has_aux)
        result = _by_output(at, chosen, chosen[0] if isinstance(argnums, int) else chosen)
        return (result, at.aux) if has_aux else result

    return jacobian


def _several(argnums: Any) -> tuple[int, ...]:
    """Return `argnums` as a tuple, or raise TypeError unless it is one integer or several."""
    several = tuple(argnums) if isinstance(argnums, tuple | list) else (argnums,)
    if not several or any(not isinstance(i, int) or isinstance(i, bool) for i in several):
        raise TypeError(f"argnums must be an integer or several, got {describe(argnums)}")
    return several


def _positions(argnums: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Return `argnums` as non-negative positions among `count` arguments."""
    for i in argnums:
        if not -count <= i < count:
            raise ValueError(
                f"argnums must name one of the {count} arguments given, got {brief(i)}"
            )
    positions = tuple(i % count for i in argnums)
    if len(set(positions)) < len(positions):
        raise ValueError(f"argnums must name different arguments, got {brief(argnums)}")
    return positions


def _require_real(chosen: tuple[Tree, ...]) -> None:
    for leaf in jax.tree.leaves(chosen):
        if not is_inexact(leaf) or jnp.iscomplexobj(leaf):
            raise TypeError(
                f"argnums must name arguments of real floating-point arrays, got {describe(leaf)}"
            )


def _by_output(at: Linearization, chosen: tuple[Tree, ...], like: Tree) -> Tree:
    """Return the outputs, each replaced by its Jacobian with the tree of `like`."""
    leaves, tree = jax.tree.leaves(chosen), jax.tree.structure(like)
    columns = iter(_columns(at, chosen))

    def of_output(y: Tree) -> Tree:
        return tree.unflatten(_split(next(columns) if is_inexact(y) else None, y, leaves))

    return jax.tree.map(of_output, at.value)


def _columns(at: Linearization, chosen: tuple[Tree, ...]) -> Sequence[Array]:
    """Return the Jacobian of each floating-point output, with its columns along the first axis."""
    leaves, tree = jax.tree.flatten(chosen)

    # only floating-point outputs, because vmap cannot batch a tangent of dtype float0
    def push(*units: Array) -> tuple[Array, ...]:
        return at.outputs.split(at.push(*tree.unflatten(units)))

    return jax.vmap(push)(*_unit_vectors(leaves))


def _unit_vectors(leaves: Sequence[ArrayLike]) -> list[Array]:
    """Return the unit vectors of the concatenated leaves, as a batch of tangents for each leaf."""
    arrays = [jnp.asarray(leaf) for leaf in leaves]
    total, start = sum(array.size for array in arrays), 0
    units: list[Array] = []
    for array in arrays:
        block = jnp.eye(total, array.size, -start, array.dtype)
        units.append(block.reshape(total, *array.shape))
        start += array.size
    return units


def _split(
    columns: Array | None, y: ArrayLike, leaves: Sequence[ArrayLike]
) -> Sequence[Array | np.ndarray]:
    """Return the block of each leaf in the Jacobian of y; float0 if y is not floating-point."""
    shapes = [(*np.shape(y), *np.shape(leaf)) for leaf in leaves]
    if columns is None:
        return [np.zeros(shape, jax.dtypes.float0) for shape in shapes]
    ends = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
    parts = jnp.split(jnp.moveaxis(columns, 0, -1), ends, axis=-1)
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
