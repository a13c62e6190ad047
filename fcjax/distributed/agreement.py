"""What the processes of a job tell each other, so that all do the same. Each must make the call."""

import jax
import numpy as np
from jax.experimental import multihost_utils


def is_first_process() -> bool:
    """Whether this process is the first of its job, the one that prints and tidies up."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Wait until all processes have called this with the same name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def of_first_process(number: int) -> int:
    """Return the number that the first process passed, at most 2³¹ − 1."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.broadcast_one_to_all(np.int32(min(number, 2**31 - 1))))


def of_all_processes(number: int) -> list[int]:
    """Return the number that each process passed, of 32 bits without a sign."""
    if jax.process_count() == 1:
        return [number]
    return np.ravel(multihost_utils.process_allgather(np.uint32(number))).tolist()


def in_any_process(number: int) -> int:
    """Return the largest number that a process passed."""
    return max(of_all_processes(number))


def texts_of_all_processes(text: str) -> list[str]:
    """Return the text that each process passed."""
    if jax.process_count() == 1:
        return [text]
    data = np.frombuffer(text.encode(), np.uint8)
    lengths = of_all_processes(len(data))
    padded = np.zeros(max(lengths), np.uint8)
    padded[: len(data)] = data
    rows = np.asarray(multihost_utils.process_allgather(padded))
    return [row[:n].tobytes().decode() for row, n in zip(rows, lengths, strict=True)]
