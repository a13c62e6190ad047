"""`TabularClassifier` and `TabularRegressor`: the strongest networks for tables, by default."""

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from .._arguments import brief, describe
from ..tables.scaling import mean_and_deviation
from ..tables.target import Target
from ._sklearn import StrOptions, checked_array, class_weights
from .tabular_base import BaseTabular


class TabularClassifier(ClassifierMixin, BaseTabular):
    """A classifier of tables: RealMLP or TabM, with all of a table's treatment.

    It takes a DataFrame with numbers, categories, dates and missing values, or a matrix, and needs
    no scaling. A fifth of the rows chooses the epoch, unless `X_val` and `y_val` are given.
    Whatever a table was in training, predictions are those of equal columns in any form that `fit`
    takes. Columns without a name of text are called x0, x1, ...

    Args:
        preset: "realmlp", or "tabm", which takes longer and is often a little better.
        members: number of networks that are trained at once, and whose probabilities are averaged.
        metric: the figure by which the epoch is chosen: "accuracy", "error", "log_loss", "auc" or
            "brier". None is accuracy.
        embeddings: whether "tabm" embeds each number by its piecewise-linear encoding.
        categorical_features: names or numbers of columns of categories, beside those of text
            that is not all numbers and of a DataFrame's type of categories, or a mask with True
            for each of them.
        epochs: largest number of epochs; None is that of the preset.
        validation_fraction: part of the rows that chooses the epoch.
        class_weight: None, "balanced", or a dict of weights by class, of at least 0.
        compute_dtype: dtype of the products' operands, such as "bfloat16".
        random_state: of the split, the parameters and the order of the rows.
        verbose: whether to show a progress bar.

    Attributes:
        classes_: the classes.
        model_: the `TableModel`.
        n_epochs_, best_epoch_: number of epochs, and of the one whose parameters are kept.
        history_: figures of each epoch, by name.

    Source: Holzmüller, Grinsztajn & Steinwart, NeurIPS 2024; Gorishniy et al., ICLR 2025.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> TabularClassifier(epochs=60, random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """

    _task = "classification"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseTabular._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, None],
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
        class_weight: Any = None,
        compute_dtype: str | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ):
        """Take the parameters, which `fit` checks."""
        super().__init__(
            preset,
            members=members,
            metric=metric,
            embeddings=embeddings,
            categorical_features=categorical_features,
            epochs=epochs,
            validation_fraction=validation_fraction,
            compute_dtype=compute_dtype,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def _encode(self, y: np.ndarray, *, reset: bool) -> np.ndarray:
        if y.ndim > 1 and y.shape[1:] != (1,):
            name = "y" if reset else "y_val"
            raise ValueError(f"{name} must have one class for each row, got {describe(y)}")
        labels = column_or_1d(y, warn=True)
        if reset:
            check_classification_targets(labels)
            self.classes_ = np.unique(labels)
            if len(self.classes_) < 2:
                one = self.classes_.tolist()[0]
                raise ValueError(f"y must have at least two classes, got the one class {one!r}")
        unknown = set(labels.tolist()) - set(self.classes_.tolist())
        if unknown:
            raise ValueError(
                f"y_val must hold the classes of y, got {brief(min(unknown, key=str))}"
            )
        return np.searchsorted(self.classes_, labels).astype(np.int32)

    def _target(self, y: np.ndarray) -> Target:
        return Target(("y",), "classification", tuple(range(len(self.classes_))))

    def _strata(self, y: np.ndarray) -> np.ndarray | None:
        fewest = int(min(self.validation_fraction, 1 - self.validation_fraction) * len(y))
        counts = np.bincount(y)
        return y if counts.min() > 1 and len(counts) <= fewest else None

    def _all_weights(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        if self.class_weight is None:
            return weights
        own = class_weights(self.class_weight, self.classes_[y])
        if not np.any(own > 0):
            raise ValueError("class_weight must be positive for a class of y, got 0 for all")
        own = own / own.max()
        return own if weights is None else own * weights

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, `(n, classes)`, in the order of `classes_`."""
        check_is_fitted(self)
        return self.model_.outputs_of_matrix(
            self.model_.treatment.transform(self._table(X, reset=False))
        )

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class TabularRegressor(RegressorMixin, BaseTabular):
    """A regressor of tables: RealMLP or TabM, with all of a table's treatment.

    It takes a DataFrame with numbers, categories, dates and missing values, or a matrix, and needs
    no scaling. A fifth of the rows chooses the epoch, unless `X_val` and `y_val` are given.
    Whatever a table was in training, predictions are those of equal columns in any form that `fit`
    takes. Columns without a name of text are called x0, x1, ...

    Args:
        preset: "realmlp", or "tabm", which takes longer and is often a little better.
        members: number of networks that are trained at once, and whose numbers are averaged.
        metric: the figure by which the epoch is chosen: "rmse", "mae", "r2" or "mse". None is rmse.
        embeddings: whether "tabm" embeds each number by its piecewise-linear encoding.
        categorical_features: names or numbers of columns of categories, beside those of text
            that is not all numbers and of a DataFrame's type of categories, or a mask with True
            for each of them.
        epochs: largest number of epochs; None is that of the preset.
        validation_fraction: part of the rows that chooses the epoch.
        compute_dtype: dtype of the products' operands, such as "bfloat16".
        random_state: of the split, the parameters and the order of the rows.
        verbose: whether to show a progress bar.

    Attributes:
        model_: the `TableModel`.
        n_epochs_, best_epoch_: number of epochs, and of the one whose parameters are kept.
        history_: figures of each epoch, by name; the loss in units of y's deviation, as are errors
            of several outputs, and of y whose unit float32 does not have.

    Source: Holzmüller, Grinsztajn & Steinwart, NeurIPS 2024; Gorishniy et al., ICLR 2025.

    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> TabularRegressor(epochs=20, random_state=0).fit(X, y).score(X, y) > 0.4
    True
    """

    _task = "regression"
    _facts = (*BaseTabular._facts, "n_outputs_")

    def _encode(self, y: np.ndarray, *, reset: bool) -> np.ndarray:
        name = "y" if reset else "y_val"
        numbers = checked_array(y, ensure_2d=False, dtype=np.float64, input_name=name)
        if numbers.ndim == 2 and numbers.shape[1] == 1:
            numbers = column_or_1d(numbers, warn=True)
        outputs = int(np.prod(numbers.shape[1:]))
        if reset:
            self.n_outputs_ = outputs
        if outputs != self.n_outputs_:
            raise ValueError(
                f"y_val must have as many outputs as y, {self.n_outputs_}, got {outputs}"
            )
        return numbers.reshape(len(numbers), -1)

    def _target(self, y: np.ndarray) -> Target:
        mean, deviation = mean_and_deviation(y)
        deviation = np.where(deviation == 0, 1.0, deviation)
        names = tuple(f"y{i}" for i in range(y.shape[1]))
        mean, deviation = (tuple(map(float, V)) for V in (mean, deviation))
        return Target(names, "regression", None, mean, deviation)

    def predict(self, X: Any) -> np.ndarray:
        """Return the number of each row `(n,)`, or several, `(n, outputs)`."""
        check_is_fitted(self)
        table = self._table(X, reset=False)
        outputs = self.model_.outputs_of_matrix(self.model_.treatment.transform(table))
        numbers = self.model_.target.decoded(outputs)
        return numbers[:, 0] if self.n_outputs_ == 1 else numbers
