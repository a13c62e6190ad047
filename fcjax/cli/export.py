"""`fcjax export`: a saved model as a file of another library."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console

from .. import export as formats
from ..model import Model, is_of_model, load
from ..tables import TableModel

_console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
_WRITERS: dict[str, Callable[[Any, Path], None]] = {
    "torch": formats.to_torch,
    "jax": formats.to_jax,
    "onnx": formats.to_onnx,
}


def export(folder: Path, to: str, out: Path) -> int:
    """Write the model of a folder as a file; return the exit status."""
    with jax.enable_x64(True):  # to read a model in float64 as it is
        model = load(folder)
    if hasattr(model, "to_table_model"):
        model = model.to_table_model()
    if not isinstance(model, Model | TableModel):
        raise TypeError(
            f"{folder} must hold a Model, a TableModel or an estimator of tables to be exported, "
            f"got {model!r}"
        )
    if is_of_model(out):
        raise ValueError(f"--out must not be a file of a model, got {str(out)!r}")
    out.parent.mkdir(parents=True, exist_ok=True)
    params = model.params
    with jax.enable_x64(any(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(params))):
        _WRITERS[to](model, out)
    _console.print(f"{model!r} is in {out}, {out.stat().st_size:,} bytes")
    if to == "jax" and isinstance(model, TableModel):
        _console.print(
            "It is the network alone, which takes what model.treatment.transform(table) returns; "
            "--to onnx writes the treatment of the table too"
        )
    return 0
