"""What the processes of a job tell each other, so that all do the same. Each must make the call.

Processes that make different calls would wait for ever, or take one number for another. So every
call sends the same array: a number, and where in the program the process is.
"""

from collections.abc import Sequence
from functools import cache

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

_WORDS = 15  # of 4 bytes, for the name of the place


class OutOfStepError(RuntimeError):
    """The processes of a job are at different places of the program."""


def is_first_process() -> bool:
    """Whether this process is the first of its job, the one that prints and tidies up."""
    return jax.process_index() == 0


def wait_for_all(at: str) -> None:
    """Wait until all processes are at the same place."""
    of_all_processes(0, at)


def of_first_process(number: int, at: str) -> int:
    """Return the number that the first process passed, at most 2³² − 1."""
    return of_all_processes(min(number, 2**32 - 1), at)[0]


def largest_of_all_processes(number: int, at: str) -> int:
    """Return the largest number that a process passed."""
    return max(of_all_processes(number, at))


def of_all_processes(number: int, at: str) -> list[int]:
    """Return the number that each process passed, of 32 bits without a sign.

    Args:
        number: the number of this process.
        at: where this process is, in words for an error, such as "the end of an epoch".

    Raises:
        OutOfStepError: another process is elsewhere.
    """
    if jax.process_count() == 1:
        return [number]
    place = np.frombuffer(at.encode().ljust(4 * _WORDS)[: 4 * _WORDS], np.uint32)
    rows = _rows_of_all_processes(np.append(place, np.uint32(number)))
    places = [row[:-1].tobytes().decode(errors="replace").strip() for row in rows]
    process = other_than_first(places)
    if process is not None:
        raise OutOfStepError(
            f"all processes must make the same calls, got {places[0]} in process 0 and "
            f"{places[process]} in process {process}"
        )
    return rows[:, -1].tolist()


def other_than_first(found: Sequence[object]) -> int | None:
    """Return the first process that has something else than process 0, None if there is none."""
    return next((process for process, one in enumerate(found) if one != found[0]), None)


def texts_of_all_processes(text: str, at: str) -> list[str]:
    """Return the text that each process passed."""
    if jax.process_count() == 1:
        return [text]
    data = np.frombuffer(text.encode(), np.uint8)
    lengths = of_all_processes(len(data), at)
    padded = np.zeros(max(lengths), np.uint8)
    padded[: len(data)] = data
    rows = _rows_of_all_processes(padded)
    return [row[:n].tobytes().decode() for row, n in zip(rows, lengths, strict=True)]


def _rows_of_all_processes(row: np.ndarray) -> np.ndarray:
    """Return the row of each process, in order.

    `multihost_utils.process_allgather` does so too, in twice the time.
    """
    mesh, gather = _gathering()
    sharding = NamedSharding(mesh, PartitionSpec("process"))
    with jax.set_mesh(mesh):  # the caller may have set another one
        rows = jax.make_array_from_process_local_data(sharding, row[None])
        return np.asarray(gather(rows).addressable_data(0))


@cache
def _gathering() -> tuple[Mesh, jax.stages.Wrapped]:
    devices = {device.process_index: device for device in reversed(jax.devices())}
    mesh = Mesh(np.array([devices[process] for process in sorted(devices)]), ("process",))

    def whole(rows: Array) -> Array:
        return rows

    return mesh, jax.jit(whole, out_shardings=NamedSharding(mesh, PartitionSpec()))
