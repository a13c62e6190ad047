"""Tables in memory, and files: what a column becomes, and what is wrong with one."""

import datetime as dt
import gzip
import math
import os
import re
import time
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from fcjax.tables.columns import as_dates, as_numbers, as_table, as_text, column_names, is_boolean
from fcjax.tables.reading import batches, names_in, read

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402 - after the skip

NAN = math.nan


def same(column, want):
    if column.dtype.kind == "f":
        np.testing.assert_array_equal(column, np.asarray(want, float))
    else:
        assert column.tolist() == want


DAY = dt.datetime(2024, 1, 31)
COLUMNS = {
    "integers": ([1, 2, 3], [1, 2, 3]),
    "missing among integers": ([1, None, 3], [1, NAN, 3]),
    "booleans": ([True, False, True], ["True", "False", "True"]),
    "booleans of NumPy": (np.array([True, False]), ["True", "False"]),
    "missing among booleans": ([True, None, False], ["True", None, "False"]),
    "booleans among numbers": ([True, 2.5, None], [1, 2.5, NAN]),
    "text": (["a", None, "b"], ["a", None, "b"]),
    "text with NaN": (["a", NAN, "b"], ["a", None, "b"]),
    "mixed": (["a", 1, 2.0], ["a", "1", "2"]),
    "dates": ([DAY, None, DAY], [DAY, None, DAY]),
    "days": ([DAY.date(), None, DAY.date()], [DAY, None, DAY]),
    "all missing": ([None, None, NAN], [NAN, NAN, NAN]),
    "NA of pandas": (pd.array([1, None, 3], "Int64"), [1, NAN, 3]),
    "strings of pandas": (pd.array(["a", None, "b"], "string"), ["a", None, "b"]),
    "categories of pandas": (pd.Categorical(["b", None, "a"]), ["b", None, "a"]),
    "categories of numbers": (pd.Categorical([2, None, 1]), [2, NAN, 1]),
    "booleans of pandas": (pd.array([True, None, False], "boolean"), ["True", None, "False"]),
    "times of pandas": (pd.to_datetime(["2024-01-31", None, "2024-01-31"]), [DAY, None, DAY]),
    "bytes": (np.array([1, 2, 3], np.uint8), [1, 2, 3]),
    "half": (np.array([1, NAN, 3], np.float16), [1, NAN, 3]),
    "decimals": ([Decimal("1.5"), None, Decimal("NaN")], [1.5, NAN, NAN]),
    "decimals of integers": ([Decimal(2**60 + 1), None, 1], [str(2**60 + 1), None, "1"]),
    "decimals and text": ([Decimal("3.0"), "a", Decimal("2.5")], ["3", "a", "2.5"]),
}


@pytest.mark.parametrize(("values", "want"), COLUMNS.values(), ids=COLUMNS)
def test_a_column_of_anything(values, want):
    same(as_table({"c": values})["c"], want)
    same(as_table(pd.DataFrame({"c": values}))["c"], want)


def test_tables_of_other_libraries():
    frame = pd.DataFrame({"n": [1.5, NAN], "t": ["x", None]}, index=[7, 7])
    for table in (frame, pa.Table.from_pandas(frame, preserve_index=False), frame.to_dict("list")):
        found = as_table(table)
        same(found["n"], [1.5, NAN])
        same(found["t"], ["x", None])
    matrix = as_table(np.arange(6).reshape(3, 2))
    assert list(matrix) == ["x0", "x1"]
    same(matrix["x1"], [1, 3, 5])


def test_polars():
    polars = pytest.importorskip("polars")
    found = as_table(polars.DataFrame({"n": [1, None], "t": ["x", None], "d": [DAY, None]}))
    same(found["n"], [1, NAN])
    same(found["t"], ["x", None])
    same(found["d"], [DAY, None])


DECIMALS = {"d": [Decimal("1.25"), None, Decimal("3")]}


def test_decimals_of_other_libraries():
    polars = pytest.importorskip("polars")
    arrow = pa.table(DECIMALS)
    pandas = pd.DataFrame({"d": pd.array(DECIMALS["d"], pd.ArrowDtype(pa.decimal128(5, 2)))})
    for table in (arrow, pandas, pd.DataFrame(DECIMALS), polars.DataFrame(DECIMALS)):
        same(as_table(table)["d"], [1.25, NAN, 3])


def test_a_column_that_is_not_asked_for_may_hold_anything():
    polars = pytest.importorskip("polars")
    data = {"a": [1.0, 2.0], "l": [[1], [2, 3]]}
    for table in (data, pd.DataFrame(data), pa.table(data), polars.DataFrame(data)):
        assert list(as_table(table, columns=["a"])) == ["a"]
        with pytest.raises(TypeError, match=r"data\['l'\] must hold .*--drop NAME or kinds="):
            as_table(table)
    with pytest.raises(ValueError, match=r"data must have the column 'b', got \['a', 'l'\]"):
        as_table(data, columns=["b"])


UNNAMED = {
    "one": (["", "a"], ["column 1", "a"]),
    "several": ([" ", "a", None], ["column 1", "a", "column 3"]),
    "a name that is taken": (["", "column 1"], ["unnamed column 1", "column 1"]),
    "NaN": ([NAN, "a"], ["column 1", "a"]),
}


@pytest.mark.parametrize(("names", "want"), UNNAMED.values(), ids=UNNAMED)
def test_a_column_without_a_name_is_named_by_its_place(names, want):
    frame = pd.DataFrame([[1] * len(names)], columns=pd.Index(names, dtype=object))
    assert column_names(frame) == list(as_table(frame)) == want
    assert is_boolean(frame == 1, want[0])


WRONG_TABLES = {
    "a list": ([1, 2], TypeError, "data must be a DataFrame, a dict of columns or a matrix"),
    "lengths": ({"a": [1], "b": [1, 2]}, ValueError, "data must have columns of one length"),
    "a list in a cell": ({"a": [[1], [2, 3]]}, TypeError, r"data\['a'\] must hold numbers, dates"),
    "complex": ({"a": [1j]}, TypeError, r"data\['a'\] must hold numbers"),
    "a matrix as a column": ({"a": np.ones((2, 2))}, TypeError, "must have one value per row"),
    "a number": ({"a": 1}, TypeError, r"data\['a'\] must have one value per row, got int 1"),
    "a text": ({"a": "xyz"}, TypeError, r"data\['a'\] must have one value per row, got str 'xyz'"),
    "one name": (
        pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, r"different names .*'a'\] twice"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("table", "kind", "message"), WRONG_TABLES.values(), ids=WRONG_TABLES)
def test_a_wrong_table_is_named(table, kind, message):
    with pytest.raises(kind, match=message):
        as_table(table)


TEXTS = {
    ("1", " 2.5 ", None): [1, 2.5, NAN],
    ("1e3", "-0", "+7"): [1000, 0, 7],
    ("true", "False", "TRUE"): [1, 0, 1],
    ("1_000", "2"): None,
    ("1,5", "2"): None,
    ("12", "x"): None,
    ("inf", "-inf"): [math.inf, -math.inf],
}


@pytest.mark.parametrize(("texts", "numbers"), TEXTS.items())
def test_texts_that_are_numbers(texts, numbers):
    got = as_numbers(np.array(texts, object))
    if numbers is None:
        assert got is None
    else:
        same(got, numbers)


DATES = {
    ("2024-01-31", None): True,
    ("2024-01-31T12:30:00", "2024-01-31"): True,
    ("2024-01-31 12:30:00.25+02:00", None): True,
    ("31.01.2024", None): False,
    ("20240131", None): False,
    ("2024", "2025"): False,
}


@pytest.mark.parametrize(("texts", "are_dates"), DATES.items())
def test_texts_that_are_dates(texts, are_dates):
    assert (as_dates(np.array(texts, object)) is not None) == are_dates


def test_a_time_with_an_offset_is_utc():
    (moment,) = as_dates(np.array(["2024-01-31T12:00:00+02:00"], object))
    assert moment == np.datetime64("2024-01-31T10:00:00")


def test_a_date_of_python_with_a_time_zone_is_utc():
    noon = dt.datetime(2024, 1, 31, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    same(as_table({"c": [noon, None]})["c"], [dt.datetime(2024, 1, 31, 10), None])


def test_a_category_of_numbers_is_the_same_text_with_and_without_missing_ones():
    assert as_text(np.array([1.0, NAN, 2.5])).tolist() == ["1", None, "2.5"]
    assert as_text(as_table({"c": [1, 2]})["c"]).tolist() == ["1", "2"]


# --- files ----------------------------------------------------------------------------------------

GOOD = {
    "plain": ("a,b\n1,x\n2,y\n", {"a": ["1", "2"], "b": ["x", "y"]}),
    "missing": (
        "a,b\n,NA\nnull,None\nx,none\n",
        {"a": [None, None, "x"], "b": [None, None, "none"]},
    ),
    "quotes": ('a,b\n"1,5","x\ny"\n"","NA"\n', {"a": ["1,5", None], "b": ["x\ny", "NA"]}),
    "CRLF": ("a,b\r\n1,x\r\n", {"a": ["1"], "b": ["x"]}),
    "no last newline": ("a,b\n1,x", {"a": ["1"], "b": ["x"]}),
    "BOM": ("\ufeffa,b\n1,x\n", {"a": ["1"], "b": ["x"]}),
    "semicolons": ("a;b\n1,5;x\n", {"a": ["1,5"], "b": ["x"]}),
    "tabs": ("a\tb\n1\tx\n", {"a": ["1"], "b": ["x"]}),
    "bars": ("a|b\n1|x\n", {"a": ["1"], "b": ["x"]}),
    "quoted names": ('"a,1";"b"\n1;2\n', {"a,1": ["1"], "b": ["2"]}),
    "other signs in a name": ('"a;1;2;3",b\n1,2\n', {"a;1;2;3": ["1"], "b": ["2"]}),
    "commas in a name": ("a;b, c, d;e\n1;2;3\n", {"a": ["1"], "b, c, d": ["2"], "e": ["3"]}),
    "commas in a value": ("a;b\n1,5,2;x\n", {"a": ["1,5,2"], "b": ["x"]}),
    "a line break in a name": ('"a\nb";c\n1;2\n', {"a\nb": ["1"], "c": ["2"]}),
    "header only": ("a,b\n", {"a": [], "b": []}),
    "header without an end": ("a;b", {"a": [], "b": []}),
    "row numbers": (",a\n0,x\n1,y\n", {"column 1": ["0", "1"], "a": ["x", "y"]}),
    "comma at the end": ('"a","",\n1,2,\n', {"a": ["1"], "column 2": ["2"], "column 3": [None]}),
    "one column": ("a\n1\n\n2\n", {"a": ["1", None, "2"]}),
    "names": ("größe (m²),prediction\n1,2\n", {"größe (m²)": ["1"], "prediction": ["2"]}),
}


@pytest.mark.parametrize(("text", "want"), GOOD.values(), ids=GOOD)
def test_a_csv_file(text, want, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(text, "utf8", newline="")
    assert {name: column.tolist() for name, column in read(path).items()} == want
    assert names_in(path) == list(want)


BAD = {
    "empty": (b"", "the file is empty"),
    "blank": (b"\n\n", "the file is empty"),
    "ragged": (b"a,b\n1,2\n3\n", r"Expected 2 columns, got 1: 3"),
    "too long a row": (b"a,b\n1,2\n3,4,5\n", r"Row #3: Expected 2 columns, got 3: 3,4,5"),
    "latin-1": ("a,b\n1,größe\n".encode("latin1"), "must be text in UTF-8; convert it first"),
    "latin-1 names": ("größe,b\n1,2\n".encode("latin1"), "must be text in UTF-8"),
    "UTF-16 without its mark": (
        ("a,b\n" + "1,2\n" * 40).encode("utf-16-le"),
        "must be text in UTF-8; .* iconv -f utf-16le -t utf8",
    ),
    "UTF-16": ("a,b\n1,2\n".encode("utf16"), "must be text in UTF-8; .* iconv -f utf-16 -t utf8"),
    "JSON": (b'{"a": [1, 2], "b": 3}', "must be a CSV or a Parquet file, got JSON"),
    "JSON lines": (b'{"a": 1}\n{"a": 2}\n', "must be a CSV or a Parquet file, got JSON"),
    "a quote": (b'"a,b\n1,2\n', "a quote in the line of names is not closed"),
    "one name": (b"a,a\n1,2\n", r"must have different names of columns, got \['a'\] twice"),
    "gzip": (gzip.compress(b"a,b\n1,2\n"), "it is compressed, or a workbook; save it as CSV"),
    "parquet": (b"PAR1 and no more", "table.csv: "),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_is_named(content, message, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read(path)
    assert "table.csv" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", gzip.compress(b"a,b\n1,2\n" * 9999)[:50]], ids=["text", "cut"]
)
def test_a_compressed_file_that_is_none_is_named(content, tmp_path):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"table.csv.gz: it is damaged, or not compressed as its"):
        read(path)


def test_a_pipe_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe must be a file, which is read more than once"):
        read(tmp_path / "pipe")


def test_texts_that_are_not_missing_in_a_column(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('a,b,c\nNA,NA,1\n"",x,"NA"\nNULL,"NULL",None\n')
    (found,) = batches(path, keep={"a": ["NA", "x"], "c": ["y"]})
    assert {name: column.tolist() for name, column in found.items()} == {
        "a": ["NA", None, None], "b": [None, "x", "NULL"], "c": ["1", "NA", None],
    }  # fmt: skip
    (found,) = batches(path, keep={"a": ["", "NULL"]})
    assert found["a"].tolist() == [None, "", "NULL"]


def test_columns_of_parquet_without_names_and_with_dots(tmp_path):
    columns = [[1, 2], [3, 4], [[5], [6]], [7, 8]]
    pq.write_table(
        pa.table(list(map(pa.array, columns)), names=["", "", "l", "l.x"]), tmp_path / "t"
    )
    assert names_in(tmp_path / "t") == ["column 1", "column 2", "l", "l.x"]
    for name, values in {"column 2": [3, 4], "l.x": [7, 8]}.items():
        found = read(tmp_path / "t", [name])
        assert list(found) == [name]
        same(found[name], values)


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read(tmp_path / "none.csv")
    with pytest.raises(IsADirectoryError, match="got a folder"):
        read(tmp_path)


def test_a_column_that_is_missing_is_named(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n")
    assert read(path, ["b"])["b"].tolist() == ["2"]
    with pytest.raises(ValueError, match=r"must have the column 'c', got \['a', 'b'\]"):
        read(path, ["c"])


def test_a_compressed_file(tmp_path):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(b"a;b\n1;x\n"))
    assert read(path)["b"].tolist() == ["x"]


def test_a_parquet_file_of_every_type(tmp_path):
    table = pa.table({
        "int": pa.array([1, None, 3], pa.int16()),
        "large": pa.array([2**53 - 1, None, 1], pa.uint64()),
        "float": pa.array([1.5, None, NAN], pa.float32()),
        "bool": pa.array([True, None, False]),
        "decimal": pa.array([None, None, 2], pa.decimal128(5, 2)),
        "whole decimal": pa.array([2**60 + 1, None, 2], pa.decimal128(38, 0)),
        "text": pa.array(["a", None, "b"], pa.large_string()),
        "category": pa.array(["a", None, "b"]).dictionary_encode(),
        "date": pa.array([DAY.date(), None, DAY.date()]),
        "time": pa.array([DAY, None, DAY], pa.timestamp("ns", "UTC")),
        "fine": pa.array([1706659200000000001, None, 1706659200000000001], pa.timestamp("ns")),
        "huge": pa.array([2**60, 2**60 + 1, 2**60], pa.int64()),
        "nothing": pa.nulls(3),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "table.parquet")
    found = read(tmp_path / "table.parquet")
    same(found["int"], [1, NAN, 3])
    same(found["large"], [2**53 - 1, NAN, 1])
    same(found["float"], [1.5, NAN, NAN])
    same(found["bool"], ["True", None, "False"])
    same(found["decimal"], [NAN, NAN, 2])
    same(found["whole decimal"], [str(2**60 + 1), None, "2"])
    same(found["nothing"], [NAN] * 3)
    for name in ("text", "category"):
        same(found[name], ["a", None, "b"])
    same(found["huge"], [str(2**60), str(2**60 + 1), str(2**60)])
    for name in ("date", "time", "fine"):
        same(found[name], [DAY, None, DAY])


def test_a_parquet_file_of_lists_is_refused(tmp_path):
    pq.write_table(pa.table({"a": [[1], [2]]}), tmp_path / "table.parquet")
    with pytest.raises(TypeError, match=r"column 'a' of .*table.parquet must hold numbers"):
        read(tmp_path / "table.parquet")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_large_file_is_read_in_parts(suffix, tmp_path):
    frame = pd.DataFrame({"a": np.arange(200_000), "b": "some text of a length"})
    path = tmp_path / f"table.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    parts = list(batches(path, ["a"]))
    assert len(parts) > 3
    assert max(len(part["a"]) for part in parts) < 100_000
    np.testing.assert_array_equal(
        np.concatenate([part["a"] for part in parts]).astype(int), frame.a
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_reading_shows_how_many_rows_there_are_and_how_fast(suffix, tmp_path, capsys):
    path = tmp_path / f"table.{suffix}"
    frame = pd.DataFrame({"a": np.arange(30_000)})
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    for _ in batches(path, progress=True):
        time.sleep(0.11)  # what is shown is renewed ten times a second
    shown = capsys.readouterr().err
    total = "/30.0k" if suffix == "parquet" else " rows"  # of a CSV file, it is not known
    assert re.search(rf"30\.0k{total} \[\d\d:\d\d.*, [\d.]+k rows/s\]", shown)
    list(batches(path))
    list(batches(path, progress=None))  # no terminal
    assert capsys.readouterr().err == ""
