"""`TableModel`: a trained network with the treatment of its table, which predicts from tables."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np

from .._arguments import describe
from .._types import Tree
from ..model import Contents, DamageError, as_parameters
from .columns import Table, as_table, rows_of
from .features import ColumnError
from .networks import Network, RealMLP, TabM
from .target import Target
from .training import Networks, predictions
from .treatment import Treatment

# Rows that are predicted together. All programs are of this size, so that the prediction of a row
# does not depend, in its last digits, on the rows beside it.
BLOCK = 256
_NETWORKS: dict[str, type[Network]] = {"realmlp": RealMLP, "tabm": TabM}


@dataclass(frozen=True, eq=False, repr=False)
class TableModel:
    """What `train_table` returns: predictions from tables, and what is known of them.

    `report` holds what `fcjax show` prints: how the table was treated and split, how the network
    was trained, and its figures.
    """

    networks: Networks
    params: Tree
    treatment: Treatment
    target: Target
    report: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    def predict(self, data: Any) -> np.ndarray:
        """Return the class of each row, or the numbers `(n,)`, of several targets `(n, targets)`.

        Args:
            data: a table with the columns of training, in any order, with others or without: a
                DataFrame, a dict of columns, or a matrix if it was trained on one.

        Raises:
            ValueError: a column is missing, or holds something else than in training.
        """
        outputs = self._outputs(self._table(data))
        if self.target.classes is not None:
            return self.target.chosen(outputs)
        numbers = self.target.decoded(outputs)
        return numbers[:, 0] if len(self.target.names) == 1 else numbers

    def predict_proba(self, data: Any) -> np.ndarray:
        """Return the probability of each class, `(n, classes)`, in the order of `target.classes`.

        Raises:
            ValueError: as `predict`, or the target is numbers.
        """
        if self.target.classes is None:
            raise ValueError("predict_proba needs a model of classes, got one of numbers")
        return self._outputs(self._table(data))

    def _table(self, data: Any) -> Table:
        return as_table(data, columns=self.treatment.columns)

    def predict_batches(self, batches: Iterable[Table]) -> Iterator[Table]:
        """Yield the predictions of each part of a table as columns, as `fcjax predict` writes."""
        before = 0
        for table in batches:
            try:
                yield self._columns(self._outputs(table))
            except ColumnError as error:
                raise ValueError(error.message(before)) from None
            before += rows_of(table)

    @property
    def prediction_names(self) -> list[str]:
        """The names of the columns that `predict_batches` yields."""
        if self.target.classes is not None:
            return ["prediction", *(f"probability_{value}" for value in self.target.classes)]
        names = self.target.names
        return ["prediction"] if len(names) == 1 else [f"prediction_{name}" for name in names]

    def _columns(self, outputs: np.ndarray) -> Table:
        if self.target.classes is not None:
            columns = [self.target.chosen(outputs), *outputs.T]
        else:
            columns = self.target.decoded(outputs).T
        return dict(zip(self.prediction_names, columns, strict=True))

    def _outputs(self, table: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return averaged probabilities, or scaled numbers."""
        if not rows_of(table):
            return np.zeros((0, self.target.outputs), np.float32)
        return self.outputs_of_matrix(self.treatment.transform(table))

    def outputs_of_matrix(self, X: np.ndarray) -> np.ndarray:
        """Return averaged probabilities, or scaled numbers, of rows that were treated."""
        parts = [self._block(X[i : i + BLOCK]) for i in range(0, len(X), BLOCK)]
        outputs = np.concatenate(parts)
        if self.target.classes is None:
            return outputs
        probabilities = outputs.astype(np.float64)
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def _block(self, X: np.ndarray) -> np.ndarray:
        """Predict some rows, filled up with others."""
        filled = np.concatenate([X, np.zeros((BLOCK - len(X), X.shape[1]), X.dtype)])
        return np.asarray(_apply(self.networks, self.target.task, self.params, filled))[: len(X)]

    def __repr__(self) -> str:
        names = ", ".join(self.target.names)
        columns = len(self.treatment.features)
        return f"TableModel({self.target.task} of {names} from {columns} columns, {self.preset})"

    @property
    def preset(self) -> str:
        """The name of the preset."""
        return next(n for n, kind in _NETWORKS.items() if isinstance(self.networks.network, kind))

    def to_contents(self) -> Contents:
        """Return what a folder holds of the model."""
        network = dataclasses.asdict(self.networks.network)
        edges = network.pop("edges", None)
        arrays = {f"params{name}": V for name, V in _named(self.params).items()}
        arrays |= {f"scaling.{name}": V for name, V in self.treatment.scaling.arrays().items()}
        if edges is not None:
            arrays["edges"] = np.asarray(edges, np.float32)
        target = self.target
        config = {
            "kind": "table",
            "preset": self.preset,
            "network": network,
            "copies": self.networks.copies,
            "dtypes": {"params": ["float32"], "compute": self.networks.compute_dtype},
            "preprocessing": self.treatment.to_json(),
            "target": target.to_json(),
            "classes": None if target.classes is None else list(target.classes),
            "units": list(target.names),
            "report": self.report,
        }
        return Contents(config, arrays, self.files)

    @classmethod
    def from_contents(cls, contents: Contents) -> "TableModel":
        """Return the model that a folder holds."""
        config, arrays = contents.config, contents.arrays
        fields: dict[str, Any] = {**config["network"]}
        for name in ("hidden", "groups"):
            if name in fields:
                fields[name] = tuple(fields[name])
        if "edges" in arrays:
            fields["edges"] = tuple(map(tuple, np.asarray(arrays["edges"], float).tolist()))
        network = _NETWORKS[config["preset"]](**fields)
        networks = Networks(network, config["copies"], config["dtypes"]["compute"])
        stored = _below("params", arrays)
        count = sum(V.size for V in stored.values())
        if networks.size != count:  # which may be too large to draw
            raise DamageError(f"its network has {networks.size:,} parameters, its file {count:,}")
        params = _filled(networks.init(0), as_parameters(stored))
        scaling = {name[1:]: np.asarray(V) for name, V in _below("scaling", arrays).items()}
        treatment = Treatment.from_json(config["preprocessing"], scaling)
        target = Target.from_json(config["target"], config["classes"])
        return cls(networks, params, treatment, target, config["report"], contents.files)


@partial(jax.jit, static_argnums=(0, 1))
def _apply(networks: Networks, task: Any, params: Tree, X: Any) -> Any:
    return predictions(task, networks.apply(params, X))


def _named(tree: Tree) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def _below(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {n.removeprefix(prefix): V for n, V in arrays.items() if n.startswith(prefix)}


def _filled(like: Tree, arrays: Mapping[str, Any]) -> Tree:
    """Return a tree with stored arrays for its leaves."""
    found = [arrays.get(name) for name in _named(like)]
    for (name, wanted), got in zip(_named(like).items(), found, strict=True):
        if got is None or got.shape != wanted.shape:
            raise DamageError(
                f"its parameter {name} must be {describe(wanted)}, got {describe(got)}"
            )
    return jax.tree.unflatten(jax.tree.structure(like), found)
