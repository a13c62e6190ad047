"""Train for hours, and watch memory, compilations, files and threads: all must stay as they are.

`python tests/soak.py 3600` runs for an hour; see `make soak`. A cycle takes steps, epochs, and
calls of `fit` with validation and with a list of batches; once a minute, checkpoints are written,
and a run is resumed from them.

Not all memory is fcjax's to keep. With jax 0.10.2 and Orbax 0.12.8, a save leaves 27 kB behind in
Orbax and TensorStore, also without fcjax, and lowering an argmax 10 kB in JAX. So saves come once a
minute, and a call of `fit` takes many epochs, as in real runs.
"""

import gc
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import fcjax

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(230, 16)), jnp.float32)
Y = jnp.asarray(RNG.integers(0, 5, 230))
PARAMS = fcjax.init(jax.random.key(0), (16, 32, 5))
OPTIMIZER = optax.adam(1e-3)
# The first cycles compile, and fill the caches of JAX, Orbax and the allocator.
WARM = 5
MINUTE = 60


def loss(params, batch):
    return fcjax.softmax_cross_entropy(fcjax.mlp(params, batch[0]), batch[1])


def accuracy(params, batch):
    return jnp.mean(jnp.argmax(fcjax.mlp(params, batch[0]), -1) == batch[1])


STEP = fcjax.make_train_step(loss, OPTIMIZER, nonfinite="raise")
EPOCH = fcjax.make_train_epoch(loss, OPTIMIZER, batch_size=32)


def cycle(saves):
    state = fcjax.init_state(PARAMS, OPTIMIZER)
    for start in range(0, 224, 32):
        state, _ = STEP(state, (X[start : start + 32], Y[start : start + 32]))
    state, _ = EPOCH(state, (X, Y))
    common = {"loss": loss, "optimizer": OPTIMIZER, "progress": False}
    held_out = {"validation_data": (X[:50], Y[:50]), "metrics": {"accuracy": accuracy}}
    fcjax.fit(PARAMS, (X, Y), epochs=300, batch_size=32, patience=300, **held_out, **common)
    batches = [(X[i : i + 46], Y[i : i + 46]) for i in range(0, 230, 46)]
    fcjax.fit(PARAMS, batches, epochs=20, accumulate=2, **common)
    if saves:
        save_and_resume(common)


def save_and_resume(common):
    folder = tempfile.mkdtemp()
    try:
        for epochs in (2, 4):  # the second call goes on from the checkpoints of the first
            fcjax.fit(PARAMS, (X, Y), epochs=epochs, batch_size=32, checkpoint_dir=folder,
                      checkpoint_every="5 steps", **common)  # fmt: skip
    finally:
        shutil.rmtree(folder)


class Seen(NamedTuple):
    """What a process holds at a moment; `megabytes` is its resident memory."""

    seconds: float
    cycles: int
    megabytes: float
    compilations: int
    files: int
    threads: int


def look(began, cycles, compilations):
    gc.collect()
    status = Path("/proc/self/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    megabytes = round(int(resident.split()[1]) / 1024, 1)
    return Seen(round(time.monotonic() - began), cycles, megabytes, compilations, files, threads)


def soak(seconds):
    """Run cycles for that long, and yield what is seen after each tenth of the time."""
    compilations = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compilations.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        began, cycles, looks = time.monotonic(), 0, 1
        for _ in range(WARM):
            cycle(saves=True)
        saved = time.monotonic()
        del compilations[:]
        yield look(began, cycles, 0)
        while time.monotonic() - began < seconds:
            saves = time.monotonic() - saved > MINUTE
            saved = time.monotonic() if saves else saved
            cycle(saves)
            cycles += 1
            if time.monotonic() - began >= seconds * looks / 10:
                looks += 1
                yield look(began, cycles, len(compilations))
        yield look(began, cycles, len(compilations))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def complaints(seen):
    """Return what grew, from the first tenth of the time to the end."""
    first, last = seen[min(1, len(seen) - 1)], seen[-1]
    found = []
    if last.megabytes > 1.01 * first.megabytes:
        found.append(f"memory grew from {first.megabytes} to {last.megabytes} MB")
    if last.compilations:
        found.append(f"{last.compilations} programs were compiled after the first {WARM} cycles")
    if last.files > first.files or last.threads > first.threads:
        found.append(
            f"files {first.files} -> {last.files}, threads {first.threads} -> {last.threads}"
        )
    return found


def main():
    seen = []
    for one in soak(float(sys.argv[1])):
        seen.append(one)
        print(", ".join(f"{name} {value}" for name, value in one._asdict().items()), flush=True)
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(json.dumps([one._asdict() for one in seen], indent=1))
    found = complaints(seen)
    print("; ".join(found) or "nothing grew")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
