"""`fcjax --version`: what a bug report needs."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

# Seconds until JAX must have found the devices: a plugin may wait for a device that is not there.
TO_FIND_DEVICES = 30.0
_REQUIRED = ("fcjax", "jax", "jaxlib", "optax", "numpy")
# Extras that users install; the others are for those who work on fcjax.
_EXTRAS = ("app", "checkpoint", "export", "mnist", "sklearn", "tensorboard")
# Prints the devices behind a mark, as a plugin may print too.
_FIND_DEVICES = """
import jax
print("devices:", *(f"{d.platform}:{d.device_kind}" for d in jax.devices()), sep="\\n")
"""


def print_version() -> None:
    """Print versions, the machine and JAX's devices, each in a line."""
    lines = {
        **{name: _version(name) for name in _REQUIRED},
        "Python": f"{platform.python_version()}, {sys.executable}",
        **{name: _version(name) for name in _optional()},
        "system": platform.platform(),
        "processor": f"{_processor()}, {_cores()} cores",
        **dict(_variables()),
    }
    for name, value in lines.items():
        print(f"{name}: {value}", flush=True)
    print(f"devices: {_devices()}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _optional() -> Iterator[str]:
    """Yield the packages of the extras, as the installed fcjax lists them."""
    try:
        requirements = requires("fcjax") or []
    except PackageNotFoundError:
        return
    names: set[str] = set()
    for text in requirements:
        found = re.match(r"([\w.-]+)(?!.*\[).*extra == ['\"]([\w-]+)['\"]", text)
        if found and found[2] in _EXTRAS and found[1] != "fcjax":
            names.add(found[1])
    yield from sorted(names, key=str.lower)


def _processor() -> str:
    """Return the model of the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return model[1] if model else platform.processor() or platform.machine()


def _cores() -> str:
    every = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else every
    return str(every) if usable == every else f"{usable} of {every}"


def _variables() -> Iterator[tuple[str, str]]:
    """Yield the variables of the environment that JAX and XLA read."""
    for name in sorted(os.environ):
        if name.startswith(("JAX_", "XLA_", "FCJAX_")) or name == "CUDA_VISIBLE_DEVICES":
            yield name, os.environ[name]


def _devices() -> str:
    """Return what JAX finds, or why it finds none, in a process that may crash or wait."""
    command = [sys.executable, "-c", _FIND_DEVICES]
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=TO_FIND_DEVICES,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"none found, JAX did not answer within {TO_FIND_DEVICES:g} s"
    said = found.stderr.strip().splitlines()
    why = said[-1] if said else f"status {found.returncode}"
    if found.returncode:
        return f"none found, {why}"
    names = found.stdout.rpartition("devices:\n")[2].split("\n")[:-1]
    counted = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
    return f"{counted} ({why})" if said else counted
