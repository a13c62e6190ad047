"""A graph of ONNX in the making: inputs, constants and nodes by name, then the model.

A value is a string, its name in the graph. A caller adds nodes to values, and gets new ones.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jax.typing import DTypeLike

from .._arguments import describe

if TYPE_CHECKING:
    import onnx

# onnx 1.15 wrote these; readers as old as ONNX Runtime 1.17 know them, and newer ones all do.
OPSET, IR_VERSION = 20, 9
# Values that ONNX computes with here: `object` is that of strings.
FLOAT, STRING = np.dtype(np.float32), np.dtype(object)
DOUBLE, INTEGER = np.dtype(np.float64), np.dtype(np.int64)
# Protocol buffers, which the file is made of, count bytes in 31 bits.
LIMIT = 2**31


class _Port(NamedTuple):
    """An input or an output of the graph: `(m, columns)`, or `(m,)` if `columns` is None."""

    name: str
    dtype: np.dtype
    columns: int | None
    note: str


class _Node(NamedTuple):
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


class Graph:
    """A graph in the making.

    >>> graph = Graph()
    >>> x = graph.input("x", 3)
    >>> twice = graph.add("Mul", x, graph.constant(2))
    >>> graph.output("y", graph.add("Relu", twice), 3)
    >>> [node.op_type for node in graph.to_model({}).graph.node]
    ['Mul', 'Relu', 'Identity']
    """

    def __init__(self) -> None:
        """Make an empty graph."""
        self._inputs: list[_Port] = []
        self._outputs: list[_Port] = []
        self._constants: dict[str, np.ndarray] = {}
        self._nodes: list[_Node] = []
        self._names: Counter[str] = Counter()

    def input(self, name: str, columns: int, dtype: DTypeLike = FLOAT, note: str = "") -> str:
        """Add an input, an array `(m, columns)`, and return its value. A note says what it is."""
        self._reserve(name)
        self._inputs.append(_Port(name, np.dtype(dtype), columns, note))
        return name

    def output(
        self, name: str, value: str, columns: int | None, dtype: DTypeLike = FLOAT, note: str = ""
    ) -> None:
        """Make a value an output: an array `(m, columns)`, or `(m,)` if `columns` is None."""
        self._reserve(name)
        self._nodes.append(_Node("Identity", (value,), (name,), {}))
        self._outputs.append(_Port(name, np.dtype(dtype), columns, note))

    def free(self, name: str) -> str:
        """Return the name, with as many _ at its end as it takes to be a new one."""
        return self.free(f"{name}_") if self._names[name] else name

    def constant(self, value: Any, name: str = "constant", dtype: DTypeLike = FLOAT) -> str:
        """Add a constant, and return its value. Raise ValueError if a number becomes infinite."""
        exact = np.asarray(value)
        with np.errstate(over="ignore"):
            array = np.asarray(exact, dtype, order="C")
        if array.dtype == FLOAT and bool(np.any(np.isinf(array) & np.isfinite(exact))):
            raise ValueError(f"{name} must fit into float32, got {describe(exact)} with more")
        name = self._fresh(name)
        self._constants[name] = array
        return name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output, and return its value."""
        return self.add_many(kind, *inputs, outputs=1, **attributes)[0]

    def add_many(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> tuple[str, ...]:
        """Add a node of several outputs, and return their values."""
        values = tuple(self._fresh(kind) for _ in range(outputs))
        self._nodes.append(_Node(kind, inputs, values, attributes))
        return values

    def cast(self, value: str, dtype: DTypeLike) -> str:
        """Add a node that converts numbers, truth values or text to another dtype."""
        to = import_onnx().helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.add("Cast", value, to=to)

    def joined(self, values: Sequence[str]) -> str:
        """Return values side by side, as the columns of one."""
        return values[0] if len(values) == 1 else self.add("Concat", *values, axis=1)

    def to_model(self, properties: Mapping[str, str]) -> "onnx.ModelProto":
        """Return the model of ONNX, with these properties; raise unless ONNX finds it valid."""
        onnx = import_onnx()
        size = sum(array.nbytes for array in self._constants.values())
        if size >= LIMIT:
            raise ValueError(
                f"model must have less than 2 GiB of weights in float32, got {size / 2**30:.1f}"
            )
        graph = onnx.helper.make_graph(
            [
                onnx.helper.make_node(
                    n.kind, n.inputs, n.outputs, name=n.outputs[0], **n.attributes
                )
                for n in self._nodes
            ],
            "fcjax",
            [_info(onnx, port) for port in self._inputs],
            [_info(onnx, port) for port in self._outputs],
            [onnx.numpy_helper.from_array(array, k) for k, array in self._constants.items()],
        )
        # without versions, that of the installed onnx would be written, which few readers know
        model = onnx.helper.make_model(
            graph,
            opset_imports=[onnx.helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="fcjax",
            producer_version=version("fcjax"),
        )
        onnx.helper.set_model_props(model, dict(properties))
        onnx.checker.check_model(model, full_check=True)
        return model

    def _reserve(self, name: str) -> None:
        """Take a name that callers of the model use, so that it cannot be another one."""
        if self._names[name]:
            raise ValueError(f"name must be a new one in the graph, got {name!r}")
        self._names[name] += 1

    def _fresh(self, hint: str) -> str:
        """Return the hint, or the hint with a number if it is taken."""
        self._names[hint] += 1
        return hint if self._names[hint] == 1 else self._fresh(f"{hint}_{self._names[hint]}")


def import_onnx() -> Any:
    """Return the package onnx, or raise ImportError that names the extra."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError("files of ONNX need onnx: pip install 'fcjax[export]'") from error
    return onnx


def _info(onnx: Any, port: _Port) -> "onnx.ValueInfoProto":
    kind = onnx.helper.np_dtype_to_tensor_dtype(port.dtype)
    shape = ["m"] if port.columns is None else ["m", port.columns]
    return onnx.helper.make_tensor_value_info(port.name, kind, shape, port.note)
