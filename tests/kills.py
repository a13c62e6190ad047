"""Kill training processes at random moments, and compare how they end with ones left alone.

`python tests/kills.py 50` kills a process 50 times; see `make kills`. With `--processes 2`, a job
of two processes is started by `fcjax launch`, and one of the two is killed.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

SCRIPT = """
    import os, signal, sys
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    import fcjax

    folder, every, epochs, layout = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may let it ignore Ctrl-C
    fcjax.distributed.initialize()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4)).astype(np.float32)
    Y = np.sin(X @ rng.normal(size=(4, 4))).astype(np.float32)
    mesh = fcjax.distributed.mesh() if layout else None

    def loss(params, batch):
        return fcjax.half_squared_error(fcjax.mlp(params, batch[0], activations="tanh"), batch[1])

    def show(end):
        if end.epoch % 10 == 0 and jax.process_index() == 0:
            print(end.epoch, flush=True)

    print("process", os.getpid(), flush=True)
    params = fcjax.init(jax.random.key(1), (4, 8, 4))
    result = fcjax.fit(params, (X, Y), loss=loss, optimizer=optax.adam(1e-2), batch_size=8,
                       epochs=epochs, callbacks=show, checkpoint_dir=folder,
                       checkpoint_every=every, mesh=mesh, layout=layout or "replicated")
    params = result.params
    if layout:
        everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        params = jax.jit(lambda x: x, out_shardings=everywhere)(params)
    if jax.process_index() == 0:
        np.savez(folder + ".npz", *jax.tree.leaves(params), result.history["loss"])
"""


class Job(NamedTuple):
    """What is trained: 50 steps per epoch; with saves after 30 steps, they lie anywhere in it.

    Without a layout, there is no mesh, and the process is started alone.
    """

    epochs: int
    every: str = "30 steps"
    layout: str = ""
    processes: int = 1
    devices: int = 1


class Killed(NamedTuple):
    """How many processes were killed, and how many left an unfinished save."""

    kills: int
    unfinished: int


def start(folder, job):
    path = Path(f"{folder}.py")
    path.write_text(textwrap.dedent(SCRIPT))
    arguments = [str(path), str(folder), job.every, str(job.epochs), job.layout]
    command = [sys.executable, *arguments]
    if job.layout:
        launch = "from fcjax_cli import main; main()"
        counts = ["-n", str(job.processes), "--devices-per-process", str(job.devices)]
        command = [sys.executable, "-c", launch, "launch", *counts, *arguments]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def finish(folder, job):
    """Let a job run to the end, and return the parameters and the losses."""
    process = start(folder, job)
    _, errors = process.communicate(timeout=3600)
    assert process.returncode == 0, errors
    with np.load(f"{folder}.npz") as file:
        return [file[name] for name in file]


def training(process, processes=1):
    """Wait until a job trains, and return the numbers of its processes, or None if it has ended."""
    found = []
    for line in process.stdout:
        if "process" in line:
            found.append(int(line.split()[-1]))
        elif line.strip().isdigit() and len(found) == processes:
            return found
    return None


def kill_repeatedly(folder, job, *, kills, seed):
    """Kill that many processes, each at a random moment after it began to train."""
    rng, unfinished = random.Random(seed), 0
    for done in range(kills):
        process = start(folder, job)
        found = training(process, job.processes)
        if found is None:
            print(f"ended by itself after {done} kills", process.communicate()[1])
            return Killed(done, unfinished)
        time.sleep(rng.uniform(0, 0.3))
        os.kill(rng.choice(found), signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode, "a killed job ends with another status than 0"
        unfinished += bool(list(Path(folder).glob("*tmp*")))
    return Killed(kills, unfinished)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", type=int)
    parser.add_argument("--processes", type=int, default=1)
    chosen = parser.parse_args()
    layout = "fsdp" if chosen.processes > 1 else ""
    # a job runs for up to ten epochs, and some more, before it is killed
    job = Job(epochs=20 * chosen.kills, layout=layout, processes=chosen.processes)
    with tempfile.TemporaryDirectory() as folder:
        whole = finish(Path(folder) / "whole", job._replace(every="100 epochs"))
        killed = kill_repeatedly(Path(folder) / "run", job, kills=chosen.kills, seed=0)
        again = finish(Path(folder) / "run", job)
        left = list((Path(folder) / "run").glob("*tmp*"))
    same = all(np.array_equal(a, b) for a, b in zip(whole, again, strict=True))
    verdict = "the same bits as" if same else "NOT the bits of"
    print(f"{killed.kills} kills, {killed.unfinished} of them during a save; {verdict} a run left "
          f"alone; {len(left)} partial folders left")  # fmt: skip
    return 0 if same and not left and killed.unfinished and killed.kills == chosen.kills else 1


if __name__ == "__main__":
    sys.exit(main())
