"""Networks as nodes of ONNX: that of a `Model`, and those of models for tables."""

import jax
import numpy as np

from .._types import Tree
from ..model import Model
from ..network import Layer
from ..tables.networks import RealMLP, RealMLPParams, TabM, TabMParams
from ..tables.presets import Task
from ..tables.training import Networks
from .layers import DenseLayer, dense_layers
from .onnx_activations import NODES
from .onnx_graph import INTEGER, Graph


def add_layers(graph: Graph, value: str, layers: list[DenseLayer], prefix: str = "layers") -> str:
    """Add a network to a value `(m, n_in)`; return the value `(m, n_out)`."""
    for i, layer in enumerate(layers):
        inputs = [value, graph.constant(layer.w, f"{prefix}.{i}.w")]
        if layer.b is not None:
            inputs.append(graph.constant(layer.b, f"{prefix}.{i}.b"))
        Z = graph.add("Gemm", *inputs)
        value = NODES[layer.activation](graph, Z, **layer.options)
    return value


def add_networks(graph: Graph, networks: Networks, params: Tree, task: Task, X: str) -> str:
    """Add all networks to a matrix; return the average of their members, `(m, outputs)`.

    It is the average of probabilities for a classification, and that of numbers for a regression.
    """
    host = jax.tree.map(np.asarray, params)
    if networks.copies == 1:
        return _add_average(graph, networks, host, task, X, "network")
    averages: list[str] = []
    for i in range(networks.copies):
        one = jax.tree.map(lambda V, i=i: V[i], host)
        averages.append(_add_average(graph, networks, one, task, X, f"networks.{i}"))
    return graph.add("Mean", *averages)


def _add_average(
    graph: Graph, networks: Networks, params: Tree, task: Task, X: str, prefix: str
) -> str:
    """Add one network, and the average of its members."""
    network = networks.network
    if isinstance(network, RealMLP):  # which has one member
        return _add_prediction(graph, task, _add_realmlp(graph, network, params, X, prefix))
    members = _add_prediction(graph, task, _add_tabm(graph, network, params, X, prefix))
    return graph.add("ReduceMean", members, graph.constant([0], "axes", INTEGER), keepdims=0)


def _add_prediction(graph: Graph, task: Task, outputs: str) -> str:
    """Return probabilities for a classification, and the outputs themselves for a regression."""
    return graph.add("Softmax", outputs, axis=-1) if task == "classification" else outputs


def _add_realmlp(graph: Graph, network: RealMLP, params: RealMLPParams, X: str, prefix: str) -> str:
    """Add RealMLP to a matrix; return `(m, outputs)`."""
    scaled = graph.add("Mul", X, graph.constant(params.s[None], f"{prefix}.s"))
    layers = dense_layers(Model(params.layers, network.activation))
    return add_layers(graph, scaled, layers, f"{prefix}.layers")


def _add_tabm(graph: Graph, network: TabM, params: TabMParams, X: str, prefix: str) -> str:
    """Add TabM to a matrix; return `(members, m, outputs)`.

    The members come first, so that the product with shared weights is one, and that with weights
    of each member needs no transpose.
    """
    A = X
    if network.edges is not None:
        assert params.embedding is not None
        A = _add_embedding(graph, network, params.embedding, X, prefix)
    for i, block in enumerate(params.blocks):
        names = {name: f"{prefix}.blocks.{i}.{name}" for name in block._fields}
        w = graph.constant(block.w, names["w"])
        r, s, b = (
            graph.constant(np.asarray(V)[:, None], names[name])
            for name, V in (("r", block.r), ("s", block.s), ("b", block.b))
        )
        H = graph.add("MatMul", graph.add("Mul", A, r), w)
        A = graph.add("Relu", graph.add("Add", graph.add("Mul", H, s), b))
    return _add_grouped(graph, params.heads, A, f"{prefix}.heads")


def _add_grouped(graph: Graph, layer: Layer, x: str, prefix: str) -> str:
    """Add a layer with weights of each group; x is `(groups, m, n_in)`."""
    assert layer.b is not None
    Z = graph.add("MatMul", x, graph.constant(layer.w, f"{prefix}.w"))
    return graph.add("Add", Z, graph.constant(np.asarray(layer.b)[:, None], f"{prefix}.b"))


def _add_embedding(graph: Graph, network: TabM, layer: Layer, X: str, prefix: str) -> str:
    """Embed the first columns of a matrix, which are numbers; return all columns, `(m, n)`."""
    edges = np.asarray(network.edges, np.float32)
    features, outputs = len(edges), layer.w.shape[-1]
    sizes = [features, network.inputs - features]
    numbers, *others = _add_split(graph, X, sizes)
    rows = graph.add("Transpose", numbers, perm=[1, 0])
    x = graph.add("Unsqueeze", rows, graph.constant([-1], "axes", INTEGER))  # (features, m, 1)
    encoded = graph.add("Concat", add_encoding(graph, edges, x), x, axis=-1)
    E = _add_grouped(graph, layer, encoded, f"{prefix}.embedding")
    E = graph.add("Transpose", E, perm=[1, 0, 2])
    shape = graph.constant([-1, features * outputs], "shape", INTEGER)
    return graph.joined([graph.add("Reshape", E, shape), *others])


def _add_split(graph: Graph, X: str, sizes: list[int]) -> tuple[str, ...]:
    """Split the columns of a matrix into the first ones and the others, if there are any."""
    if not sizes[1]:
        return (X,)
    return graph.add_many("Split", X, graph.constant(sizes, "sizes", INTEGER), outputs=2, axis=1)


def add_encoding(graph: Graph, edges: np.ndarray, x: str) -> str:
    """Add `piecewise_linear_encoding` to numbers `(features, m, 1)`; return them by bins.

    Entry t is `zₜ` between two bounds: 0 and 1, but −∞ in the first bin and ∞ in the last.
    """
    lower, upper = edges[:, :-1], edges[:, 1:]
    exists = np.isfinite(upper)
    is_last = exists & ~np.pad(exists[:, 1:], ((0, 0), (0, 1)))
    is_first = np.arange(exists.shape[1]) == 0
    start = np.where(exists, lower, 0)
    width = np.where(exists, upper, start + 1) - start
    low = np.where(is_first & exists, -np.inf, 0)
    high = np.where(is_last, np.inf, exists)
    start, width, low, high = (
        graph.constant(V[:, None], name)
        for name, V in (("edges", start), ("widths", width), ("low", low), ("high", high))
    )
    z = graph.add("Div", graph.add("Sub", x, start), width)
    return graph.add("Min", graph.add("Max", z, low), high)
