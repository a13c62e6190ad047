"""Run the test suites of packages with the audit, each in a process of its own."""

import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from .suites import SUITES, Suite

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "wild.json"
# Seconds for the checks after a suite, and beyond which its process is ended.
FOR_CHECKS = 180
LIMIT = 1800


def run(names: list[str]) -> None:
    """Audit the suites that are named and have no result yet, all by default."""
    for suite in SUITES:
        results = read()
        if suite.package in results and suite.package not in names:
            continue
        if names and suite.package not in names:
            continue
        results[suite.package] = audit(suite)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        found = results[suite.package]
        print(f"{suite.package} {found['version']}: {found['summary']}", flush=True)


def read() -> dict[str, Any]:
    """Return all results."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def audit(suite: Suite) -> dict[str, Any]:
    """Audit one suite."""
    with tempfile.TemporaryDirectory() as folder:
        is_installed = suite.is_installed
        where = installed(suite.paths[0]) if is_installed else _source(suite, Path(folder))
        report = Path(folder) / "audit.json"
        needs = _needs(suite, Path(folder))
        command = [
            sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider",
            "-p", "fcjax.audit", f"--audit-time-limit={FOR_CHECKS}", f"--audit-json={report}",
            "-p", "benchmarks.wild.stop_after", f"--stop-after={suite.seconds}",
            "--rootdir", str(where), *(("-c", os.devnull) if is_installed else ()),
            *suite.options, *(str(where / path) for path in suite.paths),
        ]  # fmt: skip
        path = os.pathsep.join((str(ROOT), *map(str, needs)))
        environment = {**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
        start = time.monotonic()
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT,
            check=False,
        )  # fmt: skip
        rules = json.loads(report.read_text())["rules"] if report.exists() else []
    lines = done.stdout.strip().splitlines()
    return {
        "version": importlib.metadata.version(suite.package),
        "summary": re.sub(r" in .*", "", lines[-1]) if lines else done.stderr[-200:],
        "seconds": round(time.monotonic() - start),
        "rules": [_without_paths(rule, where) for rule in rules],
    }


def installed(path: str) -> Path:
    """Return the folder in which the package is installed to which a file belongs."""
    spec = importlib.util.find_spec(path.split("/")[0])
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parents[1]


def _source(suite: Suite, folder: Path) -> Path:
    """Download and unpack the source distribution of the version that is installed."""
    version = importlib.metadata.version(suite.package)
    subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:",
            "--dest", str(folder), f"{suite.package}=={version}",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    (unpacked,) = (path for path in folder.iterdir() if path.is_dir())
    return unpacked


def _needs(suite: Suite, folder: Path) -> list[Path]:
    """Install what the tests need into a folder of its own, and return the folder."""
    if not suite.needs:
        return []
    target = folder / "needs"
    command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(target), *suite.needs]
    subprocess.run(command, check=True, capture_output=True)
    return [target]


def _without_paths(rule: dict[str, Any], where: Path) -> dict[str, Any]:
    """Return a rule whose texts name no folder of this machine."""
    text = json.dumps(rule)
    folders = [str(where), *(path for path in sys.path if path)]
    for folder in sorted(folders, key=len, reverse=True):
        text = text.replace(folder + "/", "")
    return json.loads(text)
