"""The optimizers of scikit-learn, and those of Optax, as updates of one vector.

Each is a static description that a compiled program is made for. Numbers, such as the learning
rate, are its arguments, so that other numbers need no other program.
"""

import functools
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from .._arguments import describe
from .._types import AnyArray, Tree
from ..train.step import extra_arguments
from .network import Network, layers, packed

Numbers = Mapping[str, Any]


class Slope(NamedTuple):
    """The loss and its gradient at the parameters, and the loss as a function of parameters."""

    loss: Array
    gradient: Array
    function: Callable[[Array], Array]


@runtime_checkable
class Solver(Protocol):
    """How a vector of parameters is updated."""

    def init(self, vector: AnyArray) -> Tree:
        """Return the state before the first step."""
        ...

    def step(
        self, vector: Array, state: Tree, slope: Slope, rate: Array, numbers: Numbers
    ) -> tuple[Array, Tree]:
        """Return the next parameters and state."""
        ...


@dataclass(frozen=True)
class Sgd:
    """Gradient descent with momentum: `v ← μ v − η g`, `θ ← θ + v`, or `θ + μ v − η g`.

    The learning rate η is part of the velocity, as in scikit-learn. In Optax it is not; the two
    differ where η changes.

    Source: Sutskever et al., On the importance of initialization and momentum in deep learning,
    ICML 2013.
    """

    nesterov: bool

    def init(self, vector: AnyArray) -> Tree:
        """Return the velocity 0."""
        return np.zeros(vector.shape, vector.dtype)

    def step(
        self, vector: Array, state: Tree, slope: Slope, rate: Array, numbers: Numbers
    ) -> tuple[Array, Tree]:
        """Return the next parameters and velocity."""
        mu, change = numbers["momentum"], rate * slope.gradient
        velocity = mu * state - change
        return vector + (mu * velocity - change if self.nesterov else velocity), velocity


class Moments(NamedTuple):
    """The state of Adam."""

    t: AnyArray
    m: AnyArray
    v: AnyArray


@dataclass(frozen=True)
class Adam:
    """Adam, with ε added to `√v` before v is corrected for its bias, as in scikit-learn.

    `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`,
    `θ ← θ − η √(1 − β₂ᵗ)/(1 − β₁ᵗ) · m/(√v + ε)`. Optax adds ε to the corrected `√v`, which is the
    same as a larger ε in the first steps.

    Source: Kingma & Ba, Adam: a method for stochastic optimization, ICLR 2015, the form at the end
    of section 2.
    """

    def init(self, vector: AnyArray) -> Tree:
        """Return moments of 0."""
        zeros = np.zeros(vector.shape, vector.dtype)
        return Moments(np.int32(0), zeros, zeros)

    def step(
        self, vector: Array, state: Tree, slope: Slope, rate: Array, numbers: Numbers
    ) -> tuple[Array, Tree]:
        """Return the next parameters and moments."""
        g, b1, b2 = slope.gradient, numbers["beta_1"], numbers["beta_2"]
        t = state.t + 1
        m = b1 * state.m + (1 - b1) * g
        v = b2 * state.v + (1 - b2) * g**2
        rate = rate * jnp.sqrt(_one_minus_power(b2, t)) / _one_minus_power(b1, t)
        return vector - rate * m / (jnp.sqrt(v) + numbers["epsilon"]), Moments(t, m, v)


def _one_minus_power(b: Array, t: Array) -> Array:
    """Return `1 − bᵗ` without cancellation, which in float32 would cost four digits at t = 1."""
    return -jnp.expm1(t.astype(b.dtype) * jnp.log(b))


class Factory(NamedTuple):
    """A function and arguments that make an optimizer; two equal ones share compiled programs."""

    function: Callable[..., Any]
    args: tuple[Hashable, ...] = ()
    keywords: tuple[tuple[str, Hashable], ...] = ()


@dataclass(frozen=True)
class Optax:
    """An optimizer of Optax. It sees the parameters as the layers that `mlp` takes."""

    source: Factory | optax.GradientTransformation
    network: Network

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """The optimizer itself."""
        if not isinstance(self.source, Factory):
            return self.source
        made: Any = self.source.function(*self.source.args, **dict(self.source.keywords))
        if not isinstance(made, optax.GradientTransformation):
            raise TypeError(
                "optimizer must be an optimizer of Optax, or a function that returns one, got a "
                f"function that returns {describe(made)}"
            )
        return made

    def init(self, vector: AnyArray) -> Tree:
        """Return the optimizer's state."""
        return self.optimizer.init(layers(self.network, jnp.asarray(vector)))

    def step(
        self, vector: Array, state: Tree, slope: Slope, rate: Array, numbers: Numbers
    ) -> tuple[Array, Tree]:
        """Return the next parameters and state; the learning rate is that of the optimizer."""
        del rate, numbers
        optimizer = self.optimizer
        params, grads = layers(self.network, vector), layers(self.network, slope.gradient)

        def value_and_aux(params: Tree) -> tuple[Array, None]:
            return slope.function(packed(params)), None

        extra = extra_arguments(optimizer, value_and_aux, slope.loss, grads)
        updates, state = optimizer.update(grads, state, params, **extra)
        return packed(optax.apply_updates(params, updates)), state


def optax_solver(optimizer: Any, network: Network) -> Optax:
    """Return the solver of an optimizer, or of a function without arguments that makes one."""
    if isinstance(optimizer, optax.GradientTransformation):
        return Optax(optimizer, network)
    if isinstance(optimizer, functools.partial):
        factory = Factory(optimizer.func, optimizer.args, tuple(sorted(optimizer.keywords.items())))
        if _is_hashable(factory):
            return Optax(factory, network)
    return Optax(Factory(optimizer), network)


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
