"""Deep networks of equal layers: unrolled, under scan with autodiff, and `fcjax.stack`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

import fcjax

from ..cases import Deep
from ..networks import LEARNING_RATE
from ..program import Facts, Program, Skip, compiled, memory_of

CLASSES = 10


Params = tuple[fcjax.Layer, ...]
Batch = tuple[Array, Array]
Loss = Callable[[Params, Batch], Array]


def gradient(deep: Deep, system: str, **options: Any) -> Program:
    """Loss and gradient in one call; the gradient is its output and counts as no temporary."""
    loss, params, batch = loss_and_arguments(deep, system, **options)
    call = jax.jit(jax.value_and_grad(loss))

    def run() -> list[Array]:
        value, _ = jax.block_until_ready(call(params, batch))
        return [value]

    return Program(run, 1, partial(memory_of, call, params, batch))


def compile_only(deep: Deep, system: str, at_most: int | None = None, **options: Any) -> Program:
    """Compile the same call and run nothing."""
    if at_most is not None and deep.layers > at_most:
        raise Skip(f"not tried beyond {at_most} layers, for the time it takes")
    loss, params, batch = loss_and_arguments(deep, system, **options)
    # the first program of a process also starts the compiler
    jax.jit(lambda x: x @ x + 1).lower(jnp.ones((8, 8))).compile()
    return Program(None, 1, partial(compiled, jax.jit(jax.value_and_grad(loss)), params, batch))


def trained(deep: Deep, remat_every: int) -> Program:
    """Three steps of gradient descent with `fcjax.stack`, state donated."""
    # every layer changes the signal, so that a step is the larger the more there are
    optimizer = optax.sgd(LEARNING_RATE / deep.layers)
    batch = _batch(deep)
    state = fcjax.init_state(_parameters(deep), optimizer)
    step = fcjax.make_train_step(_fcjax_loss(deep, remat_every=remat_every), optimizer)
    losses: list[Array] = []

    def run() -> list[Array]:
        nonlocal state
        state, info = step(state, batch)
        losses.append(jax.block_until_ready(info.loss))
        return losses[-1:]

    def inspect() -> Facts:
        facts = memory_of(step, state, batch)
        return facts | {"first_losses": [float(loss) for loss in losses]}

    return Program(run, 1, inspect, comparable=False)


def plain(activation: str) -> Callable[[Array], Array]:
    """Return what JAX alone offers under that name."""
    return getattr(jax.nn, activation)


def loss_and_arguments(deep: Deep, system: str, remat: bool = False) -> tuple[Loss, Params, Batch]:
    """Return the loss, the parameters in the form that it takes, and a batch."""
    every = round(deep.layers**0.5) if remat else None
    loss = {
        "unrolled": _fcjax_loss(deep),
        "unrolled, jax.grad": partial(_unrolled_loss, plain(deep.activation)),
        "scan, jax.grad": partial(_scan_loss, plain(deep.activation)),
        "fcjax.stack": _fcjax_loss(deep, remat_every=every),
    }[system]
    params = _parameters(deep)
    return loss, fcjax.unstack(params) if "unrolled" in system else params, _batch(deep)


def _parameters(deep: Deep) -> Params:
    """Return the hidden layers as one run, and the output layer.

    The hidden weights are the identity plus small noise: signals and gradients neither fade nor
    explode, at any depth.
    """
    keys = jax.random.split(jax.random.key(0))
    shape = deep.layers, deep.width, deep.width
    noise = jax.random.normal(keys[0], shape) / (deep.layers * deep.width**0.5)
    hidden = fcjax.Layer(noise + jnp.eye(deep.width), jnp.zeros(shape[:2]))
    return hidden, *fcjax.init(keys[1], (deep.width, CLASSES))


def _batch(deep: Deep) -> Batch:
    keys = jax.random.split(jax.random.key(1))
    X = jax.random.normal(keys[0], (deep.batch, deep.width))
    return X, jax.random.randint(keys[1], (deep.batch,), 0, CLASSES)


def _fcjax_loss(deep: Deep, **options: Any) -> Loss:
    def loss(params: Params, batch: Batch) -> Array:
        logits = fcjax.mlp(params, batch[0], activations=deep.activation, **options)
        return fcjax.softmax_cross_entropy(logits, batch[1])

    return loss


def _unrolled_loss(
    g: Callable[[Array], Array], params: Params, batch: tuple[Array, Array]
) -> Array:
    A, y = batch
    for w, b in params[:-1]:
        A = g(A @ w + b)
    return _cross_entropy(A, params[-1], y)


def _scan_loss(g: Callable[[Array], Array], params: Params, batch: Batch) -> Array:
    def layer(A: Array, layer: fcjax.Layer) -> tuple[Array, None]:
        return g(A @ layer.w + layer.b), None

    A, _ = lax.scan(layer, batch[0], params[0])
    return _cross_entropy(A, params[-1], batch[1])


def _cross_entropy(A: Array, output: fcjax.Layer, y: Array) -> Array:
    logits = A @ output.w + output.b
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
