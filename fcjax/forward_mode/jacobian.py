"""The Jacobian, one column per direction: `jacfwd`."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._arguments import describe
from .directions import is_inexact
from .linearization import Function, Linearization, linearized


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

    >>> import fcjax
    >>> import jax.numpy as jnp
    >>> jacfwd(fcjax.softmax)(jnp.zeros(2))
    Array([[ 0.25, -0.25],
           [-0.25,  0.25]], dtype=float32)
    """

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        positions = _positions(argnums, len(args))
        chosen = tuple(args[i] for i in positions)
        _require_real(chosen)

        def of_chosen(*chosen: Any) -> Any:
            by_position = dict(zip(positions, chosen, strict=True))
            return fun(*(by_position.get(i, arg) for i, arg in enumerate(args)), **kwargs)

        at = linearized(of_chosen, chosen, has_aux)
        result = _by_output(at, chosen, chosen[0] if isinstance(argnums, int) else chosen)
        return (result, at.aux) if has_aux else result

    return jacobian


def _positions(argnums: Any, count: int) -> tuple[int, ...]:
    """Return `argnums` as positions among `count` arguments, counted from the first."""
    several = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for i in several:
        if not -count <= i < count:
            raise ValueError(f"argnums must name one of the {count} arguments given, got {i}")
    return tuple(i % count for i in several)


def _require_real(chosen: tuple[Any, ...]) -> None:
    for leaf in jax.tree.leaves(chosen):
        if not is_inexact(leaf) or jnp.iscomplexobj(leaf):
            raise TypeError(
                f"argnums must name arguments of real floating-point arrays, got {describe(leaf)}"
            )


def _by_output(at: Linearization, chosen: tuple[Any, ...], like: Any) -> Any:
    """Return the outputs, each replaced by its Jacobian, which has the tree of `like`."""
    leaves, tree = jax.tree.leaves(chosen), jax.tree.structure(like)
    columns = iter(_columns(at, chosen))

    def of_output(y: Any) -> Any:
        return tree.unflatten(_split(next(columns) if is_inexact(y) else None, y, leaves))

    return jax.tree.map(of_output, at.value)


def _columns(at: Linearization, chosen: tuple[Any, ...]) -> Sequence[Array]:
    """Return the Jacobian of each floating-point output, its columns along the first axis."""
    leaves, tree = jax.tree.flatten(chosen)

    # only floating-point outputs: a tangent of dtype float0 has no batch
    def push(*units: Any) -> Any:
        return at.outputs.split(at.push(*tree.unflatten(units)))

    return jax.vmap(push)(*_unit_vectors(leaves))


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
    """Return the part of each leaf in the Jacobian of y; float0 where it has none."""
    shapes = [(*np.shape(y), *np.shape(leaf)) for leaf in leaves]
    if columns is None:
        return [np.zeros(shape, jax.dtypes.float0) for shape in shapes]
    ends = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
    parts = jnp.split(jnp.moveaxis(columns, 0, -1), ends, axis=-1)
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
