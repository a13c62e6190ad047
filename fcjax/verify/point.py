"""A call of a function, split into differentiable leaves and constants."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._jax import RULE_CLASSES, Tracer, evaluate, has_dtype, is_array
from .._types import Function, Tree
from . import complex_parts
from .captured import Captured, captured_by, inline_jits, with_arrays
from .precision import Precision
from .program import call, user_code

Leaves = tuple[Array, ...]
Types = tuple[jax.ShapeDtypeStruct, ...]


class Point:
    """A call, as a function of its differentiable leaves.

    The differentiable leaves are the floating-point arrays in the arguments, followed by those that
    the function closes over. A complex array is two leaves, its parts. All other leaves (integers,
    keys, Python numbers, names) are kept constant, and so are the arrays that a rule declares not
    to be differentiable, by `nondiff_argnums`: JAX calls it with no tracer there.

    Attributes:
        names: the names of all leaves of the arguments, in the order of the tree.
        leaves: all leaves of the arguments.
        wrt: the positions of the differentiable ones among `leaves`.
        declared: the positions of the arrays that the rule declares not to be differentiable.
        arrays: the positions of the other arrays among `leaves`.
        captured: the arrays that the function closes over.
    """

    def __init__(self, fun: Function, args: Sequence[Tree], kwargs: Mapping[str, Tree]):
        split = complex_parts.split((tuple(args), dict(kwargs)))
        paths, self._tree = jax.tree.flatten_with_path(split)
        names = _argument_names(fun, args)
        self.names = tuple(_name(path, names) for path, _ in paths)
        # a NumPy array cannot be indexed by a tracer
        usable = [
            x if _is_deleted(x) or not has_dtype(x, jnp.number) else jnp.asarray(x)
            for _, x in paths
        ]
        self.leaves = tuple(usable)
        for name, leaf in zip(self.names, self.leaves, strict=True):
            _require_supported(name, leaf)
        floating = [i for i, leaf in enumerate(self.leaves) if has_dtype(leaf, jnp.floating)]
        static = nondifferentiable(fun)
        self.declared = tuple(i for i in floating if _argument_of(paths[i][0]) in static)
        self.wrt = tuple(i for i in floating if i not in self.declared)
        arrays = (i for i, leaf in enumerate(self.leaves) if is_array(leaf))
        self.arrays = tuple(i for i in arrays if i not in self.declared)
        self.captured = Captured()

    def capture(self, fun: Function) -> None:
        """Find the arrays that `fun` closes over; raise Refused if `fun` cannot be traced."""
        with user_code(), Precision.OWN.context():
            closed = jax.make_jaxpr(partial(self._outputs, fun, {}))(*self.arguments)
        self.captured = captured_by(fun, closed)

    def require_leaves(self) -> None:
        """Raise TypeError if there is no differentiable leaf, or only numbers were passed."""
        numbers_only = not self.wrt and any(isinstance(leaf, float) for leaf in self.leaves)
        if numbers_only or not self.differentiable:
            raise TypeError("args must contain at least one floating-point array, got none")

    @property
    def arguments(self) -> Leaves:
        """The differentiable leaves of the arguments."""
        return tuple(self.leaves[i] for i in self.wrt)

    @property
    def xs(self) -> Leaves:
        """The differentiable leaves: those of the arguments, then the captured arrays."""
        return (*self.arguments, *map(jnp.asarray, self.captured.arrays))

    @property
    def differentiable(self) -> tuple[str, ...]:
        """The names of the differentiable leaves."""
        return (*(self.names[i] for i in self.wrt), *self.captured.names)

    @property
    def call(self) -> tuple[tuple[Tree, ...], dict[str, Tree]]:
        """The positional and keyword arguments."""
        return self.unflattened(self.leaves)

    def moved_to(self, args: Sequence[Tree]) -> "Point":
        """Return a copy of this point with the differentiable leaves of `args`.

        Raises:
            ValueError: `args` has another tree, other shapes or other dtypes.
        """
        _, kwargs = self.call
        new, tree = jax.tree.flatten(complex_parts.split((tuple(args), kwargs)))
        if tree != self._tree:
            raise ValueError(f"its tree must be {self._tree}, got {tree}")
        other = object.__new__(Point)
        vars(other).update(vars(self))
        leaves = list(self.leaves)
        for i in self.wrt:
            leaves[i] = jnp.asarray(new[i])
            if described(leaves[i]) != described(self.leaves[i]):
                want = described(self.leaves[i])
                raise ValueError(f"{self.names[i]} must be {want}, got {described(leaves[i])}")
        other.leaves = tuple(leaves)
        return other

    def unflattened(self, leaves: Sequence[Tree]) -> tuple[tuple[Tree, ...], dict[str, Tree]]:
        """Return the positional and keyword arguments with other leaves."""
        return complex_parts.joined(jax.tree.unflatten(self._tree, leaves))

    def args_at(self, values: Sequence[np.ndarray]) -> tuple[Tree, ...]:
        """Return the positional arguments with other numbers in their differentiable leaves."""
        leaves = list(self.leaves)
        for i, value in zip(self.wrt, values, strict=False):
            leaves[i] = jnp.asarray(value.astype(leaves[i].dtype))
        return self.unflattened(leaves)[0]

    def cast(self, precision: Precision) -> Leaves:
        """Return the differentiable leaves in `precision`; captured arrays keep their dtype."""
        count = len(self.wrt)
        return (*precision.cast(self.xs[:count]), *self.xs[count:])

    def types(self, precision: Precision) -> Types:
        """Return the shapes and dtypes of the leaves that `cast` returns."""
        dtype = None if precision is Precision.OWN else jnp.dtype(precision.value)
        of_arguments = [jax.ShapeDtypeStruct(x.shape, dtype or x.dtype) for x in self.arguments]
        captured = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in self.captured.arrays]
        return (*of_arguments, *captured)

    def on(self, fun: Function) -> Callable[..., tuple[Leaves, Leaves]]:
        """Return `fun` as a function of the differentiable leaves.

        It returns the floating-point outputs and the other outputs. A complex output counts as two,
        its real and its imaginary part. `constants` replaces leaves that are kept constant.
        """
        count = len(self.wrt)

        def of_leaves(
            *xs: Array, constants: Mapping[int, Tree] | None = None
        ) -> tuple[Leaves, Leaves]:
            outputs_at = partial(self._outputs, fun, constants or {})
            if len(xs) == count:
                return _sorted(outputs_at(*xs))
            closed = inline_jits(jax.make_jaxpr(outputs_at)(*xs[:count]))
            consts = with_arrays(closed, self.captured.positions, xs[count:])
            return _sorted(evaluate(closed, consts, xs[:count]))

        return of_leaves

    def _outputs(self, fun: Function, constants: Mapping[int, Tree], *xs: Array) -> list[Array]:
        replaced = dict(zip(self.wrt, xs, strict=True)) | dict(constants)
        leaves = [replaced.get(i, leaf) for i, leaf in enumerate(self.leaves)]
        args, kwargs = self.unflattened(leaves)
        outputs = jax.tree.leaves(call(fun, *args, **kwargs))
        return [
            jnp.asarray(y) for y in outputs if is_array(y) or isinstance(y, int | float | complex)
        ]

    def imaginary(self, fun: Function) -> tuple[bool, ...]:
        """Return which of the floating-point outputs is the imaginary part of another."""
        outputs = jax.eval_shape(partial(self._outputs, fun, {}), *self.types(Precision.OWN))
        floating = [y for y in outputs if has_dtype_of(y, jnp.inexact)]
        is_complex = (has_dtype_of(y, jnp.complexfloating) for y in floating)
        return tuple(flag for two in is_complex for flag in ((False, True) if two else (False,)))

    def described(self) -> str:
        """Return the names, dtypes and shapes of the arguments as text."""
        pairs = zip(self.names, self.leaves, strict=True)
        return ", ".join(f"{name}: {described(leaf)}" for name, leaf in pairs)


def _sorted(outputs: Sequence[Array]) -> tuple[Leaves, Leaves]:
    """Return the floating-point outputs, complex ones as two, and the other outputs."""
    floating: list[Array] = []
    for y in outputs:
        if has_dtype_of(y, jnp.complexfloating):
            floating += [jnp.real(y), jnp.imag(y)]
        elif has_dtype_of(y, jnp.floating):
            floating.append(y)
    return tuple(floating), tuple(y for y in outputs if not has_dtype_of(y, jnp.inexact))


def has_dtype_of(y: Array, kind: type[np.generic]) -> bool:
    """Whether a traced or concrete array has a kind of dtype."""
    return jnp.issubdtype(y.dtype, kind)


def _is_deleted(leaf: object) -> bool:
    return isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer) and leaf.is_deleted()


def _require_supported(name: str, leaf: object) -> None:
    """Raise TypeError or ValueError for a leaf that cannot be checked."""
    if isinstance(leaf, Tracer):
        raise TypeError(f"{name} is a tracer; call check_rule outside of jit, grad and vmap")
    if _is_deleted(leaf):
        raise ValueError(f"{name} is a deleted array: it was donated to a jitted function")


def _argument_names(fun: Function, args: Sequence[Tree]) -> list[str]:
    try:
        bound = inspect.signature(fun).bind_partial(*args)
    except (TypeError, ValueError):
        return [f"args[{i}]" for i in range(len(args))]
    names: list[str] = []
    for name, value in bound.arguments.items():
        many = bound.signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
        names += [f"{name}[{i}]" for i in range(len(value))] if many else [name]
    return names


def nondifferentiable(fun: Function) -> set[int | str]:
    """Return the positions and the names of the arguments in `nondiff_argnums`."""
    declared: Sequence[int] = getattr(fun, "nondiff_argnums", None) or ()
    if not isinstance(fun, RULE_CLASSES) or not declared:
        return set()
    names = list(inspect.signature(fun).parameters)
    positions = {i % len(names) for i in declared}
    return {*positions, *(names[i] for i in positions)}


def _argument_of(path: tuple[Any, ...]) -> int | str:
    """Return the position, or the name, of the argument to which a leaf belongs."""
    where, which, *_ = path
    return which.idx if where.idx == 0 else which.key


def _name(path: tuple[Any, ...], names: list[str]) -> str:
    where, which, *rest = path
    first = names[which.idx] if where.idx == 0 else which.key
    return first + jax.tree_util.keystr(tuple(rest))


def options_as_text(options: Mapping[str, Tree]) -> str:
    """Return keyword arguments as they are written in a call."""
    return ", ".join(f"{name}={described(value)}" for name, value in options.items())


def described(leaf: object) -> str:
    """Return the dtype and shape of an array, or the name or value of anything else."""
    if is_array(leaf):
        return f"{leaf.dtype}{list(np.shape(leaf))}"
    return getattr(leaf, "__name__", repr(leaf))
