"""The scaling of columns as nodes of ONNX, in float64."""

import numpy as np

from ..tables.scaling import Quantile, Robust
from .onnx_graph import DOUBLE, INTEGER, Graph

# As in `fcjax.tables`, what infinite numbers count as.
LARGEST = 1e300


def add_robust(graph: Graph, scaling: Robust, X: str) -> str:
    """Add `Robust` to a matrix."""
    finite = _clipped(graph, X, LARGEST)
    centred = graph.add("Sub", finite, graph.constant([scaling.median], "median", DOUBLE))
    product = graph.add("Mul", centred, graph.constant([scaling.factor], "factor", DOUBLE))
    z = _clipped(graph, product, 1e12)
    third = graph.add("Div", z, graph.constant(3, "three", DOUBLE))
    square = graph.add("Mul", third, third)
    root = graph.add("Sqrt", graph.add("Add", graph.constant(1, "one", DOUBLE), square))
    return graph.add("Div", z, root)


def _clipped(graph: Graph, X: str, bound: float) -> str:
    low, high = (graph.constant(value, "bound", DOUBLE) for value in (-bound, bound))
    return graph.add("Clip", X, low, high)


def add_quantile(graph: Graph, scaling: Quantile, X: str) -> str:
    """Add `Quantile` to the matrix of the numbers: a binary search for the last knot below each.

    In front of the first knot stands one at the lowest number, with the same score, so that each
    number has a knot below it. A table has a row of P knots for each column, with P a power of two
    and ∞ beyond the last, and is read as one vector. The invariant is `knot[at] ≤ x`, and each step
    looks half as far ahead as the one before.
    """
    knots = np.pad(scaling.knots, ((0, 0), (1, 0)), constant_values=-LARGEST)
    scores = np.pad(scaling.scores, ((0, 0), (1, 0)), mode="edge")
    columns, count = knots.shape
    P = 1 << (count - 1).bit_length()

    def table(rows: np.ndarray, name: str, fill: float = 0) -> str:
        padded = np.pad(rows, ((0, 0), (0, P - rows.shape[1])), constant_values=fill)
        return graph.constant(padded.ravel(), name, DOUBLE)

    knot = table(knots, "knots", np.inf)
    x = _clipped(graph, X, LARGEST)
    at = graph.constant([np.arange(columns) * P], "first", INTEGER)
    step = P // 2
    while step:
        ahead = graph.add("Add", at, graph.constant(step, "step", INTEGER))
        is_below = graph.add("LessOrEqual", graph.add("Gather", knot, ahead), x)
        at = graph.add("Where", is_below, ahead, at)
        step //= 2
    slope = graph.add("Gather", table(_slopes(knots, scores), "slopes"), at)
    score = graph.add("Gather", table(scores, "scores"), at)
    distance = graph.add("Sub", x, graph.add("Gather", knot, at))
    return graph.add("Add", graph.add("Mul", slope, distance), score)


def _slopes(knots: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the slope on the right of each knot but the last, finite where two are equal."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return np.nan_to_num(np.diff(scores) / np.diff(knots))
