"""Features: what a column of a table becomes in front of a network.

A feature is fitted to the column of the training rows, and then turns any such column into numbers:

- a number into itself, the median where it is missing, and, if any was missing in training, a
  second column that is 1 there;
- a category into one column per category, 1 where it is this one; a category that is missing, or
  was not there in training, is 0 everywhere. Two categories share a column, as +1 and -1. Different
  texts are different categories, but 1.0 may come for "1", and true for "1";
- a date into the days since 1970, the place in the year and in the week as sine and cosine, and
  in the day if it has times.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from .._arguments import brief
from .columns import (
    are_booleans,
    as_categories,
    as_dates,
    as_numbers,
    as_text,
    category_finder,
    has_codes,
)

Kind = Literal["number", "category", "date", "drop"]
KINDS = ("number", "category", "date", "drop")
# Categories of a column beyond the most frequent ones count as unseen.
MOST_CATEGORIES = 1000
# A column of texts of which more than half are different is an identifier, from this many rows on.
FEWEST_ROWS = 20


@dataclass(frozen=True)
class Number:
    """A column of numbers."""

    name: str
    median: float
    has_missing: bool
    kind: str = "number"

    @classmethod
    def fitted(cls, name: str, column: np.ndarray) -> "Number":
        """Fit to the column of the training rows."""
        values = _numbers(name, column)
        present = values[~np.isnan(values)]
        return cls(name, float(np.median(present)), len(present) < len(values))

    @property
    def outputs(self) -> list[str]:
        """The names of the columns that the feature becomes."""
        return [self.name, f"{self.name} is missing"] if self.has_missing else [self.name]

    @property
    def numbers(self) -> int:
        """How many of the outputs, the first ones, are numbers rather than 0 and 1."""
        return 1

    def encoded(self, column: np.ndarray) -> np.ndarray:
        """Return the columns that a column becomes."""
        values = _numbers(self.name, column)
        missing = np.isnan(values)
        filled = np.where(missing, self.median, values)
        return np.stack([filled, missing], axis=1) if self.has_missing else filled[:, None]

    def treatment(self) -> str:
        """Return in words what becomes of the column."""
        if self.has_missing:
            return f"number; missing is the median {self.median:g}, and a column says so"
        return f"number; missing is the median {self.median:g}"


@dataclass(frozen=True)
class Category:
    """A column of categories, in order; `rare` is the number of those that count as unseen."""

    name: str
    categories: tuple[str, ...]
    rare: int = 0
    kind: str = "category"

    @classmethod
    def fitted(cls, name: str, column: np.ndarray) -> "Category":
        """Fit to the column of the training rows."""
        counts = Counter(v for v in as_categories(column) if v is not None)
        frequent = [category for category, _ in counts.most_common(MOST_CATEGORIES)]
        return cls(name, tuple(sorted(frequent)), len(counts) - len(frequent))

    @property
    def outputs(self) -> list[str]:
        """The names of the columns that the feature becomes."""
        if len(self.categories) <= 2:
            return [f"{self.name} is {next(iter(self.categories))}"]
        return [f"{self.name} is {category}" for category in self.categories]

    @property
    def numbers(self) -> int:
        """How many of the outputs, the first ones, are numbers rather than 0 and 1."""
        return 0

    def encoded(self, column: np.ndarray) -> np.ndarray:
        """Return the columns that a column becomes."""
        texts = as_categories(column)
        find = category_finder(self.categories)
        places = {text: -1 if text is None else find(text) for text in set(texts)}
        found = np.array([-1 if places[text] is None else places[text] for text in texts], int)
        if len(self.categories) <= 2:
            return np.choose(found + 1, [0.0, 1.0, -1.0])[:, None]
        return (found[:, None] == np.arange(len(self.categories))).astype(np.float64)

    def treatment(self) -> str:
        """Return in words what becomes of the column."""
        rare = f", {self.rare} rare ones are as unseen" if self.rare else ""
        return f"category; {len(self.categories)} of them{rare}; missing and unseen are zero"


_YEAR, _WEEK, _DAY = 365.2425, 7.0, 1.0


@dataclass(frozen=True)
class Date:
    """A column of dates; `median` in days since 1970, and whether it has times of the day."""

    name: str
    median: float
    has_missing: bool
    has_times: bool
    kind: str = "date"

    @classmethod
    def fitted(cls, name: str, column: np.ndarray) -> "Date":
        """Fit to the column of the training rows."""
        days = _days(name, column)
        present = days[~np.isnan(days)]
        has_times = bool(np.any(present % 1))
        return cls(name, float(np.median(present)), len(present) < len(days), has_times)

    @property
    def periods(self) -> dict[str, float]:
        """The periods in days whose waves the feature has."""
        return {"year": _YEAR, "week": _WEEK} | ({"day": _DAY} if self.has_times else {})

    @property
    def outputs(self) -> list[str]:
        """The names of the columns that the feature becomes."""
        waves = [f"{self.name}, {wave} of the {p}" for p in self.periods for wave in ("sin", "cos")]
        missing = [f"{self.name} is missing"] if self.has_missing else []
        return [f"{self.name}, days", *waves, *missing]

    @property
    def numbers(self) -> int:
        """How many of the outputs, the first ones, are numbers rather than 0 and 1."""
        return 1 + 2 * len(self.periods)

    def encoded(self, column: np.ndarray) -> np.ndarray:
        """Return the columns that a column becomes."""
        days = _days(self.name, column)
        missing = np.isnan(days)
        days = np.where(missing, self.median, days)
        # of the place in the period, so that equal days of the week have equal waves, to the bit
        angles = [2 * np.pi * (days % period) / period for period in self.periods.values()]
        waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
        return np.stack([days, *waves, *([missing] if self.has_missing else [])], axis=1)

    def treatment(self) -> str:
        """Return in words what becomes of the column."""
        parts = ", ".join(self.periods)
        return f"date; days since 1970, and the place in the {parts}; missing is the median"


Feature = Number | Category | Date
_CLASSES: dict[str, Any] = {"number": Number, "category": Category, "date": Date}


def to_json(feature: Feature) -> dict[str, Any]:
    """Return what a file holds of a feature."""
    return asdict(feature)


def from_json(stored: dict[str, Any]) -> Feature:
    """Return the feature that a file holds."""
    fields = {**stored}
    if "categories" in fields:
        fields["categories"] = tuple(fields["categories"])
    return _CLASSES[stored["kind"]](**fields)


class ColumnError(ValueError):
    """A column holds something else than in training; `row` is the number of the first such row."""

    def __init__(self, name: str, what: str, column: np.ndarray, is_fine: Callable[..., bool]):
        """Find the first value that is not fine."""
        at = (i for i in range(len(column)) if not is_fine(column[i : i + 1]))
        self.name, self.what, self.row = name, what, next(at, 0) + 1
        self.value = brief(column[self.row - 1])
        super().__init__(self.message(0))

    def message(self, before: int) -> str:
        """Return the message where rows were read before these."""
        return (
            f"column {self.name!r} must hold {self.what}, got {self.value} in row "
            f"{self.row + before}"
        )


def _numbers(name: str, column: np.ndarray) -> np.ndarray:
    values = as_numbers(column)
    if values is None:
        raise ColumnError(name, "numbers", column, is_number)
    return values


def is_number(value: np.ndarray) -> bool:
    """Whether a column of one value is of numbers; "true" is one in a column of booleans alone."""
    if as_numbers(value) is None:
        return False
    return value.dtype != object or not are_booleans(v for v in value if v is not None)


def _days(name: str, column: np.ndarray) -> np.ndarray:
    dates = as_dates(column)
    if dates is None:
        raise ColumnError(name, "dates such as 2024-01-31", column, is_date)
    days = (dates - np.datetime64(0, "us")) / np.timedelta64(1, "D")
    return np.where(np.isnat(dates), np.nan, days)


def is_date(value: np.ndarray) -> bool:
    """Whether a column of one value is of dates."""
    return as_dates(value) is not None


def kind_of(column: np.ndarray) -> Kind:
    """Return what a column holds: numbers, dates or categories.

    Text is numbers if all of it can be read so, but not where a whole number begins with a zero.
    """
    if as_numbers(column) is not None:
        return "category" if has_codes(column) else "number"
    return "date" if as_dates(column) is not None else "category"


def why_useless(column: np.ndarray) -> str | None:
    """Return why a column of training rows says nothing of them, or None."""
    text = as_text(column)
    different = {v for v in text if v is not None}
    if not different:
        return "all values in the rows of training are missing"
    if len(different) == 1 and all(v is not None for v in text):
        return f"all values in the rows of training are {brief(next(iter(different)))}"
    return None


def exception_of(column: np.ndarray) -> str | None:
    """Return what a column of texts holds but for a few values: "numbers" or "dates", and these."""
    present = [i for i, v in enumerate(column) if v is not None]
    for what, is_fine in (("numbers", is_number), ("dates", is_date)):
        odd = [i for i in present if not is_fine(column[i : i + 1])]
        few = len(odd) <= len(present) / 10
        marks = len(odd) < len(present) and all(column[i].strip() in _MARKS for i in odd)
        if odd and (few or marks):
            more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
            return f"{what} but for {brief(column[odd[0]])} in row {odd[0] + 1}{more}"
    return None


# What people write where they have no number.
_MARKS = {"?", "-", "--", "---", ".", "..", "*", "#", "#DIV/0!", "#VALUE!"}
_SIGN, _MONEY = "[+\u2212-]?", "(?:[$€£¥]|USD|EUR|GBP|JPY|CHF|CNY|INR)"
# Numbers and dates as people write them, of which a program cannot be sure what they are.
_NOTATIONS = (
    ("numbers with commas", "1234.5",
     rf"{_SIGN}\d{{1,3}}([., ]?\d{{3}})*,\d+|{_SIGN}\d{{1,3}}(,\d{{2,3}})+(\.\d+)?"),
    ("numbers in groups of digits", "1234.5",
     rf"{_SIGN}\d{{1,3}}(['\u2019\s]\d{{3}})+([.,]\d+)?"),
    ("numbers with the sign \u2212", "-1.5", r"\u2212\d+(\.\d+)?"),
    ("numbers in brackets", "-1.5", r"\(\d[\d.,]*\)"),
    ("percentages", "0.14", rf"{_SIGN}\d+([.,]\d+)?\s?%"),
    ("amounts of money", "1234.5",
     rf"\(?{_SIGN}{_MONEY}\s?{_SIGN}[\d.,]+\)?|\(?{_SIGN}[\d.,]+\s?{_MONEY}\)?"),
    ("dates", "2024-01-31",
     r"\d{1,2}([./-])\d{1,2}\1(\d{2}|\d{4})(\s.*)?|\d{4}/\d{1,2}/\d{1,2}"
     r"|\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{2,4}|[A-Za-z]{3,9} \d{1,2}, \d{4}|\d{4}-\d{2}"),
)  # fmt: skip


def notation_of(column: np.ndarray) -> str | None:
    """Return in what other notation most texts of a column are numbers or dates, if they are.

    Those of them that need no such notation may be plain numbers.

    >>> notation_of(np.array(["950", "1,025", "1,100.5", None], object))
    "numbers with commas, such as '1,025'; write them as 1234.5"
    """
    present = [v.strip() for v in column if v is not None]
    plain = sum(is_number(np.array([v], object)) for v in present)
    for what, accepted, pattern in _NOTATIONS:
        are = [v for v in present if re.fullmatch(pattern, v)]
        fine = len(are) + (plain if what != "dates" else 0)
        if len(are) > len(present) / 10 and fine >= 0.9 * len(present):
            return f"{what}, such as {brief(are[0])}; write them as {accepted}"
    return None


def looks_like_identifier(column: np.ndarray) -> bool:
    """Whether more than half of many texts are different: a name, a number of a customer."""
    present = [v for v in column if v is not None]
    return len(present) >= FEWEST_ROWS and len(set(present)) > len(present) / 2


def fitted(name: str, column: np.ndarray, kind: Kind) -> Feature:
    """Fit a feature of a kind to a column."""
    return _CLASSES[kind].fitted(name, column)
