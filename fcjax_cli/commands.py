"""The commands as their help shows them. `fcjax.cli` implements them, and is loaded on call."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from .launch import launch as run_in_processes
from .options import Checking, Function, Library


def train(
    dataset: str = "digits",
    hidden: tuple[int, ...] | None = None,
    activation: str = "relu",
    optimizer: str = "adam",
    lr: float | None = None,
    epochs: int | None = None,
    batch_size: int = 32,
    seed: int = 0,
    out: Path = Path("out"),
    processes: int = 1,
) -> int:
    """Train a network on real data, compare its gradients with autodiff, and draw the result.

    Args:
        dataset: digits, breast-cancer, diabetes (regression), iris, wine or mnist5k.
        hidden: units of each hidden layer; by default 256 128 for images and 16 for tables.
        activation: name of the activation of the hidden layers.
        optimizer: name of any Optax optimizer.
        lr: learning rate; by default that of the optimizer, or 0.001 if it has none.
        epochs: passes over the training data; by default 30 for images and 200 for tables.
        batch_size: examples per step.
        seed: seed of the split, the initial weights and the shuffling.
        out: folder for the plot.
        processes: processes on this machine that share each batch; the number of their devices,
            which is that of the processes, must divide the batch size.
    """
    if processes != 1 and "FCJAX_PROCESS" not in os.environ:
        command = ["-m", "fcjax", *sys.argv[1:]]
        return run_in_processes(command, processes=processes, quiet=True)
    from fcjax.cli.train import train

    train(
        dataset=dataset,
        hidden=hidden,
        activation=activation,
        optimizer=optimizer,
        lr=lr,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        out=out,
        processes=processes,
    )
    return 0


def launch(
    command: Annotated[Positional[tuple[str, ...]], arg(metavar="SCRIPT|-m MODULE [ARGUMENT ...]")],
    processes: Annotated[int, arg(aliases=["-n"], metavar="N")],
    devices_per_process: Annotated[int, arg(metavar="K")] = 1,
    heartbeat: Annotated[int | None, arg(metavar="SECONDS", help_behavior_hint="")] = None,
) -> int:
    """Run a script in several processes on this machine.

    The script calls fcjax.distributed.initialize(), without arguments, before it uses a device.
    The devices of all processes are then those of one run.

    Process 0 prints as it would alone. Lines of the others start with their number, as in "[2] ".
    No process has an input: neither the keyboard nor a pipe. SIGINT (Ctrl-C) and SIGTERM are passed
    on to all.

    When a process fails, the others are stopped, and one line names it. The exit status is that of
    the first process that failed, or 128 plus the number of the signal that killed it.

    For example,
      fcjax launch -n 4 script.py --epochs 3
      fcjax launch -n 2 --devices-per-process 4 -m my_package.train

    Args:
        command: a script or a module, and its arguments. Options of fcjax launch come before it.
        processes: how many processes.
        devices_per_process: GPUs of each process, or simulated devices of the CPU.
        heartbeat: seconds after which a process that does not answer counts as dead; by default 20.
    """
    return run_in_processes(
        command, processes=processes, devices_per_process=devices_per_process, heartbeat=heartbeat
    )


def verify(
    function: OmitArgPrefixes[Function],
    library: OmitArgPrefixes[Library],
    checking: OmitArgPrefixes[Checking],
    out: Path = Path("out/verify.json"),
) -> int:
    """Check hand-written gradients on the default backend: fcjax's rules, or your own function.

    The exit status is
      0  if every gradient is right,
      1  if a gradient is wrong, or if the command fails,
      2  if no gradient is wrong, but one was not compared with anything; its report says why.

    For example,
      fcjax verify
      fcjax verify --only softmax --dtypes float32 bfloat16
      fcjax verify --exhaustive --only tanh --dtypes bfloat16
      fcjax verify my_ops:affine --shapes 5x3 3x2 2
      fcjax verify jax.numpy:log --shapes 5x3@0.1:2
      fcjax verify my_ops:loss --shapes 5x3 3x4 5:4 scalar 0.5 =sum
      fcjax verify my_ops:loss --args point.json --dtypes float32 bfloat16
      fcjax verify my_ops:loss --args my_ops:point --reference my_ops:plain_loss
      fcjax verify my_ops:clip --shapes 5x3 --expected-failures vjp=x
      fcjax verify my_ops:solve --shapes 5x5 5 --rtol 1e-5 --time-limit 60
      fcjax verify my_ops:affine --shapes 5x3 3x2 2 --checks vjp linearity

    Args:
        function: Your own function, and the arguments at which its gradient is checked.
        library: Which of fcjax's rules to check.
        checking: How to check.
        out: JSON file for the reports, each with its verdict.
    """
    from fcjax.cli.verify import verify

    return verify(function, library, checking, out)


def checkpoint(action: Positional[Literal["verify"]], directory: Positional[Path]) -> int:
    """Read all checkpoints of a folder and compare their checksums.

    The exit status is 0 if all are whole, and 1 if one is damaged, or if the command fails.

    Args:
        action: verify, the only one.
        directory: the folder of the checkpoints, as in fcjax.fit(checkpoint_dir=...).
    """
    from fcjax.cli.checkpoint import verify

    assert action == "verify"
    return verify(directory)
