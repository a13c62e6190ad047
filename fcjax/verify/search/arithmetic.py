"""Comparisons of arrays, of one point or of several along a first axis."""

import jax.numpy as jnp
import numpy as np

# Two results that differ by less than this, relative to the largest entry, are equal.
CLOSE = 1e-6
# A gradient of this size, relative to the one at the given point, is as good as none.
NOTHING = 1e-9
# All digits of an entry are lost if it is wrong by at least this fraction of itself ...
LOST = 0.5
# ... and of the largest entry, here and at the given point.
RELEVANT = 0.05


def size_of(array: np.ndarray) -> float:
    """Return the largest finite magnitude, 0 if there is none."""
    return float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array)))


def sizes_of(arrays: np.ndarray) -> np.ndarray:
    """Return the largest finite magnitude at each point, of a shape that fits the arrays."""
    axes = tuple(range(1, arrays.ndim))
    return np.max(np.abs(arrays), axes, initial=0.0, where=np.isfinite(arrays), keepdims=True)


def differs(
    got: np.ndarray,
    want: np.ndarray,
    size: float | np.ndarray,
    atol: float = 0.0,
    rtol: float = CLOSE,
) -> np.ndarray:
    """Return the entries that differ, relative to `size`; NaN equals NaN."""
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(got - want) <= rtol * size + atol
    return ~(near | (got == want) | (np.isnan(got) & np.isnan(want)))


def has_lost(
    got: np.ndarray, want: np.ndarray, size: float | np.ndarray, usual: float, dtype: np.dtype
) -> np.ndarray:
    """Return the entries of which no digit is right.

    Small ones do not count: neither next to `size`, the largest entry, nor next to `usual`, the
    largest one at the given point. Large ones may overflow, and subnormal ones are as good as 0.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(np.isfinite(got), np.abs(got - want), np.inf)
        relevant = RELEVANT * np.maximum(size, usual)
        lost = (error >= LOST * np.abs(want)) & (error >= relevant)
    limits = jnp.finfo(dtype)
    is_normal = (np.abs(want) >= float(limits.tiny)) | (np.abs(got) >= float(limits.tiny))
    is_small = np.abs(want) < float(limits.max) / 1e3
    return lost & np.isfinite(want) & is_small & is_normal & (size > 0)


def is_subnormal(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the numbers so small that a device may count them as 0."""
    return np.asarray((values != 0) & (np.abs(values) < float(jnp.finfo(dtype).tiny)))


def any_of(mask: np.ndarray) -> np.ndarray:
    """Return the points at which any entry is true."""
    return np.asarray(mask.reshape(len(mask), -1).any(1))


def first(mask: np.ndarray) -> tuple[int, ...]:
    """Return the index of the first true entry."""
    return tuple(int(i) for i in np.argwhere(mask)[0])
