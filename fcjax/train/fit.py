"""`fit`, a training loop around the compiled epoch that suits most users."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh

from .._arguments import check_bool, check_one_of, count_examples
from .._types import Tree
from ..distributed import (
    Layout,
    check_mesh,
    check_shared,
    on_mesh,
    place,
    place_batch,
)
from .arguments import (
    Metrics,
    check_numbers,
    check_same_in_all_processes,
    check_seed,
    checked_callbacks,
    checked_count,
    checked_metrics,
    checked_optional_count,
)
from .array_epochs import ArrayEpochs
from .array_programs import ArrayData, steps_of_epoch
from .batch_epochs import BatchEpochs
from .compiled import Compiled, StateFunction
from .evaluation import Evaluation
from .figures import Figures, best_of, monitor_of
from .inputs import as_batches, check_data, is_arrays, placed
from .interrupts import Interrupts
from .nonfinite import observed, skipping
from .pace import Pace
from .position import Position
from .progress import Progress
from .reuse import Reused
from .schedule import Schedule
from .settings import Settings, constants_of, hyperparameters_of, record_of
from .state import TrainState, check_optimizer, check_params, init_state, shapes_of
from .step import LossFn, step_function, takes_key, with_key
from .store import Saving, Store
from .training import Callback, FitResult, Limits, Training, result_of


def fit(
    params: Tree,
    data: Tree,
    *,
    loss: LossFn,
    optimizer: optax.GradientTransformation,
    epochs: int,
    batch_size: int | None = None,
    validation_data: Tree = None,
    metrics: Metrics | None = None,
    seed: int = 0,
    shuffle: bool = True,
    drop_last: bool = False,
    patience: int | None = None,
    monitor: str | None = None,
    mode: Literal["min", "max"] = "min",
    ties: Literal["first", "last"] = "first",
    accumulate: int = 1,
    callbacks: Callback | Sequence[Callback] = (),
    checkpoint_dir: str | Path | None = None,
    checkpoint_every: int | str = 1,
    max_to_keep: int | None = 3,
    keep_best: str | None = None,
    checkpoint_errors: Literal["raise", "warn"] = "raise",
    nonfinite: Literal["raise", "skip"] = "raise",
    max_skipped: int = 5,
    progress: bool | None = None,
    mesh: Mesh | None = None,
    layout: Layout = "replicated",
) -> FitResult:
    """Train for a number of epochs.

    On one machine, equal arguments give equal results, bit for bit. A run that was stopped and
    resumed from its checkpoints gives the same results as an uninterrupted one, wherever it was
    stopped. A second call with the same functions and shapes compiles nothing.

    With several processes, all must pass the same arguments; ValueError names one that differs.

    Ctrl-C and SIGTERM end training within about a second, or after the current batch of an iterable
    if that takes longer, and in several processes after the current validation. With
    `checkpoint_dir` the state is saved first.

    Before training, `fit` checks data in memory once: arrays and lists of batches, but no other
    iterables. It raises

    - TypeError for strings and Python objects;
    - ValueError for integer labels or binary targets outside the range of a loss. This applies if
      `loss` passes an array of the batch, unchanged and outside of `jit` and `vmap`, to a loss of
      fcjax. Losses of your own are not checked;
    - ValueError for NaN and infinity, unless `loss` masks them: `loss` and its gradient are
      evaluated on a batch with the first such number. The number is an error if they are not
      finite, but become finite once 0 replaces it.

    Args:
        params: initial parameters, a pytree of floating-point arrays. It is not modified.
        data: a tuple or dict of arrays with equal first dimensions, such as `(X, Y)`, for which
            steps are compiled as a loop; or any other iterable of batches, which is iterated once
            per epoch. With several processes, each passes the same arrays, or its own rows through
            `place_batch(..., local=True)`.
        loss: `loss(params, batch)` or `loss(params, batch, key)`, the mean over the batch. In
            validation the key is None, and the loss must not draw random numbers.
        optimizer: any Optax optimizer.
        epochs: total number of passes over the data, including those before a resumption.
        batch_size: examples per step, for arrays; the last batch of an epoch may be smaller.
        validation_data: arrays, which are one batch, or an iterable of batches that can be iterated
            repeatedly. Loss and metrics are evaluated on it after each epoch.
        metrics: dict of functions `(params, batch) -> number`. Each returns a mean over the batch,
            as the loss does. They are evaluated on the validation data, or on the training data if
            there is none. The names "loss" and "val_loss" are reserved.
        seed: seed of the shuffling and of the loss's key.
        shuffle: whether to visit the examples of arrays in a new random order in each epoch.
        drop_last: whether to leave out the last batch of an epoch of arrays if it would be smaller.
            If examples are shuffled, each epoch leaves out others.
        patience: stop when the monitored figure has not improved for this many epochs, and return
            the best parameters.
        monitor: the name of a figure of an epoch, such as "val_accuracy": return the parameters of
            the epoch in which it was best, with `patience` or without. None monitors the validation
            loss (the training loss without validation data) for `patience`.
        mode: whether the monitored figure is best where it is lowest ("min") or highest ("max").
        ties: whether the "first" or the "last" of equally good epochs is the best.
        accumulate: average the gradients of this many batches before each update. For arrays, the
            last update of an epoch averages the remaining gradients, so that none is dropped.
        callbacks: one function or several, called with an `EpochEnd` after each epoch, in every
            process. Training stops if one of them returns True. `fcjax.trackers` has some that keep
            a record.
        checkpoint_dir: folder of checkpoints, which are written while training goes on. If it holds
            any, the run resumes from the newest that is whole, with a warning if a newer one is
            damaged. If `batch_size`, `seed`, `shuffle`, `nonfinite`, the number of examples or a
            number of the optimizer (such as the learning rate) differs from the checkpoint's, a
            warning says so.
            ValueError is raised if a change cannot be honoured: of the metrics, of `accumulate`, of
            numbers in the optimizer's state, of the optimizer or the shapes of `params`; if
            `validation_data` was added or removed; and of `batch_size` and the number of examples
            with accumulation or in the middle of an epoch. Changes of functions, or of numbers in
            arrays, cannot be detected. Needs the extra `fcjax[checkpoint]`.
        checkpoint_every: when to save: a number of epochs, or a text such as "100 steps" or
            "10 minutes". The run is also saved at its end, on Ctrl-C and on SIGTERM. To resume in
            the middle of an epoch, batches that were used are skipped, or `set_state` is called on
            the iterator of a loader that has it, such as Grain's.
        max_to_keep: number of the newest checkpoints to keep; None keeps all.
        keep_best: "lowest" or "highest" and the name of a figure of an epoch, such as
            "highest val_accuracy": the best epoch is kept too. Its state stays in memory until the
            next save, which writes both.
        checkpoint_errors: whether a checkpoint that cannot be written, as on a full disk, is an
            error ("raise") or a warning ("warn"). If one of several processes cannot write for
            another reason than a full disk, all end with an error.
        nonfinite: "raise" ends training at a loss, a validation loss or an update that is not
            finite. "skip" skips steps whose loss or gradient is not finite, and accepts a
            validation loss that is not.
        max_skipped: number of steps in a row that "skip" skips before it raises.
        progress: whether to show a line of progress: epochs, time left, figures, the best epoch,
            and the learning rate if the optimizer's state holds it, as that of
            `optax.inject_hyperparams` does. None shows it on a terminal only, after two seconds.
        mesh: train on the devices of a mesh, as from `fcjax.distributed.mesh`, which splits every
            batch. It must divide `batch_size` and the number of examples. Several processes need
            one.
        layout: where the parameters lie on the mesh, as in `fcjax.distributed.place`.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range. For invalid data,
            the message names the row and the column.
        NonFiniteLossError: a loss, a validation loss or an update was infinite or NaN. The
            exception holds the step and the last good state.
        BatchError: `data` raised, or a batch did not fit the loss. The exception holds the number
            of the batch and the result so far.
        TrainingInterrupted: Ctrl-C or SIGTERM. The exception holds the result so far.
        OSError: `checkpoint_dir` cannot be written.
        DamagedCheckpointError: every checkpoint in `checkpoint_dir` is damaged.

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
    epochs = checked_count("epochs", epochs)
    accumulate = checked_count("accumulate", accumulate)
    max_skipped = checked_count("max_skipped", max_skipped)
    batch_size = checked_optional_count("batch_size", batch_size)
    patience = checked_optional_count("patience", patience)
    max_to_keep = checked_optional_count("max_to_keep", max_to_keep)
    check_seed(seed)
    check_bool("shuffle", shuffle)
    check_bool("drop_last", drop_last)
    check_one_of("checkpoint_errors", checkpoint_errors, ("raise", "warn"))
    check_one_of("nonfinite", nonfinite, ("raise", "skip"))
    if progress is not None:
        check_bool("progress", progress)
    takes_key(loss, "loss")
    metrics, callbacks = checked_metrics(metrics), checked_callbacks(callbacks)
    check_mesh(mesh, layout)
    figures = _figure_names(metrics, validation_data)
    schedule, best = Schedule(checkpoint_every), best_of(keep_best, figures)
    monitored = monitor_of(monitor, mode, ties, figures)
    check_optimizer(optimizer)
    check_params(params)
    key = jax.random.key(seed)
    check_data(data, validation_data, loss, params, batch_size, drop_last, key)
    accumulating = _with_accumulation(optimizer, accumulate, data, batch_size, drop_last)
    if nonfinite == "skip":
        accumulating = skipping(accumulating, max_skipped)
    saving = None
    if checkpoint_dir is not None:
        saving = Saving(checkpoint_dir, schedule, max_to_keep, best, checkpoint_errors)
    several = jax.process_count() > 1
    settings: Settings = {
        "batch_size": batch_size,
        "accumulate": accumulate,
        "shuffle": shuffle,
        "drop_last": drop_last,
        "monitor": list(monitored),
        "nonfinite": nonfinite,
        "seed": int(seed),
        "examples": count_examples(data) if is_arrays(data) else None,
        "optimizer": constants_of(optimizer, params) if saving or several else None,
        "hyperparameters": {},
        "figures": figures,
    }
    shared = {
        "epochs": epochs,
        "patience": patience,
        "checkpoint_dir": checkpoint_dir,
        "checkpoint_every": checkpoint_every,
        "checkpoint_errors": checkpoint_errors,
        "max_to_keep": max_to_keep,
        "keep_best": keep_best,
        "max_skipped": max_skipped,
        "mesh": None if mesh is None else list(mesh.shape.items()),
        "layout": layout if isinstance(layout, str) else None,
        "the state of optimizer": str(jax.tree.structure(shapes_of(accumulating.init, params))),
    }
    check_same_in_all_processes({**settings, **shared})
    with nullcontext() if mesh is None else jax.set_mesh(mesh), Interrupts() as interrupts:
        state = _first_state(params, accumulating, key, mesh, layout)
        settings["hyperparameters"] = hyperparameters_of(state.opt_state)
        check_same_in_all_processes({"optimizer": settings["hyperparameters"]})
        check = interrupts.check_if_alone
        order = shuffle, drop_last
        evaluation = _evaluation(loss, metrics, state.params, data, validation_data, mesh, check)
        train = _epochs(loss, accumulating, data, batch_size, order, mesh, evaluation, check)
        with Store(saving, settings) as store:
            run = store.restore(Progress(state, state.params, Figures({}, monitored), Position(0)))
            del state  # which would stay in memory
            pace, raises = Pace(schedule.steps), nonfinite == "raise"
            record = record_of(settings, params, epochs=epochs, patience=patience)
            training = Training(run, train, evaluation, store, interrupts, pace, raises, record)
            del run
            limits = Limits(epochs, patience, returns_best=bool(patience or monitor))
            return result_of(training.run(limits, callbacks, progress), limits)


def _first_state(
    params: Tree,
    optimizer: optax.GradientTransformation,
    key: Array,
    mesh: Mesh | None,
    layout: Layout,
) -> TrainState:
    """Return the state before the first step, where it is to lie.

    The parameters are placed first: one device may have no memory for the optimizer's state.
    """
    if mesh is None:
        return init_state(params, optimizer, key=key)
    return on_mesh(init_state(place(params, mesh, layout), optimizer, key=key), mesh)


def _figure_names(metrics: Metrics, validation_data: Tree) -> list[str]:
    """Return the names of the figures of an epoch."""
    if validation_data is None:
        return ["loss", *metrics]
    return ["loss", *(f"val_{name}" for name in ("loss", *metrics))]


def _epochs(
    loss: LossFn,
    optimizer: optax.GradientTransformation,
    data: Tree,
    batch_size: int | None,
    order: tuple[bool, bool],
    mesh: Mesh | None,
    evaluation: Evaluation,
    check: Callable[[], None],
) -> ArrayEpochs | BatchEpochs:
    plain = step_function(loss, optimizer, has_aux=False, grad_norm=False, name="loss")

    def compiled(function: StateFunction, also_uses_key: bool = False) -> Compiled:
        return Compiled(function, uses_key=takes_key(loss) or also_uses_key, overwrites=False)

    if batch_size is None:
        if mesh is not None:
            data = placed(data, mesh)
        return BatchEpochs(Reused(compiled(observed(plain))), data, check)
    if mesh is None:
        arrays = jax.tree.map(jnp.asarray, data)
    else:
        check_shared("batch_size", min(batch_size, count_examples(data)), mesh)
        arrays = place_batch(data, mesh, name="data")
    given = ArrayData(arrays, min(batch_size, count_examples(data)), *order)
    return ArrayEpochs(observed(plain), compiled, given, evaluation, one_call=mesh is None)


def _with_accumulation(
    optimizer: optax.GradientTransformation,
    every: int,
    data: Tree,
    batch_size: int | None,
    drop_last: bool,
) -> optax.GradientTransformation:
    """Let `optimizer` update once per `every` batches; for arrays, also at the end of an epoch."""
    if every == 1:
        return optimizer
    if not is_arrays(data) or batch_size is None:
        return optax.MultiSteps(optimizer, every).gradient_transformation()
    examples = count_examples(data)
    batches = steps_of_epoch(examples, min(batch_size, examples), drop_last)
    updates = -(-batches // every)
    rest = batches - (updates - 1) * every

    def batches_in(update: Any) -> Array:  # Optax allows complex numbers, which have no %
        return jnp.where((update + 1) % updates == 0, rest, every)

    return optax.MultiSteps(optimizer, batches_in).gradient_transformation()


def _evaluation(
    loss: LossFn,
    metrics: Metrics,
    params: Tree,
    data: Tree,
    validation_data: Tree,
    mesh: Mesh | None,
    check: Callable[[], None],
) -> Evaluation:
    """Return the function that computes the figures at the end of an epoch."""
    if validation_data is None and not metrics:
        return Evaluation(None, metrics, [], "", check)
    name, given = (
        ("data", data) if validation_data is None else ("validation_data", validation_data)
    )
    batches = as_batches(name, given, mesh)
    if isinstance(batches, list) and batches:  # iterating anything else may be slow, or consume it
        check_numbers(metrics, params, batches[0])
    if validation_data is None:  # of the training data, the loss is known
        return Evaluation(None, metrics, batches, "", check)
    return Evaluation(with_key(loss, False, "loss"), metrics, batches, "val_", check)
