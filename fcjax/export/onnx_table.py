"""A model for tables as a graph of ONNX: the treatment, the network, and the target's units."""

from typing import Any

import numpy as np

from ..tables import TableModel
from ..tables.target import Class, Target
from .onnx_graph import DOUBLE, FLOAT, INTEGER, STRING, Graph
from .onnx_networks import add_networks
from .onnx_treatment import add_inputs, add_treatment


def graph_of_table(model: TableModel) -> Graph:
    """Return the graph of a model for tables."""
    graph, target = Graph(), model.target
    columns = add_inputs(graph, model.treatment)
    X = add_treatment(graph, model.treatment, columns)
    averages = add_networks(graph, model.networks, model.params, target.task, X)
    add_outputs = _add_numbers if target.classes is None else _add_classes
    add_outputs(graph, target, averages)
    return graph


def description_of(model: TableModel) -> dict[str, Any]:
    """Return what the file says of the model: all that its folder says but for the figures."""
    return {k: v for k, v in model.to_contents().config.items() if k != "report"}


def _add_classes(graph: Graph, target: Target, probabilities: str) -> None:
    assert target.classes is not None
    number = graph.add("ArgMax", probabilities, axis=1, keepdims=0)
    dtype = _dtype_of(target.classes)
    classes = graph.constant(target.classes, "classes", dtype)
    prediction = graph.add("Gather", classes, number)
    graph.output(graph.free("prediction"), prediction, None, dtype)
    graph.output(graph.free("probability"), probabilities, target.outputs, FLOAT)


def _dtype_of(classes: tuple[Class, ...]) -> np.dtype:
    if any(isinstance(value, str) for value in classes):
        return STRING
    return DOUBLE if any(isinstance(value, float) for value in classes) else INTEGER


def _add_numbers(graph: Graph, target: Target, outputs: str) -> None:
    wide = graph.cast(outputs, DOUBLE)
    product = graph.add("Mul", wide, graph.constant([target.deviation], "deviation", DOUBLE))
    numbers = graph.add("Add", product, graph.constant([target.mean], "mean", DOUBLE))
    is_one = target.outputs == 1
    if is_one:
        numbers = graph.add("Squeeze", numbers, graph.constant([1], "axes", INTEGER))
    graph.output(graph.free("prediction"), numbers, None if is_one else target.outputs, DOUBLE)
