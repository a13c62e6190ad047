"""The training loop that most users need, around the compiled epoch."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .._arguments import describe
from .._progress import tqdm
from .arguments import (
    Metrics,
    check_count,
    check_numbers,
    check_seed,
    checked_callbacks,
    checked_metrics,
)
from .compiled import Compiled
from .epoch import count_examples, make_train_epoch
from .look import look_at, refuse_other_than_numbers
from .loop import ArrayEpochs, BatchEpochs, EpochEnd, evaluate
from .progress import History, Progress, Store
from .settings import Settings, constants_of
from .state import TrainState, init_state
from .step import LossFn, step_function, takes_key, uncompiled, with_key

Callback = Callable[[EpochEnd], Any]


class FitResult(NamedTuple):
    """The parameters to use, the state to go on from, and one figure per epoch.

    `params` are those after the last epoch, or, with `patience`, those of the best one. `history`
    maps "loss" (the mean over the epoch, while the parameters changed), "val_loss" and the metrics
    to lists.
    """

    params: Any
    state: TrainState
    history: History


def fit(
    params: Any,
    data: Any,
    *,
    loss: LossFn,
    optimizer: optax.GradientTransformation,
    epochs: int,
    batch_size: int | None = None,
    validation_data: Any = None,
    metrics: Metrics | None = None,
    seed: int = 0,
    shuffle: bool = True,
    patience: int | None = None,
    accumulate: int = 1,
    callbacks: Callback | Sequence[Callback] = (),
    checkpoint_dir: str | Path | None = None,
    checkpoint_every: int = 1,
    progress: bool | None = None,
) -> FitResult:
    """Train for a number of epochs.

    Equal arguments give equal results, bit for bit, on one machine; so does a run that was stopped
    and resumed from its checkpoints.

    Before it starts, `fit` looks once at arrays and at lists of batches; other iterables are left
    alone. Strings are refused. Integer labels and binary targets must lie in the range of the loss
    of fcjax that `loss` hands them to, if it hands on an array of the batch as it is, outside of
    `jit` and `vmap`; of a loss of your own nothing is known. NaN and infinity are refused if
    `loss` or its gradient is not finite on a batch with the first of them, and would be with 0 in
    its place: a loss may mask them.

    Args:
        params: where to start, a pytree of floating-point arrays; it is not changed.
        data: a tuple (or dict) of arrays with one first dimension, such as `(X, Y)`: each epoch is
            then one compiled call. Or any other iterable of batches, gone through once per epoch.
        loss: `loss(params, batch)` or `loss(params, batch, key)`, the mean over the batch. For
            validation the key is None: draw nothing then.
        optimizer: any Optax optimizer.
        epochs: number of passes over the data, in all: a resumed run counts those done before.
        batch_size: examples per step, for arrays; the last batch of an epoch may be smaller.
        validation_data: arrays, or a re-iterable of batches, on which loss and metrics are
            evaluated after each epoch.
        metrics: functions `(params, batch) -> number`, by name, evaluated on the validation data,
            or on the training data without one. Means over the batch, as the loss. The names
            "loss" and "val_loss" are taken.
        seed: of the shuffling and of the loss's key.
        shuffle: whether arrays are visited in a new random order in each epoch.
        patience: stop when the validation loss (the training loss without validation data) has not
            improved for this many epochs, and return the best parameters.
        accumulate: average the gradients of this many batches before each update. Over arrays, an
            epoch's last update averages what is left, so that no gradient is dropped.
        callbacks: a function or several, called with an `EpochEnd` after each epoch; one that
            returns True stops training.
        checkpoint_dir: folder to save to after each `checkpoint_every` epochs, and to resume from
            if it holds a checkpoint. A run that resumes with another batch size, learning rate or
            other number of the optimizer, seed, shuffling, or number of examples goes on, with a
            warning that says what differs. Refused are other metrics, validation where there was
            none or the reverse, and another number of batches to accumulate over. Other functions
            and numbers in arrays cannot be compared. Needs the extra `fcjax[checkpoint]`.
        checkpoint_every: epochs between checkpoints; the last epoch is saved in any case.
        progress: True or False; None shows a progress bar on a terminal and nothing otherwise.

    Raises:
        TypeError, ValueError: an argument is of the wrong kind or out of its range; of data, the
            message names the row and the column.
        NonFiniteLossError: a loss was infinite or NaN; the exception holds the step and the last
            good state.

    Source: Goodfellow, Bengio & Courville, Deep Learning (2016), algorithms 7.1 (early stopping)
    and 8.1 (stochastic gradient descent).

    >>> import fcjax
    >>> X = jnp.linspace(-1.0, 1.0, 50)[:, None]
    >>> def loss(params, batch):
    ...     return fcjax.half_squared_error(fcjax.mlp(params, batch[0]), batch[1])
    >>> params = fcjax.init(jax.random.key(0), (1, 1))
    >>> result = fit(params, (X, 3 * X + 1), loss=loss, optimizer=optax.sgd(0.5), epochs=20,
    ...              batch_size=16)
    >>> result.params[0].w.round(2), result.params[0].b.round(2)
    (Array([[3.]], dtype=float32), Array([1.], dtype=float32))
    """
    check_count("epochs", epochs)
    check_count("accumulate", accumulate)
    check_count("checkpoint_every", checkpoint_every)
    if patience is not None:
        check_count("patience", patience)
    check_seed(seed)
    metrics, callbacks = checked_metrics(metrics), checked_callbacks(callbacks)
    plain, optimizer = optimizer, _accumulating(optimizer, accumulate, data, batch_size)
    run = Progress(init_state(params, optimizer, key=jax.random.key(seed)), params, {})
    held = {"data": _in_memory(data), "validation_data": _in_memory(validation_data)}
    for name, arrays in held.items():
        refuse_other_than_numbers(name, arrays)
    train = _epochs(loss, optimizer, data, batch_size, shuffle)
    for name, arrays in held.items():
        key = run.state.key if name == "data" else None
        look_at(name, arrays, with_key(uncompiled(loss), False), params, rows=batch_size, key=key)
    score = _scoring(loss, metrics, params, data, validation_data)
    settings: Settings = {}
    if checkpoint_dir is not None:
        numbers = {"batch_size": batch_size, "accumulate": accumulate, "shuffle": shuffle}
        settings = numbers | {
            "seed": int(seed),
            "examples": count_examples(data) if _is_arrays(data) else None,
            "optimizer": constants_of(plain, params),
            "figures": _names(metrics, validation_data),
        }
    store = Store(checkpoint_dir, settings)
    run = store.restore(run)
    with tqdm(total=epochs, initial=run.epochs, unit="epoch", disable=_hidden(progress)) as bar:
        while run.epochs < epochs and not run.out_of_patience(patience):
            state, mean_loss = train.run(run.state)
            run = run.after_epoch(state, {"loss": mean_loss} | score(state.params))
            bar.set_postfix(run.last_figures())
            bar.update()
            stop = [call(EpochEnd(run.epochs, state, run.last_figures())) for call in callbacks]
            last = run.epochs == epochs or run.out_of_patience(patience) or True in stop
            if last or run.epochs % checkpoint_every == 0:
                store.save(run)
            if True in stop:
                break
    return FitResult(run.best if patience else run.state.params, run.state, run.history)


def _names(metrics: Metrics, validation_data: Any) -> list[str]:
    """Return the names of an epoch's figures."""
    if validation_data is None:
        return ["loss", *metrics]
    return ["loss", *(f"val_{name}" for name in ("loss", *metrics))]


def _hidden(progress: bool | None) -> bool | None:
    """Return tqdm's `disable`, for which None means: unless on a terminal."""
    return None if progress is None else not progress


def _is_arrays(data: Any) -> bool:
    """Whether `data` is arrays rather than an iterable of batches (a list, a loader)."""
    return isinstance(data, tuple | dict) or hasattr(data, "shape")


def _epochs(
    loss: LossFn,
    optimizer: optax.GradientTransformation,
    data: Any,
    batch_size: int | None,
    shuffle: bool,
) -> ArrayEpochs | BatchEpochs:
    plain = step_function(loss, optimizer, has_aux=False, grad_norm=False)
    step = Compiled(plain, uses_key=takes_key(loss), overwrites=False)
    if not _is_arrays(data):
        if not isinstance(data, Iterable):
            raise TypeError(
                "data must be a tuple or dict of arrays, or an iterable of batches, "
                f"got {describe(data)}"
            )
        if batch_size is not None:
            raise ValueError(
                f"batch_size is for arrays; data yields its own batches, got {batch_size}"
            )
        return BatchEpochs(step, data)
    if batch_size is None:
        raise ValueError(
            "batch_size must be given for arrays; to pass batches, use a list or a loader"
        )
    check_count("batch_size", batch_size)
    count_examples(data)
    train_epoch = make_train_epoch(loss, optimizer, batch_size=batch_size, shuffle=shuffle)
    return ArrayEpochs(train_epoch, step, jax.tree.map(jnp.asarray, data), batch_size, shuffle)


def _accumulating(
    optimizer: optax.GradientTransformation, every: int, data: Any, batch_size: int | None
) -> optax.GradientTransformation:
    """Let `optimizer` update once per `every` batches, and at the end of an epoch over arrays."""
    if every == 1:
        return optimizer
    if not _is_arrays(data) or batch_size is None:
        return optax.MultiSteps(optimizer, every).gradient_transformation()
    batches = -(-count_examples(data) // batch_size)
    updates = -(-batches // every)
    rest = batches - (updates - 1) * every

    def batches_in(update: Any) -> Any:
        return jnp.where((update + 1) % updates == 0, rest, every)

    return optax.MultiSteps(optimizer, batches_in).gradient_transformation()


def _scoring(
    loss: LossFn, metrics: Metrics, params: Any, data: Any, validation_data: Any
) -> Callable[[Any], dict[str, float]]:
    """Return the figures of an epoch's end as a function of the parameters."""
    score = evaluate(with_key(loss, has_aux=False), metrics)
    if validation_data is None and not metrics:
        return lambda params: {}
    name, given = (
        ("data", data) if validation_data is None else ("validation_data", validation_data)
    )
    batches = _as_batches(name, given)
    if isinstance(batches, list) and batches:  # going through anything else may cost or use it up
        check_numbers(metrics, params, batches[0])
    if validation_data is None:
        return lambda params: {n: v for n, v in score(params, batches).items() if n != "loss"}
    return lambda params: {f"val_{n}": v for n, v in score(params, batches).items()}


def _in_memory(data: Any) -> Any:
    """Return arrays and lists of batches; None for what may cost, or be gone through only once."""
    return data if _is_arrays(data) or isinstance(data, list) else None


def _as_batches(name: str, data: Any) -> Iterable[Any]:
    if not _is_arrays(data):
        return data
    count_examples(data, name)
    return [jax.tree.map(jnp.asarray, data)]
