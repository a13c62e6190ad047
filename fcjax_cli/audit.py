"""`fcjax audit`: run pytest or a program with a listener, in a process of its own."""

import json as to_json
import os
import subprocess
import sys
from pathlib import Path

# The variable by which `fcjax.audit.settings` gets the settings; to import it would load JAX.
VARIABLE = "FCJAX_AUDIT"


def audit(
    command: tuple[str, ...],
    json: Path | None,
    junit: Path | None,
    time_limit: float,
    callbacks: bool,
    expected: str,
) -> int:
    """Run a command with a listener, and return its exit status.

    If the command succeeds, that is 1 if a rule is wrong, else 2 if the time was over before all
    rules were checked.
    """
    if not command:
        raise ValueError("command: name pytest, a script or -m and a module, got nothing")
    if not time_limit > 0:
        raise ValueError(f"time-limit must be positive, got {time_limit}")
    for name, file in (("json", json), ("junit", junit)):
        if file is not None and (file.is_dir() or not file.resolve().parent.is_dir()):
            raise ValueError(f"{name}: {file} cannot be written; accepted: a file in a folder")
    settings = {
        "json": str(json.resolve()) if json else None,
        "junit": str(junit.resolve()) if junit else None,
        "time_limit": time_limit,
        "callbacks": callbacks,
        "expected": expected.split(",") if expected else [],
        "time_counts": True,
    }
    environment = {**os.environ, VARIABLE: to_json.dumps(settings)}
    done = subprocess.run([sys.executable, *_arguments(command)], env=environment, check=False)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _arguments(command: tuple[str, ...]) -> list[str]:
    """Return the arguments of Python that run a command with a listener."""
    name, *rest = command
    if name in ("python", "python3") and rest:
        name, *rest = rest
    if name == "-m" and rest[:1] == ["pytest"]:
        name, *rest = rest
    if Path(name).name in ("pytest", "py.test"):
        return ["-m", "pytest", "-p", "fcjax_cli.audit_plugin", *rest]
    if name != "-m" and not Path(name).is_file():
        raise ValueError(
            f"command: {name} is no file; accepted: pytest, a script, or -m and a module"
        )
    return ["-m", "fcjax.audit", name, *rest]
