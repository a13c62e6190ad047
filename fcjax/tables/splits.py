"""Split rows into those to train on, to choose the epoch by, and to report figures of."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from .._arguments import brief
from .columns import Table, as_dates, as_numbers, as_text

TEST, VALIDATION = 0.2, 0.16
# With fewer rows than this, a split leaves nothing to learn from, or to report.
FEWEST_ROWS = 10


class Split(NamedTuple):
    """Numbers of the rows of each part; no row is in two of them."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class How(NamedTuple):
    """How rows are split: "rows", or "group" or "time" by a column."""

    kind: str
    column: str | None = None


def how_to_split(text: str, columns: Collection[str]) -> How:
    """Read "rows", "group:COLUMN" or "time:COLUMN", of one of some columns."""
    kind, _, column = text.partition(":")
    if text != "rows" and not (kind in ("group", "time") and column):
        raise ValueError(f"split: got {text!r}; accepted: rows, group:COLUMN, time:COLUMN")
    if column and column not in columns:
        raise ValueError(f"split: got the column {column!r}; accepted: {brief(list(columns))}")
    return How(kind, column or None)


def split(how: How, table: Table, labels: np.ndarray | None, seed: int, rows: np.ndarray) -> Split:
    """Split rows of a table.

    Args:
        how: at random, so that no group is in two parts, or the last ones in time for the test and
            those before for the validation.
        table: the table.
        labels: classes of all rows, which every part is to have in equal parts; None for numbers.
        seed: of what is random.
        rows: the numbers of the rows to split.
    """
    if len(rows) < FEWEST_ROWS:
        raise ValueError(
            f"the table must have at least {FEWEST_ROWS} rows with a target, got {len(rows)}"
        )
    if how.kind == "time":
        return _by_time(how, table, rows)
    groups = None if how.column is None else as_text(table[how.column])[rows]
    if groups is not None and any(group is None for group in groups):
        raise ValueError(f"split: the column {how.column!r} must have a group in every row")
    if groups is not None and len(set(groups)) < 3:
        raise ValueError("split: there must be at least 3 groups, one for each part")
    classes = None if labels is None else labels[rows]
    if groups is not None:
        found = _by_group(groups, np.random.default_rng(seed))
        return Split(*(rows[part] for part in found))
    rest, test = _parted(np.arange(len(rows)), classes, TEST, seed)
    train, validation = _parted(rest, classes, VALIDATION / (1 - TEST), seed + 1)
    return Split(*(np.sort(rows[part]) for part in (train, validation, test)))


def _parted(
    rows: np.ndarray, classes: np.ndarray | None, size: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split rows in two, the second of a size."""
    from sklearn.model_selection import train_test_split

    stratify = None
    if classes is not None:
        counts = np.unique(classes[rows], return_counts=True)[1]
        if counts.min() > 1 and len(counts) <= size * len(rows):
            stratify = classes[rows]
    parts = train_test_split(rows, test_size=size, random_state=seed, stratify=stratify)
    return np.asarray(parts[0]), np.asarray(parts[1])


def _by_group(groups: np.ndarray, rng: np.random.Generator) -> Split:
    """Give groups, drawn at random, to the test and then to the validation, while they have room.

    The others are for training. A part that no group fits into gets the smallest.
    """
    _, numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)
    part_of, left = np.zeros(len(counts), int), [*rng.permutation(len(counts))]
    for part, size in ((2, TEST), (1, VALIDATION)):
        room = size * len(groups)
        taken: list[int] = []
        for group in left:
            if counts[group] <= room and len(left) - len(taken) > part:
                taken.append(group)
                room -= counts[group]
        taken = taken or [min(left, key=counts.__getitem__)]
        part_of[taken] = part
        left = [group for group in left if group not in taken]
    return Split(*(np.flatnonzero(part_of[numbers] == part) for part in range(3)))


def _by_time(how: How, table: Table, rows: np.ndarray) -> Split:
    assert how.column is not None
    column = table[how.column][rows]
    times = as_numbers(column)
    if times is None:
        dates = as_dates(column)
        if dates is None:
            raise ValueError(f"split: the column {how.column!r} must hold numbers or dates")
        times = np.where(np.isnat(dates), np.nan, dates.astype(np.int64).astype(np.float64))
    if np.isnan(times).any():
        raise ValueError(f"split: the column {how.column!r} must have a time in every row")
    order = np.argsort(times, kind="stable")
    ends = [_end(times[order], part) for part in (1 - TEST - VALIDATION, 1 - TEST)]
    if not 0 < ends[0] < ends[1] < len(rows):
        raise ValueError(f"split: the column {how.column!r} has too few different times")
    return Split(*(np.sort(rows[part]) for part in np.split(order, ends)))


def _end(times: np.ndarray, part: float) -> int:
    """Return where a part ends, so that equal times are in one part."""
    at = round(part * len(times))
    return int(np.searchsorted(times, times[min(at, len(times) - 1)], side="left"))
