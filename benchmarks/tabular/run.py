"""Fit every system to every table with every seed, each in its own process, and keep the results.

A result is a line of JSON. What is there already is not run again, so a run can be stopped.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .data import SOURCES, split
from .systems import SYSTEMS, THREADS

RESULTS = Path(__file__).parents[1] / "results" / "tabular.jsonl"
SEEDS = range(5)
# The seed that costs are taken from: nothing else is to run on the machine while it does.
TIMED = 0
# A system whose fit takes longer than this gets one seed.
LONG = 120
# A fit that takes less than this is repeated, with nothing left to import or to compile.
SHORT = 30
# A fit that takes longer than this is stopped.
LIMIT = 3600


def results() -> list[dict[str, Any]]:
    """Return all results."""
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text().splitlines()]


def still_to_do(
    found: Sequence[dict[str, Any]], tables: list[str], systems: list[str]
) -> Iterator[tuple[str, int, str]]:
    """Yield what has no result yet: all systems of a table and a seed, one after another."""
    for seed in SEEDS:
        for table in tables:
            for system in systems:
                own = [r for r in found if (r["table"], r["system"]) == (table, system)]
                is_long = any(r.get("fit_s", LIMIT) > LONG for r in own if r["seed"] == TIMED)
                if seed not in [r["seed"] for r in own] and not (seed and is_long):
                    yield table, seed, system


def run(tables: list[str], systems: list[str], *, busy: bool = False) -> None:
    """Run all that is to do; the costs do not count if the machine is busy with something else."""
    # one fit may show that a system is to have no other seed
    while (first := next(still_to_do(results(), tables, systems), None)) is not None:
        table, seed, system = first
        result = _one(table, seed, system) | ({"busy": True} if busy else {})
        with RESULTS.open("a") as file:
            file.write(json.dumps(result) + "\n")
        figure = result.get("accuracy", result.get("rmse", result.get("error")))
        print(f"{table}, seed {seed}, {system}: {figure} in {result.get('fit_s')} s", flush=True)


def _one(table: str, seed: int, system: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.tabular", "one", table, str(seed), system]
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS)}
    about = {"table": table, "seed": seed, "system": system, "machine": machine()}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return {**about, "error": f"took more than {LIMIT} s"}
    if done.returncode:
        return {**about, "error": done.stderr.strip().splitlines()[-1][:300]}
    return {**about, **json.loads(done.stdout.splitlines()[-1])}


def machine() -> str:
    """Return the processor and how many cores of it this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    wide = any(" avx512f " in line for line in lines if line.startswith("flags"))
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return f"{(names or [platform.processor()])[0]}{', AVX-512' if wide else ''}, {cores} cores"


def one(table: str, seed: int, system: str) -> None:
    """Fit one system, and print its result."""
    parts, task = split(table, seed), SOURCES[table].task
    start = time.perf_counter()
    predict = SYSTEMS[system](parts, task, seed)
    fit_s = time.perf_counter() - start
    X, y = parts.test
    predicted = np.asarray(predict(X))
    start = time.perf_counter()
    predict(X)
    predict_s = time.perf_counter() - start
    again_s = None
    if fit_s < SHORT and seed == TIMED:
        start = time.perf_counter()
        SYSTEMS[system](parts, task, seed)
        again_s = round(time.perf_counter() - start, 3)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({
        "rows": len(parts.train[1]), "columns": X.shape[1], "fit_s": round(fit_s, 3),
        "again_s": again_s, "predict_s": round(predict_s, 4), "memory_mb": round(memory),
        **(of_classes if task == "classification" else of_numbers)(predicted, y),
    }))  # fmt: skip


def of_classes(probabilities: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return the figures of probabilities, by scikit-learn."""
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    classes = np.arange(probabilities.shape[1])
    P = probabilities.astype(np.float64)
    P = P / P.sum(axis=1, keepdims=True)
    scores = P[:, 1] if len(classes) == 2 else P
    return {
        "accuracy": float(accuracy_score(y, P.argmax(axis=1))),
        "log_loss": float(log_loss(y, P, labels=classes)),
        "auc": float(roc_auc_score(y, scores, multi_class="ovr", labels=classes)),
        "calibration": calibration_error(P, y),
    }


def calibration_error(P: np.ndarray, y: np.ndarray, bins: int = 15) -> float:
    """Return how far the highest probability is from being right as often, over equal bins.

    Source: Naeini, Cooper & Hauskrecht, Obtaining well calibrated probabilities, AAAI 2015.
    """
    confidence, right = P.max(axis=1), P.argmax(axis=1) == y
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[place == b].sum() - right[place == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(y))


def of_numbers(predicted: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return the figures of numbers."""
    error = predicted.reshape(-1) - y
    return {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
        "r2": float(1 - np.mean(error**2) / np.var(y)),
    }
