"""The options of several commands, and their help."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

# The names in `fcjax.verify.CHECKS`, repeated here because importing them would load JAX.
CHECKS = (
    "structure", "dtype", "primal", "vjp", "finite_differences", "dot_product", "precision",
    "exact", "partial_use", "zero_cotangent", "linearity", "forward", "second_order",
    "third_order", "finite", "kinks", "search", "integers", "vmap", "jit", "checkpoint", "repeated",
    "scan", "determinism", "sharding",
)  # fmt: skip
CHECKS_TO_RUN = f"which checks to perform; by default all of {', '.join(CHECKS)}."


def _as(metavar: str, text: str | None = None) -> object:
    """Return the help settings of an option, without its default, which means that it is unset."""
    return arg(metavar=metavar, help=text, help_behavior_hint="")


@dataclasses.dataclass(frozen=True)
class Function:
    """Your own function, and the arguments at which its gradient is checked.

    Attributes:
        target: package.module:function, installed or in the current folder. Without a target,
            every rule of fcjax is checked.
        shapes: one description for each argument of the function. Arrays are drawn at random.
            - 5x3 is an array of standard normal numbers
            - 5x3@0.1:2 is uniform between 0.1 and 2, and 5@-2:-1 between -2 and -1
            - 5:4 is five integers from 0 to 3, and 5:-2:4 from -2 to 3
            - scalar, scalar@0:1 and scalar:4 are arrays without axes
            - 0.5 is a Python number
            - =3, =True, =None or =(1,2) is that Python value, and =name is the string "name"

            Gradients are checked with respect to each floating-point array, not Python values.
        args: the arguments themselves, instead of shapes.
            - FILE.json is a JSON list of arguments. Nested lists of numbers with a rectangular
            shape are arrays, of dtype int32 if every number is an integer. Other lists are lists,
            objects are dicts, and strings, true, null and single numbers are Python values.
            - package.module:function is called without arguments. It returns a tuple of
            arguments, or (args, kwargs), a tuple and a dict. Its arrays keep their dtypes unless
            --dtypes is given.
        reference: package.module:function with the same arguments and a correct gradient; by
            default the target without its hand-written rules.
        expected_failures: gradients that are wrong on purpose: vjp=x is the gradient with respect
            to x, and linearity, alone, is that check for every argument. A failure that is expected
            of vjp is expected of every check of the same values.
    """

    target: Annotated[Positional[str | None], _as("TARGET")] = None
    shapes: Annotated[tuple[str, ...], _as("SHAPE ...")] = ()
    args: Annotated[str | None, _as("FILE.json|MODULE:FUNCTION")] = None
    reference: Annotated[str | None, _as("MODULE:FUNCTION")] = None
    expected_failures: Annotated[tuple[str, ...], _as("CHECK[=ARGUMENT] ...")] = ()


@dataclasses.dataclass(frozen=True)
class CostOf:
    """The function, and its arguments.

    Attributes:
        target: package.module:function, installed or in the current folder.
        shapes: one description for each argument, as for fcjax verify: 5x3 is an array of standard
            normal numbers, 5x3@0.1:2 uniform, 5:4 five integers from 0 to 3, 0.5 and =3 Python
            values.
        args: the arguments themselves, instead of shapes: a JSON list, or package.module:function.
        reference: package.module:function with the same arguments, which autodiff differentiates;
            by default the target without its hand-written rules.
    """

    target: Annotated[Positional[str], arg(metavar="TARGET")]
    shapes: Annotated[tuple[str, ...], _as("SHAPE ...")] = ()
    args: Annotated[str | None, _as("FILE.json|MODULE:FUNCTION")] = None
    reference: Annotated[str | None, _as("MODULE:FUNCTION")] = None


@dataclasses.dataclass(frozen=True)
class Explained:
    """The network, and its batch.

    Attributes:
        model: the folder of a model, as from fcjax train or fcjax.save. Without one, the page is
            on a 2-4-1 network of sigmoids that learns exclusive or.
        file: a CSV or a Parquet file with the columns of the model and the target. A model for
            tables treats it as in training; for another one, all columns are numbers.
        target: the column to predict, or several, where the model does not say.
        loss: the name of a loss of fcjax, such as softmax_cross_entropy; by default what fits the
            outputs.
        rows: rows of the batch, evenly spaced in the file; by default 8.
        member: which member of an ensemble is shown, counted from 1; by default the first. Its
            factors are multiplied into the weights.
    """

    model: Annotated[Positional[Path | None], _as("MODEL_DIR")] = None
    file: Annotated[Positional[Path | None], _as("FILE")] = None
    target: Annotated[tuple[str, ...], _as("COLUMN ...")] = ()
    loss: Annotated[str | None, _as("NAME")] = None
    rows: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    member: Annotated[int | None, arg(metavar="K", help_behavior_hint="")] = None


@dataclasses.dataclass(frozen=True)
class Library:
    """Which of fcjax's rules to check.

    Attributes:
        only: check only rules whose name contains this text.
        exhaustive: instead, check each activation at every number of the dtypes: 65536 in bfloat16
            and in float16, and 2³² in float32, which takes minutes per activation. Intermediate
            results are saved next to the reports, and a second call continues from them.
    """

    only: Annotated[str, _as("NAME")] = ""
    exhaustive: Annotated[bool, arg(help_behavior_hint="")] = False


@dataclasses.dataclass(frozen=True)
class Checking:
    """How to check.

    Attributes:
        dtypes: one or more of bfloat16, float16, float32 and float64. The rule is checked once with
            its arrays in each. The default, float32, also compares in float64 and in 16 bits.
        checks: names of the checks to perform; by default all.
        rtol: relative accuracy of the function itself, such as 1e-6 for an iteration that stops
            there. It is added to the tolerance of every comparison.
        atol: absolute accuracy of the function itself.
        time_limit: seconds for each rule, after which no further check of that rule starts.
        search: points at which the search tries each rule, with a second for each 200 of them; 0
            leaves the search out. By default 200.
        seed: seed from which arrays and cotangents are drawn.
    """

    dtypes: Annotated[tuple[str, ...], _as("DTYPE ...")] = ()
    checks: Annotated[tuple[str, ...], _as("CHECK ...", CHECKS_TO_RUN)] = ()
    rtol: Annotated[float | None, _as("NUMBER")] = None
    atol: Annotated[float | None, _as("NUMBER")] = None
    time_limit: Annotated[float | None, _as("SECONDS")] = None
    search: Annotated[int, arg(metavar="POINTS")] = 200
    seed: Annotated[int, arg(metavar="INTEGER")] = 0


@dataclasses.dataclass(frozen=True)
class OwnData:
    """Your own table, and how it is treated.

    Attributes:
        file: a CSV or a Parquet file. Without one, the network is trained on --dataset.
        target: the column to predict, or several columns of numbers.
        preset: realmlp, or tabm, which takes longer and is often a little better.
        task: classification or regression; by default text, and at most ten different whole
            numbers, are classes.
        kinds: what a column is to be, as NAME=KIND, with KIND one of number, category, date, drop.
            The kinds of others are found.
        drop: columns to leave out.
        split: how rows are split. rows: at random; group:COLUMN: rows of a group stay together;
            time:COLUMN: the last rows are the test, and those before choose the epoch.
        metric: the figure by which the epoch is chosen. Of classes accuracy (the default), error,
            log_loss, auc or brier; of numbers rmse (the default), mae, r2 or mse.
        class_weight: balanced, or weights as CLASS=WEIGHT.
        sample_weight: a column of weights, which is then no feature.
        members: networks that are trained at once, and whose predictions are averaged.
        embeddings: whether tabm embeds each number by its piecewise-linear encoding.
        checkpoints: folder in which training is saved as it goes on; a second call resumes from it.
        track: where the figures of each epoch are recorded: FILE.jsonl, with a line of JSON for
            each, or tensorboard:FOLDER, for TensorBoard.
    """

    file: Annotated[Positional[Path | None], _as("FILE")] = None
    target: Annotated[tuple[str, ...], _as("COLUMN ...")] = ()
    preset: Annotated[Literal["realmlp", "tabm"], arg()] = "realmlp"
    task: Annotated[Literal["classification", "regression"] | None, _as("TASK")] = None
    kinds: Annotated[tuple[str, ...], _as("NAME=KIND ...")] = ()
    drop: Annotated[tuple[str, ...], _as("COLUMN ...")] = ()
    split: Annotated[str, arg(metavar="rows|group:COLUMN|time:COLUMN")] = "rows"
    metric: Annotated[str | None, _as("NAME")] = None
    class_weight: Annotated[tuple[str, ...], _as("balanced|CLASS=WEIGHT ...")] = ()
    sample_weight: Annotated[str | None, _as("COLUMN")] = None
    members: Annotated[int, arg(metavar="K")] = 1
    embeddings: bool = False
    checkpoints: Annotated[Path | None, _as("DIR")] = None
    track: Annotated[tuple[str, ...], _as("FILE.jsonl|tensorboard:FOLDER ...")] = ()


@dataclasses.dataclass(frozen=True)
class OurData:
    """One of our data sets, and the network that is trained on it.

    Attributes:
        dataset: digits (the default), breast-cancer, diabetes (regression), iris, wine or mnist5k.
        hidden: units of each hidden layer; by default 256 128 for images and 16 for tables.
        activation: name of the activation of the hidden layers; by default relu.
        optimizer: name of any Optax optimizer; by default adam.
        lr: learning rate; by default that of the optimizer, or 0.001 if it has none.
        batch_size: examples per step; by default 32.
        processes: processes on this machine that share each batch; the number of their devices,
            which is that of the processes, must divide the batch size. By default 1.
    """

    dataset: Annotated[str | None, _as("NAME")] = None
    hidden: Annotated[tuple[int, ...] | None, _as("UNITS ...")] = None
    activation: Annotated[str | None, _as("NAME")] = None
    optimizer: Annotated[str | None, _as("NAME")] = None
    lr: Annotated[float | None, _as("NUMBER")] = None
    batch_size: Annotated[int | None, _as("N")] = None
    processes: Annotated[int | None, _as("N")] = None
