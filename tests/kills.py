"""Kill a training process at random moments, and compare how it ends with one that was not killed.

`python tests/kills.py 50` kills 50 times; see `make kills`.
"""

import random
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

SCRIPT = """
    import sys
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    import fcjax

    folder, every, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3])
    rng = np.random.default_rng(0)
    X = jnp.asarray(rng.normal(size=(400, 3)), jnp.float32)
    Y = jnp.sin(X @ jnp.asarray(rng.normal(size=(3, 2)), jnp.float32))

    def loss(params, batch):
        return fcjax.half_squared_error(fcjax.mlp(params, batch[0], activations="tanh"), batch[1])

    def show(end):
        if end.epoch % 10 == 0:
            print(end.epoch, flush=True)

    params = fcjax.init(jax.random.key(1), (3, 8, 2))
    result = fcjax.fit(params, (X, Y), loss=loss, optimizer=optax.adam(1e-2), batch_size=7,
                       epochs=epochs, callbacks=show, checkpoint_dir=folder,
                       checkpoint_every=every)
    np.savez(folder + ".npz", *jax.tree.leaves(result.params), result.history["loss"])
"""


class Job(NamedTuple):
    """What a process trains: 58 steps per epoch, so that saves lie in the middle of epochs."""

    epochs: int
    every: str = "50 steps"


class Killed(NamedTuple):
    """How many processes were killed, and how many of them left an unfinished save."""

    kills: int
    unfinished: int


def start(folder, job):
    arguments = [str(folder), job.every, str(job.epochs)]
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(folder, job):
    """Let a process run to the end, and return the parameters and the losses."""
    process = start(folder, job)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    with np.load(f"{folder}.npz") as file:
        return [file[name] for name in file]


def kill_repeatedly(folder, job, *, kills, seed):
    """Kill that many processes, each at a random moment after it began to train."""
    rng, unfinished = random.Random(seed), 0
    for done in range(kills):
        process = start(folder, job)
        if not process.stdout.readline():
            print(f"ended by itself after {done} kills", process.stderr.read())
            return Killed(done, unfinished)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.communicate()
        unfinished += bool(list(Path(folder).glob("*tmp*")))
    return Killed(kills, unfinished)


def main():
    kills = int(sys.argv[1])
    job = Job(epochs=40 * kills)
    with tempfile.TemporaryDirectory() as folder:
        whole = finish(Path(folder) / "whole", job)
        killed = kill_repeatedly(Path(folder) / "run", job, kills=kills, seed=0)
        again = finish(Path(folder) / "run", job)
    same = all(np.array_equal(a, b) for a, b in zip(whole, again, strict=True))
    verdict = "the same bits as" if same else "NOT the bits of"
    print(f"{killed.kills} kills, {killed.unfinished} of them during a save; "
          f"{verdict} a run that was not killed")  # fmt: skip
    return 0 if same and killed.kills == kills else 1


if __name__ == "__main__":
    sys.exit(main())
