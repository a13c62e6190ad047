"""What a system hands to the harness, and what can be read off a compiled program."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Facts = dict[str, Any]


class Skip(Exception):  # noqa: N818  (it is no error)
    """A system that cannot take part here; the message says why."""


class Program(NamedTuple):
    """One system, ready to train.

    `run` does `steps` steps, waits for the last and returns their losses. None means that there is
    nothing to time. `inspect` returns facts that need no clock, after the first run.
    """

    run: Callable[[], Sequence[Any]] | None
    steps: int = 1
    inspect: Callable[[], Facts] = dict
    # Whether the losses are those of the examples in their given order, and so those of the peers.
    comparable: bool = True


def compiled(function: Any, *args: Any) -> Facts:
    """Compile `jax.jit`'s `function` for these arguments; return the time it took and the bytes."""
    start = time.perf_counter()
    program = function.lower(*args).compile()
    return {"compile_s": time.perf_counter() - start, "memory": memory(program)}


def memory_of(function: Any, *args: Any) -> Facts:
    """Return the bytes of a function that has run, and so is compiled, for these arguments."""
    return {"memory": memory(function.lower(*args).compile())}


def memory(program: Any) -> dict[str, int]:
    """Return the bytes of a compiled program; `total` counts an overwritten argument once."""
    stats = program.memory_analysis()
    names = ("argument", "output", "temp", "alias")
    parts = {part: getattr(stats, f"{part}_size_in_bytes") for part in names}
    return {"total": parts["argument"] + parts["output"] + parts["temp"] - parts["alias"], **parts}
