"""A call, taken apart into what is differentiated by and what is held."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .computing import has_dtype
from .plain import is_array


class Point:
    """A call, as a function of its differentiable leaves: the real floating-point arrays.

    Everything else (integers, keys, Python numbers, names) is held as it is.
    """

    def __init__(self, fun: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]):
        paths, self._tree = jax.tree.flatten_with_path((tuple(args), dict(kwargs)))
        # an array of NumPy would refuse to be indexed by what JAX traces
        self.leaves = [jnp.asarray(x) if has_dtype(x, jnp.number) else x for _, x in paths]
        names = _argument_names(fun, args)
        self.names = [_name(path, names) for path, _ in paths]
        self.wrt = [i for i, leaf in enumerate(self.leaves) if has_dtype(leaf, jnp.floating)]
        self.arrays = [i for i, leaf in enumerate(self.leaves) if is_array(leaf)]
        for name, leaf in zip(self.names, self.leaves, strict=True):
            if has_dtype(leaf, jnp.complexfloating):
                raise TypeError(f"{name} is complex; the checks are of real functions")
        if not self.wrt:
            raise TypeError("args must hold at least one floating-point array to differentiate by")

    @property
    def xs(self) -> tuple[Array, ...]:
        """The differentiable leaves."""
        return tuple(self.leaves[i] for i in self.wrt)

    def moved_to(self, args: Sequence[Any]) -> "Point":
        """Return the point with the differentiable leaves of other positional arguments."""
        other = copy.copy(self)
        new = jax.tree.leaves(tuple(args))
        other.leaves = list(self.leaves)
        for i in self.wrt:
            if i < len(new):
                other.leaves[i] = jnp.asarray(new[i])
        return other

    def name(self, k: int) -> str:
        """Name of the k-th differentiable leaf: its argument and its path in it."""
        return self.names[self.wrt[k]]

    def on(self, fun: Callable[..., Any]) -> Callable[..., tuple[tuple, tuple]]:
        """Return `fun` as a function of the differentiable leaves.

        It returns the floating-point outputs and the others. `held` replaces further leaves.
        """

        def of_leaves(*xs: Array, held: Mapping[int, Any] | None = None) -> tuple[tuple, tuple]:
            replaced = dict(zip(self.wrt, xs, strict=True)) | dict(held or {})
            leaves = [replaced.get(i, leaf) for i, leaf in enumerate(self.leaves)]
            args, kwargs = jax.tree.unflatten(self._tree, leaves)
            outputs = [jnp.asarray(y) for y in jax.tree.leaves(fun(*args, **kwargs))]
            floating = tuple(y for y in outputs if has_dtype(y, jnp.floating))
            return floating, tuple(y for y in outputs if not has_dtype(y, jnp.floating))

        return of_leaves


def _argument_names(fun: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    try:
        bound = inspect.signature(fun).bind_partial(*args)
    except (TypeError, ValueError):
        return [f"args[{i}]" for i in range(len(args))]
    names = []
    for name, value in bound.arguments.items():
        many = bound.signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
        names += [f"{name}[{i}]" for i in range(len(value))] if many else [name]
    return names


def _name(path: tuple, names: list[str]) -> str:
    where, which, *rest = path
    first = names[which.idx] if where.idx == 0 else which.key
    return first + jax.tree_util.keystr(tuple(rest))


def described(leaf: Any) -> str:
    if is_array(leaf):
        return f"{leaf.dtype}{list(np.shape(leaf))}"
    return getattr(leaf, "__name__", repr(leaf))
