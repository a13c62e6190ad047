"""Train steps compiled for a TPU ahead of time, on a machine that needs none: fcjax and autodiff.

Only libtpu's compiler runs. It counts bytes; nothing is timed.
"""

from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
from jax.sharding import SingleDeviceSharding

from .cases import Deep
from .libtpu import chips
from .networks import MAIN, MIXED
from .program import memory
from .results import RESULTS, save
from .run import commit, now
from .systems import of_fcjax, of_jax, stacks

Make = Callable[[], tuple[Any, ...]]


def compile_for(topology: str) -> None:
    """Compile every step for one chip of the topology, and write the bytes."""
    chip = chips(topology)[0]
    about = {
        "device": chip.device_kind,
        "compiler": f"libtpu {version('libtpu')} and jax {version('jax')}",
        "date": now(),
        "commit": commit(),
    }
    cases = {
        name: {"fcjax": _bytes(ours, chip), "jax.grad": _bytes(autodiff, chip)}
        for name, ours, autodiff in _cases()
    }
    save({**about, "cases": cases}, RESULTS / "tpu-compiled.json")


def _cases() -> Iterator[tuple[str, Make, Make]]:
    """Yield a name, and what makes the jitted function and its arguments for each system."""
    for network in dict.fromkeys((*MAIN, *MIXED)):
        for dtype, suffix in ((None, ""), ("bfloat16", ", bf16")):
            ours = partial(of_fcjax.parts, network, single=True, compute_dtype=dtype)
            yield f"{network}{suffix}", ours, partial(of_jax.parts, network, compute_dtype=dtype)
    for deep in (Deep(64), Deep(256)):
        ways = (partial(_stack, deep, way) for way in ("fcjax.stack", "scan, jax.grad"))
        yield f"{deep}, gelu, under scan", *ways


def _stack(deep: Deep, way: str) -> tuple[Any, ...]:
    loss, params, batch = stacks.loss_and_arguments(deep, way)
    return jax.jit(jax.value_and_grad(loss)), params, [batch]


def _bytes(make: Make, chip: jax.Device) -> dict[str, int]:
    """Compile for arguments of the same shapes that lie on the chip."""
    function, state, batches = make()
    where = SingleDeviceSharding(chip)
    shapes = jax.tree.map(
        lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=where), (state, batches[0])
    )
    compiled = function.lower(*shapes).compile()
    return {"bytes": int(compiled.cost_analysis()["bytes accessed"]), **memory(compiled)}
