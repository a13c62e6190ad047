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

from .program import Facts, Program, Skip

# The shortest turn that a clock and a scheduler leave alone.
TURN_SECONDS = float(os.environ.get("BENCH_TURN_SECONDS", "0.2"))


def main(section: str, case: str, system: str) -> None:
    """Serve one system of one case."""
    # Standard output is for the answers alone; what libraries print goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(lambda: build(section, case, system), sys.stdin, answers)


def build(section: str, case: str, system: str) -> Program:
    """Import the system's library, and only that one, and set it up."""
    from .sections import sections

    found = sections(os.environ.get("BENCH_PLATFORM", "cpu"))[section]
    where, options = found.systems[system]
    module, function = where.split(":")
    try:
        make = getattr(importlib.import_module(f"benchmarks.systems.{module}"), function)
        return make(found.cases[case], **options)
    except ImportError as error:
        raise Skip(str(error)) from error


def serve(build: Callable[[], Program], orders: IO[str], answers: IO[str]) -> None:
    """Build the program, say so, and do a turn for each line of `orders`."""

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        program = build()
    except Skip as reason:
        say({"skipped": str(reason)})
        return
    facts, repeats = _warm_up(program)
    say(facts)
    idle = _Clocks()
    for _ in orders:
        rest = idle.read()
        busy = _Clocks()
        for _ in range(repeats):
            losses = program.run()
        answer = {"seconds": busy.read()["seconds"], "steps": repeats * program.steps}
        answer |= {f"idle_{clock}": time for clock, time in rest.items()}
        say(answer | {"loss": float(losses[-1])})
        idle = _Clocks()


def _warm_up(program: Program) -> tuple[Facts, int]:
    """Run twice; return the facts and how many runs make up a turn."""
    if program.run is None:
        return program.inspect(), 0
    clocks = _Clocks()
    losses = {"losses": [float(loss) for loss in program.run()[:3]]}
    first = clocks.read()["seconds"]
    clocks = _Clocks()
    program.run()
    seconds = clocks.read()["seconds"]
    # What the first run took longer is what a user waits for: tracing and compiling.
    facts = {"start_s": max(0.0, first - seconds)} | (losses if program.comparable else {})
    return facts | program.inspect(), math.ceil(TURN_SECONDS / seconds)


class _Clocks:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self.start = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        seconds, cpu = time.perf_counter() - self.start[0], time.process_time() - self.start[1]
        return {"seconds": seconds, "cpu_seconds": cpu}


if __name__ == "__main__":
    main(*sys.argv[1:])
