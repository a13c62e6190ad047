"""Parameters: a tuple of layers, and their initialization."""

import itertools
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from .._arguments import as_integer, brief, check_bool, check_key, describe, floating_dtype

_HE_NORMAL = jax.nn.initializers.he_normal()

# XLA ends the process when the number of bytes of an array does not fit into 64 bits.
_TOO_MANY = 2**56


class Layer(NamedTuple):
    """Parameters of one dense layer: weights `w (n_in, n_out)` and bias `b (n_out,)` or None.

    Stacked layers, as from `stack`, are one `Layer` whose arrays have a leading layer axis.

    >>> Layer(jnp.ones((2, 3)), None).w.shape
    (2, 3)
    """

    w: Array
    b: Array | None = None


Params = tuple[Layer, ...]


def is_stacked(layer: Layer) -> bool:
    """Whether a Layer holds the parameters of stacked layers."""
    return layer.w.ndim == 3


def depth(layer: Layer) -> int:
    """Return the number of layers that a Layer holds."""
    return layer.w.shape[0] if is_stacked(layer) else 1


def sizes_of(params: Params) -> tuple[int, ...]:
    """Return the numbers of units `(n_0, n_1, …, n_L)`, starting with the inputs."""
    outputs = ((layer.w.shape[-1],) * depth(layer) for layer in params)
    return (params[0].w.shape[-2], *itertools.chain.from_iterable(outputs))


def init(
    key: Array,
    sizes: Sequence[int],
    *,
    bias: bool = True,
    w_init: Callable[..., Array] = _HE_NORMAL,
    b_init: Callable[..., Array] = jax.nn.initializers.zeros,
    dtype: DTypeLike = jnp.float32,
) -> Params:
    """Draw the parameters of a network with the given layer sizes.

    Args:
        key: PRNG key; equal keys draw equal parameters.
        sizes: numbers of units `(n_0, n_1, …, n_L)`, starting with the inputs; at least two.
        bias: whether the layers have biases.
        w_init: an initializer of `jax.nn.initializers`, called as `(key, (n_in, n_out), dtype)`.
        b_init: an initializer of the biases, called as `(key, (n_out,), dtype)`.
        dtype: floating dtype of the parameters.

    Returns:
        A tuple of L layers.

    Raises:
        TypeError: `key` is not a PRNG key, a size is not an integer, `dtype` is not floating,
            `bias` is not a boolean, or an initializer is not a function.
        ValueError: there are fewer than two sizes, one is not positive, or an initializer returns
            another shape or dtype than it is asked for.

    Source: He et al., Delving deep into rectifiers, ICCV 2015 (the default initializer).

    >>> params = init(jax.random.key(0), (4, 8, 3))
    >>> [layer.w.shape for layer in params]
    [(4, 8), (8, 3)]
    """
    check_key("key", key)
    sizes = _checked_sizes(sizes)
    dtype = jax.dtypes.canonicalize_dtype(floating_dtype("dtype", dtype))
    check_bool("bias", bias)
    _check_initializer("w_init", w_init)
    _check_initializer("b_init", b_init)
    layers: list[Layer] = []
    for n_in, n_out in itertools.pairwise(sizes):
        key, w_key, b_key = jax.random.split(key, 3)
        b = _drawn("b_init", b_init, b_key, (n_out,), dtype) if bias else None
        layers.append(Layer(_drawn("w_init", w_init, w_key, (n_in, n_out), dtype), b))
    return tuple(layers)


def _check_initializer(name: str, initializer: object) -> None:
    if not callable(initializer):
        raise TypeError(
            f"{name} must be an initializer such as those of jax.nn.initializers, "
            f"got {describe(initializer)}"
        )


def _drawn(
    name: str,
    initializer: Callable[..., Array],
    key: Array,
    shape: tuple[int, ...],
    dtype: np.dtype,
) -> Array:
    """Return what an initializer draws, or raise unless it has the shape and the dtype."""
    try:
        V = initializer(key, shape, dtype)
    except TypeError as error:
        raise TypeError(
            f"{name} must take (key, shape, dtype), as those of jax.nn.initializers do, "
            f"got {describe(initializer)}: {brief(str(error))}"
        ) from error
    if getattr(V, "shape", None) != shape or V.dtype != dtype:
        raise ValueError(
            f"{name}(key, {shape}, {dtype}) must return {dtype}{list(shape)}, got {describe(V)}"
        )
    return V


def _checked_sizes(sizes: Any) -> tuple[int, ...]:
    try:
        # a set or a dict has no order of layers
        given = None if isinstance(sizes, Set | Mapping) else tuple(sizes)
    except Exception:  # no iterable, an array of no dimensions, or one that has been deleted
        given = None
    if given is None:
        raise TypeError(f"sizes must be a sequence of integers, got {describe(sizes)}")
    numbers: list[int] = []
    for size in given:
        number = as_integer(size)
        if number is None:
            raise TypeError(f"sizes must be integers, got {describe(size)} in {brief(given)}")
        if number < 1:
            raise ValueError(f"sizes must be positive, got {brief(number)} in {brief(given)}")
        numbers.append(number)
    if len(numbers) < 2:
        raise ValueError(
            f"sizes must have the inputs and at least one layer, e.g. (4, 8, 3), got {brief(given)}"
        )
    if any(n_in * n_out >= _TOO_MANY for n_in, n_out in itertools.pairwise(numbers)):
        raise ValueError(f"sizes must give each layer fewer than 2**56 weights, got {brief(given)}")
    return tuple(numbers)
