"""`to_onnx`: a model as a graph of ONNX."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from os import PathLike
from typing import Any

from .._files import checked_file, replace_file
from ..model import Model
from ..tables import TableModel
from .layers import ACCEPTED, checked_model, dense_layers, outputs_of
from .onnx_graph import Graph, import_onnx
from .onnx_networks import add_layers
from .onnx_table import description_of, graph_of_table


def to_onnx(model: Model | TableModel, path: str | PathLike[str]) -> None:
    """Write a model as an ONNX file, which ONNX Runtime and many other programs run.

    The input of a `Model` is `x (m, n_in)` and its output `y (m, n_out)`, both in float32, for any
    number of rows m. To run the file,

        session = onnxruntime.InferenceSession(path)
        (y,) = session.run(None, {"x": x})

    A `TableModel` is written with the treatment of its table, and with the average of its members.
    It has an input `(m, 1)` for each column of the table that it uses, by the column's name:

    - numbers in float64. NaN is missing; booleans are 0 and 1.
    - categories as text. Missing is the empty text, or any that is no category, if the empty one
      is. As in `fcjax.tables`, the category 1 may be written "1", "1.0" or "true", and a day is
      "2024-01-31".
    - dates as microseconds since 1970 in UTC, int64. Missing is -2⁶³, so that NumPy's
      `dates.astype("datetime64[us]").astype("int64")` is all that is needed.

    The outputs are what `predict` and `predict_proba` return: `prediction`, text, int64 or float64
    for classes, and float64 for numbers, is `(m,)`, or `(m, targets)` for several targets;
    `probability (m, classes)` is float32. A name that a column has gets a _ at its end.

    All parameters are rounded to float32, be they float64 or of 16 bits, and `compute_dtype` is
    ignored. There is no dropout. The file is of opset 20, needs ONNX's default domain alone, and
    its properties `fcjax_version` and `fcjax_config` hold the version, and the description of the
    model as JSON. Another file of that name is replaced in one step.

    Args:
        model: a `Model` whose activations are those of fcjax, or a `TableModel`.
        path: the file to write.

    Raises:
        TypeError: `model` is neither of the two, or an activation is a function of your own.
        ValueError: a parameter is traced, lies on devices of other processes, or does not fit into
            float32, an activation works along another axis than the features, or with a mask, or
            the weights take 2 GiB or more.
        ImportError: onnx is not installed.
        OSError: the file cannot be written.

    >>> import tempfile
    >>> import jax, onnx
    >>> from fcjax import Model, init
    >>> model = Model(init(jax.random.key(0), (4, 8, 3)), "tanh")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_onnx(model, f"{folder}/model.onnx")
    ...     graph = onnx.load(f"{folder}/model.onnx").graph
    >>> [node.op_type for node in graph.node]
    ['Gemm', 'Tanh', 'Gemm', 'Identity']
    """
    file = checked_file("path", path)
    import_onnx()
    if isinstance(model, TableModel):
        graph, config = graph_of_table(model), description_of(model)
    else:
        graph, config = _of_model(checked_model(model, ACCEPTED))
    written = graph.to_model(
        {"fcjax_version": version("fcjax"), "fcjax_config": json.dumps(config)}
    )
    replace_file(file, written.SerializeToString())


def _of_model(model: Model) -> tuple[Graph, Mapping[str, Any]]:
    """Return the graph of a `Model`, and its description."""
    layers, graph = dense_layers(model), Graph()
    y = add_layers(graph, graph.input("x", model.sizes[0]), layers)
    graph.output("y", y, outputs_of(model))
    return graph, model.to_contents().config
