"""A step or an epoch as one compiled program that overwrites its input state."""

from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np
from jax import Array

from .._arguments import check_key, check_tree, describe
from .._jax import Tracer
from .._types import Tree
from .state import TrainState, check_params, check_step

# `(state, data) -> (state, info)`; the info of a step or an epoch is a `StepInfo`.
StateFunction = Callable[..., tuple[TrainState, Any]]
# A state without its key.
Carried = tuple[Array, Tree, Tree]


class Compiled:
    """`function(state, data) -> (state, info)`, compiled at the first call.

    With `static_of`, the function has a third argument, the static value `static_of(data)`.

    The program does not return the key. No step changes it, and JAX's fastest way to call a
    program does not support programs that return a typed key.
    """

    def __init__(
        self,
        function: StateFunction,
        *,
        uses_key: bool,
        overwrites: bool = True,
        static_of: Callable[[Tree], Hashable] | None = None,
    ):
        """Compile `function`; with `overwrites`, the result reuses the memory of the input."""
        self._uses_key, self._static_of = uses_key, static_of

        def program(
            carried: Carried, key: Tree, data: Tree, *static: Hashable
        ) -> tuple[Carried, Any]:
            check_step(carried[0])  # a number of another type would pass
            if uses_key:
                check_key("state.key", key)
            state, info = function(TrainState(*carried, key), data, *static)
            return state[:3], info

        # JAX does not declare `_cache_size`
        self._program: Any = jax.jit(
            program,
            donate_argnums=0 if overwrites else (),
            static_argnums=() if static_of is None else 3,
        )

    def __call__(self, state: TrainState, data: Tree) -> tuple[TrainState, Any]:
        """Call the program.

        Raise TypeError if `state` is not a TrainState, and ValueError if an earlier call has
        overwritten it.
        """
        _check_is_state(state)
        step, params, opt_state, key = state
        used_key = key if self._uses_key else None
        try:
            (step, params, opt_state), info = self._program(
                (step, params, opt_state), used_key, data, *self._static(data)
            )
        except (RuntimeError, TypeError, ValueError) as error:
            if "deleted" in str(error):  # else this call has overwritten it, and then failed
                _check_not_overwritten(state)
            if isinstance(error, jax.errors.JaxRuntimeError):  # of the device or of a callback
                raise
            _check_arrays("state", state)
            _check_parts(state)
            _check_arrays("batch" if self._static_of is None else "data", data)
            raise
        return TrainState(step, params, opt_state, key), info

    def lower(self, state: TrainState, data: Tree) -> jax.stages.Lowered:
        """Return the result of `jax.jit(...).lower`, to inspect or to compile ahead of time."""
        key = state.key if self._uses_key else None
        return self._program.lower(state[:3], key, data, *self._static(data))

    def _static(self, data: Tree) -> tuple[Hashable, ...]:
        return () if self._static_of is None else (self._static_of(data),)

    def _cache_size(self) -> int:
        return self._program._cache_size()


def _check_is_state(value: object) -> None:
    if not isinstance(value, TrainState):
        raise TypeError(
            "state must be a TrainState, as from init_state(params, optimizer) or a step, "
            f"got {describe(value)}"
        )


def _check_arrays(name: str, tree: Tree) -> None:
    """Raise TypeError if a leaf is not an array that a program can take."""
    check_tree(name, tree)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not _is_numeric(leaf):
            place = name + jax.tree_util.keystr(path)
            raise TypeError(f"{place} must be an array of numbers, got {describe(leaf)}") from None


def _is_numeric(leaf: object) -> bool:
    if isinstance(leaf, np.ndarray | np.generic):
        return leaf.dtype.kind not in "OSUMm" and leaf.dtype.isnative
    return isinstance(leaf, jax.Array | bool | int | float | complex)


def _check_parts(state: TrainState) -> None:
    """Raise TypeError unless the parts of a state are as `init_state` makes them."""
    check_params(state.params, "state.params")
    check_step(state.step)


def _check_not_overwritten(state: TrainState) -> None:
    """Raise ValueError if an earlier call has overwritten an array of `state`."""
    check_tree("state", state)
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        held = isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer)
        if held and leaf.is_deleted():
            raise ValueError(
                f"state{jax.tree_util.keystr(path)} was overwritten by an earlier call with this "
                "state; use the state that the call returned"
            ) from None
