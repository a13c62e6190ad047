"""An epoch of the presets, of their authors' code, and of the products that it needs.

    python -m benchmarks.tabular.epochs SYSTEM PRESET TABLE

is one system in a process of its own, which fits whenever it is told to; see `benchmarks.turns`.
"""

import itertools
import json
import statistics
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..results import HERE
from ..tables import markdown, number
from ..turns import Worker, epochs_of_one, serve, take_turns
from .data import SOURCES, Split, split
from .systems import THREADS, fcjax_preset, pytabkit

RESULTS = HERE / "results" / "epochs.json"
PRODUCTS = "products alone"
ROUNDS = 3
BATCH = 256
TABLES = ("chile", "ames", "insurance")
Answers = list[dict[str, Any]]


class Preset(NamedTuple):
    """The same network in both libraries: members, and two products of square matrices."""

    rival: str
    members: int
    width: int
    epochs: int  # of a fit here


PRESETS = {
    "realmlp": Preset("RealMLP_TD_S", 1, 256, 256),
    "tabm": Preset("TabM_D", 32, 512, 4),
}
SECTION = """## Seconds per epoch

Fits of the 256 epochs of RealMLP, and of 4 of TabM, in turns: each system in a process of its own,
with nothing left to import or to compile. The columns behind ÷ say how many times as long an epoch
takes in the authors' code. The last has nothing but the products of the two square layers, forward
and backward and for validation, by PyTorch: who multiplies as fast cannot be faster by more.

"""


def fit_of(system: str, preset: str, table: str) -> Callable[[], dict[str, Any]]:
    """Return a function that fits once, and tells the number of epochs."""
    parts, task = split(table, 0), SOURCES[table].task
    about = PRESETS[preset]
    if system == PRODUCTS:
        return products_of(about, parts)
    if system == "fcjax":
        run = fcjax_preset(preset, epochs=about.epochs)
    else:
        run = pytabkit(about.rival, n_epochs=about.epochs)

    def fit() -> dict[str, Any]:
        run(parts, task, 0)
        return {"epochs": about.epochs}

    return fit


def products_of(preset: Preset, parts: Split) -> Callable[[], dict[str, Any]]:
    """Return a function that computes the products of the square layers in an epoch."""
    import torch

    torch.set_num_threads(THREADS)
    A = torch.rand(BATCH, preset.width)
    W = torch.rand(preset.width, preset.width)
    trained, validated = (
        2 * preset.members * (len(part[1]) // BATCH) for part in (parts.train, parts.validation)
    )

    def epoch() -> dict[str, Any]:
        for _ in range(trained):
            dZ = A @ W
            dZ @ W.T, A.T @ dZ  # dA and dW
        for _ in range(validated):
            A @ W
        return {"epochs": 1}

    return epoch


def compare() -> None:
    """Let the systems take turns on each table, and keep all their times."""
    found = {}
    for preset, table in itertools.product(PRESETS, TABLES):
        case = f"{preset}, {table}"
        command = [sys.executable, "-m", "benchmarks.tabular.epochs"]
        threads = {"OMP_NUM_THREADS": str(THREADS)}
        workers = {
            name: Worker([*command, name, preset, table], threads)
            for name in ("pytabkit", "fcjax", PRODUCTS)
        }
        found[case] = take_turns(workers, ROUNDS)
        for worker in workers.values():
            worker.stop()
        print(f"{case}: {epochs_of_one('pytabkit', found[case])}", flush=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def results() -> dict[str, dict[str, Answers]]:
    """Return all times: by case, and by system."""
    return json.loads(RESULTS.read_text())


def section(found: Mapping[str, Mapping[str, Answers]]) -> str:
    """Return the section of the page."""
    rows = []
    for preset, table in itertools.product(PRESETS, TABLES):
        answers = found[f"{preset}, {table}"]
        seconds = statistics.median(one["fit_s"] / one["epochs"] for one in answers["pytabkit"])
        faster = epochs_of_one("pytabkit", answers)
        rows.append([preset, table, *map(number, (seconds, faster["fcjax"], faster[PRODUCTS]))])
    head = ["preset", "table", "pytabkit, s", "÷ fcjax", f"÷ {PRODUCTS}"]
    return f"{SECTION}{markdown(head, rows, (0, 1))}\n"


if __name__ == "__main__":
    serve(lambda: fit_of(*sys.argv[1:]))
