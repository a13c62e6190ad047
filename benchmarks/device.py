"""The machine that results belong to; run by itself, prints what JAX finds, as JSON.

The harness itself never starts JAX: on a TPU, the process that does keeps the device.
"""

import json
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGES = ("jax", "jaxlib", "equinox", "flax", "keras", "torch", "scikit-learn", "optax", "numpy")


def describe() -> dict[str, Any]:
    """Ask a short-lived process for JAX's devices; add the processor and the packages."""
    command = [sys.executable, "-m", "benchmarks.device"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, cwd=ROOT)
    found = json.loads(answer.stdout)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return found | {
        "processor": _processor(),
        "cores": cores,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def title(device: dict[str, Any]) -> str:
    """For example `AMD EPYC, 2 cores`, or `4 TPU v5e`."""
    if device["platform"] == "cpu":
        return f"{device['processor']}, {device['cores']} cores"
    return device["kind"] if device["count"] == 1 else f"{device['count']} {device['kind']}"


def file_name(device: dict[str, Any]) -> str:
    """Return the title as a file name."""
    return re.sub(r"[^a-z0-9]+", "-", title(device).lower()).strip("-")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _print_devices() -> None:
    import jax

    devices = jax.devices()
    found = {"platform": devices[0].platform, "kind": devices[0].device_kind, "count": len(devices)}
    print(json.dumps(found))


if __name__ == "__main__":
    _print_devices()
