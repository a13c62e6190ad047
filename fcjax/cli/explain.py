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
from ..tables.columns import Table, as_numbers, as_text, rows_of
from ..tables.networks import PlainNetwork
from ..tables.reading import names_in
from ..tables.target import numbers_of, present_rows

# All but that of a dense layer, which takes its input and not the network's output.
LOSSES = sorted(
    name
    for name, value in vars(losses).items()
    if isinstance(value, FunctionType) and value is not losses.dense_softmax_cross_entropy
)
_console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


class _Given(NamedTuple):
    """The arguments of `fcjax.explain`."""

    model: Model
    x: Any
    loss: Callable[..., Array]
    target: Any


def explain(
    options: Explained, *, learning_rate: float | None, steps: int, seed: int, out: Path
) -> int:
    """Write the page; return the exit status."""
    if is_of_model(out):
        raise ValueError(f"--out must not be a file of a model, got {str(out)!r}")
    if options.rows < 1:
        raise ValueError(f"rows: got {options.rows}; accepted: a positive integer")
    given = _smallest(options, seed) if options.model is None else _saved(options)
    page = page_of(
        given.model, given.x, given.loss, given.target, learning_rate=learning_rate, steps=steps
    )
    with naming(out):
        page.save(out)
    _console.print(
        f"{given.model!r}, {len(given.x)} rows, {getattr(given.loss, '__name__', '')}: "
        f"the page is {out}, {out.stat().st_size:,} bytes"
    )
    return 0


def _smallest(options: Explained, seed: int) -> _Given:
    """Return a 2-4-1 network and the table of XOR."""
    if options.target:
        raise ValueError("target: needs a model and a file")
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
        return _of_numbers(model, options.file, options)
    raise TypeError(
        f"{options.model} must hold a Model, a TableModel or an estimator of tables, got {model!r}"
    )


def _of_table(model: TableModel, file: Path, options: Explained) -> _Given:
    """Return a member as plain layers, the treated rows, and the loss of its training."""
    if options.target:
        raise ValueError(f"target: the model has its own, {', '.join(model.target.names)}")
    names = [*dict.fromkeys([*model.treatment.columns, *model.target.names])]
    table = _some(
        _with_target(file, names, model.target.names, model.treatment.texts), options.rows
    )
    X = jnp.asarray(model.treatment.transform(table))
    plain = _plain(model, X, options.member)
    classes = model.target.classes is not None
    loss = _loss(options.loss or ("softmax_cross_entropy" if classes else "squared_error"))
    return _Given(Model(plain.layers, plain.activation), plain.x, loss, model.target.encoded(table))


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
    table = _some(whole, options.rows)
    x = np.stack([_numbers(name, table[name]) for name in inputs], axis=1)
    name = options.loss or _usual_loss(model, options.target)
    loss = _loss(name)
    is_class = name == "softmax_cross_entropy" and len(options.target) == 1
    target = _labels(model, whole, table, *options.target) if is_class else _values(options, table)
    return _Given(model, jnp.asarray(x, jnp.float32), loss, target)


def _usual_loss(model: Model, target: Sequence[str]) -> str:
    if len(target) == 1 and model.sizes[-1] > 1:
        return "softmax_cross_entropy"
    is_sigmoid = model.output_activation == "sigmoid"
    return "binary_cross_entropy" if is_sigmoid else "squared_error"


def _labels(model: Model, whole: Table, table: Table, name: str) -> Array:
    """Return the numbers of a column, or of its texts, in the order of all in the file."""
    classes, numbers = model.sizes[-1], as_numbers(whole[name])
    if numbers is None:
        texts = np.unique(as_text(whole[name]).astype(str))
        if len(texts) != classes:
            raise ValueError(
                f"target {name!r} must hold a text for each of the {classes} outputs of the model, "
                f"or their numbers from 0, got {brief(texts.tolist())}"
            )
        _console.print(", ".join(f"output {k + 1} is {text}" for k, text in enumerate(texts)))
        found, count = np.searchsorted(texts, as_text(table[name]).astype(str)), len(texts)
    else:
        found, count = as_numbers(table[name]), np.max(numbers) + 1
    if count > classes or (numbers is not None and not np.isin(numbers, np.arange(classes)).all()):
        raise ValueError(
            f"target {name!r} must hold texts or the numbers from 0, of at most {classes} classes, "
            f"which the model has, got {brief(list(whole[name]))}"
        )
    return jnp.asarray(found, jnp.int32)


def _values(options: Explained, table: Table) -> Array:
    columns = [numbers_of(name, table[name]) for name in options.target]
    return jnp.asarray(np.stack(columns, axis=1), jnp.float32)


def _numbers(name: str, column: np.ndarray) -> np.ndarray:
    numbers = as_numbers(column)
    if numbers is None or np.isnan(numbers).any():
        raise ValueError(f"column {name!r} must hold numbers, got something else or nothing")
    return numbers


def _with_target(
    file: Path, names: Sequence[str], target: Sequence[str], keep: Any = None
) -> Table:
    """Return the rows of a file that have a target."""
    parts = list(batches(file, names, keep=keep, progress=None))
    table = {name: np.concatenate([part[name] for part in parts]) for name in names if parts}
    if not parts or not present_rows(table, target).any():
        raise ValueError(f"{file} must have a row with a target, got none")
    present = present_rows(table, target)
    return {name: column[present] for name, column in table.items()}


def _some(table: Table, count: int) -> Table:
    """Return so many rows, evenly spaced."""
    rows = rows_of(table)
    places = np.linspace(0, rows - 1, min(count, rows)).round().astype(int)
    return {name: column[places] for name, column in table.items()}


def _loss(name: str) -> Callable[..., Array]:
    check_one_of("loss", name, LOSSES)
    return getattr(losses, name)
