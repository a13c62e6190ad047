"""The commands as their help shows them. `fcjax.cli` implements them, and is loaded on call."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from .launch import launch as run_in_processes
from .loading import loading
from .options import Checking, CostOf, Explained, Function, Library, OurData, OwnData


def train(
    own: OmitArgPrefixes[OwnData],
    ours: OmitArgPrefixes[OurData],
    epochs: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None,
    seed: Annotated[int, arg(metavar="INTEGER")] = 0,
    out: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None,
    device: Literal["cpu", "gpu", "tpu"] | None = None,
    dtype: Annotated[str | None, arg(metavar="DTYPE", help_behavior_hint="")] = None,
) -> int:
    """Train a network on your own table, or on one of our data sets.

    A network for a table is saved as a folder that `fcjax predict` and `fcjax show` read. It learns
    from 64 % of the rows, 16 % choose the epoch, and its figures are those of the other 20 %.
    The README.md of the folder shows them, with pictures of the training, the predictions and the
    importance of the columns. Ctrl-C ends the training; what it has reached is saved.

    In a CSV file, an empty value and, without quotes, NA, N/A, n/a, NaN, nan, -nan, NULL, null,
    None, #N/A and #NA are missing. A column without a name is "column 1" if it is the first, and is
    left out if it counts the rows.

    Without a file, a network is trained on a data set of ours, its gradients are compared with
    autodiff, and the result is drawn.

    For example,
      fcjax train
      fcjax train houses.csv --target price --out model
      fcjax train visits.parquet --target outcome --drop name --split time:day --metric auc
      fcjax train houses.csv --target price --preset tabm --kinds zip=category --out model
      fcjax train houses.csv --target price --track run.jsonl tensorboard:runs/1

    Args:
        own: Your own table, and how it is treated.
        ours: One of our data sets, and the network that is trained on it.
        epochs: passes over the training data; by default those of the preset or the data set.
        seed: seed of the split, the initial parameters and the shuffling.
        out: folder for the model, by default model, or for the plot, by default out.
        device: where to train; by default the fastest that JAX finds.
        dtype: dtype of the operands of matrix products: bfloat16, float16, or float32, the default,
            which is that of the networks.
    """
    processes = ours.processes or 1
    if processes != 1 and "FCJAX_PROCESS" not in os.environ:
        command = ["-m", "fcjax", *sys.argv[1:]]
        return run_in_processes(command, processes=processes, quiet=True)
    with loading():
        from fcjax.cli.device import use

    use(device)
    if own.file is None:
        with loading():
            from fcjax.cli.train import train_on_ours

        out = out or Path("out")
        return train_on_ours(own, ours, epochs=epochs, seed=seed, out=out, dtype=dtype)
    with loading():
        from fcjax.cli.tables import train_on_own

    out = out or Path("model")
    return train_on_own(own, ours, epochs=epochs, seed=seed, out=out, dtype=dtype)


def predict(
    model: Annotated[Positional[Path], arg(metavar="MODEL_DIR")],
    file: Annotated[Positional[Path], arg(metavar="FILE")],
    out: Annotated[Path, arg(metavar="FILE")],
) -> int:
    """Predict the target of each row of a table.

    The table needs the columns of training, in any order; others, such as the target, are ignored.
    It is read part by part, so it may be of any size. The predictions are a column `prediction`, or
    one per target, and for classes also `probability_<class>`.

    In a CSV file, an empty value and, without quotes, NA, N/A, n/a, NaN, nan, -nan, NULL, null,
    None, #N/A and #NA are missing, but for a text that is a category of this column in the model.

    For example,
      fcjax predict model new.csv --out predictions.csv
      fcjax predict model new.parquet --out predictions.csv.gz

    Args:
        model: the folder of the model, as from `fcjax train`.
        file: a CSV or a Parquet file.
        out: the file to write, whose name ends in .csv, .csv.gz or .parquet; another one of that
            name is replaced. A pipe, and -, which is the standard output, get CSV.
    """
    with loading():
        from fcjax.cli.tables import predict

    return predict(model, file, out)


def show(model: Annotated[Positional[Path], arg(metavar="MODEL_DIR")]) -> int:
    """Show a saved model: its network, its training, its figures, and what becomes of each column.

    For example,
      fcjax show model

    Args:
        model: the folder of the model, as from `fcjax train` or fcjax.save.
    """
    with loading():
        from fcjax.cli.show import show

    return show(model)


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
      fcjax verify my_ops:affine --shapes 5x3 3x2 2 --search 10000

    Args:
        function: Your own function, and the arguments at which its gradient is checked.
        library: Which of fcjax's rules to check.
        checking: How to check.
        out: JSON file for the reports, each with its verdict.
    """
    with loading():
        from fcjax.cli.verify import verify

    return verify(function, library, checking, out)


def audit(
    command: Annotated[Positional[tuple[str, ...]], arg(metavar="pytest|SCRIPT|-m MODULE ...")],
    json: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None,
    junit: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None,
    time_limit: Annotated[float, arg(metavar="SECONDS")] = 300.0,
    expected: Annotated[str, arg(metavar="NAME,...", help_behavior_hint="")] = "",
    callbacks: bool = True,
) -> int:
    """Run tests or a program, and check every hand-written rule that they call.

    Nothing in the program has to be changed. Each call of a jax.custom_vjp or jax.custom_jvp is
    noticed, whoever wrote it, under jit, vmap, grad and scan too, and the arguments of a few calls
    that differ in form are kept. When the run is over, each rule is checked at them, and by search
    around them.

    The numbers of traced arguments are taken out by callbacks in the program. A program that is
    exported, or that counts its own operations, cannot have them, and a callback inside a loop can
    slow it a lot: with --no-callbacks, there are none, and the rules are checked at random numbers
    of the same shapes.

    A factory or a class that makes a rule anew makes many functions, each of which may be wrong.
    Those that differ in what they close over are checked each, up to 32 of a rule, as far as the
    time allows; the report says how many were not. Child processes are not audited, other than
    the workers of pytest-xdist.

    The report of a program is printed to standard error, that of tests by pytest. The exit status
    is that of the program if it fails, else
      0  if no rule is wrong,
      1  if a rule is wrong,
      2  if no rule is wrong, but the time was over before all were checked.

    For example,
      fcjax audit -- pytest tests/
      fcjax audit --json audit.json --junit audit.xml -- pytest -n 2 tests/
      fcjax audit script.py --epochs 3
      fcjax audit --expected clip_gradient,ops.py:87 -m my_package.train
      pytest -p fcjax.audit tests/

    Args:
        command: pytest with its arguments, or a script or a module and its arguments. The options
            of the audit come before it.
        json: file for the report as JSON.
        junit: file for the report as JUnit XML.
        time_limit: seconds after which no further rule is checked.
        expected: rules whose gradients are wrong on purpose, such as those that clip them. A rule
            is its name, FILE:LINE as the report shows it, FILE:NAME or MODULE:NAME; a name that
            fits several wrong rules excuses none. The report says which of them are not wrong.
        callbacks: whether the numbers of traced arguments are taken out.
    """
    from .audit import audit

    return audit(command, json, junit, time_limit, callbacks, expected)


def cost(
    function: OmitArgPrefixes[CostOf],
    rtol: Annotated[float | None, arg(metavar="NUMBER", help_behavior_hint="")] = None,
    atol: Annotated[float | None, arg(metavar="NUMBER", help_behavior_hint="")] = None,
    seconds: Annotated[float, arg(metavar="SECONDS")] = 1.0,
    seed: Annotated[int, arg(metavar="INTEGER")] = 0,
    out: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None,
) -> int:
    """Compare what the gradient of a function costs by its hand-written rules and by autodiff.

    The table shows the bytes that are kept between the passes, the temporaries and operations of
    the compiled gradient, and the times to compile and to call it; what is kept of the arguments
    counts as 0 B. The last line says whether the rule is worth having, or that its gradient is
    another.

    For example,
      fcjax cost fcjax:gelu --shapes 256x1000
      fcjax cost my_ops:attention --shapes 128x64 128x64 128x64 --out cost.json

    Args:
        function: The function, and its arguments.
        rtol: relative accuracy of the function itself, such as 1e-6 for an iteration that stops
            there: gradients that differ by no more agree.
        atol: absolute accuracy of the function itself.
        seconds: how long calls are timed.
        seed: seed from which arrays are drawn.
        out: file for the report as JSON.
    """
    with loading():
        from fcjax.cli.cost import cost

    return cost(function, rtol, atol, seconds, seed, out)


def explain(
    explained: OmitArgPrefixes[Explained],
    learning_rate: Annotated[float | None, arg(metavar="NUMBER", help_behavior_hint="")] = None,
    steps: Annotated[int, arg(metavar="N")] = 20,
    seed: Annotated[int, arg(metavar="INTEGER")] = 0,
    out: Annotated[Path, arg(metavar="FILE")] = Path("out/explain.html"),
) -> int:
    """Write a page on backpropagation in a network: every array of a training step.

    The page is one HTML file that needs no network. It shows each step of the forward and the
    backward pass with its formula, its code and its numbers, what each number is the sum of, the
    same gradients by autodiff and by differences, and what becomes of five mistakes.

    For example,
      fcjax explain
      fcjax explain model houses.csv --out page.html
      fcjax explain my_model iris.csv --target species --learning-rate 0.1

    Args:
        explained: The network, and its batch.
        learning_rate: the factor of the gradient in a step of gradient descent; by default the
            largest of 0.5, 0.1, 0.02, ... 0.00016 with which no loss of the curve is above the
            first.
        steps: the number of training steps to show.
        seed: seed of the parameters of the 2-4-1 network.
        out: the file to write; another one of that name is replaced.
    """
    with loading():
        from fcjax.cli.explain import explain

    return explain(explained, learning_rate=learning_rate, steps=steps, seed=seed, out=out)


def checkpoint(action: Positional[Literal["verify"]], directory: Positional[Path]) -> int:
    """Read all checkpoints of a folder and compare their checksums.

    The exit status is 0 if all are whole, and 1 if one is damaged, or if the command fails.

    For example,
      fcjax checkpoint verify runs/mine

    Args:
        action: verify, the only one.
        directory: the folder of the checkpoints, as in fcjax.fit(checkpoint_dir=...).
    """
    with loading():
        from fcjax.cli.checkpoint import verify

    assert action == "verify"
    return verify(directory)


def export(
    model: Annotated[Positional[Path], arg(metavar="MODEL_DIR")],
    to: Literal["torch", "jax", "onnx"],
    out: Annotated[Path, arg(metavar="FILE")],
) -> int:
    """Write a saved model as a file for PyTorch, for JAX without fcjax, or for ONNX Runtime.

    For example,
      fcjax export my_model --to torch --out my_model.safetensors
      fcjax export my_model --to jax --out my_model.jax
      fcjax export my_model --to onnx --out my_model.onnx

    A model for tables is best written for ONNX, which has a column of the table for each input. Its
    file for JAX is the network alone, and it has none for PyTorch.

    Args:
        model: the folder of the model, as from fcjax.save.
        to: torch, the weights as safetensors, with the line of Python that makes the network; jax,
            a program that needs JAX and flatbuffers; onnx, a graph in float32.
        out: the file to write; another one of that name is replaced.
    """
    with loading():
        from fcjax.cli.export import export

    return export(model, to, out)


def completion(shell: Positional[Literal["bash", "zsh", "fish"]]) -> int:
    """Print a script by which a shell completes commands, options and their values.

    The shell runs it when it starts, by a line in ~/.bashrc, ~/.zshrc or
    ~/.config/fish/config.fish.

    For example,
      eval "$(fcjax completion bash)"
      eval "$(fcjax completion zsh)"
      fcjax completion fish | source

    Args:
        shell: the shell that completes.
    """
    from .completion import script

    print(script(shell, COMMANDS))
    return 0


COMMANDS: dict[str, Callable[..., int]] = {
    "train": train,
    "predict": predict,
    "show": show,
    "verify": verify,
    "audit": audit,
    "cost": cost,
    "explain": explain,
    "launch": launch,
    "checkpoint": checkpoint,
    "export": export,
    "completion": completion,
}
