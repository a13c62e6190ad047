"""Deep networks of equal layers: unrolled, under scan with autodiff, and `fcjax.stack`."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

import fcjax

from ..activations import ACTIVATIONS
from ..cases import Deep
from ..networks import LEARNING_RATE
from ..program import Facts, Program, Skip, compiled, memory_of
from . import of_jax
from .of_fcjax import classification

CLASSES = 10

Params = tuple[fcjax.Layer, ...]
Batch = tuple[Array, Array]


def gradient(deep: Deep, way: str) -> Program:
    """Loss and gradient in one call."""
    return of_jax.gradient(*loss_and_arguments(deep, way))


def compile_only(deep: Deep, way: str, at_most: int | None = None, remat: bool = False) -> Program:
    """Compile the same call and run nothing."""
    if at_most is not None and deep.layers > at_most:
        raise Skip(f"not tried beyond {at_most} layers, for the time it takes")
    loss, params, batch = loss_and_arguments(deep, way, remat)
    # the first program of a process also starts the compiler
    jax.jit(lambda x: x @ x + 1).lower(jnp.ones((8, 8))).compile()
    return Program(None, 1, partial(compiled, jax.jit(jax.value_and_grad(loss)), params, batch))


def trained(deep: Deep, remat_every: int) -> Program:
    """Three steps of gradient descent with `fcjax.stack`, state donated."""
    # every layer changes the signal, so that a step is the larger the more there are
    optimizer = optax.sgd(LEARNING_RATE / deep.layers)
    loss = classification(activations=deep.activation, remat_every=remat_every)
    state, batch = fcjax.init_state(_parameters(deep), optimizer), _batch(deep)
    step = fcjax.make_train_step(loss, optimizer)
    losses: list[float] = []

    def run() -> list[float]:
        nonlocal state
        state, info = step(state, batch)
        losses.append(float(info.loss))
        return losses[-1:]

    def inspect() -> Facts:
        return memory_of(step, state, batch) | {"first_losses": list(losses)}

    return Program(run, 1, inspect, comparable=False)


def loss_and_arguments(
    deep: Deep, way: str, remat: bool = False
) -> tuple[Callable[[Params, Batch], Array], Params, Batch]:
    """Return the loss, the parameters in the form that it takes, and a batch."""
    every = round(deep.layers**0.5) if remat else None
    by_autodiff = partial(_plain_loss, activation=deep.activation)
    by_rules = classification(activations=deep.activation, remat_every=every)
    params = _parameters(deep)
    if "unrolled" in way:
        params = fcjax.unstack(params)
    return by_autodiff if "jax.grad" in way else by_rules, params, _batch(deep)


def saved(deep: Deep, way: str) -> Program:
    """Count the temporaries of the unrolled network with each activation, from shapes alone."""
    sizes = (deep.width,) * (deep.layers + 1)
    params = jax.eval_shape(lambda: fcjax.init(jax.random.key(0), sizes))
    X = jax.ShapeDtypeStruct((deep.batch, deep.width), jnp.float32)
    network = {"fcjax": _by_rules, "jax.grad": _by_autodiff}[way]

    def temporaries(activation: str) -> int:
        def loss(params: Params, X: Array) -> Array:
            return jnp.mean(network(params, X, activation) ** 2)

        return compiled(jax.jit(jax.value_and_grad(loss)), params, X)["memory"]["temp"]

    return Program(None, 1, lambda: {"temp": {name: temporaries(name) for name in ACTIVATIONS}})


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


def _by_rules(params: Params, A: Array, activation: str) -> Array:
    return fcjax.mlp(params, A, activations=activation)


def _by_autodiff(params: Params, A: Array, activation: str) -> Array:
    """Under scan where the hidden layers are one, with an axis of layers; unrolled elsewhere."""
    g = getattr(jax.nn, activation)
    *hidden, output = params
    for w, b in hidden:
        if w.ndim == 3:
            A, _ = lax.scan(lambda A, layer: (g(A @ layer[0] + layer[1]), None), A, (w, b))
        else:
            A = g(A @ w + b)
    return A @ output.w + output.b


def _plain_loss(params: Params, batch: Batch, activation: str) -> Array:
    logits = _by_autodiff(params, batch[0], activation)
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()
