"""`explain`: a page on one's own network and batch."""

from collections.abc import Callable, Sequence
from functools import partial, wraps
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Float

from .._arguments import as_integer, check_function, describe, floating, is_number
from ..activations import sigmoid, softmax
from ..losses import sigmoid_binary_cross_entropy, softmax_cross_entropy
from ..model import Model
from ..network import Params, check_network, mlp, unstack
from .arrays import arrays_of, axes_of
from .mistakes import MISTAKES, backward_with, words
from .oracles import autodiff, differences
from .page import Effect, Found, render
from .record import Task, losses, record

Activation = str | Callable[[Array], Array]

# A page holds at most so many numbers, of 4 bytes each: with more, it has fewer steps.
NUMBERS = 800_000
# The steps of the curves.
CURVE = 60


class Page:
    """A page, which a notebook shows, and `save` writes."""

    def __init__(self, html: str):
        self.html = html

    def save(self, path: str | Path) -> Path:
        """Write the page to a file, and return its path."""
        path = Path(path)
        path.write_text(self.html, encoding="utf-8")
        return path

    def _repr_html_(self) -> str:
        framed = self.html.replace("&", "&amp;").replace('"', "&quot;")
        return f'<iframe srcdoc="{framed}" width="100%" height="800"></iframe>'

    def __repr__(self) -> str:
        return f"Page({len(self.html):,} characters)"


def explain(
    params: Params | Model,
    x: Float[ArrayLike, "m n_in"],
    loss: Callable[..., Array],
    target: ArrayLike | None = None,
    *,
    activations: Activation | Sequence[Activation] = "relu",
    output_activation: Activation = "identity",
    learning_rate: float = 0.5,
    steps: int = 20,
) -> Page:
    """Show every array of a training step, and how each gradient comes about.

    The page is one HTML file that needs no network. It has the formula, the code and the matrices
    of each step of the forward and the backward pass; beside each gradient, that of autodiff and
    that of differences; and what five mistakes would do. At most 64 rows and units are shown.

    Args:
        params: the layers, as from `init`, or a `Model`, which has its own activations.
        x: the batch.
        loss: a function of the network's output, `(m, n_out)`, and the target that returns the
            loss, such as `softmax_cross_entropy`; without a target, of the output alone.
        target: the target.
        activations: as in `mlp`.
        output_activation: as in `mlp`.
        learning_rate: the factor of the gradient in a step of gradient descent.
        steps: the number of training steps to show.

    Returns:
        The page. `page.save("explain.html")` writes it; a notebook shows it.

    Raises:
        ImportError: the extra `explain` is not installed.
        TypeError, ValueError: as `mlp` raises for such arguments; `x` is not a batch of rows, the
            loss is not a number, `learning_rate` or `steps` is not positive.

    Source: Rumelhart, Hinton & Williams, Learning representations by back-propagating errors,
    Nature 323 (1986).

    >>> import fcjax
    >>> params = fcjax.init(jax.random.key(0), (2, 1))
    >>> x = jax.numpy.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> target = jax.numpy.array([[1.0], [0.0], [1.0]])
    >>> page = explain(params, x, fcjax.squared_error, target, steps=1)
    >>> "dW" in page.html
    True
    """
    if isinstance(params, Model):
        activations, output_activation = params.activations, params.output_activation
        params = params.params
    check_function("loss", loss)
    if not is_number(learning_rate) or not 0 < learning_rate < np.inf:
        raise ValueError(f"learning_rate must be a positive number, got {describe(learning_rate)}")
    number = as_integer(steps)
    if number is None or number < 1:
        raise ValueError(f"steps must be a positive integer, got {describe(steps)}")
    of_output = loss if target is None else _with_target(loss, target)
    task = _task(unstack(params), x, of_output, activations, output_activation, learning_rate)
    if target is not None:
        task = _with_probabilities(task, loss, jnp.asarray(target), unstack(params))
    return Page(render(_found(task, unstack(params), number)))


def _with_target(loss: Callable[..., Array], target: ArrayLike) -> Callable[[Array], Array]:
    """Return the loss as a function of the output alone, with its name."""
    target = jnp.asarray(target)

    @wraps(loss)
    def of_output(output: Array) -> Array:
        return loss(output, target.astype(output.dtype) if _is_floating(target) else target)

    return of_output


def _with_probabilities(
    task: Task, loss: Callable[..., Array], target: Array, params: Params
) -> Task:
    """Return the task with p and y, if the gradient of its loss is their difference over m."""
    if loss is sigmoid_binary_cross_entropy:
        return task._replace(probabilities=sigmoid, y=np.asarray(target))
    if loss is not softmax_cross_entropy:
        return task
    classes = params[-1].w.shape[1]
    y = target if target.ndim == 2 else jnp.equal(target[:, None], jnp.arange(classes))
    return task._replace(probabilities=softmax, y=np.asarray(y, np.float32))


def _is_floating(array: Array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)


def _found(task: Task, params: Params, steps: int) -> Found:
    (first,) = record(task, params, {0})
    axes = axes_of(first)
    size = sum(array.size for array in arrays_of(first, axes).values())
    most = int(np.clip(NUMBERS // (size * (1 + len(MISTAKES))), 1, steps + 1))
    numbers = np.unique(np.linspace(0, steps, most).round().astype(int)).tolist()
    kept = record(task, params, numbers)
    effects = tuple(
        Effect(
            mistake,
            record(task, params, numbers, backward_with(mistake.key)),
            losses(task, params, CURVE, backward_with(mistake.key)),
            words(mistake, task, first.layers[-1 if mistake.rule == "loss" else 0]),
        )
        for mistake in MISTAKES
    )
    return Found(
        task,
        kept,
        losses(task, params, CURVE),
        axes,
        autodiff(task, first.layers),
        differences(task, first.layers),
        effects,
    )


def _task(
    params: Params,
    x: ArrayLike,
    loss: Callable[[Array], Array],
    activations: Activation | Sequence[Activation],
    output_activation: Activation,
    learning_rate: float,
) -> Task:
    """Return the task, or raise unless the arguments fit one another."""
    functions = check_network(params, activations, output_activation)
    x = floating("x", x)
    if x.ndim != 2 or not x.shape[0]:
        raise ValueError(f"x must be a batch of rows, (m, {len(params[0].w)}), got {describe(x)}")
    *hidden, last = functions
    network = partial(mlp, activations=hidden, output_activation=last)
    output = jax.eval_shape(network, params, x)
    value = jax.eval_shape(loss, output)
    if getattr(value, "shape", None) != ():
        raise TypeError(f"loss must return a number, got {describe(value)}")
    return Task(functions, x, loss, learning_rate)
