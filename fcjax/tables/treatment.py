"""The treatment of a table: which columns are used, and the matrix that they become."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arguments import brief, check_one_of
from .columns import Table, as_text, counts_rows, rows_of
from .features import (
    FEWEST_ROWS,
    KINDS,
    Category,
    Feature,
    Kind,
    exception_of,
    fitted,
    from_json,
    kind_of,
    looks_like_identifier,
    notation_of,
    to_json,
    why_useless,
)
from .scaling import Quantile, Robust, Scaling

# Why a column is left out.
AS_ASKED = "as asked for"
# The most bins of the piecewise-linear encoding of a number.
BINS = 48


@dataclass(frozen=True)
class Treatment:
    """Features in the order of the table, why other columns are left out, and the scaling.

    In the matrix, the columns that are numbers come first, then those of 0 and 1.
    """

    features: tuple[Feature, ...]
    dropped: Mapping[str, str]
    scaling: Scaling

    @property
    def columns(self) -> list[str]:
        """The names of the columns of a table that are used."""
        return [feature.name for feature in self.features]

    @property
    def texts(self) -> dict[str, tuple[str, ...]]:
        """The texts of each category, by column, none of which is missing in a file."""
        return {f.name: tuple(f.categories) for f in self.features if isinstance(f, Category)}

    @property
    def groups(self) -> tuple[int, ...]:
        """The numbers of columns of the matrix that come from one feature; 1 for each number."""
        numbers = sum(feature.numbers for feature in self.features)
        others = (len(feature.outputs) - feature.numbers for feature in self.features)
        return (*(1,) * numbers, *(size for size in others if size))

    @property
    def blocks(self) -> tuple[np.ndarray, ...]:
        """The columns of the matrix that come from each feature."""
        of_numbers = np.repeat(np.arange(len(self.features)), [f.numbers for f in self.features])
        others = [len(f.outputs) - f.numbers for f in self.features]
        of_columns = np.append(of_numbers, np.repeat(np.arange(len(self.features)), others))
        return tuple(np.flatnonzero(of_columns == i) for i in range(len(self.features)))

    @property
    def outputs(self) -> list[str]:
        """The names of the columns of the matrix."""
        names = [feature.outputs for feature in self.features]
        counts = [feature.numbers for feature in self.features]
        first = [name for own, n in zip(names, counts, strict=True) for name in own[:n]]
        return first + [name for own, n in zip(names, counts, strict=True) for name in own[n:]]

    @property
    def numbers(self) -> int:
        """How many columns of the matrix, the first ones, are numbers."""
        return sum(feature.numbers for feature in self.features)

    def transform(self, table: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the matrix of a table in float32; ValueError names a column that is missing."""
        missing = [name for name in self.columns if name not in table]
        if missing:
            raise ValueError(
                f"the table must have the column {missing[0]!r}, got {brief(list(table))}"
            )
        return self.scaling.scaled(raw_matrix(self.features, table)).astype(np.float32)

    def edges(self, X: np.ndarray) -> tuple[tuple[float, ...], ...]:
        """Return the edges of bins of equal counts for each number of a matrix of training rows."""
        return tuple(_edges(X[:, i].astype(np.float64)) for i in range(self.numbers))

    def to_json(self) -> dict[str, Any]:
        """Return what a file holds beside the arrays of the scaling."""
        kind = "robust" if isinstance(self.scaling, Robust) else "quantile"
        return {
            "features": [to_json(feature) for feature in self.features],
            "dropped": dict(self.dropped),
            "scaling": kind,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> "Treatment":
        """Return the treatment that a file holds."""
        scaling = {"robust": Robust, "quantile": Quantile}[stored["scaling"]].from_arrays(arrays)
        return cls(tuple(map(from_json, stored["features"])), stored["dropped"], scaling)


def raw_matrix(features: Sequence[Feature], table: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the columns that the features become, before they are scaled."""
    encoded = [feature.encoded(table[feature.name]) for feature in features]
    numbers = [E[:, : feature.numbers] for feature, E in zip(features, encoded, strict=True)]
    others = [E[:, feature.numbers :] for feature, E in zip(features, encoded, strict=True)]
    return np.concatenate([*numbers, *others], axis=1)


def _edges(x: np.ndarray) -> tuple[float, ...]:
    edges = np.unique(np.quantile(x, np.linspace(0, 1, BINS + 1)).astype(np.float32))
    if len(edges) == 1:
        edges = np.array([edges[0], edges[0] + 1])
    return (*map(float, edges), *(np.inf,) * (BINS + 1 - len(edges)))


def kinds_of(table: Table, kinds: Mapping[str, Kind], *, refuse: bool = True) -> dict[str, Kind]:
    """Return the kind of each column of a table, of all its rows.

    Args:
        table: all rows, without the target.
        kinds: what some columns are to be: "number", "category", "date", or "drop".
        refuse: whether a column that looks like an identifier, or is hardly of the kind that was
            found, is an error.

    Raises:
        ValueError: `kinds` names no column or kind, or a column is not what `kinds` says, looks
            like an identifier, or holds numbers or dates in another notation, or but for a few
            values.
    """
    for name, kind in kinds.items():
        check_one_of(f"kinds[{name!r}]", kind, KINDS)
        check_one_of("kinds", name, table)
    found: dict[str, Kind] = {}
    for name, column in table.items():
        kind = found[name] = kinds.get(name) or kind_of(column)
        if name not in kinds and refuse:
            _check_found(name, column, kind)
        if name in kinds and kind != "drop" and not why_useless(column):
            fitted(name, column, kind)  # raises for a value of another kind
    return found


def _check_found(name: str, column: np.ndarray, kind: Kind) -> None:
    """Raise for a column that is hardly of the kind that was found."""
    if kind == "number" and len(column) >= FEWEST_ROWS and counts_rows(column):
        raise ValueError(
            f"column {name!r} counts the rows, as an identifier does; drop it ({_drop(name)}), or "
            f"say that it is a number ({_kind(name, 'number')})"
        )
    if kind != "category":
        return
    notation = notation_of(column)
    if notation:
        raise ValueError(
            f"column {name!r} holds {notation}, drop the column ({_drop(name)}), or say that it "
            f"holds categories ({_kind(name, 'category')})"
        )
    exception = exception_of(column)
    if exception:
        raise ValueError(
            f"column {name!r} holds {exception}; correct it, drop the column ({_drop(name)}), or "
            f"say that it holds categories ({_kind(name, 'category')})"
        )
    if looks_like_identifier(column):
        raise ValueError(_refusal(name, column))


def _drop(name: str) -> str:
    """Return the option that leaves a column out, as a shell reads it."""
    return f"--drop {shlex.quote(name)}"


def _kind(name: str, kind: Kind) -> str:
    return f"--kinds {shlex.quote(f'{name}={kind}')}"


def features_of(
    table: Table, kinds: Mapping[str, Kind], left_out: Mapping[str, str] | None = None
) -> tuple[tuple[Feature, ...], dict[str, str]]:
    """Return the features of columns of these kinds, and why other columns are left out.

    Raises:
        ValueError: no column is left.
    """
    features: list[Feature] = []
    dropped = {**(left_out or {})}
    for name, column in table.items():
        why = AS_ASKED if kinds.get(name) == "drop" else why_useless(column)
        if why:
            dropped[name] = why
            continue
        features.append(fitted(name, column, kinds[name]))
    if not features:
        raise ValueError(f"the table must have a column to predict from, got {brief(dropped)}")
    return tuple(features), dropped


def _refusal(name: str, column: np.ndarray) -> str:
    present = [v for v in as_text(column) if v is not None]
    return (
        f"column {name!r} looks like an identifier: {len(set(present))} different texts in "
        f"{len(present)} rows, such as {brief(present[0])}; drop it ({_drop(name)}), or say that "
        f"it is a category ({_kind(name, 'category')})"
    )


def fit_treatment(
    table: Table,
    kinds: Mapping[str, Kind],
    scaling: str,
    left_out: Mapping[str, str] | None = None,
) -> Treatment:
    """Fit the treatment to training rows whose columns are of these kinds.

    `scaling` is "robust" or "quantile". `left_out` holds columns that the table has no more, and
    why.
    """
    features, dropped = features_of(table, kinds, left_out)
    X = raw_matrix(features, table)
    numbers = sum(feature.numbers for feature in features)
    fit = Robust.fitted(X) if scaling == "robust" else Quantile.fitted(X, numbers)
    assert rows_of(table) == len(X)
    return Treatment(features, dropped, fit)
