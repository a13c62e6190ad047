"""Checks of what is to be drawn."""

from typing import Any

import numpy as np

from .._arguments import describe
from ..diagnostics import in_numpys_dtype


def require(name: str, value: object, kind: Any) -> None:
    if not isinstance(value, kind):
        wanted = getattr(kind, "__name__", str(kind))
        raise TypeError(f"{name} must be of type {wanted}, got {describe(value)}")


def as_numpy(values: object) -> np.ndarray:
    try:
        return in_numpys_dtype(np.asarray(values))
    except Exception:  # a ragged list, keys of JAX, or an array that has been deleted
        return np.asarray(None)


def numbers(name: str, values: object, kinds: str = "iuf") -> np.ndarray:
    """Return an array of real numbers, not empty; raise TypeError or ValueError for all else."""
    array = as_numpy(values)
    if array.size == 0:  # first, because NumPy's dtype of an empty list is float64
        raise ValueError(f"{name} must hold at least one number, got {describe(values)}")
    if array.dtype.kind not in kinds:
        wanted = "integers" if kinds == "iu" else "numbers"
        raise TypeError(f"{name} must be an array of {wanted}, got {describe(values)}")
    return array
