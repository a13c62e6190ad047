"""What the tabular classifier and regressor share: parameters, tables, fitting and files."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import jax
import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .._arguments import as_integer, brief
from ..model import Contents
from ..tables import TableModel
from ..tables.columns import Table, as_table, category_columns, rows_of
from ..tables.features import Kind
from ..tables.fitting import Choices, Rows, fit_rows
from ..tables.target import Target
from ..tables.treatment import fit_treatment, kinds_of
from ..tables.weights import LEAST
from ._sklearn import (
    Integral,
    Interval,
    Real,
    StrOptions,
    checked_array,
    sample_weights,
    validated,
)
from .saving import facts_of, parameters_of, parameters_to_json, restore_facts


class BaseTabular(BaseEstimator):
    """What the classifier and the regressor share: the table, the split, the fit."""

    preset: str
    members: int
    metric: str | None
    embeddings: bool
    categorical_features: Any
    epochs: int | None
    validation_fraction: float
    compute_dtype: str | None
    random_state: Any
    verbose: bool

    _task: ClassVar[Any]
    _facts: ClassVar[tuple[str, ...]] = ("n_epochs_", "best_epoch_", "n_features_in_")
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "preset": [StrOptions({"realmlp", "tabm"})],
        "members": [Interval(Integral, 1, None, closed="left")],
        "metric": [str, None],
        "embeddings": ["boolean"],
        "categorical_features": ["array-like", None],
        "epochs": [Interval(Integral, 1, None, closed="left"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "compute_dtype": [str, None],
        "random_state": ["random_state"],
        "verbose": ["boolean"],
    }

    def __init__(
        self,
        preset: str = "realmlp",
        *,
        members: int = 1,
        metric: str | None = None,
        embeddings: bool = False,
        categorical_features: Any = None,
        epochs: int | None = None,
        validation_fraction: float = 0.2,
        compute_dtype: str | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ):
        """Take the parameters, which `fit` checks."""
        self.preset = preset
        self.members = members
        self.metric = metric
        self.embeddings = embeddings
        self.categorical_features = categorical_features
        self.epochs = epochs
        self.validation_fraction = validation_fraction
        self.compute_dtype = compute_dtype
        self.random_state = random_state
        self.verbose = verbose

    @validated
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None
    ) -> Any:
        """Train the network.

        Args:
            X: a DataFrame of pandas or Polars, an Arrow table, a dict of columns, or a matrix of
                numbers. NaN is missing, and infinite numbers count as very large ones.
            y: the class of each row, its number, or several numbers, `(n, outputs)`.
            sample_weight: the weight of each row, at least 0, or None. Rows of weight 0 do not
                count at all: the network is that of the other rows.
            X_val: rows that choose the epoch; None holds some rows out.
            y_val: the targets of these rows.

        Raises:
            ValueError: an argument or a parameter is wrong.

        Returns:
            The estimator.
        """
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together, got one of them")
        train = Rows(self._table(X, reset=True), self._checked_y(y))
        _check_rows(train, "X", "y")
        if sample_weight is not None:
            train = _counted(train._replace(weights=_checked_weights(sample_weight, train.y)))
        train = train._replace(y=self._encode(train.y, reset=True))
        weights = self._all_weights(train.y, train.weights)
        train = train._replace(weights=None if weights is None else weights.astype(np.float32))
        if X_val is None:
            train, held_out = self._split(train, seed)
        else:
            held_out = self._held_out(X_val, y_val)
        _check_sums(train, held_out)
        known: dict[str, Kind] = {
            name: "category" for name in category_columns(X) if name in train.features
        }
        self._fit_rows(_counted(train), held_out, {**known, **self._kinds(train.features)}, seed)
        return self

    def _held_out(self, X: Any, y: Any) -> Rows:
        """Return the given rows that choose the epoch."""
        try:
            table = self._table(X, reset=False)
        except (TypeError, ValueError) as error:  # which says X
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"X_val: {error}") from error
        rows = Rows(table, self._checked_y(y, "y_val"))
        _check_rows(rows, "X_val", "y_val")
        return rows._replace(y=self._encode(rows.y, reset=False))

    def _split(self, rows: Rows, seed: int) -> tuple[Rows, Rows]:
        numbers = np.arange(len(rows.y))
        if len(numbers) < 2:
            raise ValueError(
                "X must have at least two rows of a weight above 0, of which one chooses the "
                f"epoch, or X_val must be given, got n_samples={len(numbers)}"
            )
        parts = train_test_split(
            numbers, test_size=self.validation_fraction, random_state=seed,
            stratify=self._strata(rows.y),
        )  # fmt: skip
        one, other = (_taken(rows, np.sort(part)) for part in parts)
        return one, other

    def _fit_rows(self, train: Rows, held_out: Rows, chosen: Mapping[str, Kind], seed: int) -> None:
        choices = Choices(
            self.preset, self._task, self.metric, int(self.members), bool(self.embeddings),
            self.epochs, self.compute_dtype, seed,
        ).checked()  # fmt: skip
        target = self._target(train.y)
        kinds = kinds_of(train.features, chosen, refuse=False)
        treatment = fit_treatment(train.features, kinds, choices.scaling)
        train, held_out = (rows._replace(y=_scaled(target, rows.y)) for rows in (train, held_out))
        options = {"progress": bool(self.verbose)}
        fitted = fit_rows(train, held_out, target, treatment, choices, **options)
        # NumPy arrays can be pickled and mapped into memory
        self.model_ = replace(fitted.model, params=jax.tree.map(np.asarray, fitted.model.params))
        self.n_epochs_ = int(fitted.training["epochs"])
        self.best_epoch_ = int(fitted.training["best epoch"])
        self.history_ = fitted.training["history"]

    def _table(self, X: Any, *, reset: bool) -> Table:
        """Return X as a table, and check its columns against those of the fit."""
        table = self._frame(X, reset) if _has_columns(X) else self._matrix(X, reset)
        names = getattr(self, "feature_names_in_", [f"x{i}" for i in range(len(table))])
        return dict(zip(names, table.values(), strict=True))

    def _frame(self, X: Any, reset: bool) -> Table:
        table = as_table(X, "X")
        if hasattr(X, "iloc"):  # pandas
            validate_data(self, X, reset=reset, skip_check_array=True)
        else:
            table = self._in_order(table, reset)
        if not rows_of(table):
            raise ValueError(
                f"Found array with 0 sample(s) (shape=(0, {len(table)})) while a minimum of 1 is "
                f"required by {type(self).__name__}."
            )
        return table

    def _in_order(self, table: Table, reset: bool) -> Table:
        """Return columns in the order of the fit, by name if it had names.

        Of the names in dicts, and in all versions of Polars and Arrow, scikit-learn knows nothing.
        """
        if reset:
            self.feature_names_in_ = np.array(list(table), object)
            self.n_features_in_ = len(table)
        names = getattr(self, "feature_names_in_", None)
        if names is None and len(table) != self.n_features_in_:
            names = [f"x{i}" for i in range(self.n_features_in_)]
        elif names is None:
            return table
        if set(names) != set(table):
            raise ValueError(f"X must have the columns {brief([*names])}, got {brief([*table])}")
        return {name: table[name] for name in names}

    def _matrix(self, X: Any, reset: bool) -> Table:
        try:
            checked = validate_data(
                self, X, reset=reset, dtype=(np.float64, np.float32), ensure_all_finite=False
            )
        except ValueError as error:
            if "could not convert" not in str(error):
                raise
            raise ValueError(
                "X must be a matrix of numbers, or, for text and dates too, a DataFrame of pandas "
                f"or Polars, an Arrow table or a dict of columns; {error}"
            ) from error
        return as_table(checked)

    def _checked_y(self, y: Any, name: str = "y") -> np.ndarray:
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target {name} is None"
            )
        return np.asarray(checked_array(y, ensure_2d=False, dtype=None, input_name=name))

    def _kinds(self, table: Table) -> dict[str, Kind]:
        """Return which columns are categories: by name, by number, or by a mask."""
        names = list(table)
        chosen = () if self.categorical_features is None else list(self.categorical_features)
        if chosen and all(isinstance(column, bool | np.bool_) for column in chosen):
            if len(chosen) != len(names):
                raise ValueError(
                    "categorical_features as a mask must have one entry for each of the "
                    f"{len(names)} columns of X, got {len(chosen)}"
                )
            chosen = np.flatnonzero(chosen).tolist()
        return {self._name_of(column, names): "category" for column in chosen}

    @staticmethod
    def _name_of(column: Any, names: list[str]) -> str:
        if isinstance(column, str) and column in names:
            return column
        number = as_integer(column)
        if number is None or not 0 <= number < len(names):
            raise ValueError(
                f"categorical_features must be names or numbers of the {len(names)} columns of X, "
                f"from 0 on, or a mask, got {column!r}"
            )
        return names[number]

    @abstractmethod
    def _encode(self, y: np.ndarray, *, reset: bool) -> np.ndarray:
        """Return labels `(n,)`, or numbers `(n, outputs)`; learn the classes with `reset`."""

    @abstractmethod
    def _target(self, y: np.ndarray) -> Target:
        """Return the target of encoded training rows."""

    def _strata(self, y: np.ndarray) -> np.ndarray | None:
        """Return what the split keeps in equal parts, None for numbers."""
        return None

    def _all_weights(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        """Return the weights of rows, times those of their classes."""
        return weights

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn is to know of the estimator."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def to_table_model(self) -> TableModel:
        """Return the network with its treatment and the labels of its classes, for `to_onnx`."""
        check_is_fitted(self)
        target = self.model_.target
        if target.classes is None:
            return self.model_
        labels = tuple(np.asarray(vars(self)["classes_"]).tolist())
        return replace(self.model_, target=replace(target, classes=labels))

    def to_contents(self) -> Contents:
        """Return what a folder holds of the estimator, which `fcjax.save` writes."""
        check_is_fitted(self)
        contents = self.model_.to_contents()
        own = {
            "kind": type(self).__name__,
            "parameters": parameters_to_json(self),
            "fitted": facts_of(self, self._facts),
            "history": self.history_,
        }
        return contents._replace(config={**contents.config, **own})

    @classmethod
    def from_contents(cls, contents: Contents) -> Any:
        """Return the estimator that a folder holds."""
        estimator = cls(**parameters_of(contents.config))
        restore_facts(estimator, contents.config["fitted"])
        estimator.history_ = contents.config["history"]
        model = TableModel.from_contents(contents)
        estimator.model_ = replace(model, params=jax.tree.map(np.asarray, model.params))
        return estimator


def _has_columns(X: Any) -> bool:
    """Whether X is a table, whose columns may be of any kind, rather than a matrix."""
    if issparse(X):  # of which one kind is a dict
        return False
    return isinstance(X, Mapping) or hasattr(X, "columns")


def _check_rows(rows: Rows, X: str, y: str) -> None:
    counts = rows_of(rows.features), len(rows.y)
    if counts[0] != counts[1]:
        raise ValueError(
            f"{X} and {y} must have as many rows, found inconsistent numbers of samples: "
            f"{counts[0]} and {counts[1]}"
        )


def _checked_weights(weights: Any, y: np.ndarray) -> np.ndarray:
    """Return the weights of rows in units of the largest, so that no sum is infinite."""
    w = np.asarray(sample_weights(weights, y), np.float64)
    if np.any(w < 0):
        raise ValueError(f"sample_weight must be at least 0 in every row, got {w.min():g}")
    return w / w.max()


def _scaled(target: Target, y: np.ndarray) -> np.ndarray:
    """Return labels as they are, and numbers with mean 0 and deviation 1."""
    return y if target.classes is not None else target.scaled(y)


def _check_sums(*parts: Rows) -> None:
    for rows, what in zip(parts, ("train on", "choose the epoch by"), strict=True):
        if rows.weights is not None and rows.weights.max() < LEAST:
            raise ValueError(
                f"sample_weight, times class_weight, must be at least {LEAST} of the largest for "
                f"one of the rows to {what}, got less for all {len(rows.y)} of them"
            )


def _counted(rows: Rows) -> Rows:
    """Return the rows without those of weight 0, which do not count at all."""
    return rows if rows.weights is None else _taken(rows, np.flatnonzero(rows.weights > 0))


def _taken(rows: Rows, numbers: np.ndarray) -> Rows:
    features = {name: column[numbers] for name, column in rows.features.items()}
    return Rows(features, rows.y[numbers], None if rows.weights is None else rows.weights[numbers])
