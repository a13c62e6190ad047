"""The commands, as their help shows them. What they do is in `fcjax.cli`, loaded to do it."""

from pathlib import Path

from tyro.conf import OmitArgPrefixes

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
        activation: activation of the hidden layers, by name.
        optimizer: any optimizer of Optax, by name.
        lr: learning rate; by default the optimizer's own, or 0.001 where it has none.
        epochs: passes over the training data; by default 30 for images and 200 for tables.
        batch_size: examples per step.
        seed: of the split, the starting weights and the shuffling.
        out: folder that the picture is written to.
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
) -> None:
    """Check hand-written gradients on the present backend: fcjax's own, or a function of yours.

    The exit status is
      0  if every gradient is right,
      1  if one is wrong, or the command itself cannot be carried out,
      2  if none is wrong, but one could be compared with nothing; its report says why.

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
        function: A function of yours, and the point that its gradient is checked at.
        library: Which of fcjax's own rules are checked.
        checking: How they are checked.
        out: JSON file that the reports are written to, each with its verdict.
    """
    from fcjax.cli.verify import verify

    verify(function, library, checking, out)
