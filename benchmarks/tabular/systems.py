"""The systems: each fits rows, chooses by others, and predicts.

Each takes the same columns: floats, and texts or None. What a system cannot take is filled by the
rule that its users follow: the median of the training rows, "missing" as a category, one-hot codes
and a scaler. Those that choose their epoch themselves get the rows to choose by as well, and hold
back as many.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from .data import Split

# A fit returns a function from rows to probabilities, or to numbers.
Predict = Callable[[pd.DataFrame], np.ndarray]
Fit = Callable[[Split, str, int], Predict]
# No more than cores that this process may use: those of OpenMP wait for each other.
THREADS = min(2, len(os.sched_getaffinity(0)) if sys.platform == "linux" else 2)


def fcjax_preset(preset: str, **options: Any) -> Fit:
    """A preset of fcjax."""

    def fit(split: Split, task: str, seed: int) -> Predict:
        from fcjax.estimators import TabularClassifier, TabularRegressor

        kind = TabularClassifier if task == "classification" else TabularRegressor
        model = kind(preset, random_state=seed, **options)
        (X, y), (X_val, y_val) = split.train, split.validation
        model.fit(X, y, X_val=X_val, y_val=y_val)
        return model.predict_proba if task == "classification" else model.predict

    return fit


def networks_of(library: str) -> Fit:
    """The networks of scikit-learn, or fcjax's in their place, behind the same pipeline."""

    def fit(split: Split, task: str, seed: int) -> Predict:
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if library == "fcjax":
            from fcjax.estimators import MLPClassifier, MLPRegressor
        else:
            from sklearn.neural_network import MLPClassifier, MLPRegressor
        options = {"random_state": seed, "early_stopping": True, "validation_fraction": 0.2}
        (X, y), codes = _all_rows(split), _codes(split)
        if task == "classification":
            model = make_pipeline(codes, MLPClassifier(**options)).fit(X, y)
            return model.predict_proba
        network = TransformedTargetRegressor(MLPRegressor(**options), transformer=StandardScaler())
        return make_pipeline(codes, network).fit(X, y).predict

    return fit


def hist_gradient_boosting(split: Split, task: str, seed: int) -> Predict:
    """scikit-learn's boosted trees, with its own treatment of categories."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = (
        HistGradientBoostingClassifier
        if task == "classification"
        else HistGradientBoostingRegressor
    )
    X, y = _all_rows(split)
    # columns of more categories than it takes are numbered
    few = [n for n in X if X[n].dtype == object and X[n].nunique() <= 250]
    many = [n for n in X if X[n].dtype == object and X[n].nunique() > 250]
    categories = {name: sorted(X[name].dropna().unique()) for name in few + many}

    def coded(X: pd.DataFrame) -> pd.DataFrame:
        columns = {}
        for name in X:
            if name in few:
                columns[name] = pd.Categorical(X[name], categories[name])
            elif name in many:
                codes = pd.Categorical(X[name], categories[name]).codes.astype(float)
                columns[name] = np.where(codes < 0, np.nan, codes)
            else:
                columns[name] = X[name]
        return pd.DataFrame(columns)

    options = {"early_stopping": True, "validation_fraction": 0.2, "random_state": seed}
    model = kind(categorical_features="from_dtype", **options).fit(coded(X), y)
    predict = model.predict_proba if task == "classification" else model.predict
    return lambda X: predict(coded(X))


def pytabkit(name: str, **options: Any) -> Fit:
    """An implementation of pytabkit, whose authors wrote RealMLP."""

    def fit(split: Split, task: str, seed: int) -> Predict:
        import pytabkit

        kind = getattr(
            pytabkit, f"{name}_{'Classifier' if task == 'classification' else 'Regressor'}"
        )
        filled = _filled(split)
        (X, y), (X_val, y_val) = split.train, split.validation
        model = kind(device="cpu", random_state=seed, n_threads=THREADS, **options)
        model.fit(filled(X), y, filled(X_val), y_val)
        if task == "classification":
            return lambda X: model.predict_proba(filled(X))
        return lambda X: np.asarray(model.predict(filled(X))).reshape(-1)

    return fit


SYSTEMS: dict[str, Fit] = {
    "fcjax realmlp": fcjax_preset("realmlp"),
    "pytabkit RealMLP-TD-S": pytabkit("RealMLP_TD_S"),
    "fcjax tabm": fcjax_preset("tabm"),
    "pytabkit TabM-D": pytabkit("TabM_D"),
    "fcjax MLP": networks_of("fcjax"),
    "scikit-learn MLP": networks_of("scikit-learn"),
    "scikit-learn HGB": hist_gradient_boosting,
}


def _all_rows(split: Split) -> tuple[pd.DataFrame, np.ndarray]:
    (X, y), (X_val, y_val) = split.train, split.validation
    return pd.concat([X, X_val], ignore_index=True), np.concatenate([y, y_val])


def _filled(split: Split) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return what fills missing numbers by the median, for those who take none."""
    X = split.train[0]
    medians = {n: X[n].median() for n in X if X[n].dtype != object}
    medians = {n: 0.0 if np.isnan(m) else m for n, m in medians.items()}
    return lambda X: X.fillna(medians)


def _codes(split: Split) -> Any:
    """Return one-hot codes, medians and a scaler."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    X = split.train[0]
    texts = [name for name in X if X[name].dtype == object]
    numbers = [name for name in X if X[name].dtype != object]
    fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    codes = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer((fill, numbers), (codes, texts))
    return make_pipeline(columns, StandardScaler())
