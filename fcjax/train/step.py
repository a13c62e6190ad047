"""One compiled training step: loss, gradients, and an update that overwrites the state."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec

from .._arguments import check_one_of, check_tree, describe
from .._types import Function, Tree
from .arguments import check_bool
from .compiled import Compiled, StateFunction
from .nonfinite import Raising, guarded
from .state import StepInfo, TrainState, check_opt_state, check_optimizer

LossFn = Function


def make_train_step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    *,
    has_aux: bool = False,
    grad_norm: bool = False,
    nonfinite: Literal["ignore", "raise"] = "ignore",
) -> Compiled:
    """Return `train_step(state, batch) -> (state, StepInfo)`, compiled as one program.

    The step overwrites all arrays of its input state except the key. Use the state that it returns
    instead.

    Args:
        loss_fn: `loss_fn(params, batch)`, or `loss_fn(params, batch, key)` for a loss that draws
            random numbers; the key is new in each step. Returns a scalar, or `(scalar, aux)`.
        optimizer: any Optax optimizer. Its `update` receives the extra arguments that it accepts:
            the loss (`value`), the gradient (`grad`), the loss as a function of the parameters
            (`value_fn`, `obj_fn`), and the gradient as such a function (`grad_fn`).
        has_aux: whether `loss_fn` returns `(scalar, aux)`; `StepInfo.aux` is then aux.
        grad_norm: whether to return the gradient's global 2-norm. Computing it keeps XLA from
            updating parameters before all gradients are computed.
        nonfinite: "raise" raises `NonFiniteLossError`, which holds the state before the step, if
            the loss or the new parameters are infinite or NaN. This waits for the result of each
            step. To skip such steps, pass `optax.apply_if_finite(optimizer, n)` as the optimizer
            here and to `init_state`: a skipped step is not an error until there are more than n
            in a row.

    Raises:
        TypeError: `loss_fn` or `optimizer` is of the wrong type. In the first step: the loss is not
            a floating-point scalar, or aux is missing. In any step: the state is not a
            `TrainState`.
        ValueError: in any step, an earlier step has overwritten the state, or its `opt_state`
            belongs to another optimizer.

    Source: Bottou, Curtis & Nocedal, Optimization methods for large-scale machine learning, SIAM
    Review 60 (2018), algorithm 4.1.

    >>> def loss_fn(params, batch):
    ...     return jnp.sum((params - batch) ** 2)
    >>> from fcjax import init_state
    >>> optimizer = optax.sgd(0.25)
    >>> train_step = make_train_step(loss_fn, optimizer)
    >>> state, info = train_step(init_state(jnp.zeros(2), optimizer), jnp.ones(2))
    >>> state.params, info.loss
    (Array([0.5, 0.5], dtype=float32), Array(2., dtype=float32))
    """
    step = step_function(loss_fn, optimizer, has_aux=has_aux, grad_norm=grad_norm)
    check_one_of("nonfinite", nonfinite, ("ignore", "raise"))
    if nonfinite == "ignore":
        return Compiled(step, uses_key=takes_key(loss_fn))

    def guarded_step(state: TrainState, batch: Tree) -> tuple[TrainState, Tree]:
        (state, _), info = guarded(step)((state, jnp.ones((), bool)), batch)
        return state, info

    return Raising(guarded_step, uses_key=takes_key(loss_fn))


def step_function(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    *,
    has_aux: bool,
    grad_norm: bool,
    name: str = "loss_fn",
) -> StateFunction:
    """Return the step as a plain function, for `jax.jit` and `lax.scan`."""
    check_bool("has_aux", has_aux)
    check_bool("grad_norm", grad_norm)
    check_optimizer(optimizer)
    scalar_loss = with_key(loss_fn, has_aux, name)
    uses_key = takes_key(loss_fn, name)

    def step(state: TrainState, batch: Tree) -> tuple[TrainState, StepInfo]:
        check_opt_state(state, optimizer)
        key = key_for(state, "loss") if uses_key else None
        value_and_grad = jax.value_and_grad(scalar_loss, has_aux=True)
        (loss, aux), grads = value_and_grad(state.params, batch, key)

        def update(
            grads: Tree, opt_state: Tree, params: Tree, loss: Array, batch: Tree, key: Array | None
        ) -> tuple[Tree, Tree]:
            value_and_aux = partial(scalar_loss, batch=batch, key=key)
            extra = extra_arguments(optimizer, value_and_aux, loss, grads)
            return optimizer.update(grads, opt_state, params, **extra)

        updates, opt_state = staying(update, (state.params, state.opt_state))(
            grads, state.opt_state, state.params, loss, batch, key
        )
        params = optax.apply_updates(state.params, updates)
        norm = optax.tree.norm(grads) if grad_norm else None
        return TrainState(state.step + 1, params, opt_state, state.key), StepInfo(loss, norm, aux)

    return step


def staying(function: Callable[..., Tree], results: Tree) -> Callable[..., Tree]:
    """Return the function with its results where these arrays lie, on a mesh with explicit axes.

    Few of Optax's functions say where their results lie, as such axes ask. Inside, the compiler
    places them, as on automatic axes.
    """
    given = jax.tree.map(lambda array: jax.typeof(array).sharding, results)
    explicit = (s.mesh for s in jax.tree.leaves(given) if s.mesh.explicit_axes)
    mesh = next(explicit, None)
    if mesh is None:
        return function
    # a number such as the count of the steps lies nowhere, unless the caller has set the mesh
    everywhere = NamedSharding(mesh, PartitionSpec())
    where = jax.tree.map(lambda s: everywhere if s.mesh.empty else s, given)
    return jax.sharding.auto_axes(function, out_sharding=where)


def key_for(state: TrainState, purpose: str) -> Array:
    """Return the key of this step for a purpose, "loss" or "shuffle"; the two are independent."""
    return key_at(state.key, state.step, purpose)


def key_at(key: Array, step: Array | int, purpose: str) -> Array:
    """Return the key of any step for a purpose."""
    root = jax.random.fold_in(key, {"loss": 0, "shuffle": 1}[purpose])
    return jax.random.fold_in(root, step)


def with_key(
    loss_fn: LossFn, has_aux: bool, name: str = "loss_fn"
) -> Callable[..., tuple[Array, Tree]]:
    """Return `loss_fn` as `f(params, batch, key) -> (loss, aux)`, whichever form it has.

    Errors call it by `name`.
    """
    has_key = takes_key(loss_fn, name)

    def loss(params: Tree, batch: Tree, key: Array | None) -> tuple[Array, Tree]:
        result = loss_fn(params, batch, key) if has_key else loss_fn(params, batch)
        value, aux = _split(result) if has_aux else (result, None)
        check_tree(f"the aux of {name}", aux)
        if isinstance(value, tuple):
            raise TypeError(
                f"{name} must return one floating-point number, got a tuple; make_train_step "
                "accepts (loss, aux) with has_aux=True"
            )
        if not isinstance(value, Array | np.ndarray | np.generic | int | float | complex):
            raise TypeError(f"{name} must return one floating-point number, got {describe(value)}")
        value = jnp.asarray(value)
        if value.ndim or not jnp.issubdtype(value.dtype, jnp.floating):
            raise TypeError(
                f"{name} must return one floating-point number, got {describe(value)}; "
                'a loss with reduction="none" must be averaged'
            )
        return value, aux

    return loss


def without_jit(loss_fn: LossFn) -> LossFn:
    """Return the function inside `jax.jit`, so that it is traced with the caller's own arrays."""
    return getattr(loss_fn, "__wrapped__", loss_fn) if hasattr(loss_fn, "lower") else loss_fn


def _split(result: Tree) -> tuple[Tree, Tree]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            f"with has_aux=True loss_fn must return (loss, aux), got {describe(result)}"
        )
    return result


def takes_key(loss_fn: LossFn, name: str = "loss_fn") -> bool:
    """Whether the third argument of the loss is required, or named key."""
    if not callable(loss_fn):
        raise TypeError(f"{name} must be a function, got {describe(loss_fn)}")
    parameters = list(inspect.signature(loss_fn).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    has_key = len(required) == 3 or (len(positional) > 2 and positional[2].name == "key")
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(required) > 3 or (len(positional) < 2 and not variadic):
        names = ", ".join(p.name for p in positional)
        raise TypeError(
            f"{name} must be called as (params, batch) or (params, batch, key), got ({names})"
        )
    return has_key


def extra_arguments(
    optimizer: optax.GradientTransformation,
    value_and_aux: Callable[[Tree], tuple[Array, Tree]],
    loss: Array,
    grads: Tree,
) -> dict[str, object]:
    """Return the extra arguments that the optimizer's `update` accepts."""

    # Optax's line searches pass the other extra arguments to value_fn, which must accept them.
    def value_fn(params: Tree, obj_fn: object = None, grad_fn: object = None) -> Array:
        del obj_fn, grad_fn
        return value_and_aux(params)[0]

    def grad_fn(params: Tree, _: object = None) -> Tree:
        return jax.grad(value_fn)(params)

    offered: dict[str, object] = {
        "value": loss,
        "grad": grads,
        "value_fn": value_fn,
        "obj_fn": value_fn,
        "grad_fn": grad_fn,
    }
    accepted = inspect.signature(optimizer.update).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in accepted):
        return offered
    return {p.name: offered[p.name] for p in accepted if p.name in offered}
