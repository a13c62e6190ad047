"""A table in memory: each column as numbers, dates or text, whatever it came from.

A column is a NumPy array of one of three types: float64 with NaN for what is missing, datetime64
with NaT, or objects that are text or None. Booleans are the texts "True" and "False", as in a file.
"""

import datetime
import decimal
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from typing import Any, TypeGuard, cast

import numpy as np

from .._arguments import brief, describe

Table = dict[str, np.ndarray]

# From here on, float64 has one number for several integers.
_EXACT = 2**53
_CODE = re.compile(r"0[0-9]+")
# As in a text that another program wrote; other words for what is missing are text.
_TRUE, _FALSE = "true", "false"
# Names that say where a column is and nothing else: ours, and those that pandas gives.
_NO_NAME = re.compile(r"(?:unnamed )*column \d+|Unnamed: \d+")


def rows_of(table: Mapping[str, np.ndarray]) -> int:
    """Return the number of rows."""
    return len(next(iter(table.values()), ()))


def as_table(data: Any, name: str = "data", columns: Collection[str] | None = None) -> Table:
    """Return a DataFrame, a dict of columns or a matrix as a table.

    Args:
        data: a DataFrame of pandas or Polars, an Arrow table, a mapping of names to columns, or a
            matrix, whose columns are named x0, x1, ... See `column_names` for other names.
        name: what errors call it.
        columns: the names of those to convert; what others hold does not matter. None converts all.

    Raises:
        TypeError: `data` is none of these, or a column holds something else than numbers, dates,
            booleans and text.
        ValueError: two columns have the same name, columns have different lengths, or a column is
            missing.

    >>> as_table({"age": [31, None], "name": ["Ada", None]})
    {'age': array([31., nan]), 'name': array(['Ada', None], dtype=object)}
    """
    names = column_names(data, name)
    wanted = set(names if columns is None else columns)
    for column in columns or ():
        if column not in names:
            raise ValueError(f"{name} must have the column {column!r}, got {brief(names)}")
    table = {column: as_column(f"{name}[{column!r}]", values)
             for column, (_, values) in zip(names, _columns(data, name), strict=True)
             if column in wanted}  # fmt: skip
    lengths = {column: len(values) for column, values in table.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{name} must have columns of one length, got {brief(lengths)}")
    return table


def column_names(data: Any, name: str = "data") -> list[str]:
    """Return the names of the columns that `as_table` returns, without a look at what they hold.

    A column without a name, as pandas and R write row numbers to a file, is named by its place.

    >>> column_names({"": [1, 2], "age": [31, None]})
    ['column 1', 'age']
    """
    names = ["" if _is_missing(column) else str(column) for column, _ in _columns(data, name)]
    return named(names, name)


def named(names: Sequence[str], what: str) -> list[str]:
    """Return names of columns, and "column 1" for the first if it has none.

    Raises:
        ValueError: two columns have one name; `what` is what errors call the table.
    """
    found = list(names)
    for i, name in enumerate(names):
        if not name.strip():
            found[i] = f"column {i + 1}"
            while found[i] in names:
                found[i] = f"unnamed {found[i]}"
    doubled = [name for name, count in Counter(found).items() if count > 1]
    if doubled:
        raise ValueError(
            f"{what} must have different names of columns, got {brief(sorted(doubled))} twice"
        )
    return found


def is_row_number(name: str, column: np.ndarray) -> bool:
    """Whether a column has no name, and whole numbers, as pandas and R write those of rows.

    Those of the rows that a filter left have gaps, and those of tables put together occur twice.

    >>> is_row_number("column 1", np.array([1.0, 5, 3])), is_row_number("k", np.array([1.0, 2, 3]))
    (True, False)
    """
    if _NO_NAME.fullmatch(name) is None:
        return False
    numbers = as_numbers(column)
    return numbers is not None and len(numbers) > 0 and bool(np.all(numbers == np.floor(numbers)))


def counts_rows(column: np.ndarray) -> bool:
    """Whether a column holds each of as many integers in a row once, in any order.

    >>> counts_rows(np.array([3.0, 1, 2])), counts_rows(np.array([1.0, 2, 4]))
    (True, False)
    """
    numbers = as_numbers(column)
    if numbers is None or not len(numbers):
        return False
    first, last = numbers.min(), numbers.max()  # NaN if any is
    if last - first != len(numbers) - 1:
        return False
    return np.array_equal(np.sort(numbers), first + np.arange(len(numbers)))


def _columns(data: Any, name: str) -> list[tuple[Any, Any]]:
    if isinstance(data, Mapping):
        return list(cast("Mapping[Any, Any]", data).items())
    if hasattr(data, "columns") and hasattr(data, "iloc"):  # pandas
        return [(column, data.iloc[:, i]) for i, column in enumerate(data.columns)]
    if hasattr(data, "iter_columns"):  # Polars
        return [(column.name, column) for column in data.iter_columns()]
    if hasattr(data, "column_names") and hasattr(data, "columns"):  # Arrow
        return list(zip(data.column_names, data.columns, strict=True))
    array = np.asarray(data)
    if array.ndim != 2:
        raise TypeError(
            f"{name} must be a DataFrame, a dict of columns or a matrix, got {describe(data)}"
        )
    return [(f"x{i}", array[:, i]) for i in range(array.shape[1])]


def as_column(name: str, values: Any) -> np.ndarray:
    """Return values as a column of numbers, dates or text."""
    if hasattr(values, "to_pylist"):  # Arrow
        values = values.to_pylist()
    elif type(values).__module__.startswith("polars"):
        values = values.to_list()
    array = values.to_numpy() if hasattr(values, "to_numpy") else values
    if not isinstance(array, np.ndarray):
        if not isinstance(array, Iterable) or isinstance(array, str | bytes | Mapping | Set):
            raise TypeError(f"{name} must have one value per row, got {describe(array)}")
        array = objects(cast("Iterable[Any]", array))
    if array.ndim != 1:
        raise TypeError(f"{name} must have one value per row, got {describe(array)}")
    if array.dtype.kind == "b" and not isinstance(array, np.ma.MaskedArray):
        return objects(map(str, array.tolist()))
    if array.dtype.kind in "iuf" and not isinstance(array, np.ma.MaskedArray):
        if array.dtype.kind in "iu" and np.any(np.abs(array.astype(np.float64)) >= _EXACT):
            return objects(map(str, array.tolist()))  # float64 would make one of several numbers
        return array.astype(np.float64)
    if array.dtype.kind == "M":
        return array.astype("datetime64[us]")
    if array.dtype.kind not in "OUST":
        raise TypeError(_refusal(name, array))
    return _of_objects(name, array.astype(object))


def objects(values: Iterable[Any]) -> np.ndarray:
    """Return values as they are: NumPy would make text of a NaN beside texts."""
    values = list(values)
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _of_objects(name: str, values: np.ndarray) -> np.ndarray:
    """Return Python objects of one kind as a column."""
    values = objects(None if _is_missing(v) else v for v in values)
    present = [v for v in values if v is not None]
    if any(_is_inexact(v) for v in present):
        return objects(None if v is None else str(v) for v in values)
    if present and all(isinstance(v, bool | np.bool_) for v in present):
        return objects(None if v is None else str(v) for v in values)
    if all(isinstance(v, _NUMBERS) for v in present):
        return np.array([math.nan if v is None else float(v) for v in values])
    if all(hasattr(v, "isoformat") and hasattr(v, "year") for v in present):
        return np.array([np.datetime64("NaT", "us") if v is None else _moment(v) for v in values],
                        "datetime64[us]")  # fmt: skip
    if all(isinstance(v, str) for v in present):
        return values
    if all(_is_plain(v) for v in present):
        return objects(None if v is None else text_of(v) for v in values)
    other = next(v for v in present if not _is_plain(v))
    raise TypeError(_refusal(name, other))


def _refusal(name: str, value: object) -> str:
    return (
        f"{name} must hold numbers, dates or text, got {describe(value)}; leave the column out, "
        "with --drop NAME or kinds={NAME: 'drop'}"
    )


def _is_inexact(value: object) -> bool:
    """Whether a value is an integer for which float64 may have the number of another one."""
    if isinstance(value, decimal.Decimal):
        return value.as_tuple().exponent == 0 and abs(value) >= _EXACT
    return isinstance(value, int | np.integer) and abs(int(value)) >= _EXACT


def _is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, NaT or the NA of pandas: what is not equal to itself."""
    if value is None or type(value).__name__ == "NAType":
        return True
    if isinstance(value, str):
        return False
    try:
        return bool(value != value)
    except decimal.InvalidOperation:  # a NaN that signals
        return True
    except (TypeError, ValueError):  # an array in a cell
        return False


_NUMBERS = bool | int | float | decimal.Decimal | np.bool_ | np.number


def _is_plain(value: object) -> TypeGuard[str | float | decimal.Decimal]:
    return isinstance(value, str | _NUMBERS)


def text_of(value: Any) -> str:
    """Return a category as text: 3.0 is "3", as it is where no number is missing."""
    if isinstance(value, bool | np.bool_):
        return str(value)
    if isinstance(value, float | np.floating | decimal.Decimal) and float(value).is_integer():
        return str(int(value))
    return str(value)


def as_categories(column: np.ndarray) -> np.ndarray:
    """Return a column as categories: text as it is, and others in their plain form."""
    texts = as_text(column)
    if column.dtype == object:
        return texts
    plain = {text: None if text is None else plain_form(text) for text in set(texts)}
    return objects(plain[text] for text in texts)


def plain_form(text: str) -> str:
    """Return a category as the text that it is in a column of numbers, booleans or days.

    "1.0" and "01" are "1"; "true" is "1"; a date at midnight is the day.

    >>> plain_form("1.0"), plain_form(" TRUE"), plain_form("2024-01-31T00:00:00.000000")
    ('1', '1', '2024-01-31')
    """
    if text.strip().lower() in (_TRUE, _FALSE):
        return str(int(text.strip().lower() == _TRUE))
    try:
        number = _number(text)
    except ValueError:
        return text.removesuffix("T00:00:00.000000")
    exact = math.isfinite(number) and abs(number) < _EXACT
    return text_of(number) if exact else text.strip()


def category_finder(categories: Sequence[str]) -> Callable[[str], int | None]:
    """Return a function from a text to the place of its category, None if it is none of them.

    A text that is no category may be one in another form, such as "1.0" for "1", unless it could be
    two: of "1" and "01", "1.0" is neither.
    """
    places = {category: i for i, category in enumerate(categories)}
    forms = Counter(map(plain_form, categories))
    plain = {plain_form(c): i for c, i in places.items() if forms[plain_form(c)] == 1}

    def find(text: str) -> int | None:
        found = places.get(text)
        return plain.get(plain_form(text)) if found is None else found

    return find


def is_boolean(data: Any, name: str) -> bool:
    """Whether a column of a DataFrame, or of what else is a table, has booleans.

    >>> is_boolean({"sold": [True, None, False]}, "sold"), is_boolean({"sold": ["True"]}, "sold")
    (True, False)
    """
    columns = zip(column_names(data), _columns(data, "data"), strict=True)
    values = next(values for column, (_, values) in columns if column == name)
    values = values.to_pylist() if hasattr(values, "to_pylist") else values
    return all(_is_missing(v) or isinstance(v, bool | np.bool_) for v in values)


def category_columns(data: Any) -> list[str]:
    """Return the names of the columns of a DataFrame whose type says that they are categories.

    >>> category_columns({"size": [1, 2]})
    []
    """
    if hasattr(data, "columns") and hasattr(data, "iloc"):  # pandas
        are = [dtype.name == "category" for dtype in data.dtypes]
    elif hasattr(data, "iter_columns"):  # Polars
        are = [str(dtype).startswith(("Categorical", "Enum")) for dtype in data.dtypes]
    elif hasattr(data, "column_names") and hasattr(data, "schema"):  # Arrow
        are = [hasattr(field.type, "index_type") for field in data.schema]
    else:
        return []
    return [name for name, is_one in zip(column_names(data), are, strict=True) if is_one]


def has_codes(column: np.ndarray) -> bool:
    """Whether a column of text has a whole number that begins with a zero, as a postcode may.

    >>> has_codes(np.array(["01", "2", None], object)), has_codes(np.array(["0.1", "0"], object))
    (True, False)
    """
    if column.dtype != object:
        return False
    return any(v is not None and _CODE.fullmatch(v.strip()) is not None for v in set(column))


def as_text(column: np.ndarray) -> np.ndarray:
    """Return a column as text, for a column of categories."""
    if column.dtype == object:
        return column
    missing = np.isnat(column) if column.dtype.kind == "M" else np.isnan(column)
    return np.array(
        [None if m else text_of(v) for v, m in zip(column, missing, strict=True)], object
    )


def are_booleans(texts: Iterable[str]) -> bool:
    """Whether there are texts, and all of them say true or false."""
    different = {text.strip().lower() for text in texts}
    return bool(different) and different <= {_TRUE, _FALSE}


def as_numbers(column: np.ndarray) -> np.ndarray | None:
    """Return a column as numbers, None if it has text that is no number.

    A column of "true" and "false" alone is 1 and 0.
    """
    if column.dtype.kind == "f":
        return column
    if column.dtype.kind == "M":
        return None
    numbers = np.full(len(column), math.nan)
    present = [i for i, v in enumerate(column) if v is not None]
    texts = [column[i].strip() for i in present]
    if are_booleans(texts):
        numbers[present] = [t.lower() == _TRUE for t in texts]
        return numbers
    try:
        numbers[present] = [_number(t) for t in texts]
    except ValueError:
        return None
    return numbers


def _number(text: str) -> float:
    if "_" in text:  # which Python reads as a number
        raise ValueError
    return float(text)


def as_dates(column: np.ndarray) -> np.ndarray | None:
    """Return a column as dates, None if it has something that is no date in the form of ISO 8601.

    Times with an offset, such as 12:00+02:00, become UTC.
    """
    if column.dtype.kind == "M":
        return column
    if column.dtype.kind == "f":
        return None
    dates = np.full(len(column), "NaT", "datetime64[us]")
    seen: dict[str, np.datetime64] = {}
    try:
        for i, text in enumerate(column):
            if text is not None:
                if text not in seen:
                    seen[text] = _date(text.strip())
                dates[i] = seen[text]
    except ValueError:
        return None
    return dates


def _date(text: str) -> np.datetime64:
    if len(text) < 8 or text.isdigit():  # 2024 and 20240131 are numbers
        raise ValueError
    return _moment(datetime.datetime.fromisoformat(text))


def _moment(value: Any) -> np.datetime64:
    """Return a date or a time of Python, in UTC if it has a time zone."""
    if getattr(value, "tzinfo", None) is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    return np.datetime64(value, "us")
