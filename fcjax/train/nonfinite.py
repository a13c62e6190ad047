"""Losses and states that are not finite: how they are noticed, and the error that they raise.

A step that `optax.apply_if_finite` skipped is no error, whatever its loss: it changed nothing. Once
Optax skips no more, because too many steps in a row were not finite, the NaN shows in the
parameters.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from .._errors import Portable
from .._types import Tree
from .compiled import Compiled, StateFunction
from .state import StepInfo, TrainState


class NonFiniteLossError(Portable, FloatingPointError):
    """The loss or the parameters became infinite or NaN. `state` is the last good state.

    `loss` is the loss of the step that failed, and `step` the number of steps completed before it.
    `state` is the newest state without NaN, whose parameters are finite, and whose loss is finite
    on the preceding batch: usually the state after `step` steps, or the previous one if the last
    update was already too large. A validation loss that is not finite raises this error too; `step`
    is then the number of steps completed before the validation.
    """

    def __init__(self, step: int, loss: float, state: TrainState, what: str = ""):
        """Store the arguments, and make a message with the step and the usual causes."""
        self.step, self.loss, self.state = step, loss, state
        if not what and np.isfinite(loss):
            what = (
                f"the gradient or update of step {step} is not finite, though its loss, {loss}, is"
            )
        super().__init__(
            f"{what or f'the loss of step {step} is {loss}'}; the last good state, after "
            f"{int(state.step)} steps, is in this exception's .state. Usual causes: a learning "
            "rate that is too large, or NaN or infinity in the data"
        )


class StepLoss(NamedTuple):
    """The loss of a step, and whether Optax skipped it."""

    loss: Array
    skipped: Array


def skipping(
    optimizer: optax.GradientTransformation, max_skipped: int
) -> optax.GradientTransformationExtraArgs:
    """Skip steps with a loss or gradient that is not finite; Optax alone looks at the gradient."""
    skips: Any = optax.apply_if_finite(optimizer, max_skipped)

    def update(
        updates: Tree, state: Tree, params: Tree = None, **extra_args: Any
    ) -> tuple[Tree, Tree]:
        finite = jnp.isfinite(extra_args["value"])
        updates = jax.tree.map(lambda V: jnp.where(finite, V, jnp.nan), updates)
        return skips.update(updates, state, params, **extra_args)

    return optax.GradientTransformationExtraArgs(skips.init, update)


def with_policy(state: TrainState, before: str, policy: str) -> TrainState:
    """Return the state of a run of one policy, "raise" or "skip", as that of a run of another."""
    if before == policy:
        return state
    if policy == "raise":
        return state._replace(opt_state=state.opt_state.inner_state)
    none = jnp.zeros_like(state.step)  # where the step lies
    skips = optax.ApplyIfFiniteState(none, jnp.ones_like(none, bool), none, state.opt_state)
    return state._replace(opt_state=skips)


def observed(step: StateFunction) -> StateFunction:
    """Return a step that returns a `StepLoss` with the new state."""

    def observe(state: TrainState, batch: Tree) -> tuple[TrainState, StepLoss]:
        new, info = step(state, batch)
        return new, StepLoss(info.loss, _was_skipped(state, new))

    return observe


def _was_skipped(before: TrainState, after: TrainState) -> Array:
    """Return whether `optax.apply_if_finite`, if the optimizer has it, skipped an update."""
    found = jax.tree.leaves(after.opt_state, is_leaf=_skips)
    nonfinite = [~part.last_finite for part in found if _skips(part)]
    if not nonfinite:
        return jnp.zeros((), bool)
    # after too many of them, Optax applies such an update
    same = jax.tree.map(lambda a, b: (a == b).all(), before.params, after.params)
    return jnp.stack(nonfinite).any() & jnp.stack(jax.tree.leaves(same)).all()


def _skips(part: object) -> bool:
    return isinstance(part, optax.ApplyIfFiniteState)


def is_healthy(state: TrainState) -> Array:
    """Return whether the parameters are finite, and the optimizer's state has no NaN.

    Some optimizers begin with an infinite number in their state, such as the best loss so far.
    """
    params = [jnp.isfinite(leaf).all() for leaf in _floating(state.params)]
    others = [~jnp.isnan(leaf).any() for leaf in _floating(state.opt_state)]
    return jnp.stack([*params, *others]).all()


def _floating(tree: Tree) -> list[Array]:
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]


Guarded = tuple[TrainState, Array]


def guarded(step: StateFunction) -> Callable[[Guarded, Tree], tuple[Guarded, Tree]]:
    """Return a step of (state, whether all steps were fine), which then changes nothing any more.

    The state that a failed step leaves is the one before it, so that no copy is kept.
    """

    def guard(carry: Guarded, batch: Tree) -> tuple[Guarded, tuple[StepInfo, Array]]:
        state, fine = carry
        new, info = step(state, batch)
        finite = jnp.isfinite(info.loss) | _was_skipped(state, new)
        fine = fine & finite & is_healthy(new)
        kept = jax.tree.map(lambda a, b: jnp.where(fine, a, b), new[:3], state[:3])
        step_count, params, opt_state = kept
        return (TrainState(step_count, params, opt_state, state.key), fine), (info, fine)

    return guard


class Raising(Compiled):
    """A program of guarded steps, which raises `NonFiniteLossError` if one of them failed."""

    def __call__(self, state: TrainState, data: Tree) -> tuple[TrainState, StepInfo]:
        """Call the program, and wait for its result."""
        state, result = super().__call__(state, data)
        info, fine = result
        flags = np.atleast_1d(np.asarray(fine))
        if not flags.all():
            loss = np.atleast_1d(np.asarray(info.loss))[np.argmin(flags)]
            raise NonFiniteLossError(int(state.step), float(loss), state)
        return state, info
