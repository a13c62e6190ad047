"""One system in a process of its own: gets ready, then trains for a turn whenever it is told to.

    python -m benchmarks.worker SECTION CASE SYSTEM

The first line it writes holds the facts about the system, or why it takes no part. After that it
answers each line of its standard input by one turn's steps and seconds, and ends when that closes.
"""

import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from typing import IO, Any

from .program import Program, Skip

# The shortest turn that a clock and a scheduler leave alone.
TURN_SECONDS = float(os.environ.get("BENCH_TURN_SECONDS", "0.2"))


def main(section: str, case: str, system: str) -> None:
    """Serve one system of one case."""
    with _protocol() as answers:
        serve(lambda: build(section, case, system), sys.stdin, answers)


def build(section: str, case: str, system: str) -> Program:
    """Import the system's library, and only that one, and set it up."""
    from .sections import sections

    found = sections(os.environ.get("BENCH_PLATFORM", "cpu"))[section]
    where = found.systems[system]
    module, function = where.function.split(":")
    try:
        make = getattr(importlib.import_module(f"benchmarks.systems.{module}"), function)
        return make(found.cases[case], **where.options)
    except ImportError as error:
        raise Skip(str(error)) from error


def serve(build: Callable[[], Program], orders: IO[str], answers: IO[str]) -> None:
    """Build the program, say so, and do a turn for each line of `orders`."""
    try:
        program = build()
    except Skip as reason:
        _say(answers, {"skipped": str(reason)})
        return
    facts, repeats = _warm_up(program)
    _say(answers, facts)
    idle = _Clock()
    for _ in orders:
        rest = idle.read()
        busy = _Clock()
        for _ in range(repeats):
            losses = program.run()
        seconds, cpu_seconds = busy.read()
        _say(
            answers,
            {
                "steps": repeats * program.steps,
                "seconds": seconds,
                "cpu_seconds": cpu_seconds,
                "idle_seconds": rest[0],
                "idle_cpu_seconds": rest[1],
                "loss": float(losses[-1]),
            },
        )
        idle = _Clock()


def _warm_up(program: Program) -> tuple[dict[str, Any], int]:
    """Run twice; return the facts and how many runs make up a turn."""
    if program.run is None:
        return program.inspect(), 0
    first, second = _Clock(), None
    losses = [float(loss) for loss in program.run()[:3]]
    first_seconds, _ = first.read()
    second = _Clock()
    program.run()
    seconds, _ = second.read()
    # What the first run took longer is what a user waits for: tracing and compiling.
    facts = {"start_s": max(0.0, first_seconds - seconds)}
    if program.comparable:
        facts["losses"] = losses
    return facts | program.inspect(), math.ceil(TURN_SECONDS / seconds)


class _Clock:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self.start = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self.start[0], time.process_time() - self.start[1]


def _protocol() -> IO[str]:
    """Keep standard output for the answers; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _say(answers: IO[str], answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
