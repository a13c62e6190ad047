"""The values and gradients of a sample at any numbers of its leaves."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ..precision import Precision, as_float64
from ..program import Refused
from ..sample import Sample
from ..subject import Side

# One array of float64 numbers for each differentiable leaf.
Values = tuple[np.ndarray, ...]


class Outcome(NamedTuple):
    """Outputs, and the gradient of each leaf, as float64 numbers.

    Attributes:
        ys: the outputs.
        dxs: the gradients for the cotangents `dys`.
        dys: the random cotangents of the sample, with 0 where an output is not finite.
    """

    ys: Values
    dxs: Values
    dys: Values


def values_of(leaves: Sequence[Any]) -> Values:
    """Return the numbers of leaves."""
    return tuple(map(as_float64, leaves))


def rounded(sample: Sample, values: Values) -> Values:
    """Return numbers that the leaves can have in their own dtypes."""
    with np.errstate(over="ignore"):
        pairs = zip(values, sample.point.xs, strict=True)
        return tuple(as_float64(value.astype(x.dtype)) for value, x in pairs)


def cast(values: Values, types: Sequence[jax.ShapeDtypeStruct]) -> Any:
    """Return numbers in the dtypes of `types`, as NumPy arrays: a compiled program takes them."""
    with np.errstate(over="ignore"):
        return tuple(v.astype(t.dtype) for v, t in zip(values, types, strict=True))


def value_at(sample: Sample, precision: Precision, values: Values) -> Values | None:
    """Return the outputs of the function without differentiation, None if it raises."""
    try:
        leaves = cast(values, sample.point.types(precision))
        return values_of(sample.value(precision, leaves)[0])
    except Refused:
        return None


def outcome_at(
    sample: Sample, side: Side, precision: Precision, values: Values, dys: Values | None = None
) -> Outcome | None:
    """Return values and gradients, None if the function or its rule raises."""
    leaves = cast(values, sample.point.types(precision))
    types = sample.subject.ys(precision)
    given = values_of(sample.dys(precision)) if dys is None else dys
    try:
        found = side.pullback(precision, leaves, cast(given, types))
        ys = values_of(found.ys)
        masked = tuple(dy * np.isfinite(y) for dy, y in zip(given, ys, strict=True))
        if any(not np.isfinite(y).all() for y in ys):
            found = side.pullback(precision, leaves, cast(masked, types))
    except Refused:
        return None
    return Outcome(ys, values_of(found.dxs), masked)
