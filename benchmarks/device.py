"""The machine that results belong to.

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

PACKAGES = ("jax", "jaxlib", "equinox", "flax", "keras", "torch", "scikit-learn", "optax", "numpy")
ASK = """
import json, jax
first, *others = jax.devices()
facts = {"platform": first.platform, "kind": first.device_kind, "count": 1 + len(others)}
print(json.dumps(facts))
"""


def describe() -> dict[str, Any]:
    """Ask a short-lived process for JAX's devices; add the processor and the packages."""
    answer = subprocess.run([sys.executable, "-c", ASK], stdout=subprocess.PIPE, check=True)
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)", info.read_text() if info.exists() else "", re.M)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return json.loads(answer.stdout) | {
        "processor": names[0] if names else platform.processor() or platform.machine(),
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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
