"""Which columns of a table a model needs: how much worse it is when a column is permuted."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from .._types import Tree
from .metrics import Metric
from .model import BLOCK, TableModel
from .report import HeldOut
from .training import Networks

REPEATS = 5
# No more columns and rows than these are measured, and fewer rows of a large network: products of
# numbers that all predictions together may take, which is some seconds.
MOST_COLUMNS, MOST_ROWS, MOST_PRODUCTS = 30, 2000, 10**11


class Importance(NamedTuple):
    """How much worse a metric is when a column is permuted, `losses (columns, repeats)`.

    Positive is worse. `change` is "increase" if low is good, otherwise "decrease". The column with
    the largest mean is the first.
    """

    metric: str
    change: str
    columns: tuple[str, ...]
    losses: np.ndarray
    rows: int
    not_measured: int

    def to_json(self) -> dict[str, Any]:
        """Return what a report holds."""
        with np.errstate(invalid="ignore"):
            means, spread = self.losses.mean(axis=1), self.losses.std(axis=1)
        found = zip(self.columns, means, spread, strict=True)
        return {
            "metric": self.metric,
            "change": self.change,
            "rows": self.rows,
            "repeats": self.losses.shape[1],
            "columns": {n: {"mean": float(m), "deviation": float(s)} for n, m, s in found},
            "not measured": self.not_measured,
        }


def permutation_importance(
    model: TableModel, held_out: HeldOut, metric: Metric, *, seed: int, repeats: int = REPEATS
) -> Importance:
    """Measure how much each column of the table matters, on rows that chose nothing.

    The column is permuted as it is in the table, so that all inputs that come from it stay
    together. Columns that hold the same information stand in for each other, so that none of them
    may seem important. Numbers are in the units of one target, or in the deviations of several.

    Of more than 30 columns, the 30 are measured that move the outputs most to first order. A repeat
    takes at most 2,000 rows, drawn anew, and at least 256 of a large network.

    Source: Breiman, Random forests, Machine Learning 45 (2001); Fisher, Rudin & Dominici, All
    models are wrong, but many are useful, Journal of Machine Learning Research 20 (2019).
    """
    rng = np.random.default_rng(seed)
    blocks = model.treatment.blocks
    chosen = range(len(blocks))
    if len(blocks) > MOST_COLUMNS:
        chosen = _strongest(model, held_out.X, blocks, rng)
    rows = _rows_to_take(model, len(held_out.X), len(chosen) * repeats)
    orders = [rng.permutation(len(held_out.X))[:rows] for _ in range(repeats)]
    pairs = [(order, rng.permutation(order)) for order in orders]
    found = losses(
        held_out.X,
        held_out.outputs,
        [blocks[i] for i in chosen],
        pairs,
        model.outputs_of_matrix,
        partial(_score, model, held_out, metric),
    )
    signed = found if metric.mode == "max" else -found
    best = np.argsort(-np.mean(signed, axis=1), kind="stable")
    names = [model.treatment.columns[i] for i in chosen]
    return Importance(
        metric.name,
        "decrease" if metric.mode == "max" else "increase",
        tuple(names[i] for i in best),
        signed[best],
        rows,
        len(blocks) - len(chosen),
    )


def losses(
    X: Float[np.ndarray, "m inputs"],
    outputs: Float[np.ndarray, "m outputs"],
    blocks: Sequence[np.ndarray],
    orders: Sequence[tuple[np.ndarray, np.ndarray]],
    predict: Callable[[np.ndarray], np.ndarray],
    score: Callable[[np.ndarray, np.ndarray], float],
) -> Float[np.ndarray, "columns repeats"]:
    """Return the score of some rows minus that with columns from other rows, for each block.

    Args:
        X: the matrix.
        outputs: what `predict` returns of it.
        blocks: the columns of the matrix that are permuted together.
        orders: for each repeat the rows to score, and the rows from which they get the columns.
        predict: maps a matrix to outputs.
        score: maps outputs and the numbers of their rows to a number.
    """
    found = np.zeros((len(blocks), len(orders)))
    for repeat, (rows, others) in enumerate(orders):
        base, changed = score(outputs[rows], rows), X[rows]
        for i, block in enumerate(blocks):
            changed[:, block] = X[np.ix_(others, block)]
            found[i, repeat] = base - score(predict(changed), rows)
            changed[:, block] = X[np.ix_(rows, block)]
    return found


def _rows_to_take(model: TableModel, rows: int, evaluations: int) -> int:
    members = getattr(model.networks.network, "members", 1)
    products = members * sum(V.size for V in jax.tree.leaves(model.params))
    affordable = MOST_PRODUCTS // (products * evaluations)
    return min(rows, MOST_ROWS, max(BLOCK, affordable))


def _score(
    model: TableModel, held_out: HeldOut, metric: Metric, outputs: np.ndarray, rows: np.ndarray
) -> float:
    y, weights = held_out.y[rows], None if held_out.weights is None else held_out.weights[rows]
    if model.target.task == "regression" and len(model.target.names) == 1:
        outputs, y = model.target.decoded(outputs), model.target.decoded(y)
    with jax.enable_x64(True):  # squares of large targets lose all digits in float32
        return float(_value(metric.function, outputs.astype(np.float64), y, weights))


@partial(jax.jit, static_argnums=0)
def _value(function: Callable[..., Array], outputs: Array, y: Array, weights: Array | None) -> Any:
    return function(outputs, y, weights)


def _strongest(
    model: TableModel, X: np.ndarray, blocks: Sequence[np.ndarray], rng: np.random.Generator
) -> list[int]:
    """Return, in order, the columns whose permutation moves the outputs most to first order.

    One backward pass gives the gradient G of the outputs, each with a random sign, with respect to
    the inputs of all columns. Other inputs X' change them by `Σ_block G ⊙ (X' − X)`. What counts is
    the mean of its absolute value over at most 256 rows.
    """
    rows = rng.permutation(len(X))[:BLOCK]
    signs = rng.choice(np.array([-1, 1], np.float32), (len(rows), model.networks.network.outputs))
    G = np.asarray(_gradient(model.networks, model.params, X[rows], signs))
    moved = G * (X[rng.permutation(rows)] - X[rows])
    sizes = np.array([np.abs(moved[:, block].sum(axis=1)).mean() for block in blocks])
    # NaN is last
    return sorted(np.argsort(-sizes, kind="stable")[:MOST_COLUMNS].tolist())


@partial(jax.jit, static_argnums=0)
def _gradient(networks: Networks, params: Tree, X: Any, signs: Any) -> Array:
    def signed(X: Array) -> Array:
        return jnp.sum(signs * jnp.mean(networks.apply(params, X), axis=0))

    return jax.grad(signed)(jnp.asarray(X))


def in_words(found: Mapping[str, Any]) -> str:
    """Return how the importance of a report was measured, in a sentence."""
    left = found["not measured"]
    others = f" Of {left} other columns, a first estimate was smaller." if left else ""
    return (
        f"How much worse {found['metric']} is when a column is shuffled, in {found['rows']:,} rows "
        f"that neither trained the network nor chose anything: mean and standard deviation of "
        f"{found['repeats']} shuffles.{others}"
    )
