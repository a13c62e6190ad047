"""The target of a table: a class, or one or several numbers."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arguments import brief, check_one_of
from .columns import Table, as_dates, as_numbers, as_text, has_codes, text_of
from .features import exception_of, looks_like_identifier, notation_of
from .presets import Task

# A column of so few different whole numbers is one of classes, unless the task is given.
FEW_NUMBERS = 10
Class = str | int | float


@dataclass(frozen=True)
class Target:
    """The names of the columns, the classes, or the scale of the numbers.

    The network predicts numbers with mean 0 and deviation 1 over the training rows; `mean` and
    `deviation` are in the units of the column.
    """

    names: tuple[str, ...]
    task: Task
    classes: tuple[Class, ...] | None = None
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @property
    def outputs(self) -> int:
        """The number of outputs of the network."""
        return len(self.names) if self.classes is None else len(self.classes)

    def encoded(self, table: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return labels `(n,)`, or scaled numbers `(n, outputs)`."""
        if self.classes is not None:
            return self.labels(table[self.names[0]])
        numbers = np.stack([numbers_of(name, table[name]) for name in self.names], axis=1)
        return self.scaled(numbers)

    def scaled(self, numbers: np.ndarray) -> np.ndarray:
        """Return numbers `(n, outputs)` with mean 0 and deviation 1."""
        # of the halves, whose differences are no larger than the largest number
        mean, deviation = (np.divide(V, 2) for V in (self.mean, self.deviation))
        return ((numbers / 2 - mean) / deviation).astype(np.float32)

    def labels(self, column: np.ndarray) -> np.ndarray:
        """Return the number of the class of each row; ValueError names an unknown class."""
        assert self.classes is not None
        codes = {text_of(value): i for i, value in enumerate(self.classes)}
        texts = as_text(column)
        unknown = sorted({text for text in texts if text not in codes}, key=str)
        if unknown:
            raise ValueError(
                f"column {self.names[0]!r} must hold the classes {brief(list(codes))}, "
                f"got {brief(unknown[0])}"
            )
        return np.array([codes[text] for text in texts], np.int32)

    def decoded(self, outputs: np.ndarray) -> np.ndarray:
        """Return predicted numbers in the units of their columns, no larger than float64 has."""
        mean, deviation = (np.divide(V, 2) for V in (self.mean, self.deviation))
        largest = np.finfo(np.float64).max / 2
        with np.errstate(over="ignore"):
            halves = outputs.astype(np.float64) * deviation + mean
        return 2 * np.clip(halves, -largest, largest)

    def chosen(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the most probable classes."""
        assert self.classes is not None
        return np.array(self.classes, _dtype_of(self.classes))[probabilities.argmax(axis=1)]

    def to_json(self) -> dict[str, Any]:
        """Return what a file holds."""
        return {
            "names": list(self.names), "task": self.task, "mean": list(self.mean),
            "deviation": list(self.deviation),
        }  # fmt: skip

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], classes: Sequence[Class] | None) -> "Target":
        """Return the target that a file holds."""
        return cls(
            tuple(stored["names"]), stored["task"], None if classes is None else tuple(classes),
            tuple(stored["mean"]), tuple(stored["deviation"]),
        )  # fmt: skip


def _dtype_of(classes: Sequence[Class]) -> Any:
    return object if any(isinstance(value, str) for value in classes) else None


def numbers_of(name: str, column: np.ndarray) -> np.ndarray:
    """Return a target column as numbers; ValueError where it holds something else."""
    numbers = as_numbers(column)
    if numbers is None:
        text = next(v for v in column if as_numbers(np.array([v], object)) is None)
        raise ValueError(f"target {name!r} must hold numbers for a regression, got {brief(text)}")
    return numbers


def present_rows(table: Table, names: Sequence[str]) -> np.ndarray:
    """Return which rows have a target."""
    columns = [as_text(table[name]) for name in names]
    return np.array([all(v is not None for v in row) for row in zip(*columns, strict=True)], bool)


def task_of(table: Table, names: Sequence[str], task: Task | None) -> Task:
    """Return whether the target is classes or numbers.

    It is numbers if there are several columns, or one of numbers, unless these are whole and at
    most ten different ones.
    """
    if task is not None:
        check_one_of("task", task, ("classification", "regression"))
        if task == "classification" and len(names) > 1:
            raise ValueError(f"target must be one column for a classification, got {brief(names)}")
        return task
    if len(names) > 1:
        return "regression"
    numbers = as_numbers(table[names[0]])
    if numbers is None:
        _check_classes(names[0], table[names[0]])
        return "classification"
    different = np.unique(numbers[~np.isnan(numbers)])
    whole = np.all(different == np.round(different))
    return "classification" if whole and len(different) <= FEW_NUMBERS else "regression"


def _check_classes(name: str, column: np.ndarray) -> None:
    """Raise ValueError if a column of texts is hardly one of classes."""
    if as_dates(column) is not None:
        raise ValueError(
            f"target {name!r} holds dates; predict a number, such as days until then, or pass "
            "--task classification"
        )
    exception = notation_of(column) or exception_of(column)
    if exception:
        raise ValueError(
            f"target {name!r} holds {exception}; correct it, or pass --task classification"
        )
    if looks_like_identifier(column):
        raise ValueError(
            f"target {name!r} must be numbers, or classes that several rows share, got "
            f"{len(set(column) - {None})} different texts; pass --task classification to insist"
        )


def classes_of(name: str, column: np.ndarray) -> tuple[Class, ...]:
    """Return the classes of a column in order: of numbers, or of texts."""
    numbers = as_numbers(column) if column.dtype.kind == "f" else None
    if numbers is not None:
        values = np.unique(numbers)
        classes: tuple[Class, ...] = tuple(
            int(v) if float(v).is_integer() else float(v) for v in values
        )
    else:
        texts = set(as_text(column))
        classes = _in_order(texts)
        _check_alike(name, classes)
    if len(classes) < 2:
        raise ValueError(f"target {name!r} must have at least two classes, got {brief(classes)}")
    return classes


def _check_alike(name: str, classes: Sequence[Class]) -> None:
    """Raise ValueError if two classes of texts are one number; those with zeros are codes."""
    texts = np.array([str(value) for value in classes], object)
    numbers = None if has_codes(texts) else as_numbers(texts)
    if numbers is None:
        return
    for one, other in itertools.pairwise(np.argsort(numbers, kind="stable")):
        if numbers[one] == numbers[other]:
            raise ValueError(
                f"target {name!r} holds {texts[one]!r} and {texts[other]!r}, which are one "
                "number; write them alike"
            )


def _in_order(texts: set[str]) -> tuple[Class, ...]:
    """Sort texts, those of numbers by their numbers."""
    column = np.array(sorted(texts), object)
    numbers = as_numbers(column)
    if numbers is None or {t.lower() for t in texts} <= {"true", "false"}:
        return tuple(column)
    return tuple(column[np.argsort(numbers, kind="stable")])


def check_classes_of_training(target: Target, labels: np.ndarray) -> None:
    """Raise ValueError if the rows of training have one class alone."""
    different = np.unique(labels)
    if target.classes is not None and len(different) < 2:
        only = brief([target.classes[label] for label in different])
        raise ValueError(
            f"target {target.names[0]!r} must have two classes in the rows of training, got {only}"
        )


def fit_target(table: Table, names: Sequence[str], task: Task, all_rows: Table) -> Target:
    """Fit the target: its classes to all rows that have one, its scale to the training rows."""
    if task == "classification":
        return Target(tuple(names), task, classes_of(names[0], all_rows[names[0]]))
    columns = [numbers_of(name, table[name]) for name in names]
    with np.errstate(over="ignore", invalid="ignore"):
        mean = [float(np.mean(column)) for column in columns]
        deviation = [float(np.std(column)) for column in columns]
    for name, m, s in zip(names, mean, deviation, strict=True):
        if not np.isfinite(m) or not np.isfinite(s):
            raise ValueError(f"target {name!r} must hold finite numbers, of which the squares are, "
                             f"got the mean {m} and the deviation {s}")  # fmt: skip
        if s == 0:
            raise ValueError(f"target {name!r} must differ between the rows of training, "
                             f"got {m:g} in all of them")  # fmt: skip
    return Target(tuple(names), task, None, tuple(mean), tuple(deviation))
