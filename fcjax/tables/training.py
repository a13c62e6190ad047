"""Train the network of a preset, or several of them at once, with `fit`."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from .._types import Tree
from ..activations import softmax
from ..losses import mean_squared_error, softmax_cross_entropy
from ..train import FitResult, fit
from .metrics import Metric
from .networks import Network
from .presets import Recipe, Task

# An array of NumPy or JAX with a row for each row of a table.
Rows = Array | np.ndarray


class Examples(NamedTuple):
    """Inputs, targets and weights of rows. Targets are labels, or numbers `(n, outputs)`."""

    x: Rows
    y: Rows
    weights: Rows | None = None


class Networks(NamedTuple):
    """A network, and how many of them are trained together."""

    network: Network
    copies: int = 1
    compute_dtype: Any = None

    @property
    def size(self) -> int:
        """The number of parameters."""
        return self.copies * self.network.size

    def init(self, seed: int) -> Tree:
        """Draw the parameters of all; those of several have a leading axis."""
        drawn = [self.network.init(np.random.default_rng([seed, i])) for i in range(self.copies)]
        if self.copies == 1:
            return drawn[0]
        # jnp.stack would compile a program for each shape
        return jax.device_put(jax.tree.map(lambda *V: np.stack(V), *drawn))

    def apply(self, params: Tree, x: Array, key: Array | None = None) -> Array:
        """Return the outputs `(members of all, n, outputs)`."""
        apply = partial(self.network.apply, compute_dtype=self.compute_dtype)
        if self.copies == 1:
            return jnp.moveaxis(apply(params, x, key), 1, 0)
        keys = None if key is None else jax.random.split(key, self.copies)
        axes = (0, None, None if key is None else 0)
        outputs = jax.vmap(apply, in_axes=axes)(params, x, keys)
        return jnp.moveaxis(outputs, 2, 1).reshape(-1, x.shape[0], outputs.shape[-1])


def predictions(task: Task, outputs: Array) -> Array:
    """Average the members: their probabilities, or their numbers."""
    return jnp.mean(softmax(outputs) if task == "classification" else outputs, axis=0)


def train(
    networks: Networks,
    task: Task,
    recipe: Recipe,
    train_data: Examples,
    validation_data: Examples,
    metric: Metric,
    *,
    unit: float = 1.0,
    seed: int = 0,
    **options: Any,
) -> FitResult:
    """Train on examples, and return the parameters of the epoch that is best on the others.

    The metric is multiplied by `unit`. `options` are those of `fit`, such as `progress` and
    `checkpoint_dir`.
    """
    steps = recipe.epochs * steps_of_epoch(len(train_data.x), recipe)
    optimizer = recipe.optimizer(steps)
    params = networks.init(seed)
    data, held_out = (_as_dict(examples) for examples in (train_data, validation_data))
    # an array, for a number in the program would have it compiled again for each table
    held_out = {**held_out, "unit": np.full(len(validation_data.x), unit, np.float32)}
    return fit(
        params,
        data,
        validation_data=held_out,
        optimizer=optimizer if networks.copies == 1 else each(optimizer),
        loss=partial(_loss, networks, task, recipe.label_smoothing),
        metrics={metric.name: partial(_score, networks, task, metric)},
        monitor=f"val_{metric.name}",
        mode=metric.mode,
        ties=recipe.ties,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        drop_last=recipe.drop_last,
        patience=recipe.patience,
        seed=seed,
        **options,
    )


def steps_of_epoch(examples: int, recipe: Recipe) -> int:
    """Return the number of steps that a recipe takes in an epoch."""
    batch = min(recipe.batch_size, examples)
    return examples // batch if recipe.drop_last else -(-examples // batch)


def _as_dict(examples: Examples) -> Mapping[str, Rows]:
    return {name: V for name, V in examples._asdict().items() if V is not None}


def _loss(
    networks: Networks, task: Task, smoothing: float, params: Tree, batch: Mapping[str, Array],
    key: Array | None,
) -> Array:  # fmt: skip
    """Return the mean of the members' losses, over the networks too.

    The gradient of each network is that of a network alone, which is that of the sum over them.
    """
    x, data = batch["x"], (batch["y"], batch.get("weights"))
    if key is None:
        # the outputs are those of the metric, and computed once for both
        return _mean_loss(task, 0.0, jnp.moveaxis(networks.apply(params, x), 0, 1), data)
    loss = partial(_mean_loss, task, smoothing)

    def of_network(params: Tree, key: Array) -> Array:
        return networks.network.mean_loss(loss, params, x, data, key, networks.compute_dtype)

    if networks.copies == 1:
        return of_network(params, key)
    losses = jax.vmap(of_network)(params, jax.random.split(key, networks.copies))
    return _with_gradient_of(jnp.mean(losses), jnp.sum(losses))


def _with_gradient_of(value: Array, other: Array) -> Array:
    """Return a value whose gradient is that of another: what is added back is a constant."""
    return other + jax.lax.stop_gradient(value - other)


def _mean_loss(
    task: Task, smoothing: float, outputs: Array, data: tuple[Array, Array | None]
) -> Array:
    """Return the mean loss of outputs `(n, members, outputs)`."""
    y, weights = data
    members = outputs.shape[1]
    flat = outputs.reshape(-1, outputs.shape[-1])
    y = jnp.repeat(y, members, axis=0)
    weights = None if weights is None else jnp.repeat(weights, members)
    if task == "regression":
        return mean_squared_error(flat, y, weights=weights)
    return softmax_cross_entropy(flat, y, weights=weights, label_smoothing=smoothing)


def _score(
    networks: Networks, task: Task, metric: Metric, params: Tree, batch: Mapping[str, Array]
) -> Array:
    predicted = predictions(task, networks.apply(params, batch["x"]))
    return batch["unit"][0] * metric.function(predicted, batch["y"], batch.get("weights"))


def each(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Return an optimizer of several networks, whose parameters have a leading axis."""

    def update(updates: Tree, state: Tree, params: Tree | None = None) -> tuple[Tree, Tree]:
        return jax.vmap(optimizer.update)(updates, state, params)

    return optax.GradientTransformation(jax.vmap(optimizer.init), update)
