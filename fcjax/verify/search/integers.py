"""Other integers and booleans in the arguments: masks, labels, indices."""

from collections.abc import Iterator

import numpy as np

from ..._jax import comparisons_of_indices, equations_in, has_dtype, integers_in, is_array, name_of
from ..program import Refused
from ..sample import Sample
from .constants import COMPARISONS

# Arrays with more entries are left as they are, and so are those beyond this number.
ENTRIES = 2**16
COUNT = 4
# So many numbers of the program are tried.
NUMBERS = 6
# On either side of an order there are two numbers, whichever operand is the constant.
BESIDE = {"lt": (0, -1, 1), "ge": (0, -1, 1), "le": (0, 1, -1), "gt": (0, 1, -1)}


def other_integers(sample: Sample) -> Iterator[tuple[int, np.ndarray, str]]:
    """Yield other numbers for one leaf: its position, the numbers, and what they are.

    Integers stay between the smallest and the largest that was given, or are numbers that the
    program compares with, and their neighbours on the other side of the comparison: an index out of
    bounds has no right gradient. 0 is tried too. It is seldom out of bounds, and it is special as a
    length and as an exponent.
    """
    compared = _compared(sample)
    places = [i for i, leaf in enumerate(sample.point.leaves) if _is_varied(leaf)][:COUNT]
    for place in places:
        given, name = np.asarray(sample.point.leaves[place]), sample.point.names[place]
        made = _masks(given) if given.dtype == bool else _integers(given, compared)
        seen = {given.tobytes()}
        for array, text in made:
            if array.tobytes() not in seen:
                seen.add(array.tobytes())
                yield place, array, f"with {text.format(name)}"


def _is_varied(leaf: object) -> bool:
    is_whole = has_dtype(leaf, np.integer) or has_dtype(leaf, np.bool_)
    return is_array(leaf) and is_whole and 0 < np.size(leaf) <= ENTRIES


def _masks(given: np.ndarray) -> Iterator[tuple[np.ndarray, str]]:
    yield np.zeros_like(given), "all of {} = False"
    yield np.ones_like(given), "all of {} = True"
    yield ~given, "~{}"
    for axis, size in enumerate(given.shape):
        if size > 1 and given.ndim > 1:
            mask = given.copy()
            np.moveaxis(mask, axis, 0)[-1] = False
            yield mask, f"the last slice of {{}} along axis {axis} = False"


def _integers(given: np.ndarray, compared: list[int]) -> Iterator[tuple[np.ndarray, str]]:
    bounds = np.iinfo(given.dtype)
    special = [n for n in (0, *compared) if bounds.min <= n <= bounds.max]
    for number in (int(given.min()), int(given.max()), *special):
        yield np.full_like(given, number), f"all of {{}} = {number}"
    for number in special:
        one = given.copy()
        one.flat[-1] = number
        yield one, f"the last entry of {{}} = {number}"
    for axis, size in enumerate(given.shape):
        if size > 1:
            yield np.flip(given, axis), f"{{}} reversed along axis {axis}"


def _compared(sample: Sample) -> list[int]:
    """Return the integers that the program compares with."""
    try:
        program = sample.subject.value_program
    except Refused:
        return []
    wrapped = set(map(id, comparisons_of_indices(program)))
    found: dict[int, None] = {}
    for equation in equations_in(program):
        if name_of(equation) in COMPARISONS and id(equation) not in wrapped:
            for number in integers_in(equation):
                steps = BESIDE.get(name_of(equation), (0,))
                found.update(dict.fromkeys(number + step for step in steps))
    return list(found)[:NUMBERS]
