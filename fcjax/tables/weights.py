"""Weights of rows: their own, from a column of the table, and those of their classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._arguments import brief, check_one_of, describe, is_number
from .columns import Table, as_numbers, text_of
from .splits import Split
from .target import Target, present_rows

# What the largest weight of each part must be, in units of the largest of all, to be a number of
# float32 after the mean is 1.
LEAST = 1e-30


def check_weights(
    table: Table, names: Sequence[str], class_weight: Any, sample_weight: object
) -> None:
    """Raise unless the arguments name a column, and weights of classes."""
    if sample_weight is not None:
        check_one_of("sample_weight", sample_weight, [n for n in table if n not in names])
    if class_weight not in (None, "balanced") and not isinstance(class_weight, Mapping):
        raise TypeError(
            "class_weight must be 'balanced' or a dict of weights by class, "
            f"got {describe(class_weight)}"
        )


def counted_rows(table: Table, names: Sequence[str], sample_weight: str | None) -> Table:
    """Return the rows of a table without those of weight 0, which do not count at all.

    Rows without a target stay, whatever their weight: they are left out, and counted, as such.
    """
    if sample_weight is None:
        return table
    with_target = present_rows(table, names)
    weights = _column_of_weights(table, sample_weight, with_target)
    if with_target.any() and not np.any(weights[with_target] > 0):
        raise ValueError(
            f"sample_weight: the column {sample_weight!r} must be positive in a row with a "
            "target, got 0 in all of them"
        )
    counts = ~with_target | (weights > 0)
    return {name: column[counts] for name, column in table.items()}


def _column_of_weights(table: Table, sample_weight: str, rows: np.ndarray) -> np.ndarray:
    """Return a column of weights; ValueError unless those of some rows are weights."""
    weights = as_numbers(table[sample_weight])
    if weights is None or not np.all(np.isfinite(weights[rows]) & (weights[rows] >= 0)):
        raise ValueError(
            f"sample_weight: the column {sample_weight!r} must hold finite numbers of at least 0 "
            "in every row"
        )
    return weights


def weights_of(
    table: Table, target: Target, class_weight: Any, sample_weight: str | None, parts: Split
) -> np.ndarray | None:
    """Return the weight of each row of the table, the product of its own and its class's.

    The mean over the training rows is 1. Class weights hold for the training rows alone, so that
    the figures of the others are what their names say.
    """
    weights = None
    if sample_weight is not None:
        used = np.concatenate(parts)
        weights = _column_of_weights(table, sample_weight, used)
        weights = weights / max(weights[used].max(), 1e-300)  # so that no sum is infinite
        if any(weights[rows].max() < LEAST for rows in parts):
            raise ValueError(
                f"sample_weight: the column {sample_weight!r} must have a weight of at least "
                f"{LEAST} of the largest in each part"
            )
    if class_weight is not None:
        own = _of_classes(table, target, class_weight, parts.train, weights)
        weights = np.ones(len(own)) if weights is None else weights.copy()
        weights[parts.train] *= own[parts.train]
        if weights[parts.train].sum() <= 0:
            raise ValueError("class_weight must be positive for a class of the training rows")
    if weights is None:
        return None
    return (weights / weights[parts.train].mean()).astype(np.float32)


def _of_classes(
    table: Table, target: Target, class_weight: Any, train: np.ndarray, weights: np.ndarray | None
) -> np.ndarray:
    """Return the weight of each row's class; "balanced" gives all classes the same sum."""
    if target.classes is None:
        raise ValueError("class_weight needs a target of classes, got one of numbers")
    column = table[target.names[0]]
    with_target = present_rows(table, target.names)
    labels = np.zeros(len(column), int)
    labels[with_target] = target.labels(column[with_target])
    if class_weight == "balanced":
        counts = np.bincount(
            labels[train], None if weights is None else weights[train], len(target.classes)
        )
        present = counts > 0  # a class may be in the other parts alone
        of_class = np.ones(len(counts))
        of_class[present] = counts.sum() / (present.sum() * counts[present])
    else:
        by_text = {text_of(name): weight for name, weight in class_weight.items()}
        if not all(is_number(weight) for weight in by_text.values()):
            raise TypeError(f"class_weight must hold numbers, got {brief(class_weight)}")
        unknown = sorted(set(by_text) - set(map(text_of, target.classes)))
        if unknown:
            raise ValueError(
                f"class_weight: {unknown[0]!r} is no class; accepted: {brief(target.classes)}"
            )
        of_class = np.array([by_text.get(text_of(name), 1.0) for name in target.classes])
        if not np.all(np.isfinite(of_class) & (of_class >= 0)):
            raise ValueError(f"class_weight must be at least 0, got {brief(class_weight)}")
    return of_class[labels]
