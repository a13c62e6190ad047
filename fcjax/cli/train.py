"""`fcjax train`: train a network on real data."""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from rich.console import Console
from rich.table import Table

from fcjax_cli.options import OurData, OwnData

from .. import datasets, distributed, plot
from .._arguments import check_one_of
from .._types import AnyArray, Function
from ..activations import ACTIVATIONS
from ..losses import half_squared_error, softmax_cross_entropy
from ..network import Params, init, mlp
from ..train import FitResult, checked_count, fit, optimizer_named
from ..verify import without_rules

# Examples, targets and, if examples were added to fill a mesh, weights.
Batch = tuple[AnyArray, ...]

_console = Console(soft_wrap=True, highlight=False)


def train_on_ours(
    own: OwnData, ours: OurData, *, epochs: int | None, seed: int, out: Path, dtype: str | None
) -> int:
    """Check that no option is for one's own table, and train; return the exit status."""
    for name, value in vars(own).items():
        if value != getattr(OwnData(), name):
            raise ValueError(
                f"{name}: needs a file of your own, got none; the file comes first: "
                "fcjax train FILE --target COLUMN"
            )
    if dtype is not None:
        raise ValueError(f"dtype: needs a file of your own, got none and {dtype!r}")
    train(
        dataset=ours.dataset or "digits",
        hidden=ours.hidden,
        activation=ours.activation or "relu",
        optimizer=ours.optimizer or "adam",
        lr=ours.lr,
        epochs=epochs,
        batch_size=32 if ours.batch_size is None else ours.batch_size,
        seed=seed,
        out=out,
        processes=ours.processes or 1,
    )
    return 0


def train(
    *,
    dataset: str,
    hidden: tuple[int, ...] | None,
    activation: str,
    optimizer: str,
    lr: float | None,
    epochs: int | None,
    batch_size: int,
    seed: int,
    out: Path,
    processes: int,
) -> None:
    """Train a network on real data, compare its gradients with autodiff, and draw the result.

    Of several processes, as from `fcjax launch`, the first prints and draws.
    """
    start = time.perf_counter()
    if processes > 1:
        distributed.initialize()
    _console.quiet = jax.process_index() > 0
    check_one_of("activation", activation, ACTIVATIONS)
    update = optimizer_named(optimizer, lr)
    checked_count("batch_size", batch_size)
    if epochs is not None:
        checked_count("epochs", epochs)
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed: got {seed}; accepted: an integer from 0 to 2³² - 1")
    try:  # fail before training if the folder cannot be written
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"--out {str(out)!r} cannot be made a folder: {error}") from None
    data = datasets.load(dataset, seed=seed)
    hidden = data.hidden if hidden is None else hidden
    task = _Task(data, activation)
    sizes = (data.x_train.shape[1], *hidden, task.outputs)
    params = init(jax.random.key(seed), sizes)
    _console.print(_headline(data, sizes, activation, params))
    _compare_with_autodiff(task.loss, params, task.train_batch(batch_size))
    mesh = distributed.mesh() if processes > 1 else None
    result = fit(
        params,
        task.train_data(mesh),
        loss=task.loss,
        optimizer=update,
        epochs=data.epochs if epochs is None else epochs,
        batch_size=batch_size,
        validation_data=(data.x_test, data.y_test),
        metrics={task.metric_name: task.metric},
        seed=seed,
        mesh=mesh,
    )
    if jax.process_index() > 0:
        return
    result = result._replace(params=jax.tree.map(np.asarray, result.params))  # off the mesh
    picture = plot.save(task.draw(result), out / f"{dataset}.png")
    _console.print(task.summary(result))
    _console.print(f"loss and errors are plotted in {picture}; {time.perf_counter() - start:.1f} s")


class _Task:
    """The parts of training that differ between classification and regression."""

    def __init__(self, data: datasets.Dataset, activation: str):
        self.data = data
        self.outputs = len(data.classes) or 1
        self.metric_name = "accuracy" if data.is_classification else "r2"
        self._activation = activation

    def predict(self, params: Params, x: AnyArray) -> jax.Array:
        return mlp(params, x, activations=self._activation)

    def loss(self, params: Params, batch: Batch) -> jax.Array:
        compare = softmax_cross_entropy if self.data.is_classification else half_squared_error
        x, y, *weights = batch
        return compare(self.predict(params, x), y, weights=weights[0] if weights else None)

    def metric(self, params: Params, batch: Batch) -> jax.Array:
        """Return the accuracy, or the coefficient of determination R²."""
        prediction, y = self.predict(params, batch[0]), batch[1]
        if self.data.is_classification:
            return jnp.mean(jnp.argmax(prediction, -1) == y)
        return 1 - jnp.sum((prediction - y) ** 2) / jnp.sum((y - jnp.mean(y)) ** 2)

    def train_data(self, mesh: Mesh | None) -> Batch:
        """Return the training data, filled up with examples of weight 0 on a mesh."""
        if mesh is None:
            return self.data.x_train, self.data.y_train
        batch, weights = distributed.padded((self.data.x_train, self.data.y_train), mesh)
        return *batch, weights

    def train_batch(self, size: int) -> Batch:
        return self.data.x_train[:size], self.data.y_train[:size]

    def _test_predictions(self, params: Params) -> np.ndarray:
        prediction = np.asarray(self.predict(params, self.data.x_test))
        return prediction.argmax(-1) if self.data.is_classification else prediction

    def summary(self, result: FitResult) -> str:
        value, y = result.history[f"val_{self.metric_name}"][-1], self.data.y_test
        prediction = self._test_predictions(result.params)
        if self.data.is_classification:
            wrong = int((prediction != y).sum())
            return f"test accuracy {value:.2%}: {wrong} of {len(y)} wrong"
        rmse = self.data.y_scale * float(np.sqrt(np.mean((prediction - y) ** 2)))
        return f"test R² {value:.3f}: root mean square error {rmse:.1f} in the target's unit"

    def draw(self, result: FitResult) -> plot.Figure:
        fig = plot.figure(11, 4.5)
        left, right = fig.subfigures(1, 2, squeeze=False, width_ratios=(2, 3))[0]
        plot.loss_curve(left.subplots(), result.history)
        prediction, data = self._test_predictions(result.params), self.data
        if not data.is_classification:
            plot.predicted_against_true(right.subplots(), data.y_test, prediction)
            right.suptitle("Test set, standardized target")
        elif data.test_images is None:
            plot.confusion(right.subplots(), data.y_test, prediction, data.classes)
            right.suptitle(f"Test set: {self.summary(result)}")
        else:
            wrong = np.flatnonzero(prediction != data.y_test)
            plot.wrong_images(
                right,
                data.test_images[wrong],
                [data.classes[c] for c in data.y_test[wrong]],
                [data.classes[c] for c in prediction[wrong]],
                title=self.summary(result),
            )
        return fig


def _headline(
    data: datasets.Dataset, sizes: tuple[int, ...], activation: str, params: Params
) -> str:
    numbers = sum(leaf.size for leaf in jax.tree.leaves(params))
    return (
        f"{data.name}: {len(data.x_train)} training examples, {len(data.x_test)} test examples\n"
        f"network {'-'.join(map(str, sizes))}, {activation}, {numbers:,} parameters"
    )


def _compare_with_autodiff(loss: Function, params: Params, batch: Batch) -> None:
    """Print the difference between hand-derived gradient and autodiff for each parameter."""
    by_hand = jax.jit(jax.grad(loss))(params, batch)
    by_jax = jax.jit(jax.grad(without_rules(loss)))(params, batch)
    table = Table("gradient", "shape", "largest entry", "largest difference", box=None)
    worst = 0.0
    for (path, ours), theirs in zip(
        jax.tree_util.tree_leaves_with_path(by_hand), jax.tree.leaves(by_jax), strict=True
    ):
        difference = float(jnp.max(jnp.abs(ours - theirs)))
        largest = float(jnp.max(jnp.abs(theirs)))
        worst = max(worst, difference / largest if largest else difference)
        layer, name = path[0].idx + 1, path[1].name
        table.add_row(f"d{name.upper() if name == 'w' else name}_{layer}", str(ours.shape),
                      f"{largest:.2e}", f"{difference:.1e}")  # fmt: skip
    _console.print("\nhand-derived gradients compared with autodiff, on one batch", table)
    _console.print(f"largest difference, relative to the largest entry: {worst:.1e}\n")
    if not worst < 1e-3:
        raise SystemExit("the hand-derived gradients differ from autodiff")
