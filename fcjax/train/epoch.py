"""One pass over the data as one compiled program."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import optax
from jax import lax

from .._arguments import describe
from .._types import Tree
from .arguments import check_bool, check_count
from .compiled import Compiled, StateFunction
from .shuffle import random_order
from .state import StepInfo, TrainState
from .step import LossFn, key_for, step_function, takes_key


def make_train_epoch(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    *,
    batch_size: int,
    shuffle: bool = True,
    has_aux: bool = False,
    grad_norm: bool = False,
) -> Compiled:
    """Return `train_epoch(state, data) -> (state, StepInfo)`: every batch in one compiled call.

    No example is dropped: if `batch_size` does not divide the number of examples, the last batch is
    smaller. The steps do not return to Python, so small networks train several times faster than in
    a loop over `train_step`.

    Args:
        loss_fn: as in `make_train_step`.
        optimizer: as in `make_train_step`.
        batch_size: examples per step.
        shuffle: whether to visit the examples in a new random order, drawn from `state.key` and
            `state.step`. This needs a second copy of the data during the epoch.
        has_aux: as in `make_train_step`.
        grad_norm: as in `make_train_step`.

    Returns:
        A function of the state, which it overwrites, and of `data`, a pytree of arrays with equal
        first dimensions. The arrays of its `StepInfo` have one entry per step, in order.

    Raises:
        TypeError: as in `make_train_step`, or `batch_size` is not an integer.
        ValueError: `batch_size` is not positive. When called: `data` has no examples or arrays of
            different lengths, or the state is invalid, as in `make_train_step`.

    Source: Bottou, Curtis & Nocedal, Optimization methods for large-scale machine learning, SIAM
    Review 60 (2018), section 3.3.

    >>> def loss_fn(params, batch):
    ...     return jnp.mean((params - batch) ** 2)
    >>> from fcjax import init_state
    >>> optimizer = optax.sgd(0.1)
    >>> train_epoch = make_train_epoch(loss_fn, optimizer, batch_size=4)
    >>> state, info = train_epoch(init_state(jnp.zeros(()), optimizer), jnp.ones(10))
    >>> int(state.step), info.loss.shape
    (3, (3,))
    """
    check_count("batch_size", batch_size)
    check_bool("shuffle", shuffle)
    step = step_function(loss_fn, optimizer, has_aux=has_aux, grad_norm=grad_norm)
    return compiled_epoch(step, batch_size, shuffle=shuffle, step_uses_key=takes_key(loss_fn))


def compiled_epoch(
    step: StateFunction, batch_size: int, *, shuffle: bool, step_uses_key: bool
) -> Compiled:
    """Return the program that applies `step` to every batch."""

    def train_epoch(state: TrainState, data: Tree) -> tuple[TrainState, StepInfo]:
        full, rest = _split(in_epoch_order(state, data, shuffle), batch_size)
        state, infos = lax.scan(step, state, full)
        if rest is not None:
            state, info = step(state, rest)
            infos = jax.tree.map(lambda many, one: jnp.concatenate([many, one[None]]), infos, info)
        return state, infos

    return Compiled(train_epoch, uses_key=shuffle or step_uses_key)


def count_examples(data: Tree, name: str = "data") -> int:
    """Return the common first dimension of all arrays, or raise ValueError."""
    lengths = {
        name + jax.tree_util.keystr(path): _first_dimension(name, path, leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(data)
    }
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(
            f"{name} must be arrays with equal first dimensions (the number of examples), at least "
            f"1; got first dimensions {_first_difference(lengths)}"
        )
    return next(iter(lengths.values()))


def _first_difference(lengths: dict[str, int]) -> dict[str, int]:
    """Return the first entry, and the first entry that differs from it."""
    first = next(iter(lengths.items()), ("", 0))
    others = [item for item in lengths.items() if item[1] != first[1]]
    return dict([*lengths.items()][:1] + others[:1])


def _first_dimension(name: str, path: tuple[object, ...], leaf: object) -> int:
    shape = getattr(leaf, "shape", ())
    if shape:
        return shape[0]
    place, around = (name + jax.tree_util.keystr(p) for p in (path, path[:1]))
    hint = (
        "" if place == around else f"; a list is not an array, convert it with np.asarray({around})"
    )
    raise ValueError(
        f"{place} must be an array whose first dimension counts the examples, "
        f"got {describe(leaf)}{hint}"
    )


def in_epoch_order(state: TrainState, data: Tree, shuffle: bool) -> Tree:
    """Return the examples in the order in which the epoch that starts at `state` visits them.

    The order depends on `state.key` and `state.step`.
    """
    examples = count_examples(data)
    if not shuffle:
        return data
    rows = random_order(key_for(state, "shuffle"), examples)
    # One gather for the whole epoch: one per batch costs a small network a tenth of its time.
    return jax.tree.map(lambda array: jnp.take(array, rows, axis=0, mode="clip"), data)


def batches_of(data: Tree, batch_size: int) -> Iterator[Tree]:
    """Yield the batches of an epoch; the last one may be smaller."""
    for start in range(0, count_examples(data), batch_size):
        rows = slice(start, start + batch_size)
        yield jax.tree.map(lambda array, rows=rows: array[rows], data)


def _split(data: Tree, batch_size: int) -> tuple[Tree, Tree]:
    """Return the full batches along a new first dimension, and the remaining examples or None."""
    steps, rest = divmod(count_examples(data), batch_size)
    full = steps * batch_size
    batches = jax.tree.map(lambda a: a[:full].reshape(steps, batch_size, *a.shape[1:]), data)
    return batches, jax.tree.map(lambda a: a[full:], data) if rest else None
