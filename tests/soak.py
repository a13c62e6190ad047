"""Train for hours, and watch memory, compilations, files and threads: all must stay as they are.

`python tests/soak.py 3600` runs for an hour; see `make soak`. A cycle takes steps, epochs, and
calls of `fit` with validation and with a list of batches; once a minute, a run goes on from its
checkpoint and writes the next one.

Not all memory is fcjax's to keep. With jax 0.10.2 and Orbax 0.12.8, a save leaves 27 kB behind in
Orbax and TensorStore, also without fcjax, and lowering an argmax 10 kB in JAX, whose caches also
keep some kB of each of the first thousand calls of `fit`. So one checkpoint is written in a minute,
the metric is not the accuracy, and a call of `fit` takes seconds. And glibc gives each of the
threads that write a checkpoint an arena, whose holes count as resident: 70 kB a save, against 1 kB
with `MALLOC_ARENA_MAX=1`, which `make soak` sets.
"""

import contextlib
import ctypes
import gc
import json
import os
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
_FEWEST = 5


def loss(params, batch):
    return fcjax.softmax_cross_entropy(fcjax.mlp(params, batch[0]), batch[1])


def margin(params, batch):
    return jnp.mean(jnp.max(fcjax.mlp(params, batch[0]), -1))


STEP = fcjax.make_train_step(loss, OPTIMIZER, nonfinite="raise")
EPOCH = fcjax.make_train_epoch(loss, OPTIMIZER, batch_size=32)


def cycle():
    state = fcjax.init_state(PARAMS, OPTIMIZER)
    for _ in range(100):
        for start in range(0, 224, 32):
            state, _ = STEP(state, (X[start : start + 32], Y[start : start + 32]))
        state, _ = EPOCH(state, (X, Y))
    held_out = {"validation_data": (X[:50], Y[:50]), "metrics": {"margin": margin}}
    fit((X, Y), epochs=3000, batch_size=32, patience=3000, **held_out)
    fit([(X[i : i + 46], Y[i : i + 46]) for i in range(0, 230, 46)], epochs=200, accumulate=2)


def fit(data, **options):
    return fcjax.fit(PARAMS, data, loss=loss, optimizer=OPTIMIZER, progress=False, **options)


def resume(folder, epochs):
    """Go on from the checkpoint in a folder, and write another at the end."""
    fit((X, Y), epochs=epochs, batch_size=32, checkpoint_dir=folder, checkpoint_every=epochs)


class Seen(NamedTuple):
    """What a process holds at a moment; `megabytes` is its resident memory.

    `compilations` are those of the first cycles, and from then on those after them.
    """

    seconds: float
    cycles: int
    megabytes: float
    compilations: int
    files: int
    threads: int


def look(began, cycles, compilations):
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc: what is free, it may still hold
        ctypes.CDLL(None).malloc_trim(0)
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
        with tempfile.TemporaryDirectory() as folder:
            began, cycles, looks = time.monotonic(), 0, 1
            for epochs in range(1, WARM + 1):
                cycle()
                resume(folder, epochs)
            saved = time.monotonic()
            yield look(began, cycles, len(compilations))
            del compilations[:]
            while time.monotonic() - began < seconds:
                cycle()
                cycles += 1
                if time.monotonic() - saved > MINUTE:
                    epochs, saved = epochs + 1, time.monotonic()
                    resume(folder, epochs)
                if time.monotonic() - began >= seconds * looks / 10:
                    looks += 1
                    yield look(began, cycles, len(compilations))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def complaints(seen):
    """Return what grew, from the first tenth of the time to the end, or why it is not known."""
    if len(seen) < _FEWEST:
        return [f"too short to tell: {len(seen)} looks, and {_FEWEST} are needed"]
    warm, first, *_, last = seen
    found = []
    if not warm.compilations:
        found.append(f"compilations are not counted: none was seen in the first {WARM} cycles")
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
