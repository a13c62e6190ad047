"""The activations as nodes of ONNX.

Each function adds the nodes of an activation to a value, and returns the new value. Its options are
those of the activation. Formulas that ONNX has no operator for are written as in
`fcjax.activations`, so that they lose no more digits.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .onnx_graph import Graph

Nodes = Callable[..., str]


def _operator(kind: str, **attributes: Any) -> Nodes:
    """Return a function that adds one node."""
    return lambda graph, z: graph.add(kind, z, **attributes)


def _clip(low: float, high: float) -> Nodes:
    return lambda graph, z: graph.add("Clip", z, graph.constant(low), graph.constant(high))


def _silu(graph: Graph, z: str) -> str:
    return graph.add("Mul", z, graph.add("Sigmoid", z))


def _mish(graph: Graph, z: str) -> str:
    return graph.add("Mul", z, graph.add("Tanh", graph.add("Softplus", z)))


def _log_sigmoid(graph: Graph, z: str) -> str:
    return graph.add("Neg", graph.add("Softplus", graph.add("Neg", z)))


def _glu(graph: Graph, z: str, axis: int) -> str:
    linear, gate = graph.add_many("Split", z, outputs=2, axis=axis, num_outputs=2)
    return graph.add("Mul", linear, graph.add("Sigmoid", gate))


def _gelu(graph: Graph, z: str, approximate: bool) -> str:
    return graph.add("Gelu", z, approximate="tanh" if approximate else "none")


def _sparse_plus(graph: Graph, z: str) -> str:
    one = graph.constant(1)
    root = graph.add("Add", z, one)
    between = graph.add("Mul", graph.add("Mul", root, root), graph.constant(0.25))
    below = graph.add("LessOrEqual", z, graph.constant(-1))
    above = graph.add("GreaterOrEqual", z, one)
    inner = graph.add("Where", above, z, between)
    return graph.add("Where", below, graph.constant(0), inner)


# The smallest normal number of float32.
_TINY = float(np.finfo(np.float32).tiny)


def _squareplus(graph: Graph, z: str, b: float) -> str:
    # h = |z|/2 + r/2 with r = √(z² + b). For z ≥ 0 it is the value, else b/(4h): z + r cancels.
    # r = l √(1 + (k/l)²), with l the larger and k the smaller of |z| and √b, does not overflow.
    size, root = graph.add("Abs", z), graph.constant(b**0.5)
    larger = graph.add("Max", size, root, graph.constant(_TINY))  # not 0/0
    part = graph.add("Div", graph.add("Min", size, root), larger)
    square = graph.add("Add", graph.add("Mul", part, part), graph.constant(1))
    length = graph.add("Mul", larger, graph.add("Sqrt", square))
    halves = (graph.add("Mul", value, graph.constant(0.5)) for value in (size, length))
    half = graph.add("Add", *halves)
    below = graph.add("Div", graph.constant(b / 4), half)
    return graph.add("Where", graph.add("Less", z, graph.constant(0)), below, half)


NODES: Mapping[str, Nodes] = {
    "celu": lambda graph, z, alpha: graph.add("Celu", z, alpha=float(alpha)),
    "elu": lambda graph, z, alpha: graph.add("Elu", z, alpha=float(alpha)),
    "gelu": _gelu,
    "glu": _glu,
    "hard_sigmoid": _operator("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_silu": _operator("HardSwish"),
    "hard_swish": _operator("HardSwish"),
    "hard_tanh": _clip(-1, 1),
    "identity": lambda graph, z: z,
    "leaky_relu": lambda graph, z, negative_slope: graph.add(
        "LeakyRelu", z, alpha=float(negative_slope)
    ),
    "log_sigmoid": _log_sigmoid,
    "log_softmax": lambda graph, z, axis, where: graph.add("LogSoftmax", z, axis=axis),
    "mish": _mish,
    "relu": _operator("Relu"),
    "relu6": _clip(0, 6),
    # ONNX's own defaults for the two constants are those of fcjax in float32
    "selu": _operator("Selu"),
    "sigmoid": _operator("Sigmoid"),
    "silu": _silu,
    "soft_sign": _operator("Softsign"),
    "softmax": lambda graph, z, axis, where: graph.add("Softmax", z, axis=axis),
    "softplus": _operator("Softplus"),
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": _operator("HardSigmoid", alpha=0.5, beta=0.5),
    "squareplus": _squareplus,
    "swish": _silu,
    "tanh": _operator("Tanh"),
}
