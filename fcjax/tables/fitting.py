"""Fit a model to rows that are split already: what `train_table` and the estimators share."""

import hashlib
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from .._arguments import check_bool, check_one_of, floating_dtype
from .._products import ComputeDtype
from ..train import FitResult, TrainingInterrupted, checked_count, checked_optional_count
from .columns import Table
from .metrics import Metric, check_defined, metric_of, unit_of
from .model import TableModel
from .presets import PRESETS, Recipe, Task, network_of, recipe_of
from .target import Target
from .training import Examples, Networks, steps_of_epoch, train
from .treatment import Treatment

# Dtypes of the products' operands; the networks are float32.
DTYPES = ("bfloat16", "float16", "float32")


class Choices(NamedTuple):
    """What network is trained and how, whatever the table; the arguments of `train_table`."""

    preset: str
    task: Task
    metric: str | None = None
    members: int = 1
    embeddings: bool = False
    epochs: int | None = None
    compute_dtype: ComputeDtype = None
    seed: int = 0

    def checked(self) -> "Choices":
        """Return the choices, or raise for one that cannot be."""
        check_one_of("preset", self.preset, PRESETS)
        check_bool("embeddings", self.embeddings)
        if self.embeddings and self.preset != "tabm":
            raise ValueError(f"embeddings need preset='tabm', got {self.preset!r}")
        metric_of(self.task, self.metric)
        return self._replace(
            members=checked_count("members", self.members),
            epochs=checked_optional_count("epochs", self.epochs),
            compute_dtype=_checked_dtype(self.compute_dtype),
        )

    @property
    def scaling(self) -> str:
        """The scaling of the preset."""
        return "robust" if self.preset == "realmlp" else "quantile"


def _checked_dtype(compute_dtype: ComputeDtype) -> str | None:
    """Return the name of a dtype, or raise for one that products of float32 cannot have."""
    if compute_dtype is None:
        return None
    dtype = floating_dtype("compute_dtype", compute_dtype, "a floating-point dtype or None")
    if dtype.name not in DTYPES:
        raise ValueError(f"compute_dtype must be {', '.join(DTYPES)} or None, got {dtype}")
    return dtype.name


class Rows(NamedTuple):
    """Some rows of a table: their features, and their targets as `Target` encodes them."""

    features: Table
    y: np.ndarray
    weights: np.ndarray | None = None

    def examples(self, treatment: Treatment) -> Examples:
        """Return the rows as the network takes them."""
        return Examples(treatment.transform(self.features), self.y, self.weights)


class Fitted(NamedTuple):
    """A model, what is known of its training, and the rows that it was trained on."""

    model: TableModel
    training: dict[str, Any]
    data: Examples


def fit_rows(
    train_rows: Rows, validation_rows: Rows, target: Target, treatment: Treatment, choices: Choices,
    **options: Any,
) -> Fitted:  # fmt: skip
    """Train on rows, and return the model of the epoch that is best on others.

    `options` are those of `fit`. If Ctrl-C ends the training after an epoch, the model is the best
    until then.
    """
    metric = metric_of(target.task, choices.metric)
    check_defined(metric, validation_rows.y, validation_rows.weights)
    data = train_rows.examples(treatment)
    edges = treatment.edges(np.asarray(data.x)) if choices.embeddings else ()
    network = network_of(
        choices.preset, target.task, treatment.groups, target.outputs, edges or None
    )
    recipe = recipe_of(network, target.task)
    recipe = recipe if choices.epochs is None else replace(recipe, epochs=choices.epochs)
    networks = Networks(network, choices.members, choices.compute_dtype)
    held_out, unit = validation_rows.examples(treatment), unit_of(metric, target.deviation)
    if options.get("checkpoint_dir") is not None:
        # the schedule of realmlp depends on the number of epochs
        epochs = recipe.epochs if choices.preset == "realmlp" else None
        plan = networks, epochs, metric.name, choices.seed
        folder = Path(options["checkpoint_dir"]) / _fingerprint(plan, data, held_out)
        # an epoch may take no longer than a save; what ends the training is saved at once
        options = {"checkpoint_every": "1 minutes", **options, "checkpoint_dir": folder}
    start, stopped = time.monotonic(), None
    try:
        result = train(
            networks, target.task, recipe, data, held_out, metric,
            unit=1.0 if unit is None else unit, seed=choices.seed, **options,
        )  # fmt: skip
    except TrainingInterrupted as stop:
        if not stop.result.history.get("loss"):
            raise
        result, stopped = stop.result, signal.Signals(cast("int", stop.code) - 128).name
    known = {
        "seconds": round(time.monotonic() - start, 2),
        "interrupted": stopped is not None,
        "signal": stopped,
        "in_deviations": unit is None,
    }
    model = TableModel(networks, result.params, treatment, target)
    rates = _rates(recipe, steps_of_epoch(len(data.x), recipe), len(result.history["loss"]))
    return Fitted(model, {**_training(recipe, metric, result, rates), **known}, data)


def _fingerprint(plan: object, *examples: Examples) -> str:
    """Return a name for the checkpoints of this training, on these rows alone.

    Those of another split would have seen rows of the test.
    """
    digest = hashlib.sha256(repr(plan).encode())
    for array in jax.tree.leaves(examples):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _rates(recipe: Recipe, steps: int, epochs: int) -> list[float]:
    """Return the learning rate of the last step of each epoch."""
    last = np.arange(1, epochs + 1) * steps - 1
    return np.asarray(recipe.rate(recipe.epochs * steps)(last), np.float64).tolist()


def _training(
    recipe: Recipe, metric: Metric, result: FitResult, rates: list[float]
) -> Mapping[str, Any]:
    """Return what is known of the training."""
    values = np.asarray(result.history[f"val_{metric.name}"])
    signed = np.where(np.isnan(values), np.inf, -values if metric.mode == "max" else values)
    best = np.flatnonzero(signed == signed.min())
    return {
        "metric": metric.name,
        "epochs": len(values),
        "best epoch": int(best[-1 if recipe.ties == "last" else 0]) + 1,
        "parameters": sum(V.size for V in jax.tree.leaves(result.params)),
        "history": {"learning_rate": rates, **result.history},
    }
