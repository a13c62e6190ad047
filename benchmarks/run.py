"""Runs sections: starts the workers of a case, lets them take turns, and keeps what they answer."""

import datetime
import math
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.progress import Progress

from .results import ROOT, Result, load, save
from .sections import Section
from .turns import Worker, take_turns

# Losses of the first steps, from equal weights and examples, differ between systems by rounding.
SAME = ("speed", "small", "stack", "activations", "vocabulary")
TOLERANCE = {**dict.fromkeys(SAME, 1e-3), "mixed": 3e-2}
# A worker that computes while it is not its turn would slow down the others.
IDLE_LIMIT = 0.02


def run_sections(
    chosen: Mapping[str, Section],
    device: dict[str, Any],
    path: Path,
    rounds: int,
    turn_seconds: float,
) -> Result:
    """Run the sections and write each case's results to `path` as soon as they are there."""
    result = {"device": device, "sections": load(path)["sections"]}
    environment = {
        "BENCH_PLATFORM": device["platform"],
        "BENCH_TURN_SECONDS": str(turn_seconds),
        # Workers share the device, so none may reserve its memory.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    tree = commit()
    with Progress() as progress:
        todo = progress.add_task("", total=sum(len(s.cases) for s in chosen.values()))
        for name, section in chosen.items():
            cases: dict[str, Any] = {}
            about = {"date": now(), "commit": tree, "rounds": min(rounds, section.rounds)}
            result["sections"][name] = {**about, "cases": cases}
            for case in section.cases:
                progress.update(todo, description=f"{name}: {case}")
                cases[case] = run_case(name, section, case, environment, about["rounds"])
                save(result, path)
                progress.advance(todo)
    return result


def run_case(
    name: str, section: Section, case: str, environment: Mapping[str, str], rounds: int
) -> dict[str, Result]:
    """Return what is known of each system after its turns on one case."""
    systems = list(section.systems)
    # Only one process at a time can hold a TPU.
    alone = environment.get("BENCH_PLATFORM") == "tpu"
    found: dict[str, Result] = {}
    for group in [[system] for system in systems] if alone else [systems]:
        commands = {
            system: [sys.executable, "-m", "benchmarks.worker", name, case, system]
            for system in group
        }
        found |= _run_together(commands, environment, rounds, section.starts)
    _check_losses(found, TOLERANCE.get(name))
    return found


def _run_together(
    commands: Mapping[str, list[str]], environment: Mapping[str, str], rounds: int, starts: int
) -> dict[str, Result]:
    workers: dict[str, Worker] = {}
    compile_s: dict[str, list[float]] = {system: [] for system in commands}
    try:
        for system, command in commands.items():
            for start in range(starts):
                if start:
                    workers[system].stop()
                workers[system] = Worker(command, environment)
                compile_s[system].append(workers[system].ready.get("compile_s", math.nan))
        timed = {s: worker for s, worker in workers.items() if "start_s" in worker.ready}
        answers = take_turns(timed, rounds)
    finally:
        for worker in workers.values():
            worker.stop()
    return {s: _summary(one, compile_s[s], answers.get(s, [])) for s, one in workers.items()}


def _summary(worker: Worker, compile_s: list[float], answers: list[Result]) -> Result:
    """Join the facts of the start and the times of the turns."""
    if "skipped" in worker.ready:
        return {"skipped": worker.ready["skipped"]}
    if worker.failed is not None:
        return {"failed": worker.failed}
    summary = dict(worker.ready)
    if "compile_s" in summary:
        summary["compile_s"] = statistics.median(compile_s)
    if answers:
        summary["step_s"] = [_digits(a["seconds"] / a["steps"]) for a in answers]
        if not math.isfinite(answers[-1]["loss"]):
            return {"failed": f"its loss became {answers[-1]['loss']}"}
        idle, busy = (sum(a[key] for a in answers) for key in ("idle_seconds", "idle_cpu_seconds"))
        if idle > 1 and busy > IDLE_LIMIT * idle:
            summary["idle_cpu"] = round(busy / idle, 3)
    return {key: _digits(v) if isinstance(v, float) else v for key, v in summary.items()}


def _digits(value: float) -> float:
    return float(f"{value:.5g}")


def _check_losses(systems: dict[str, Result], tolerance: float | None) -> None:
    """Mark the systems that do not compute what most of their peers do."""
    losses = {name: found["losses"] for name, found in systems.items() if "losses" in found}
    if tolerance is None or not losses:
        return
    usual = [statistics.median(step) for step in zip(*losses.values(), strict=True)]
    for name, own in losses.items():
        if not all(abs(a - b) <= tolerance * abs(b) for a, b in zip(own, usual, strict=True)):
            systems[name] = {"failed": f"computes other losses, {own}, than its peers, {usual}"}


def failures(result: Result, names: Iterable[str]) -> list[str]:
    """Return a line for each system of the sections that failed; a skipped one did not."""
    return [
        f"{name}, {case}, {system}: {found['failed']}"
        for name in names
        for case, systems in result["sections"][name]["cases"].items()
        for system, found in systems.items()
        if "failed" in found
    ]


def now() -> str:
    """Return the time, for the record."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def commit() -> str:
    """Return what `git` calls the tree that is measured."""
    command = ["git", "describe", "--always", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return found.stdout.strip() or "unknown"
