"""Programs that several calls of `fit` share.

Each call traces the functions that it is given, because what they refer to may have changed. If
this gives the program of an earlier call, that one is used, and nothing is compiled. Programs that
call Python functions, as with `jax.pure_callback`, are not shared.

A program that is kept keeps what its functions refer to. Their arrays are constants in its text,
so the length of all texts says how much memory that is.
"""

import hashlib
import threading
import zlib
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, NamedTuple

import jax
import numpy as np

from .._types import Tree
from ..distributed import of_all_processes, other_than_first

# How many programs are kept, and how long their texts may be together: 8 characters a float32.
_MOST = 64
_LONGEST = 2**27
# A program with one of these calls Python, and does not say which function.
_OF_CALLBACKS = ("callback", "host_transfer")
_lock = threading.Lock()
_programs: OrderedDict[tuple[object, ...], "_Kept"] = OrderedDict()


class _Kept(NamedTuple):
    program: Any
    length: int


class Reused:
    """A function with a method `lower`, such as `jax.jit` returns, or an equal one made before."""

    def __init__(self, program: Any):
        """Wrap a program of two arguments that has not been called yet."""
        self._own = program
        self._programs: dict[tuple[object, ...], Any] = {}

    def __call__(self, first: Tree, data: Tree) -> Any:
        """Call the program that an earlier call of `fit` made for data of this shape, or this."""
        shapes = tuple((np.shape(V), getattr(V, "dtype", None)) for V in jax.tree.leaves(data))
        program = self._programs.get(shapes)
        if program is None:
            program = self._programs[shapes] = _equal_program(self._own, (first, data))
        return program(first, data)


def _equal_program(program: Any, args: Tree) -> Any:
    lowered = program.lower(*args)
    text = lowered.as_text()
    if any(word in text for word in _OF_CALLBACKS):
        return program
    digest = hashlib.blake2b(text.encode()).digest()
    _check_same_in_all_processes(digest)
    key = (digest, lowered.in_tree, lowered.out_tree, _devices(args))
    with _lock:
        found = _programs.setdefault(key, _Kept(program, len(text)))
        _programs.move_to_end(key)
        _drop_the_oldest()
    return found.program


def _drop_the_oldest() -> None:
    """Keep the newest programs within the limits, and the last one in any case."""
    length = sum(kept.length for kept in _programs.values())
    while len(_programs) > 1 and (len(_programs) > _MOST or length > _LONGEST):
        _, dropped = _programs.popitem(last=False)
        length -= dropped.length


def _check_same_in_all_processes(digest: bytes) -> None:
    found = of_all_processes(zlib.crc32(digest), "the compiling of loss, optimizer and metrics")
    process = other_than_first(found)
    if process is not None:
        raise ValueError(
            "loss, optimizer and metrics must compute the same in all processes, got another "
            f"program in process {process} than in process 0"
        )


def _devices(args: Tree) -> Hashable:
    arrays = [leaf for leaf in jax.tree.leaves(args) if isinstance(leaf, jax.Array)]
    return frozenset(device.id for array in arrays for device in array.sharding.device_set)
