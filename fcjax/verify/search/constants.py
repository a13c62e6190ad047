"""The numbers that a traced program contains, which are candidates for special arguments."""

import numpy as np

from ..._jax import equations_in, literals_of, name_of
from ..program import Refused
from ..sample import Sample

COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne", "max", "min", "clamp")
# At most this many numbers, those first that arguments are compared with.
COUNT = 8
# Numbers that are tried in any case.
USUAL = (0.0, 1.0, -1.0, 0.5, 2.0)


def constants_of(sample: Sample) -> list[float]:
    """Return finite numbers in the function and in its rule."""
    try:
        programs = [
            sample.subject.value_program,
            sample.subject.traced(sample.subject.rule, sample.wide),
        ]
    except Refused:
        return []
    compared: dict[float, None] = {}
    others: dict[float, None] = {}
    for program in programs:
        for equation in equations_in(program):
            into = compared if name_of(equation) in COMPARISONS else others
            into.update(dict.fromkeys(literals_of(equation)))
    numbers = [x for x in {**compared, **others} if np.isfinite(x) and x not in USUAL]
    return numbers[:COUNT]
