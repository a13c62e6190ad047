"""`explain`: a page on one's own network and batch."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Float

from .._arguments import as_array, as_integer, brief, check_function, describe, floating, is_number
from ..activations import sigmoid, softmax
from ..losses import sigmoid_binary_cross_entropy, softmax_cross_entropy
from ..model import Model
from ..network import Params, check_network, mlp, unstack
from .arrays import arrays_of, axes_of
from .finite import check_finite
from .mistakes import Mistake, backward_with, is_mean, mistakes_for, words
from .oracles import autodiff, differences
from .page import Effect, Found, render
from .record import Task, losses, record

Activation = str | Callable[[Array], Array]

# A page holds at most so many numbers, of 4 bytes each: with more, it has fewer steps.
NUMBERS = 800_000
# The curves have so many steps, or more if more are shown.
CURVE = 60
# The rates that are tried where none is given.
RATES = (0.5, 0.1, 0.02, 0.004, 8e-4, 1.6e-4)


class Page:
    """A page, which a notebook shows, and `save` writes."""

    def __init__(self, html: str):
        self.html = html

    def save(self, path: str | Path) -> Path:
        """Write the page to a file, create its folder if needed, and return the path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
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
    learning_rate: float | None = None,
    steps: int = 20,
    names: Sequence[str] | None = None,
) -> Page:
    """Show every array of a training step, and how each gradient comes about.

    The page is one HTML file that needs no network. It has the formula, the code and the matrices
    of each step of the forward and the backward pass; beside each gradient, that of autodiff and
    that of differences; and what five mistakes would do, or fewer: without biases, their gradient
    has no sum that could be missing, and of a loss that is not a mean over the examples, no 1/m
    could be lost. At most 64 rows and units are shown.

    Args:
        params: the layers, as from `init`, or a `Model`, which has its own activations. Its dropout
            is left out.
        x: the batch.
        loss: a function of the network's output, `(m, n_out)`, and the target that returns the
            loss, such as `softmax_cross_entropy`; without a target, of the output alone.
        target: the target.
        activations: as in `mlp`.
        output_activation: as in `mlp`.
        learning_rate: the factor of the gradient in a step of gradient descent. By default, the
            largest of 0.5, 0.1, 0.02, 0.004, 0.0008 and 0.00016 with which no loss of the curve is
            above the first, or else the last of them. The curve has 60 losses, or all of the steps.
        steps: the number of training steps to show.
        names: the names of the columns of `x`, which the page has beside their numbers.

    Returns:
        The page. `page.save("explain.html")` writes it; a notebook shows it.

    Raises:
        ImportError: the extra `explain` is not installed.
        TypeError, ValueError: as `mlp` raises for such arguments; `x` is not a batch of rows, `x`
            or `params` holds a number that is not finite, the target is no array of numbers, the
            loss is not a real number or not finite, an activation changes the shape or the dtype,
            a model rounds to a `compute_dtype`, `learning_rate` or `steps` is not positive, or
            `names` are not as many texts as `x` has columns.

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
        if params.compute_dtype is not None:
            raise ValueError(
                "params must be a model without compute_dtype, as dataclasses.replace(model, "
                f"compute_dtype=None) returns it, got {params!r}"
            )
        activations, output_activation = params.activations, params.output_activation
        params = params.params
    check_function("loss", loss)
    if getattr(learning_rate, "shape", None) == ():
        learning_rate = float(learning_rate)  # pyright: ignore[reportArgumentType] - an array
    is_rate = is_number(learning_rate) and 0 < learning_rate < np.inf
    if learning_rate is not None and not is_rate:
        raise ValueError(f"learning_rate must be a positive number, got {describe(learning_rate)}")
    number = as_integer(steps)
    if number is None or number < 1:
        raise ValueError(f"steps must be a positive integer, got {describe(steps)}")
    layers = unstack(params)
    if target is not None:
        target = as_array("target", target, "an array of numbers, such as the numbers of classes")
    of_output = _with_target(loss, target)
    task = _task(layers, x, of_output, activations, output_activation, learning_rate or RATES[0])
    check_finite(task, layers, loss, target)
    task = task._replace(given=loss)
    if target is not None:
        task = _with_labels(task, loss, target, layers)
    if learning_rate is None:
        task = _with_rate(task, layers, number)
    mistakes = mistakes_for(layers, is_mean=_is_mean(loss, target, task.forward(layers)[0]))
    found = _found(task, layers, number, mistakes)
    return Page(render(found._replace(names=_checked_names(names, task.x))))


def _checked_names(names: Sequence[str] | None, x: Array) -> tuple[str, ...]:
    """Return the names of the columns of x; none if none are given."""
    if names is None:
        return ()
    count = x.shape[1]
    found: tuple[Any, ...] = () if isinstance(names, str) else tuple(names)
    if len(found) != count or not all(isinstance(name, str) for name in found):
        raise ValueError(
            f"names must be {count} texts, one for each column of x, got {brief(names)}"
        )
    return found


def _with_target(loss: Callable[..., Array], target: Array | None) -> Callable[[Array], Array]:
    """Return the loss as a function of the output alone."""

    def of_output(output: Array) -> Array:
        if target is None:
            return loss(output)
        return loss(output, target.astype(output.dtype) if _is_floating(target) else target)

    return of_output


def _is_mean(loss: Callable[..., Array], target: Array | None, output: Array) -> bool:
    """Whether the loss is a mean over the examples, so that 1/m could be lost."""

    def of_rows(rows: Array, part: slice) -> Array:
        if target is None or not target.ndim or len(target) != len(output):
            return _with_target(loss, target)(rows)
        return _with_target(loss, target[part])(rows)

    return is_mean(of_rows, output)


def _with_rate(task: Task, params: Params, steps: int) -> Task:
    """Return the task with the largest of some rates with which no loss is above the first."""
    for rate in RATES:
        task = task._replace(learning_rate=rate)
        found = losses(task, params, _length_of_curve(steps))
        if np.all(found <= found[0]):  # not where one is NaN
            break
    return task


def _length_of_curve(steps: int) -> int:
    return max(CURVE, steps + 1)


def _with_labels(task: Task, loss: Callable[..., Array], target: Array, params: Params) -> Task:
    """Return the task with y, and with p if the gradient of its loss is `(p - y)/m`."""
    if loss is softmax_cross_entropy:
        classes = jnp.arange(params[-1].w.shape[1])
        y = target if target.ndim == 2 else jnp.equal(target[:, None], classes)
        return task._replace(probabilities=softmax, y=np.asarray(y, np.float32))
    if not target.size or jnp.iscomplexobj(target):
        return task  # which have no place in a table of numbers
    has_rows = target.ndim > 0 and len(target) == len(task.x)
    y = np.asarray(target, np.float32).reshape(len(task.x) if has_rows else 1, -1)
    is_sigmoid = loss is sigmoid_binary_cross_entropy
    return task._replace(probabilities=sigmoid if is_sigmoid else None, y=y)


def _is_floating(array: Array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)


def _found(task: Task, params: Params, steps: int, mistakes: Sequence[Mistake]) -> Found:
    (first,) = record(task, params, {0})
    axes = axes_of(first)
    size = sum(array.size for array in arrays_of(first, axes).values())
    most = int(np.clip(NUMBERS // (size * (1 + len(mistakes))), 1, steps + 1))
    numbers = np.unique(np.linspace(0, steps, most).round().astype(int)).tolist()
    kept = record(task, params, numbers)
    curve = _length_of_curve(steps)
    effects = tuple(
        Effect(
            mistake,
            record(task, params, numbers, backward_with(mistake.key)),
            losses(task, params, curve, backward_with(mistake.key)),
            words(mistake, task, first.layers),
        )
        for mistake in mistakes
    )
    return Found(
        task,
        kept,
        losses(task, params, curve),
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
    try:
        value = jax.eval_shape(loss, output)
    except (TypeError, ValueError) as error:
        line = str(error).splitlines()[0]
        raise type(error)(
            f"loss cannot be computed from the output, {describe(output)}, and target: {line}"
        ) from error
    if getattr(value, "shape", None) != ():
        raise TypeError(f"loss must return a number, got {describe(value)}")
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(f"loss must return a real floating-point number, got {describe(value)}")
    _check_activations(functions, params, x)
    return Task(functions, x, loss, learning_rate)


def _check_activations(
    functions: Sequence[Callable[[Array], Array]], params: Params, x: Array
) -> None:
    """Raise ValueError unless each keeps shape and dtype: the page has a column for each unit."""
    for l, (g, layer) in enumerate(zip(functions, params, strict=True), 1):
        dtype = jnp.result_type(x, layer.w)
        Z = jax.ShapeDtypeStruct((len(x), layer.w.shape[1]), dtype)
        A = jax.eval_shape(g, Z)
        if (A.shape, A.dtype) != (Z.shape, Z.dtype):
            raise ValueError(
                f"the activation of layer {l} must return {describe(Z)}, as it gets, "
                f"got {describe(A)}"
            )
