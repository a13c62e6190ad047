"""The simplest point that still shows a mistake."""

from collections.abc import Callable

import numpy as np

from .outcome import Values

# At most this many points are tried.
TRIES = 60


def shrunk(values: Values, base: Values, shows: Callable[[Values], bool]) -> Values:
    """Return a point that shows the mistake, with as many entries of `base` as possible.

    Whole leaves are put back first, then slices, then halves of the remaining entries, as in delta
    debugging (Zeller & Hildebrandt, Simplifying and isolating failure-inducing input, 2002).
    """
    tries = TRIES

    def accepts(candidate: Values) -> bool:
        nonlocal tries
        tries -= 1
        return shows(candidate)

    for k in range(len(values)):
        candidate = (*values[:k], base[k], *values[k + 1 :])
        if not np.array_equal(values[k], base[k]) and accepts(candidate):
            values = candidate
    for k in range(len(values)):
        changed = np.flatnonzero(values[k] != base[k])
        size = len(changed) // 2
        while size and tries > 0:
            start = 0
            while start < len(changed) and tries > 0:
                chunk = changed[start : start + size]
                leaf = values[k].copy()
                leaf.flat[chunk] = base[k].flat[chunk]
                candidate = (*values[:k], leaf, *values[k + 1 :])
                if len(chunk) < len(changed) and accepts(candidate):
                    values = candidate
                    changed = np.setdiff1d(changed, chunk)
                else:
                    start += size
            size //= 2
    return values


def described(names: tuple[str, ...], values: Values, base: Values) -> str:
    """Return what is special about a point: the entries that differ from the given one."""
    texts = [
        _changed(name, value, given)
        for name, value, given in zip(names, values, base, strict=True)
        if not np.array_equal(value, given, equal_nan=True)
    ]
    return " and ".join(texts) or "the given point"


def _changed(name: str, value: np.ndarray, given: np.ndarray) -> str:
    differ = value != given
    places = np.argwhere(differ)
    if np.all(value == value.flat[0]):
        number = f"{value.flat[0]:.6g}"
        return f"{name} = {number}" if value.size == 1 else f"all of {name} = {number}"
    numbers = np.unique(value[differ])
    if len(numbers) == 1:
        return f"{_where(name, differ, places)} = {numbers[0]:.6g}"
    if len(places) <= 4:
        entries = (f"{_entry(name, place)} = {value[tuple(place)]:.6g}" for place in places)
        return ", ".join(entries)
    if np.array_equal(value, -given):
        return f"-{name}"
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.nanmedian(value / given)
    if np.allclose(value, factor * given, rtol=1e-5, atol=0):
        return f"{factor:.4g} {name}"
    return f"{len(places)} entries of {name} changed"


def _where(name: str, differ: np.ndarray, places: np.ndarray) -> str:
    """Return the entries as a slice, if they are one."""
    for axis in range(differ.ndim):
        rows = np.unique(places[:, axis])
        if len(rows) == 1 and np.take(differ, rows[0], axis).all() and differ.ndim > 1:
            index = [":"] * differ.ndim
            index[axis] = str(rows[0])
            return f"{name}[{', '.join(index)}]"
    if len(places) <= 3:
        return ", ".join(_entry(name, place) for place in places)
    return f"{len(places)} entries of {name}"


def _entry(name: str, place: np.ndarray) -> str:
    return f"{name}[{', '.join(map(str, place))}]"
