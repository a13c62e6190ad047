"""The placement of arrays: on the devices of a mesh, and in memory."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax._src import core as _internals
from jax.experimental.layout import Layout, with_layout_constraint
from jax.interpreters import ad, batching, mlir
from jax.sharding import PartitionSpec

from .types import ShapedArray


def output_type(f: Callable[..., Array], *args: Array) -> ShapedArray:
    """Return the type of the array that `f` returns: shape, dtype, sharding and varying axes."""
    (output,) = jax.make_jaxpr(f)(*args).out_avals
    return output


def varying_axes(x: Array | ShapedArray) -> frozenset[str]:
    """Return the mesh axes of `shard_map` along which devices hold different values.

    `x` is an array, or the type of one. With `check_vma=False`, JAX does not track these axes, and
    the set is empty.
    """
    kind = x if isinstance(x, ShapedArray) else jax.typeof(x)
    return frozenset(kind.manual_axis_type.varying)


def make_varying(x: Array, axes: Iterable[str]) -> Array:
    """Mark a value that is equal on all devices along `axes` as one that may vary there."""
    return lax.pcast(x, tuple(sorted(axes)), to="varying")


def in_row_major_order(V: Array) -> Array:
    """Store `V` in row-major order, so that XLA cannot fold a transpose into its consumer."""
    return with_layout_constraint(V, Layout(major_to_minor=tuple(range(V.ndim))))


# The only primitive of fcjax. How it is lowered depends on what is known then and not before:
# whether XLA will partition the program.
_last_to_front = _internals.Primitive("last_to_front")


def last_to_front(X: Array, in_memory: Callable[[Array], Array]) -> Array:
    """Return X with its last axis moved to the front, computed by `in_memory`.

    XLA gathers an array whose layout is constrained on every device. In a program that XLA
    partitions, this is therefore a transpose that XLA may fold into its consumer.
    """
    return _last_to_front.bind(X, in_memory=in_memory)


def _moved(V: Array, **_: object) -> Array:
    return jnp.moveaxis(V, -1, 0)


def _moved_type(X: Any, **_: object) -> Any:
    spec = (*X.sharding.spec, *[None] * (X.ndim - len(X.sharding.spec)))
    return X.update(
        shape=(X.shape[-1], *X.shape[:-1]),
        sharding=X.sharding.update(spec=PartitionSpec(spec[-1], *spec[:-1])),
    )


def _lower_moved(context: Any, X: Any, *, in_memory: Callable[[Array], Array]) -> Any:
    function = _moved if _is_partitioned(context.module_context.axis_context) else in_memory
    return mlir.lower_fun(function, multiple_results=False)(context, X)


def _is_partitioned(axes: Any) -> bool:
    """Whether XLA partitions a program; inside `shard_map`, the program is that of one device."""
    if hasattr(axes, "manual_axes"):
        return set(axes.manual_axes) != set(axes.mesh.axis_names)
    return getattr(axes, "num_devices", 1) > 1


def _moved_batch(inputs: Any, axes: Any, **params: Any) -> tuple[Array, int]:
    return _last_to_front.bind(jnp.moveaxis(inputs[0], axes[0], 0), **params), 1


_last_to_front.def_impl(jax.jit(_last_to_front.bind, static_argnames="in_memory"))
_last_to_front.def_abstract_eval(_moved_type)
ad.deflinear2(_last_to_front, lambda dY, _, **__: [jnp.moveaxis(dY, 0, -1)])
batching.primitive_batchers[_last_to_front] = _moved_batch
mlir.register_lowering(_last_to_front, _lower_moved)
