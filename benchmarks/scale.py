"""One training step of large networks, compiled for slices of TPU v5e that need not be there.

Only libtpu's compiler runs, and only shapes exist. Memory, operations and messages are read off the
compiled program; nothing is timed.
"""

import math
import re
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rich.console import Console

import fcjax
from fcjax import distributed

from .chip import hops, links
from .hlo import Collective, collectives, hbm_bytes, product_flops, read
from .libtpu import chips
from .program import memory
from .results import RESULTS, load, save
from .run import commit, now
from .systems.of_fcjax import classification
from .wide import LAYOUTS, NETWORKS, SLICES, Wide, mesh_shape

RESULT = RESULTS / "scale-plan.json"
OPTIMIZER = optax.adam(1e-3)


def compile_plan(only: str = "") -> None:
    """Compile every case, or those whose name contains `only`, and write what they need."""
    result = load(RESULT) if only and RESULT.exists() else {}
    result |= {
        "device": "TPU v5e",
        "compiler": f"libtpu {version('libtpu')} and jax {version('jax')}",
        "date": now(),
        "commit": commit(),
    }
    networks: dict[str, Any] = result.setdefault("networks", {})
    for name, network, topology, layout in _cases():
        if only in name:
            slices = networks.setdefault(str(network), {}).setdefault(topology, {})
            slices[layout] = found = _case(network, topology, layout)
            save(result, RESULT)
            Console().print(
                name, "fits" if "flops" in found else found["refused"], f"{found['seconds']:.0f} s"
            )


def _cases() -> Iterator[tuple[str, Wide, str, str]]:
    for network in NETWORKS:
        for topology in SLICES:
            for layout in LAYOUTS:
                yield f"{network}, {topology}, {layout}", network, topology, layout


def _case(network: Wide, topology: str, layout: str) -> dict[str, Any]:
    """Compile a step; where it does not fit, again with values computed twice."""
    start = time.perf_counter()
    devices = chips(f"v5e:{topology}")
    shape = mesh_shape(network, layout, len(devices))
    mesh = distributed.mesh(shape, devices=devices)
    state = _state(network, mesh, layout)
    about = {"mesh": shape, "examples": network.examples * len(devices)}
    about |= {"state_bytes": sum(_local_bytes(leaf) for leaf in jax.tree.leaves(state))}
    refused: dict[str, str] = {}
    for remat_every in (None, round(math.sqrt(network.layers))):
        try:
            about |= {"remat_every": remat_every, **_facts(network, mesh, state, remat_every)}
            break
        except _Refused as reason:
            refused["no remat" if remat_every is None else f"remat_every={remat_every}"] = str(
                reason
            )
    return {**about, "refused": refused, "seconds": round(time.perf_counter() - start, 1)}


class _Refused(Exception):  # noqa: N818  (a result as good as any)
    """The compiler needs more memory than a chip has; the message names the bytes."""


def _local_bytes(leaf: jax.ShapeDtypeStruct) -> int:
    return math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize


def _state(network: Wide, mesh: Mesh, layout: str) -> fcjax.TrainState:
    """Return the shapes of the state before the first step, and where they lie."""

    def start(params: fcjax.network.Params) -> fcjax.TrainState:
        return fcjax.init_state(params, OPTIMIZER)

    params = jax.eval_shape(
        lambda: fcjax.stack(fcjax.init(jax.random.key(0), (network.width,) * (network.layers + 1)))
    )
    params = jax.tree.map(_placed, params, distributed.shardings(params, mesh, layout))
    with jax.set_mesh(mesh):
        return jax.tree.map(
            lambda V: _placed(V, NamedSharding(mesh, V.sharding.spec if V.sharding else _NOWHERE)),
            jax.eval_shape(start, params),
        )


_NOWHERE = PartitionSpec()


def _placed(V: jax.ShapeDtypeStruct, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(V.shape, V.dtype, sharding=sharding)


def _facts(
    network: Wide, mesh: Mesh, state: fcjax.TrainState, remat_every: int | None
) -> dict[str, Any]:
    """Return what is read off the compiled step."""
    program = _compiled(network, mesh, state, remat_every)
    parsed, counted = read(program.as_text()), program.cost_analysis()
    return {
        "memory": memory(program) | {"peak": program.memory_analysis().peak_memory_in_bytes},
        "needed_flops": network.flops,
        "flops": product_flops(parsed),
        "hbm_bytes": hbm_bytes(parsed),
        "xla": {"flops": int(counted["flops"]), "bytes": int(counted["bytes accessed"])},
        "collectives": _messages(collectives(parsed), mesh),
    }


def _compiled(
    network: Wide, mesh: Mesh, state: fcjax.TrainState, remat_every: int | None
) -> jax.stages.Compiled:
    loss = classification(compute_dtype=jnp.bfloat16, remat_every=remat_every)
    step = fcjax.make_train_step(loss, OPTIMIZER)
    examples, split = network.examples * mesh.size, NamedSharding(mesh, PartitionSpec("data"))
    X = jax.ShapeDtypeStruct((examples, network.width), jnp.bfloat16, sharding=split)
    labels = jax.ShapeDtypeStruct((examples,), jnp.int32, sharding=split)
    try:
        with jax.set_mesh(mesh):
            return step.lower(state, (X, labels)).compile()
    except jax.errors.JaxRuntimeError as error:
        found = re.search(r"RESOURCE_EXHAUSTED: (.*)", str(error))
        if found is None:
            raise
        raise _Refused(found[1]) from None


def _messages(found: list[Collective], mesh: Mesh) -> list[dict[str, Any]]:
    """Return the count and the bytes of each kind of collective, and the links of its groups."""
    places = np.array([device.coords[:2] for device in mesh.devices.flat])
    extents = tuple((places.max(axis=0) + 1).tolist())
    counts: Counter[tuple[str, int, float]] = Counter()
    sizes: Counter[tuple[str, int, float]] = Counter()
    for kind, groups, count, size in found:
        if kind == "collective-permute":
            key = kind, 2, 1 / max(hops(*places[pair], extents) for pair in groups)
        else:
            key = kind, groups.shape[1], min(links(places[group], extents) for group in groups)
        counts[key] += count
        sizes[key] += size
    names = ("kind", "chips", "links")
    return [
        {**dict(zip(names, key, strict=True)), "count": counts[key], "bytes": round(sizes[key])}
        for key in sorted(counts)
    ]
