"""The commands as their help shows them. `fcjax.cli` implements them, and is loaded on call."""

from pathlib import Path
from typing import Literal

from tyro.conf import OmitArgPrefixes, Positional

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
) -> None:
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
    """
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
