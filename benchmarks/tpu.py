"""Train steps compiled for a TPU ahead of time, on a machine that needs none: fcjax and autodiff.

Only libtpu's compiler runs. It counts bytes; nothing is timed.
"""

import os
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Before JAX starts: it must not look for a TPU, and libtpu not for the machine that it is part of.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["TPU_SKIP_MDS_QUERY"] = "1"
os.environ["TPU_WORKER_HOSTNAMES"] = "localhost"

import jax
import jax.numpy as jnp
import optax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

import fcjax

from .cases import Deep
from .networks import LEARNING_RATE, MAIN, MIXED, Network
from .program import memory
from .results import RESULTS, Result, save
from .run import commit, now
from .systems import of_fcjax, of_jax, stacks

# The name of each argument's memory in XLA's estimate of a program's cost.
ACCESSED = "bytes accessed"


def compile_for(topology: str, output: Path | None) -> Result:
    """Compile every step for one chip of the topology; write and return the bytes."""
    described = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    chip = described.devices[0]
    result = {
        "device": chip.device_kind,
        "compiler": f"libtpu {version('libtpu')} and jax {version('jax')}",
        "date": now(),
        "commit": commit(),
        "cases": {
            name: {system: _bytes(step, chip) for system, step in steps.items()}
            for name, steps in _cases().items()
        },
    }
    save(result, output or RESULTS / "tpu-compiled.json")
    return result


def _cases() -> dict[str, dict[str, Callable[[], tuple[Any, Any]]]]:
    """Return, by case and system, what makes a jitted function and its arguments."""
    cases = {}
    for network in dict.fromkeys((*MAIN, *MIXED)):
        for dtype in (None, "bfloat16"):
            ways = {"fcjax": partial(_fcjax_step, network, dtype)}
            ways["jax.grad"] = partial(_plain_step, network, dtype)
            cases[network.name + (", bf16" if dtype else "")] = ways
    for deep in (Deep(64, 256, 256), Deep(256, 256, 256)):
        cases[f"{deep.name}, gelu, under scan"] = {
            "fcjax": partial(_stack, deep, "fcjax.stack"),
            "jax.grad": partial(_stack, deep, "scan, jax.grad"),
        }
    return cases


def _bytes(make: Callable[[], tuple[Any, Any]], chip: jax.Device) -> dict[str, int]:
    function, arguments = make()
    compiled = function.lower(*_placed(arguments, chip)).compile()
    return {"bytes": int(compiled.cost_analysis()[ACCESSED]), **memory(compiled)}


def _placed(arguments: Any, chip: jax.Device) -> Any:
    """Return the shapes of the arguments, as if they lay on the chip."""
    where = SingleDeviceSharding(chip)
    return jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=where), arguments)


def _batch(network: Network) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
    X = jax.ShapeDtypeStruct((network.batch, network.sizes[0]), jnp.float32)
    return X, jax.ShapeDtypeStruct((network.batch,), jnp.int32)


def _fcjax_step(network: Network, dtype: str | None) -> tuple[Any, Any]:
    optimizer = optax.sgd(LEARNING_RATE)
    loss = of_fcjax.classification(compute_dtype=dtype)
    step = fcjax.make_train_step(loss, optimizer)
    params = jax.eval_shape(lambda: fcjax.init(jax.random.key(0), network.sizes))
    params = jax.tree.map(lambda v: jnp.zeros(v.shape), params)
    return step, (fcjax.init_state(params, optimizer), _batch(network))


def _plain_step(network: Network, dtype: str | None) -> tuple[Any, Any]:
    step = partial(of_jax.step, compute_dtype=dtype, result="float32")
    return jax.jit(step, donate_argnums=0), (network.weights(), _batch(network))


def _stack(deep: Deep, system: str) -> tuple[Any, Any]:
    loss, params, batch = stacks.loss_and_arguments(deep, system)
    return jax.jit(jax.value_and_grad(loss)), (params, batch)
