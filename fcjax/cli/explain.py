"""`fcjax explain`: a page on a saved model, or on the smallest network with a hidden layer."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from rich.console import Console

from fcjax_cli.options import Explained

from .. import losses
from .._arguments import brief, check_one_of
from .._files import naming
from ..explainer import explain as page_of
from ..model import Model, is_of_model, load
from ..network import init
from ..tables import TableModel, batches
from ..tables.columns import Table, as_numbers, as_text
from ..tables.features import ColumnError, is_number
from ..tables.networks import PlainNetwork
from ..tables.reading import names_in
from ..tables.target import present_rows

# All but that of a dense layer, which takes its input and not the network's output.
LOSSES = sorted(
    name
    for name, value in vars(losses).items()
    if isinstance(value, FunctionType) and value is not losses.dense_softmax_cross_entropy
)
_IS_BINARY = (lambda t: (t >= 0) & (t <= 1), "numbers from 0 to 1")
# The losses that do not take any number as a target, what they take, and its words.
_TARGETS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "binary_cross_entropy": _IS_BINARY,
    "sigmoid_binary_cross_entropy": _IS_BINARY,
    "hinge": (lambda t: np.abs(t) == 1, "-1 and 1"),
    "poisson": (lambda t: t >= 0, "counts, numbers from 0"),
}
_LARGEST = np.finfo(np.float32).max
ROWS = 8
_console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


class _Rows(NamedTuple):
    """Rows of a file, and the number of each, from 1."""

    table: Table
    numbers: np.ndarray


class _Given(NamedTuple):
    """The arguments of `fcjax.explain`."""

    model: Model
    x: Any
    loss: Callable[..., Array]
    target: Any
    names: Sequence[str] | None = None


def explain(
    options: Explained, *, learning_rate: float | None, steps: int, seed: int, out: Path
) -> int:
    """Write the page; return the exit status."""
    if is_of_model(out):
        raise ValueError(f"--out must not be a file of a model, got {str(out)!r}")
    if options.rows is not None and options.rows < 1:
        raise ValueError(f"rows: got {options.rows}; accepted: a positive integer")
    given = _smallest(options, seed) if options.model is None else _saved(options)
    with _console.status(f"the page of {given.model!r}"):  # on a terminal alone
        page = page_of(
            given.model, given.x, given.loss, given.target, learning_rate=learning_rate,
            steps=steps, names=given.names,
        )  # fmt: skip
    with naming(out):
        page.save(out)
    rows = "1 row" if len(given.x) == 1 else f"{len(given.x)} rows"
    _console.print(
        f"{given.model!r}, {rows}, {getattr(given.loss, '__name__', '')}: "
        f"the page is {out}, {out.stat().st_size:,} bytes"
    )
    return 0


def _smallest(options: Explained, seed: int) -> _Given:
    """Return a 2-4-1 network and the table of XOR."""
    for name in ("target", "rows", "member"):
        if getattr(options, name) not in (None, ()):
            raise ValueError(f"{name}: needs a model and a file")
    x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    params = init(jax.random.key(seed), (2, 4, 1), b_init=jax.nn.initializers.normal(0.5))
    loss = _loss(options.loss or "binary_cross_entropy")
    return _Given(Model(params, "sigmoid", "sigmoid"), x, loss, jnp.array([[0.0], [1], [1], [0]]))


def _saved(options: Explained) -> _Given:
    assert options.model is not None
    if options.file is None:
        raise ValueError("file: got none; accepted: a CSV or a Parquet file, beside a model")
    model = load(options.model)
    if hasattr(model, "to_table_model"):
        model = model.to_table_model()
    if isinstance(model, TableModel):
        return _of_table(model, options.file, options)
    if isinstance(model, Model):
        if options.member is not None:
            raise ValueError("member: needs a model for tables, such as an ensemble")
        return _of_numbers(model, options.file, options)
    raise TypeError(
        f"{options.model} must hold a Model, a TableModel or an estimator of tables, got {model!r}"
    )


def _of_table(model: TableModel, file: Path, options: Explained) -> _Given:
    """Return a member as plain layers, the treated rows, and the loss of its training."""
    if options.target:
        raise ValueError(f"target: the model has its own, {', '.join(model.target.names)}")
    names = [*dict.fromkeys([*model.treatment.columns, *model.target.names])]
    whole = _with_target(file, names, model.target.names, model.treatment.texts)
    some = _some(whole, options.rows)
    try:
        X = jnp.asarray(model.treatment.transform(some.table))
    except ColumnError as error:  # which counts the chosen rows
        before = int(some.numbers[error.row - 1]) - error.row
        raise ValueError(error.message(before)) from None
    plain = _plain(model, X, 1 if options.member is None else options.member)
    classes = model.target.classes is not None
    name = options.loss or ("softmax_cross_entropy" if classes else "squared_error")
    target = model.target.encoded(some.table) if classes else _scaled(model, some, name)
    names = _names_of_inputs(model, plain.x.shape[1])
    return _Given(Model(plain.layers, plain.activation), plain.x, _loss(name), target, names)


def _scaled(model: TableModel, some: _Rows, loss: str) -> np.ndarray:
    """Return the scaled numbers of the target, which the loss takes."""
    for name in model.target.names:
        _numbers("target", name, some)
    scaled = model.target.encoded(some.table)
    for name, numbers in zip(model.target.names, scaled.T, strict=True):
        _check_targets(loss, f"{name}, scaled", numbers, some.numbers)
    return scaled


def _names_of_inputs(model: TableModel, inputs: int) -> list[str]:
    """Return the names of the columns of the matrix; a number may be embedded in several inputs."""
    names, numbers = model.treatment.outputs, model.treatment.numbers
    each = (inputs - len(names) + numbers) // max(numbers, 1)
    if each == 1:
        return names
    embedded = [f"{name}, {k + 1} of {each}" for name in names[:numbers] for k in range(each)]
    return embedded + names[numbers:]


def _plain(model: TableModel, X: Array, number: int) -> PlainNetwork:
    """Return a member, counted over all networks that were trained at once."""
    network, copies, _ = model.networks
    members = getattr(network, "members", 1)
    if not 1 <= number <= copies * members:
        raise ValueError(f"member: got {number}; accepted: 1 to {copies * members}")
    copy, member = divmod(number - 1, members)
    params = model.params if copies == 1 else jax.tree.map(lambda V: V[copy], model.params)
    return network.plain(params, X, member)


def _of_numbers(model: Model, file: Path, options: Explained) -> _Given:
    """Return the model, the columns of numbers that it takes, and the target."""
    names = names_in(file)
    if not options.target:
        raise ValueError("target: got none; accepted: the column to predict, e.g. --target price")
    for name in options.target:
        check_one_of("target", name, names)
    inputs = [name for name in names if name not in options.target]
    if len(inputs) != model.sizes[0]:
        raise ValueError(
            f"{file} must have {model.sizes[0]} columns beside the target, which the model takes, "
            f"got {len(inputs)}"
        )
    whole = _with_target(file, names, options.target)
    some = _some(whole, options.rows)
    x = np.stack([_numbers("column", name, some) for name in inputs], axis=1)
    name = options.loss or _usual_loss(model, options.target)
    loss = _loss(name)
    is_class = name == "softmax_cross_entropy" and len(options.target) == 1
    if is_class:
        labels = _labels(model, whole, some, *options.target)
        return _Given(model, jnp.asarray(x), loss, labels, inputs)
    for column in options.target:
        _check_targets(name, column, _numbers("target", column, whole), whole.numbers)
    target = np.stack([_numbers("target", column, some) for column in options.target], axis=1)
    return _Given(model, jnp.asarray(x), loss, jnp.asarray(target), inputs)


def _usual_loss(model: Model, target: Sequence[str]) -> str:
    if len(target) == 1 and model.sizes[-1] > 1:
        return "softmax_cross_entropy"
    is_sigmoid = model.output_activation == "sigmoid"
    return "binary_cross_entropy" if is_sigmoid else "squared_error"


def _labels(model: Model, whole: _Rows, some: _Rows, name: str) -> Array:
    """Return the numbers of a column, or of its texts, in the order of all in the file."""
    classes, numbers = model.sizes[-1], as_numbers(whole.table[name])
    if numbers is None:
        return _labels_of_texts(classes, whole.table[name], some.table[name], name)
    for k in np.flatnonzero(~np.isin(numbers, np.arange(classes)))[:1]:
        raise ValueError(
            f"target {name!r} must hold texts or the whole numbers from 0 to {classes - 1}, one "
            f"for each output of the model, got {numbers[k]:g} in row {whole.numbers[k]}"
        )
    return jnp.asarray(_numbers("target", name, some), jnp.int32)


def _labels_of_texts(classes: int, whole: np.ndarray, some: np.ndarray, name: str) -> Array:
    texts = np.unique(as_text(whole).astype(str))
    if len(texts) != classes:
        raise ValueError(
            f"target {name!r} must hold a text for each of the {classes} outputs of the model, "
            f"or their numbers from 0, got {brief(texts.tolist())}"
        )
    _console.print(", ".join(f"output {k + 1} is {text}" for k, text in enumerate(texts)))
    return jnp.asarray(np.searchsorted(texts, as_text(some).astype(str)), jnp.int32)


def _check_targets(loss: str, name: str, numbers: np.ndarray, rows: np.ndarray) -> None:
    """Raise ValueError unless a loss takes the numbers of a target."""
    is_accepted, accepted = _TARGETS.get(loss, (np.isfinite, "finite numbers"))
    for k in np.flatnonzero(~is_accepted(numbers))[:1]:
        raise ValueError(
            f"target {name!r} must hold {accepted} for {loss}, got {numbers[k]:g} in row {rows[k]}"
        )


def _numbers(kind: str, name: str, rows: _Rows) -> np.ndarray:
    """Return a column in float32; ValueError names the first row without such a number."""
    column = rows.table[name]
    numbers = as_numbers(column)
    if numbers is None:
        k = next(k for k in range(len(column)) if not is_number(column[k : k + 1]))
        got = f"{brief(str(column[k]))} in row {rows.numbers[k]}"
        raise ValueError(f"{kind} {name!r} must hold numbers, got {got}")
    with np.errstate(over="ignore"):
        narrow = numbers.astype(np.float32)
    for k in np.flatnonzero(~np.isfinite(narrow))[:1]:
        is_missing = np.isnan(numbers[k])
        accepted = "a number" if is_missing else f"numbers of at most {_LARGEST:.2g}"
        got = "none" if is_missing else f"{numbers[k]:g}"
        raise ValueError(
            f"{kind} {name!r} must hold {accepted}, got {got} in row {rows.numbers[k]}"
        )
    return narrow


def _with_target(
    file: Path, names: Sequence[str], target: Sequence[str], keep: Any = None
) -> _Rows:
    """Return the rows of a file that have a target."""
    parts = list(batches(file, names, keep=keep, progress=None))
    table = {name: np.concatenate([part[name] for part in parts]) for name in names if parts}
    if not parts or not present_rows(table, target).any():
        raise ValueError(f"{file} must have a row with a target, got none")
    present = present_rows(table, target)
    return _chosen(_Rows(table, np.arange(len(present)) + 1), np.flatnonzero(present))


def _some(rows: _Rows, count: int | None) -> _Rows:
    """Return so many rows, evenly spaced."""
    last = len(rows.numbers) - 1
    places = np.linspace(0, last, min(count or ROWS, last + 1)).round().astype(int)
    return _chosen(rows, places)


def _chosen(rows: _Rows, places: np.ndarray) -> _Rows:
    table = {name: column[places] for name, column in rows.table.items()}
    return _Rows(table, rows.numbers[places])


def _loss(name: str) -> Callable[..., Array]:
    check_one_of("loss", name, LOSSES)
    return getattr(losses, name)
