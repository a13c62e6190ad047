"""A step or an epoch as one compiled program that overwrites the state it is given."""

from collections.abc import Callable
from typing import Any

import jax

from .._arguments import describe
from .._jax import Tracer
from .state import StepInfo, TrainState

Run = Callable[[TrainState, Any], tuple[TrainState, StepInfo]]
Carried = tuple[Any, Any, Any]


class Compiled:
    """`run(state, data) -> (state, StepInfo)`, compiled at the first call.

    The key is handed round outside of the program: no step changes it, and JAX's fastest way to
    call a program is closed to those that return a typed key.
    """

    def __init__(self, run: Run, *, uses_key: bool, overwrites: bool = True):
        """Compile `run`; with `overwrites`, in the memory of the state that it is given."""
        self._uses_key = uses_key

        def program(carried: Carried, key: Any, data: Any) -> tuple[Carried, StepInfo]:
            state, info = run(TrainState(*carried, key), data)
            return state[:3], info

        self._program: Any = jax.jit(program, donate_argnums=0 if overwrites else ())

    def __call__(self, state: TrainState, data: Any) -> tuple[TrainState, StepInfo]:
        """Run the program; raise TypeError for what is no state, ValueError for one used up."""
        if not isinstance(state, TrainState):
            raise TypeError(_NO_STATE + describe(state))
        step, params, opt_state, key = state
        used_key = key if self._uses_key else None
        try:
            (step, params, opt_state), info = self._program(
                (step, params, opt_state), used_key, data
            )
        except (RuntimeError, ValueError):
            _refuse_used_up(state)
            raise
        return TrainState(step, params, opt_state, key), info

    def lower(self, state: TrainState, data: Any) -> Any:
        """Return what `jax.jit(...).lower` returns, to be compiled ahead of time or looked at."""
        return self._program.lower(state[:3], state.key if self._uses_key else None, data)

    def _cache_size(self) -> int:
        return self._program._cache_size()


_NO_STATE = "state must be a TrainState, as from init_state(params, optimizer) or a step, got "


def _refuse_used_up(state: TrainState) -> None:
    """Raise ValueError if an earlier call has overwritten an array of the state."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        held = isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer)
        if held and leaf.is_deleted():
            raise ValueError(
                f"state{jax.tree_util.keystr(path)} was overwritten by an earlier call with this "
                "state; go on with the state that the call returned"
            ) from None
