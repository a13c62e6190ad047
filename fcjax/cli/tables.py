"""`fcjax train FILE` and `fcjax predict`: from a file to a model, and from a model to a file."""

import contextlib
import csv
import gzip
import io
import itertools
import os
import signal
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from fcjax_cli.options import OurData, OwnData

from .._arguments import brief, check_one_of
from .._files import naming
from ..model import is_of_model, load, prepare, save
from ..tables import TableModel, batches, read, train_table
from ..tables.card import headline
from ..tables.columns import rows_of
from ..tables.fitting import DTYPES
from ..tables.reading import names_in
from ..tables.splits import Split
from ..tables.treatment import AS_ASKED
from ..train.interrupts import Interrupts
from .show import print_sections
from .tracking import trackers_of

# What predictions are written into.
Opened = io.BufferedWriter | gzip.GzipFile

_console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
_errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


def train_on_own(
    own: OwnData, ours: OurData, *, epochs: int | None, seed: int, out: Path, dtype: str | None
) -> int:
    """Train on a file, save the model, and print its figures; return the exit status."""
    assert own.file is not None
    _check_unused(ours)
    if not own.target:
        raise ValueError("target: got none; accepted: the column to predict, e.g. --target price")
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"dtype: got {brief(dtype)}; accepted: {', '.join(DTYPES)}")
    names = names_in(own.file)
    for name in own.target:
        check_one_of("target", name, names)
    unread = _unread(own, names)
    trackers = trackers_of(own.track, _settings(own, epochs=epochs, seed=seed, dtype=dtype))
    table = read(own.file, [name for name in names if name not in unread], progress=None)
    _console.print(f"{own.file}: {rows_of(table):,} rows, {len(names)} columns")
    kinds = {**_pairs("kinds", own.kinds), **dict.fromkeys(own.drop, "drop")}
    for name in set(own.drop) & set(_pairs("kinds", own.kinds)):
        raise ValueError(f"--drop: {name!r} is left out, and --kinds says what it holds; pass one")
    prepare(out, "--out")  # fail before training if the folder cannot be written
    model = train_table(
        {**table, **dict.fromkeys(unread)},
        own.target[0] if len(own.target) == 1 else own.target,
        preset=own.preset,
        task=own.task,
        kinds=kinds,  # pyright: ignore[reportArgumentType] - checked there
        split=own.split,
        metric=own.metric,
        class_weight=_class_weight(own.class_weight),
        sample_weight=own.sample_weight,
        members=own.members,
        embeddings=own.embeddings,
        epochs=epochs,
        compute_dtype=dtype,
        seed=seed,
        checkpoint_dir=own.checkpoints,
        pictures=True,
        callbacks=trackers,
    )
    with Interrupts():
        save(out, model)
    _console.print(headline(model))
    for what, count in model.report["rows"].items():
        if count and what not in Split._fields:
            _console.print(f"rows {what}, left out: {count:,}")
    print_sections(model, ("Figures",))
    for name, why in model.treatment.dropped.items():
        if why != AS_ASKED:
            _console.print(f"{name}, left out: {why}")
    training = model.report["training"]
    kept = (
        "Training was stopped; the best network until then"
        if training["interrupted"]
        else ("The model, without its pictures," if training["signal"] else "The model")
    )
    _console.print(f"{kept} is in {out}: fcjax predict {out} FILE --out predictions.csv")
    return 128 + signal.Signals[training["signal"]] if training["signal"] else 0


def _unread(own: OwnData, names: Sequence[str]) -> list[str]:
    """Return the columns to leave out that nothing else needs; they may hold anything."""
    for name in own.drop:
        check_one_of("--drop", name, names)
        if name in own.target:
            raise ValueError(f"--drop: {name!r} is the target, which cannot be left out")
    needed = (own.sample_weight, own.split.partition(":")[2])
    return [name for name in own.drop if name not in needed]


def _settings(own: OwnData, **others: object) -> dict[str, object]:
    """Return the options that were given, for a record of the training."""
    options = {**vars(own), **others}
    return {
        name: value
        for name, value in options.items()
        if name != "track" and value not in (None, ())
    }


def _check_unused(ours: OurData) -> None:
    for name, value in vars(ours).items():
        if value is not None:
            raise ValueError(f"{name}: applies to our data sets only; got a file as well")


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """Return options such as NAME=KIND as a dict."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.rpartition("=")
        if not (separator and name and value):
            raise ValueError(f"{option}: got {brief(text)}; accepted: NAME=VALUE")
        pairs[name] = value
    return pairs


def _class_weight(texts: Sequence[str]) -> Any:
    if not texts:
        return None
    if tuple(texts) == ("balanced",):
        return "balanced"
    weights: dict[str, float] = {}
    for name, value in _pairs("class_weight", texts).items():
        try:
            weights[name] = float(value)
        except ValueError:
            raise ValueError(f"class_weight: got {brief(value)}; accepted: a number") from None
    return weights


def predict(folder: Path, file: Path, out: Path) -> int:
    """Write the predictions for a file, part by part; return the exit status."""
    model = load(folder)
    if not isinstance(model, TableModel):
        raise TypeError(f"{folder} must hold a model of a table, got {model!r}")
    write = _writer_of(out)
    if out.exists() and out.samefile(file):
        raise ValueError(f"--out must be another file than the one to read, got {str(out)!r}")
    parts = batches(file, model.treatment.columns, keep=model.treatment.texts, progress=None)
    with naming(out), _opened(out) as opened:
        rows = write(opened, model.predict_batches(parts), model)
    if _is_stdout(out):
        _errors.print(f"{rows:,} predictions")
    else:
        _console.print(f"{rows:,} predictions are in {out}")
    return 0


def _writer_of(out: Path) -> "Writer":
    """Return what writes a file of this name, or raise; a pipe may have any name, and gets CSV."""
    if out.is_dir():
        raise IsADirectoryError(f"--out must be a file, got the folder {str(out)!r}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"--out must lie in a folder that exists, got {str(out)!r}")
    if is_of_model(out):
        raise ValueError(f"--out must not be a file of a model, got {str(out)!r}")
    for suffix, write in _WRITERS.items():
        if out.name.lower().endswith(suffix):
            return write
    if not _is_stdout(out) and not _is_special(out):
        raise ValueError(
            f"--out must end in .csv, .csv.gz or .parquet, or be a pipe or -, got {str(out)!r}"
        )
    return _to_csv


def _is_stdout(out: Path) -> bool:
    """Whether a path is -, or leads to what this program writes to, such as /dev/stdout."""
    if str(out) == "-":
        return True
    try:
        return os.path.samestat(out.stat(), os.fstat(1))
    except OSError:
        return False


def _is_special(out: Path) -> bool:
    return out.exists() and not out.is_file()


@contextlib.contextmanager
def _opened(out: Path) -> Generator[io.BufferedWriter]:
    """Open a file beside the one to write, which replaces it at the end.

    What is no file, such as a pipe, cannot be replaced, nor can what a shell has opened.
    """
    if _is_stdout(out):
        with os.fdopen(os.dup(1), "wb") as opened:
            yield opened
        return
    if _is_special(out):
        with out.open("wb") as opened:
            yield opened
        return
    out = out.resolve()
    partial = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as opened:
            yield opened
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)


def _to_csv(opened: Opened, parts: Iterator[Mapping[str, np.ndarray]], model: TableModel) -> int:
    rows, first = 0, next(parts, None)  # a column that is missing is found before a line is written
    with io.TextIOWrapper(opened, encoding="utf8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(model.prediction_names)
        for part in itertools.chain([] if first is None else [first], parts):
            columns = [column.tolist() for column in part.values()]
            writer.writerows(zip(*columns, strict=True))
            rows += len(columns[0])
    return rows


def _to_gzip(
    opened: io.BufferedWriter, parts: Iterator[Mapping[str, np.ndarray]], model: TableModel
) -> int:
    with gzip.GzipFile("", "wb", fileobj=opened) as compressed:
        return _to_csv(compressed, parts, model)


def _to_parquet(
    opened: io.BufferedWriter, parts: Iterator[Mapping[str, np.ndarray]], model: TableModel
) -> int:
    import pyarrow
    import pyarrow.parquet

    rows, classes = 0, model.target.classes
    types = [pyarrow.float64()] * len(model.prediction_names)
    if classes is not None:
        types[0] = pyarrow.array(classes).type
    schema = pyarrow.schema(zip(model.prediction_names, types, strict=True))
    with pyarrow.parquet.ParquetWriter(opened, schema) as writer:
        for part in parts:
            table = pyarrow.table(dict(part), schema=schema)
            writer.write_table(table)
            rows += table.num_rows
    return rows


Writer = Callable[[Any, Iterator[Mapping[str, np.ndarray]], TableModel], int]
_WRITERS: dict[str, Writer] = {".csv": _to_csv, ".csv.gz": _to_gzip, ".parquet": _to_parquet}
