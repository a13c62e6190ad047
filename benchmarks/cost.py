"""What each rule of fcjax saves against autodiff, and costs: `python -m benchmarks cost`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fcjax
from fcjax.verify import compare_cost

RESULTS = Path(__file__).parent / "results" / "cost.json"
PAGE = Path(__file__).parent / "cost.md"
# A batch, and the width of a layer.
SHAPE = 256, 1000

HEAD = """# What each rule saves, and what it costs

`python -m benchmarks cost` compares each rule with autodiff of the same function by
`fcjax.compare_cost`, in float32, both compiled and in turns. Kept are the bytes between the passes
beside the arguments. The time is that of a value with all its gradients, as a multiple of that of
autodiff, with its quartiles. Measured on {device}.

A batch is {shape}.

| rule | kept | by autodiff | operations | time |
|---|---|---|---|---|
"""


def cases() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Yield the name of each rule, a function that calls it, and arguments."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(rng.standard_normal(shape), jnp.float32)

    m, n = SHAPE
    z, labels = normal(m, n), jnp.asarray(rng.integers(n, size=m))
    yield "dense", fcjax.dense, (z, normal(n, 256), normal(256))
    yield "layer_norm", fcjax.layer_norm, (z, normal(n), normal(n))
    yield "rms_norm", fcjax.rms_norm, (z, normal(n))
    yield "dropout", lambda z: fcjax.dropout(z, 0.5, jax.random.key(0)), (z,)
    for name, activation in sorted(fcjax.ACTIVATIONS.items()):
        yield name, activation, (z,)
    yield "softmax", fcjax.softmax, (z,)
    yield "log_softmax", fcjax.log_softmax, (z,)
    yield "softmax_cross_entropy", lambda z: fcjax.softmax_cross_entropy(z, labels), (z,)
    y = jnp.asarray(rng.random(SHAPE), jnp.float32)
    for loss in (fcjax.mean_squared_error, fcjax.huber, fcjax.sigmoid_binary_cross_entropy):
        yield loss.__name__, lambda z, loss=loss: loss(z, y), (z,)
    params = fcjax.init(jax.random.key(0), (n, 256, 256, 10))
    for name in ("relu", "tanh", "gelu"):
        yield (
            f"mlp, {name}",
            lambda params, z, name=name: fcjax.mlp(params, z, activations=name),
            (params, z),
        )


def run() -> None:
    """Measure every rule, and write the results and the page."""
    reports = {name: compare_cost(fun, args) for name, fun, args in cases()}
    RESULTS.write_text(json.dumps({n: r.to_dict() for n, r in reports.items()}, indent=1) + "\n")
    write()


def write() -> None:
    """Write the page from the results."""
    results = json.loads(RESULTS.read_text())
    device = next(iter(results.values()))["device"]
    rows = "\n".join(_row(name, result) for name, result in results.items())
    shape = " × ".join(map(str, SHAPE))
    PAGE.write_text(f"{HEAD.format(device=device, shape=shape)}{rows}\n")


def _row(name: str, result: dict[str, Any]) -> str:
    rule, plain = result["rule"], result["autodiff"]
    low, high = result["time_spread"]
    operations = f"{rule['operations'] / plain['operations']:.2f}" if plain["operations"] else "–"
    return (
        f"| {name} | {_size(rule['kept_bytes'])} | "
        f"{_size(plain['kept_bytes'])} | {operations} | "
        f"{result['time_ratio']:.2f} ({low:.2f} to {high:.2f}) |"
    )


def _size(count: float) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e4 else f"{count:.0f} B"
