"""`train_table`: from a table to a model that predicts its target, with figures to trust."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from .._arguments import as_integer, brief, check_bool, check_one_of, describe
from .._products import ComputeDtype
from ..train.interrupts import Interrupts, name_of
from .card import Pictures, card
from .columns import (
    Table,
    as_table,
    as_text,
    category_columns,
    column_names,
    is_boolean,
    is_row_number,
    rows_of,
)
from .features import KINDS, Kind
from .fitting import Choices, Fitted, Rows, fit_rows
from .importance import permutation_importance
from .metrics import Metric, metric_of
from .model import TableModel
from .presets import Task
from .report import HeldOut, baselines, figures
from .splits import how_to_split, split as split_rows
from .target import check_classes_of_training, fit_target, present_rows, task_of
from .training import Examples
from .treatment import AS_ASKED, fit_treatment, kinds_of
from .weights import check_weights, counted_rows, weights_of


def train_table(
    data: Any,
    target: str | Sequence[str],
    *,
    preset: Literal["realmlp", "tabm"] = "realmlp",
    task: Task | None = None,
    kinds: Mapping[str, Kind] | None = None,
    split: str = "rows",
    metric: str | None = None,
    class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
    sample_weight: str | None = None,
    members: int = 1,
    embeddings: bool = False,
    epochs: int | None = None,
    compute_dtype: ComputeDtype = None,
    seed: int = 0,
    pictures: bool = False,
    **options: Any,
) -> TableModel:
    """Train a network to predict a column of a table from the others.

    Rows are split into three parts. The network learns from the first (64 %), the epoch is chosen
    by the second (16 %), and the report has the figures of the third (20 %), which chooses nothing,
    beside those of a constant and of a linear model.

    Args:
        data: a DataFrame, a dict of columns, or a table as from `fcjax.tables.read`. NaN and None
            are missing, and infinite numbers count as very large ones. A column without a name is
            "column 1" if it is the first, and is left out if it holds whole numbers, as those of
            rows that pandas and R write; `kinds` keeps it.
        target: the name of the column to predict, or of several columns of numbers.
        preset: "realmlp" or "tabm", which takes longer and is often a little better.
        task: "classification" or "regression". None decides: text, and at most ten different whole
            numbers, are classes.
        kinds: what a column is to be: "number", "category", "date" or "drop". Others are found:
            a column whose type is that of categories, as in pandas, holds categories; text holds
            numbers if all of it can be read so, unless a whole number begins with a zero ("01"),
            else dates (ISO 8601), else categories.
        split: "rows" splits at random; "group:COLUMN" keeps rows of a group together;
            "time:COLUMN" takes the last rows for the test, and those before for the validation.
        metric: the figure by which the epoch is chosen: of classes "accuracy" (the default),
            "error", "log_loss", "auc" or "brier", of numbers "rmse" (the default), "mae", "r2" or
            "mse".
        class_weight: "balanced", or the weight of each class, in training alone.
        sample_weight: the name of a column of weights, which is then no feature. Rows of weight 0
            do not count at all: the model is that of the table without them.
        members: number of networks with different initial parameters, which are trained at once,
            and whose predictions are averaged.
        embeddings: whether "tabm" embeds each number by its piecewise-linear encoding.
        epochs: largest number of epochs; None is that of the preset.
        compute_dtype: dtype of the products' operands: "bfloat16", "float16" or "float32", which is
            that of the networks.
        seed: seed of the split, the parameters and the order of the rows.
        pictures: whether to draw the training, the predictions for the third part, and the
            importance of the columns, as PNG files that `save` writes beside the model and its
            README.md shows. This needs matplotlib, of the extra `app`.
        options: of `fit`, such as `progress`, `checkpoint_dir` and `callbacks`.

    Returns:
        A `TableModel`. If Ctrl-C or SIGTERM ends the training after an epoch, it is the best until
        then. After the training, a signal only leaves out the importance of the columns and the
        pictures. `report["training"]["signal"]` names it.

    Raises:
        TypeError, ValueError: an argument is wrong, or something is wrong with the table; the
            message says what can be done.
        TrainingInterrupted: Ctrl-C or SIGTERM in the first epoch.
        ImportError: `pictures` is true, and matplotlib is not installed.

    Source: Holzmüller, Grinsztajn & Steinwart, NeurIPS 2024 (realmlp); Gorishniy et al., ICLR 2025
    (tabm).

    >>> rng = np.random.default_rng(0)
    >>> size = rng.uniform(20, 200, 200)
    >>> table = {"size": size, "town": rng.choice(["A", "B"], 200), "price": 3 * size + 50}
    >>> model = train_table(table, "price", epochs=30)
    >>> model
    TableModel(regression of price from 2 columns, realmlp)
    >>> model.report["figures"]["model"]["r2"]["value"] > 0.9
    True
    """
    check_bool("pictures", pictures)
    if pictures:
        from .pictures import draw  # fail before the training if there is no matplotlib
    else:
        draw = None
    every = column_names(data)
    names = _checked_target(every, target)
    others = [n for n in every if n not in (*names, sample_weight)]
    how = how_to_split(split, others)
    asked = _checked_kinds(kinds or {}, names, every)
    left_out = {n: AS_ASKED for n in others if asked.get(n) == "drop" and n != how.column}
    table = as_table(data, columns=[n for n in every if n not in left_out])
    left_out |= {n: "it has no name, and numbers as of rows" for n in others
                 if n not in asked and is_row_number(n, table[n])}  # fmt: skip
    check_weights(table, names, class_weight, sample_weight)
    given = rows_of(table)
    table = counted_rows(table, names, sample_weight)
    number = as_integer(seed)
    if number is None or not 0 <= number < 2**31:
        raise ValueError(f"seed must be an integer from 0 to 2**31 - 1, got {brief(seed)}")
    task = task_of(table, names, task)
    choices = Choices(preset, task, metric, members, embeddings, epochs, compute_dtype, seed)
    choices = choices.checked()
    present = np.flatnonzero(present_rows(table, names))
    labels = as_text(table[names[0]]) if task == "classification" else None
    parts = split_rows(how, table, _codes(labels), seed, present)
    features = {n: table[n] for n in others if n not in left_out}
    if how.column and (how.kind == "group" or asked.get(how.column) == "drop"):
        features.pop(how.column, None)  # the split alone needs it
    known: dict[str, Kind] = {n: "category" for n in category_columns(data) if n in features}
    used: dict[str, Kind] = {n: kind for n, kind in asked.items() if kind != "drop"}
    found_kinds = kinds_of(features, {**known, **used})
    found = fit_target(_rows(table, parts.train), names, task, _rows(table, present))
    if task == "classification" and is_boolean(data, names[0]):
        found = replace(found, classes=(False, True))
    check_classes_of_training(found, found.encoded(_rows(table, parts.train)))
    weights = weights_of(table, found, class_weight, sample_weight, parts)
    if weights is not None:  # of a class without weight
        parts = parts._replace(train=parts.train[weights[parts.train] > 0])
    treatment = fit_treatment(_rows(features, parts.train), found_kinds, choices.scaling, left_out)
    train, validation, test = (
        Rows(
            _rows(features, rows),
            found.encoded(_rows(table, rows)),
            None if weights is None else weights[rows],
        )
        for rows in parts
    )
    fitted = fit_rows(train, validation, found, treatment, choices, **options)
    about = {
        "rows": {
            "without a target": rows_of(table) - len(present),
            **({} if sample_weight is None else {"of weight 0": given - rows_of(table)}),
            **{name: len(rows) for name, rows in parts._asdict().items()},
        },
        "split": split,
        "seed": seed,
        "class weights": _in_words(class_weight),
        "sample weights": sample_weight,
    }
    with Interrupts() as signals:  # the network has been trained, and is not to be lost any more
        return _described(fitted, about, test, metric_of(task, metric), seed, draw, signals)


def _described(
    fitted: Fitted, about: Mapping[str, Any], test: Rows, metric: Metric, seed: int,
    draw: Callable[..., Pictures] | None, signals: Interrupts,
) -> TableModel:  # fmt: skip
    """Return the model with its report and its card, without what takes long after a signal."""
    model, held_out, training = fitted.model, _held_out(fitted.model, test), fitted.training
    figures = _figures(model, fitted.data, held_out, seed)
    importance = None
    if not signals.received():
        importance = permutation_importance(model, held_out, metric, seed=seed)
        about = {**about, "importance": importance.to_json()}
    report = {**about, "training": training, "figures": figures}
    model, files = replace(model, report=_strict(report)), Pictures()
    if draw and importance and not signals.received():
        files = draw(model, held_out, importance)
    if number := signals.received():
        training = {**training, "signal": name_of(number)}
        model = replace(model, report=_strict({**report, "training": training}))
    return replace(model, files={**files, "README.md": card(model, files).encode()})


def _held_out(model: TableModel, rows: Rows) -> HeldOut:
    X = model.treatment.transform(rows.features)
    return HeldOut(X, rows.y, rows.weights, model.outputs_of_matrix(X))


def _checked_kinds(
    kinds: Mapping[str, Kind], target: Sequence[str], columns: Sequence[str]
) -> Mapping[str, Kind]:
    """Return kinds, or raise for one that cannot be; to drop what is no feature is no mistake."""
    for name, kind in kinds.items():
        check_one_of("kinds", name, columns)
        check_one_of(f"kinds[{name!r}]", kind, KINDS)
        if name in target:
            raise ValueError(f"kinds: {name!r} is the target, which has no kind")
    return kinds


def _in_words(class_weight: Any) -> str | None:
    if isinstance(class_weight, Mapping):
        return ", ".join(f"{name}: {weight:g}" for name, weight in class_weight.items())
    return class_weight


def _strict(value: Any) -> Any:
    """Return what JSON can hold: None for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {name: _strict(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _figures(
    model: TableModel, train_data: Examples, held_out: HeldOut, seed: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Return the figures of the test rows, in the units of the target."""
    task, classes = model.target.task, len(model.target.classes or ())
    predicted = {"model": held_out.outputs, **baselines(task, train_data, held_out.X, classes)}
    y = held_out.y
    if task == "regression":
        predicted = {name: model.target.decoded(V) for name, V in predicted.items()}
        y = model.target.decoded(y)
    return {name: figures(task, V, y, held_out.weights, seed) for name, V in predicted.items()}


def _rows(table: Mapping[str, np.ndarray], rows: np.ndarray) -> Table:
    return {name: column[rows] for name, column in table.items()}


def _codes(texts: np.ndarray | None) -> np.ndarray | None:
    if texts is None:
        return None
    return np.unique(["" if text is None else text for text in texts], return_inverse=True)[1]


def _checked_target(columns: Sequence[str], target: object) -> list[str]:
    names = [target] if isinstance(target, str) else target
    if not isinstance(names, list | tuple) or not names:
        raise TypeError(f"target must be the name of a column, or several, got {describe(target)}")
    for name in names:
        check_one_of("target", name, columns)
    if len(set(names)) < len(names):
        raise ValueError(f"target must name different columns, got {brief(names)}")
    if len(names) == len(columns):
        raise ValueError(f"the table must have a column to predict from, got {brief(columns)}")
    return list(names)
