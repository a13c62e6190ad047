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

from .results import Result, load, save
from .sections import Section
from .turns import Worker, take_turns

ROOT = Path(__file__).parents[1]
# Losses of the first steps, from equal weights and examples, differ between systems by rounding.
TOLERANCE = {
    "speed": 1e-3,
    "small": 1e-3,
    "mixed": 3e-2,
    "stack": 1e-3,
    "activations": 1e-3,
    "vocabulary": 1e-3,
}
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
    # Only one process at a time can hold a TPU.
    alone = device["platform"] == "tpu"
    tree = commit()
    with Progress() as progress:
        todo = progress.add_task("", total=sum(len(s.cases) for s in chosen.values()))
        for name, section in chosen.items():
            cases: dict[str, Any] = {}
            about = {"date": now(), "commit": tree, "rounds": min(rounds, section.rounds)}
            result["sections"][name] = {**about, "cases": cases}
            for case in section.cases:
                progress.update(todo, description=f"{name}: {case}")
                cases[case] = run_case(name, section, case, environment, about["rounds"], alone)
                _check_losses(cases[case], TOLERANCE.get(name))
                save(result, path)
                progress.advance(todo)
    return result


def run_case(
    name: str,
    section: Section,
    case: str,
    environment: Mapping[str, str],
    rounds: int,
    alone: bool = False,
) -> dict[str, Result]:
    """Return what is known of each system after its turns on one case."""
    if alone:
        found = {}
        for system in section.systems:
            one = Section(section.title, section.cases, {system: section.systems[system]})
            found |= run_case(name, one, case, environment, rounds)
        return found
    workers: dict[str, Worker] = {}
    starts: dict[str, list[Result]] = {}
    try:
        for system in section.systems:
            command = [sys.executable, "-m", "benchmarks.worker", name, case, system]
            starts[system] = []
            for _ in range(section.starts):
                if system in workers:
                    workers[system].stop()
                workers[system] = Worker(command, environment, cwd=ROOT)
                starts[system].append(workers[system].ready)
        timed = {system: worker for system, worker in workers.items() if _is_timed(worker)}
        answers = take_turns(timed, rounds)
    finally:
        for worker in workers.values():
            worker.stop()
    return {
        system: _summary(worker, starts[system], answers.get(system, []))
        for system, worker in workers.items()
    }


def _is_timed(worker: Worker) -> bool:
    return worker.failed is None and "start_s" in worker.ready


def _summary(worker: Worker, starts: list[Result], answers: list[Result]) -> Result:
    """Join the facts of the start and the times of the turns."""
    if "skipped" in worker.ready:
        return {"skipped": worker.ready["skipped"]}
    if worker.failed is not None:
        return {"failed": worker.failed}
    summary = dict(worker.ready)
    if "compile_s" in summary:
        summary["compile_s"] = statistics.median(start["compile_s"] for start in starts)
    if answers:
        summary["step_s"] = [_digits(a["seconds"] / a["steps"]) for a in answers]
        if not math.isfinite(answers[-1]["loss"]):
            return {"failed": f"its loss became {answers[-1]['loss']}"}
        idle = sum(a["idle_seconds"] for a in answers)
        share = sum(a["idle_cpu_seconds"] for a in answers) / idle if idle else 0.0
        if share > IDLE_LIMIT and idle > 1:
            summary["idle_cpu"] = round(share, 3)
    return {
        key: _digits(value) if isinstance(value, float) else value for key, value in summary.items()
    }


def _digits(value: float) -> float:
    return float(f"{value:.5g}")


def _check_losses(systems: dict[str, Result], tolerance: float | None) -> None:
    """Mark the systems that do not compute what most of their peers do."""
    if tolerance is None:
        return
    losses = {name: found["losses"] for name, found in systems.items() if "losses" in found}
    if not losses:
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
