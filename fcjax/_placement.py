"""Where the operands and results of a rule lie, on a mesh with explicit axes.

There the sharding of an array is part of its type, and JAX refuses an operation whose result it
would have to guess. The rules decide by one principle: **what is computed stays where the examples
are, and parameters come to them.**

- The axes that split the examples of X split those of Z. A parameter that is stored split over the
  same axes (fully sharded training) is gathered for its use, and its gradient is scattered back.
- Another axis that splits the outputs of W splits those of Z, and one that splits the inputs of W
  splits the sum over them (tensor parallelism). In a pair of layers, one splits the outputs and the
  next one the inputs, so one sum over devices serves two layers.

With automatic axes, types have no shardings, and these functions change nothing: XLA decides.
"""

from collections.abc import Callable, Sequence

import jax
from jax import Array, lax
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

# The mesh axes along which one dimension of an array is split, as in a `PartitionSpec`.
Axes = str | tuple[str, ...] | None


def placement(V: Array, dZ: Array) -> NamedSharding:
    """Return the sharding that the gradient of `V` must have, on the mesh of `dZ`.

    A `V` without a mesh (a constant of the traced function) is treated as replicated.
    """
    sharding = jax.typeof(V).sharding
    if sharding.mesh.empty:
        return NamedSharding(jax.typeof(dZ).sharding.mesh, PartitionSpec(*[None] * V.ndim))
    return sharding


def product_operands(X: Array, W: Array) -> tuple[Array, Array, NamedSharding | None]:
    """Return X and W where their product is computed, and the sharding of `X W` there."""
    mesh = _mesh_of(X, W)
    if mesh is None:
        return X, W, None
    *examples, x_in = _axes(X)
    w_in, w_out = _axes(W)
    outputs = _without(w_out, *examples)
    inputs = _without(x_in, outputs) or _without(w_in, outputs, *examples)
    X = _moved(X, mesh, *examples, inputs)
    W = _moved(W, mesh, inputs, outputs)
    return X, W, NamedSharding(mesh, PartitionSpec(*examples, outputs))


def grouped_operands(X: Array, W: Array) -> tuple[Array, Array, NamedSharding | None]:
    """Return X and W of groups where their products are computed, and the sharding of the result.

    The examples stay where they are. Each device computes all groups, so W comes to them whole. The
    product has the dimension of the groups first.
    """
    mesh = _mesh_of(X, W)
    if mesh is None:
        return X, W, None
    examples = _axes(X)[:-2]
    X = _moved(X, mesh, *examples, None, None)
    W = _moved(W, mesh, *[None] * W.ndim)
    return X, W, NamedSharding(mesh, PartitionSpec(None, *examples, None))


def beside(V: Array, X: Array) -> Array:
    """Return a parameter `V`, which broadcasts to each example, where it meets those of X."""
    mesh = _mesh_of(X, V)
    if mesh is None or V.ndim > X.ndim:
        return V
    first = X.ndim - V.ndim
    examples, features = _axes(X)[:first], _axes(X)[first:]
    axes = (
        None if size == 1 else of_X or _without(of_V, *examples)
        for size, of_X, of_V in zip(V.shape, features, _axes(V), strict=True)
    )
    return _moved(V, mesh, *axes)


def sum_over_examples(
    terms: Callable[..., Array], operands: Sequence[Array], target: NamedSharding
) -> Array:
    """Return `terms(*operands)`, which sums over the examples of its operands, at `target`.

    The dimensions of the result are the last ones of the operands. Where `target` splits them
    along the axes of the examples, each device computes the sum over its own examples, and one
    reduce-scatter adds these up. XLA would otherwise send every device the whole sum.
    """
    present = [_axes(V)[-1] for V in operands]
    scattered = [_rest(whole, axes) for whole, axes in zip(target.spec, present, strict=True)]
    examples = {name for V in operands for axes in _axes(V)[:-1] for name in _names(axes)}
    names = {name for some in scattered for name in some or ()}
    if not names or None in scattered or not names <= examples:
        return terms(*operands, out_sharding=target)

    def on_one_device(*operands: Array) -> Array:
        total = terms(*operands)
        for dimension, some in enumerate(scattered):
            if some:
                total = lax.psum_scatter(total, some, scatter_dimension=dimension, tiled=True)
        return lax.psum(total, tuple(sorted(examples - names)))

    in_specs = tuple(PartitionSpec(*_axes(V)) for V in operands)
    mesh = target.mesh
    explicit = set(mesh.explicit_axes)
    return jax.shard_map(
        on_one_device, mesh=mesh, in_specs=in_specs, out_specs=target.spec, axis_names=explicit
    )(*operands)


def _rest(axes: Axes, first: Axes) -> tuple[str, ...] | None:
    """Return the axes that follow `first`, None if `axes` does not begin with it."""
    start, names = _names(first), _names(axes)
    return names[len(start) :] if names[: len(start)] == start else None


def _mesh_of(*arrays: Array) -> AbstractMesh | None:
    """Return the mesh on which any of the arrays is split along an explicit axis, or None."""
    for V in arrays:
        sharding = jax.typeof(V).sharding
        if any(sharding.spec):
            return sharding.mesh
    return None


def _axes(V: Array) -> tuple[Axes, ...]:
    spec = tuple(jax.typeof(V).sharding.spec)
    return spec + (None,) * (V.ndim - len(spec))


def _names(axes: Axes) -> tuple[str, ...]:
    return () if axes is None else (axes,) if isinstance(axes, str) else tuple(axes)


def _without(axes: Axes, *taken: Axes) -> Axes:
    """Return `axes` without those that split another dimension."""
    others = {name for some in taken for name in _names(some)}
    left = tuple(name for name in _names(axes) if name not in others)
    return left[0] if len(left) == 1 else left or None


def at(V: Array, target: NamedSharding) -> Array:
    """Return V with another sharding; for automatic axes, which types do not have, V as it is."""
    same = jax.typeof(V).sharding.spec == target.spec
    return V if same else jax.sharding.reshard(V, target)


def _moved(V: Array, mesh: AbstractMesh, *axes: Axes) -> Array:
    return at(V, NamedSharding(mesh, PartitionSpec(*axes)))
