"""The training state, and the information that a step returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from .._arguments import as_array, check_key, check_tree, describe
from .._jax import Tracer
from .._types import Tree


class TrainState(NamedTuple):
    """Everything that a step reads and writes.

    `step` is the number of completed steps, `params` is any pytree, and `opt_state` belongs to the
    optimizer. The random numbers of shuffling and of the loss derive from `key` and `step`.
    """

    step: Array
    params: Tree
    opt_state: Tree
    key: Array


class StepInfo(NamedTuple):
    """The information that a step returns: the loss before the update, `grad_norm` and `aux`.

    `grad_norm`, the global norm of the gradient, is None unless requested. `aux` is None unless the
    loss returns it.
    """

    loss: Array
    grad_norm: Array | None
    aux: Tree


def init_state(
    params: Tree, optimizer: optax.GradientTransformation, *, key: Array | None = None
) -> TrainState:
    """Return the state before the first step.

    A training step overwrites the arrays of its input state. Every array of the returned state is
    therefore a copy: no step overwrites the caller's `params`, and no two leaves share memory.

    Args:
        params: a pytree of floating-point arrays, for example from `fcjax.init`.
        optimizer: any Optax optimizer.
        key: PRNG key, `jax.random.key(0)` by default.

    Raises:
        TypeError: `params` holds anything but floating-point arrays, `optimizer` is not an Optax
            optimizer, or `key` is not a PRNG key.

    >>> state = init_state({"w": jnp.ones((2, 3))}, optax.sgd(0.1))
    >>> int(state.step), state.params["w"].shape
    (0, (2, 3))
    """
    key = jax.random.key(0) if key is None else key
    check_key("key", key)
    check_optimizer(optimizer)
    check_params(params)
    state = TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), key)
    return copy_arrays(state)


def check_optimizer(optimizer: object) -> None:
    """Raise TypeError unless `optimizer` is an Optax gradient transformation."""
    if not isinstance(optimizer, optax.GradientTransformation):
        hint = "; call it first" if callable(optimizer) else ""
        raise TypeError(
            "optimizer must be an Optax GradientTransformation such as optax.adam(1e-3), "
            f"got {describe(optimizer)}{hint}"
        )


def check_step(step: Any) -> None:
    """Raise TypeError unless `step` is one integer."""
    if np.shape(step) or not jnp.issubdtype(getattr(step, "dtype", type(step)), np.integer):
        raise TypeError(f"state.step must be one integer, got {describe(step)}")


def check_opt_state(state: TrainState, optimizer: optax.GradientTransformation) -> None:
    """Raise ValueError unless `state.opt_state` has the structure and shapes of this optimizer's.

    Only structure and shapes are compared, so a step does this once, while it is traced.
    """
    own = shapes_of(optimizer.init, state.params)
    if _parts(own) != _parts(state.opt_state):
        raise ValueError(
            "state.opt_state must belong to this optimizer, as from init_state(params, optimizer): "
            f"{_parts(own)}, got {_parts(state.opt_state)}"
        )
    if _shapes(own) != _shapes(state.opt_state):
        got = "of other shapes"
    elif jax.tree.structure(own) != jax.tree.structure(state.opt_state):
        got = "in another tree, such as a list for a tuple"
    else:
        return
    raise ValueError(
        "state.opt_state must belong to these params, as from init_state(params, optimizer), "
        f"got the state for params {got}"
    )


def shapes_of(function: Callable[..., Tree], *args: Tree) -> Tree:
    """Return `jax.eval_shape(function, *args)`, which leaves a little memory with a function.

    A function that lives long would collect it; this one is new in each call.
    """
    return jax.eval_shape(lambda *args: function(*args), *args)


def _parts(opt_state: Tree) -> str:
    """Name the parts of an optimizer's state."""
    is_chain = type(opt_state) in (tuple, list)
    return ", ".join(type(part).__name__ for part in (opt_state if is_chain else [opt_state]))


def _shapes(tree: Tree) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in leaves}


def copy_arrays(tree: Tree) -> Tree:
    """Copy every array, so that no two leaves share memory and none is shared with the caller.

    Most are made without a program, of which each shape would need another. The copies have strong
    dtypes. The weak dtype of a Python number would become strong in the
    first step, and the second step would be recompiled.
    """

    def copy(leaf: ArrayLike) -> Array:
        if isinstance(leaf, jax.Array) and _is_plain(leaf):
            return jax.device_put(leaf, may_alias=False)
        leaf = jnp.asarray(leaf)
        return jnp.array(leaf, dtype=leaf.dtype, copy=True)

    return jax.tree.map(copy, tree)


def _is_plain(array: Array) -> bool:
    """Whether an array has a value, and a strong dtype, where there is one process alone."""
    if isinstance(array, Tracer) or jax.process_count() > 1:
        return False
    return not getattr(array, "weak_type", False)  # keys have no such attribute


def check_params(params: Tree, of: str = "params") -> None:
    """Raise TypeError unless all leaves are floating-point arrays; errors call the tree `of`."""
    check_tree(of, params)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise TypeError(f"{of} must hold at least one array, got {describe(params)}")
    for path, leaf in leaves:
        name = of + jax.tree_util.keystr(path)
        dtype = getattr(leaf, "dtype", None)
        if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(f"{name} must be a floating-point array, got {describe(leaf)}")
        as_array(name, leaf, "a floating-point array")
