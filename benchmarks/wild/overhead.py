"""How much longer tests take while an audit listens, without its checks at the end."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from .audits import ROOT, installed

RESULTS = ROOT / "benchmarks" / "results" / "wild-overhead.json"
# Each way of running has so many turns, of which the shortest counts.
TURNS = 2
# The audit ends as soon as the tests do.
NO_CHECKS = "--audit-time-limit=0.001"


class Tests(NamedTuple):
    """Some tests of an installed package."""

    package: str
    paths: tuple[str, ...]


TESTS = (
    Tests("optax", ("optax/losses/_classification_test.py", "optax/projections")),
    Tests("rlax", ("rlax/_src/clipping_test.py", "rlax/_src/value_learning_test.py")),
    Tests("distrax", ("distrax/_src/distributions/beta_test.py",)),
)


def run(names: list[str]) -> None:
    """Time the tests of the packages that are named, by default all, in both ways."""
    results = read()
    for tests in TESTS:
        if not names or tests.package in names:
            turns = [(_seconds(tests, []), _seconds(tests, _listening())) for _ in range(TURNS)]
            without, listening = (min(times) for times in zip(*turns, strict=True))
            results[tests.package] = {"without": without, "listening": listening}
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            print(f"{tests.package}: {without:.1f} s, listening {listening:.1f} s", flush=True)


def read() -> dict[str, dict[str, float]]:
    """Return all results."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def _listening() -> list[str]:
    return ["-p", "fcjax.audit", NO_CHECKS]


def _seconds(tests: Tests, options: list[str]) -> float:
    """Run the tests in a process of their own, and return how long it took."""
    where = installed(tests.paths[0])
    paths = [str(where / path) for path in tests.paths]
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options),
        *("-c", os.devnull, "--rootdir", str(where), *paths),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        done = subprocess.run(
            command, cwd=Path(folder), env=environment, capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - start
    if done.returncode > 1:  # some tests of optax fail with the newest JAX
        raise RuntimeError(f"{tests.package}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return round(seconds, 1)
