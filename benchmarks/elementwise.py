"""Every input of every elementwise activation: fcjax beside jax.nn, and the table of the errors.

python -m benchmarks.elementwise --dtype bfloat16   # a minute, as float16
python -m benchmarks.elementwise --dtype float32    # an hour on two cores; a rerun goes on
python -m benchmarks.elementwise --table            # writes benchmarks/elementwise.md

Results are in benchmarks/results/elementwise-<dtype>.json, and what is known of an activation that
is not finished is in out/elementwise.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import tyro

import fcjax
from fcjax.verify.elementwise import compare_elementwise
from fcjax.verify.oracles import ORACLES

from .results import HERE, RESULTS, ROOT
from .tables import markdown

DTYPES = ("bfloat16", "float16", "float32")
LABELS = ("fcjax", "jax.nn")
KINDS = {"scaled": "abs", "ulp": "ulp", "non_finite": "NaN, ∞", "zero_sign": "±0"}


def main(
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16",
    names: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    table: bool = False,
) -> None:
    """Compare every activation, or those that are named; or write the table of the results."""
    if table:
        page = HERE / "elementwise.md"
        introduction = page.read_text().split("## ")[0]
        page.write_text(introduction + "\n".join(tables()))
        return
    for name in names or ORACLES:
        print(name)
        functions = {"fcjax": activation(fcjax, name), "jax.nn": activation(jax.nn, name)}
        state = ROOT / "out" / "elementwise" / f"{dtype}-{name}.json"
        found = compare_elementwise(functions, ORACLES[name], dtype, state=state, progress=True)
        results = read(dtype)
        results["activations"][name] = {label: report.to_dict() for label, report in found.items()}
        path(dtype).write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def activation(module: Any, name: str) -> Any:
    """Return an activation of fcjax or jax.nn by its name among the oracles."""
    if name == "gelu_exact":
        return partial(module.gelu, approximate=False)
    return jnp.tanh if (module, name) == (jax.nn, "tanh") else getattr(module, name)


def path(dtype: str) -> Path:
    return RESULTS / f"elementwise-{dtype}.json"


def read(dtype: str) -> dict[str, Any]:
    if path(dtype).exists():
        return json.loads(path(dtype).read_text())
    return {"dtype": dtype, "jax": jax.__version__, "activations": {}}


def tables() -> Iterator[str]:
    for dtype in DTYPES:
        results = read(dtype)
        done = {n: results["activations"][n] for n in ORACLES if n in results["activations"]}
        if done:
            inputs = next(iter(done.values()))["fcjax"]["inputs"]
            yield f"## {dtype}: {inputs} inputs, JAX {results['jax']}\n"
            columns = ("abs", "at", "ulp", "at", "NaN, ∞", "±0")
            titles = [f"{label}: {title}" for label in LABELS for title in columns]
            for quantity in ("derivative", "value"):
                rows = [
                    [name, *(cell for label in LABELS for cell in cells(found[label][quantity]))]
                    for name, found in done.items()
                ]
                yield markdown([quantity, *titles], rows)
            lines = list(behind(done))
            yield "Behind `jax.nn`:\n" if lines else "Nowhere behind `jax.nn`.\n"
            yield from [*lines, ""]
        if missing := [name for name in ORACLES if name not in done]:
            yield f"Not run yet in {dtype}: {', '.join(missing)}.\n"


def behind(activations: dict[str, Any]) -> Iterator[str]:
    """Tell each figure in which fcjax is behind jax.nn by more than a thousandth."""
    for name, found in activations.items():
        for quantity in ("derivative", "value"):
            for key, kind in KINDS.items():
                ours, theirs = (figure(found[label][quantity][key]) for label in LABELS)
                if ours > 1.001 * theirs:
                    yield f"- {name}, {quantity}, {kind}: {size(ours)} against {size(theirs)}"


def cells(errors: dict[str, Any]) -> Iterator[str]:
    for kind in ("scaled", "ulp"):
        finding = errors[kind]
        yield size(finding["size"]) if finding else "0"
        yield f"{float(finding['input']):.4g}" if finding else ""
    for kind in ("non_finite", "zero_sign"):
        yield f"{figure(errors[kind]):.0f}"


def figure(finding: dict[str, Any] | None) -> float:
    return finding["size"] if finding else 0.0


def size(error: float) -> str:
    return f"{error:.2f}" if error < 100 else f"{error:.3g}"


if __name__ == "__main__":
    tyro.cli(main)
