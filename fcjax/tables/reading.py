"""Read tables from CSV and Parquet files, whole or in parts, with PyArrow."""

import contextlib
import csv
import io
import itertools
import json
from collections import defaultdict
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from .._arguments import brief
from .._progress import counted
from .columns import Table, as_column, named, objects, rows_of

# Bytes of a CSV file, and rows of a Parquet file, that are in memory at a time.
BLOCK_BYTES = 2**20
BLOCK_ROWS = 2**14
SEPARATORS = (",", ";", "\t", "|")
# What stands for a missing value in a CSV file.
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "NULL", "null", "None", "#N/A", "#NA")


def _arrow() -> tuple[ModuleType, ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError("files are read with PyArrow: pip install 'fcjax[app]'") from error
    return pyarrow, pyarrow.csv, pyarrow.parquet


def is_parquet(path: Path) -> bool:
    """Whether a file is read as Parquet: by its first bytes, whatever it is called."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def names_in(path: str | Path) -> list[str]:
    """Return the names of the columns of a file; one without a name is named by its place."""
    path = checked_file(path)
    return named(_names_as_written(path), str(path))


def _names_as_written(path: Path) -> list[str]:
    _, _, parquet = _arrow()
    if is_parquet(path):
        with _explained(path), parquet.ParquetFile(path) as file:
            return file.schema_arrow.names
    with _explained(path):
        head = _head(path)
        if head.is_all:
            return head.names
        with _open_csv(path, head.separator) as reader:
            return reader.schema.names


def read(
    path: str | Path, columns: Sequence[str] | None = None, *, progress: bool | None = False
) -> Table:
    """Return a file as a table; all values of a CSV file are text.

    Args:
        path: a CSV or a Parquet file. CSV files are in UTF-8, and begin with a line of names. The
            separator, a comma, a semicolon, a bar or a tab, is the one that gives this line and the
            next one as many values. An empty value and, without quotes, NA, N/A, n/a, NaN, nan,
            -nan, NULL, null, None, #N/A and #NA are missing. A file whose name ends in .gz or .zst
            is decompressed.
        columns: the names of those to read; None reads all.
        progress: whether to show the rows read; None shows them on a terminal, after two seconds.

    Raises:
        ImportError: PyArrow is not installed.
        FileNotFoundError: there is no such file.
        ValueError: it is empty, not UTF-8, a row has another number of values than there are names,
            two columns have one name, or a column is missing.
    """
    columns = names_in(path) if columns is None else columns
    parts = list(batches(path, columns, progress=progress))
    if not parts:
        return {name: np.empty(0, object) for name in columns}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def batches(
    path: str | Path,
    columns: Sequence[str] | None = None,
    *,
    keep: Mapping[str, Collection[str]] | None = None,
    progress: bool | None = False,
) -> Iterator[Table]:
    """Yield a file part by part; the memory is that of one part. See `read`.

    `keep` holds, by column, texts of a CSV file that are not missing, whatever they are elsewhere.
    """
    path = checked_file(path)
    written = _names_as_written(path)
    names = named(written, str(path))
    missing = [name for name in columns or () if name not in names]
    if missing:
        raise ValueError(f"{path} must have the column {missing[0]!r}, got {brief(names)}")
    wanted = names if columns is None else columns
    by_name = dict(zip(names, written, strict=True))
    if is_parquet(path):
        parts, total = _parquet(path, wanted, by_name), _rows_of_parquet(path)
    else:
        parts, total = _csv(path, wanted, by_name, keep or {}), None
    yield from counted(parts, rows_of, unit="rows", total=total, progress=progress)


def _rows_of_parquet(path: Path) -> int:
    _, _, parquet = _arrow()
    with _explained(path):
        return parquet.read_metadata(path).num_rows


def _csv(
    path: Path,
    columns: Sequence[str],
    names: Mapping[str, str],
    keep: Mapping[str, Collection[str]],
) -> Iterator[Table]:
    """Yield columns; `names` holds all of the file, and how each is written there."""
    own = {
        name: {*MISSING}.difference(keep[name])
        for name in columns
        if not {*MISSING}.isdisjoint(keep.get(name, ()))
    }
    # PyArrow has one set of missing values for all columns, so columns with another are read again
    parts = _record_batches(path, names, MISSING)
    exact = _record_batches(path, names, ()) if own else itertools.repeat(None)
    places = {name: i for i, name in enumerate(names)}
    for part, texts in zip(parts, exact, strict=False):
        table: Table = {}
        for name in columns:
            column = (texts if name in own else part).column(places[name])
            # an empty text in quotes too: some programs quote all values
            missing = own.get(name, ("",))
            table[name] = objects(None if v in missing else v for v in column.to_pylist())
        yield table


def _record_batches(path: Path, names: Mapping[str, str], missing: Sequence[str]) -> Iterator[Any]:
    head = _head(path)
    if head.is_all:
        return
    with _explained(path), _open_csv(path, head.separator, [*names.values()], missing) as reader:
        for batch in reader:
            if batch.num_rows:
                yield batch


def _open_csv(
    path: Path, separator: str, names: Sequence[str] = (), missing: Sequence[str] = ()
) -> Any:
    pyarrow, csv_of_arrow, _ = _arrow()
    return csv_of_arrow.open_csv(
        path,
        read_options=csv_of_arrow.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        # in a file of one column, an empty line is a missing value
        parse_options=csv_of_arrow.ParseOptions(
            delimiter=separator, newlines_in_values=True, ignore_empty_lines=len(names) != 1
        ),
        convert_options=csv_of_arrow.ConvertOptions(
            column_types=dict.fromkeys(names, pyarrow.string()),
            null_values=list(missing),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


class _Head(NamedTuple):
    """The beginning of a CSV file: the separator, the names, and whether there is nothing else."""

    separator: str
    names: list[str]
    is_all: bool


def _head(path: Path) -> _Head:
    pyarrow, _, _ = _arrow()
    with _explained(path), pyarrow.input_stream(str(path)) as file:  # which decompresses by name
        content = file.read(BLOCK_BYTES)
    _check_csv(path, content)
    text = content.decode("utf-8-sig", errors="replace")
    found = {separator: _records(text, separator) for separator in SEPARATORS}
    separator = max(SEPARATORS, key=lambda sign: _likelihood(found[sign]))
    first, *others = found[separator] or [[]]
    is_all = bool(first) and not others and len(content) < BLOCK_BYTES
    if is_all and text.count('"') % 2:
        raise ValueError(f"{path}: a quote in the line of names is not closed")
    return _Head(separator, first, is_all)


def _records(text: str, separator: str) -> list[list[str]]:
    """Return the line of names, and the first other one that is not empty, or is the last."""
    records: list[list[str]] = []
    with contextlib.suppress(csv.Error):  # a value is too long, which PyArrow says better
        for record in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            records = [*records[:1], record]
            if len(records) == 2 and record:
                break
    return records


def _likelihood(records: Sequence[Sequence[str]]) -> tuple[bool, int]:
    """Return what is the largest for the separator of a file.

    It gives several values, and as many in the second line as there are names. Failing that, it
    gives the most names.
    """
    counts = [len(record) for record in records] or [0]
    return counts[0] > 1 and len(counts) == 2 and counts[0] == counts[1], counts[0]


def _check_csv(path: Path, content: bytes) -> None:
    """Raise ValueError if the beginning of a file is that of something else."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(_not_utf8(path, "utf-16"))
    for start, encoding in ((1, "utf-16le"), (0, "utf-16be")):
        if content[start:200:2].count(0) > 50:  # more than half of every second byte
            raise ValueError(_not_utf8(path, encoding))
    if content.startswith((b"PK\x03\x04", b"\x1f\x8b")):
        raise ValueError(f"{path}: it is compressed, or a workbook; save it as CSV, or name it .gz")
    if _is_json(content):
        raise ValueError(f"{path} must be a CSV or a Parquet file, got JSON")


def _is_json(content: bytes) -> bool:
    line = content.lstrip().partition(b"\n")[0].strip()
    try:
        return line in (b"{", b"[") or isinstance(json.loads(line), dict | list)
    except (ValueError, RecursionError):
        return False


def _not_utf8(path: Path, encoding: str) -> str:
    return (
        f"{path} must be text in UTF-8; convert it first, e.g. "
        f"iconv -f {encoding} -t utf8 {path.name}"
    )


def _parquet(path: Path, columns: Sequence[str], names: Mapping[str, str]) -> Iterator[Table]:
    _, _, parquet = _arrow()
    selected = {names[name] for name in columns}
    options = {"pre_buffer": False, "buffer_size": BLOCK_BYTES}  # else a row group is in memory
    with _explained(path), parquet.ParquetFile(path, **options) as file:
        for batch in file.iter_batches(BLOCK_ROWS, columns=[*selected], use_threads=False):
            found = _by_name(batch, names)
            yield {
                name: as_column(f"column {name!r} of {path}", _plain(found[name]))
                for name in columns
            }


def _by_name(batch: Any, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the columns of a part of a Parquet file by name; several may have none there."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for name, written in names.items():
        places[written].append(name)
    return {
        places[written].pop(0): column
        for written, column in zip(batch.schema.names, batch.columns, strict=True)
    }


def _plain(column: Any) -> Any:
    """Return a column of Arrow as what `as_column` takes, without Python objects for numbers."""
    pyarrow, _, _ = _arrow()
    types = pyarrow.types
    if types.is_decimal(column.type) and column.type.scale > 0:  # else they are integers
        column = column.cast(pyarrow.float64())
    if types.is_integer(column.type) and column.null_count == 0:
        return column.to_numpy(zero_copy_only=False)
    if types.is_floating(column.type):
        return column.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False)
    if types.is_timestamp(column.type) or types.is_date(column.type):
        return column.cast(pyarrow.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)
    return objects(column.to_pylist())


def checked_file(path: str | Path) -> Path:
    """Return the path of a file that exists."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} must be a CSV or a Parquet file, got a folder")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    if not path.is_file():
        raise ValueError(f"{path} must be a file, which is read more than once, got a pipe")
    return path


@contextlib.contextmanager
def _explained(path: Path) -> Generator[None]:
    """Say of which file an error of PyArrow is, and what can be done."""
    pyarrow, _, _ = _arrow()
    try:
        yield
    except (UnicodeDecodeError, pyarrow.ArrowInvalid) as error:
        if isinstance(error, UnicodeDecodeError) or "UTF8" in str(error):
            raise ValueError(_not_utf8(path, "latin1")) from error
        raise ValueError(f"{path}: {_in_a_line(str(error))}") from error
    except OSError as error:
        if error.errno is None:  # of the decompression
            raise ValueError(
                f"{path}: it is damaged, or not compressed as its name says: {error}"
            ) from error
        raise


def _in_a_line(message: str) -> str:
    if "Empty CSV" in message:
        return "the file is empty"
    if "straddling object" in message or "header is larger" in message:
        return f"a row is longer than {BLOCK_BYTES} bytes, or a quote is not closed"
    return brief(message).strip("'\"").removeprefix("CSV parse error: ")
