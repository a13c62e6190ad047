"""Validation of tangents: one for each floating-point leaf of the primals."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._arguments import check_tree, describe
from .._jax import ShapedArray, has_dtype, is_array
from .._types import Tree


class Directions:
    """The form of the tangents at a point, whose leaves may be floating-point or not."""

    # JAX does not declare the type of the structure of a tree.
    def __init__(self, tree: Any, leaves: "Sequence[ShapedArray | Fixed]", paths: Sequence[str]):
        self.tree, self.leaves, self.paths = tree, tuple(leaves), tuple(paths)

    @classmethod
    def at(cls, point: Tree) -> "Directions":
        """Return the directions at `point`."""
        found, tree = jax.tree.flatten_with_path(point, is_leaf=_is_none)
        types = [jax.typeof(jnp.asarray(v)) if is_inexact(v) else Fixed.at(v) for _, v in found]
        return cls(tree, types, [jax.tree_util.keystr(path) for path, _ in found])

    @property
    def types(self) -> tuple[ShapedArray, ...]:
        """The types of the floating-point leaves."""
        return tuple(kind for kind in self.leaves if not isinstance(kind, Fixed))

    def split(
        self, tangents: Tree, name: str = "tangents", of: str = "the primals"
    ) -> tuple[Array, ...]:
        """Check `tangents`, and return those of the floating-point leaves."""
        check_tree(name, tangents)
        leaves, tree = jax.tree.flatten(tangents, is_leaf=_is_none)
        if tree != self.tree:
            raise TypeError(f"{name} must have the tree of {of}, {self.tree}, got {tree}")
        directions: list[Array] = []
        for path, leaf, kind in zip(self.paths, leaves, self.leaves, strict=True):
            primal = of.removeprefix("the ") + path
            if isinstance(kind, Fixed):
                kind.require_no_direction(name + path, leaf, primal)
            else:
                directions.append(_direction(name + path, leaf, primal, kind))
        return tuple(directions)

    def join(self, directions: Sequence[Array]) -> Tree:
        """Return the tree with these tangents, and with float0 for the other arrays."""
        remaining = iter(directions)
        return self.tree.unflatten(
            kind.tangent() if isinstance(kind, Fixed) else next(remaining) for kind in self.leaves
        )


class Fixed(NamedTuple):
    """A leaf that is not differentiable: an array of integers or keys, None, a name."""

    shape: tuple[int, ...] | None
    description: str

    @classmethod
    def at(cls, leaf: object) -> "Fixed":
        """Return the description of a leaf."""
        shape = np.shape(leaf) if is_array(leaf) or isinstance(leaf, int) else None
        return cls(shape, describe(leaf) if is_array(leaf) else type(leaf).__name__)

    def tangent(self) -> np.ndarray | None:
        """Return the tangent that JAX uses for such a leaf: float0, or None if it has no shape."""
        return None if self.shape is None else np.zeros(self.shape, jax.dtypes.float0)

    def require_no_direction(self, name: str, tangent: object, primal_name: str) -> None:
        """Raise TypeError unless `tangent` is None or of dtype float0."""
        if tangent is not None and _dtype(tangent) != jax.dtypes.float0:
            raise TypeError(
                f"{name} must be None or of dtype float0, because {primal_name}, "
                f"{self.description}, is not differentiable; got {describe(tangent)}"
            )


def _direction(name: str, tangent: object, primal_name: str, primal: ShapedArray) -> Array:
    """Return the tangent of a floating-point leaf, after checking its shape and dtype."""
    if not is_array(tangent) and not isinstance(tangent, int | float | complex):
        raise TypeError(f"{name} must be an array like {primal_name}, got {describe(tangent)}")
    if np.shape(tangent) != primal.shape:
        raise ValueError(
            f"{name} must have the shape of {primal_name}, {list(primal.shape)}, "
            f"got {describe(tangent)}"
        )
    # jnp.asarray raises for float0, which is not a dtype of JAX arrays
    is_float0 = _dtype(tangent) == jax.dtypes.float0
    array = None if is_float0 else jnp.asarray(tangent)
    if array is None or array.dtype != primal.dtype:
        raise TypeError(
            f"{name} must have the dtype of {primal_name}, {primal.dtype}, got {describe(tangent)}"
        )
    return array


def is_inexact(leaf: object) -> bool:
    """Whether a leaf is differentiable: a floating-point or complex array or number."""
    return has_dtype(leaf, jnp.inexact) if is_array(leaf) else isinstance(leaf, float | complex)


def as_sequence(name: str, value: Sequence[Tree]) -> tuple[Tree, ...]:
    """Return a tuple or list of items, one per argument, as a tuple, or raise TypeError."""
    if not isinstance(value, tuple | list):
        raise TypeError(
            f"{name} must be a tuple or list, one item per argument, got {describe(value)}"
        )
    check_tree(name, value)
    return tuple(value)


def _dtype(leaf: object) -> object:
    return getattr(leaf, "dtype", None)


def _is_none(leaf: object) -> bool:
    return leaf is None
