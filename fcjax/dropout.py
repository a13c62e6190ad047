"""Dropout. The backward pass draws the mask again from the key, so the mask is never stored."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike, Float

from ._arguments import check_key, describe, floating, is_number


def dropout(x: Float[ArrayLike, "..."], rate: float, key: Array) -> Float[Array, "..."]:
    """Zero each element with probability `rate`, and divide the others by `1 − rate`.

    `y = m ⊙ x` with `m = 1/(1 − rate)` where the element survives, else 0, so that the mean of y
    over the masks is x. The map is linear, hence `dx = m ⊙ dy` with the same mask. The key is the
    only residual.

    A word of 32 random bits decides about two elements of a row. A probability is then rounded to
    a multiple of 2⁻¹⁶; below 2⁻⁷ and above 1 − 2⁻⁷ each element has a word of its own.

    Args:
        x: any shape and floating dtype; `y` has the same.
        rate: probability of zeroing an element, a number with 0 ≤ rate < 1. A rate of 0 returns
            `x`.
        key: PRNG key. Equal keys draw equal masks. Inside `shard_map`, fold the axis index into
            the key to draw a different mask on each shard.

    Raises:
        TypeError: `x` is not floating-point, or `key` is not a single PRNG key.
        ValueError: `rate` is not a number with 0 ≤ rate < 1.

    Source: Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting,
    JMLR 15 (2014), section 10 (the form that rescales during training).

    >>> y = dropout(jnp.ones(1000), 0.25, jax.random.key(0))
    >>> sorted(set(y.tolist()))
    [0.0, 1.3333333730697632]
    """
    x = floating("x", x)
    rate = checked_rate("rate", rate)
    check_key("key", key)
    return _dropout(rate, x, key)


def checked_rate(name: str, rate: object) -> float:
    """Return a rate as a number of Python, or raise ValueError unless it is one."""
    if not is_number(rate) or not 0 <= rate < 1:
        raise ValueError(f"{name} must be a number with 0 <= {name} < 1, got {describe(rate)}")
    return float(rate)


def masked(rate: float, V: Array, key: Array) -> Array:
    """Return `m ⊙ V`. The map is linear, and its own transpose."""
    return jnp.where(_survivors(rate, key, V.shape), V / (1 - rate), 0)


# From here on, 2⁻¹⁷ is a thousandth of the probability.
_LEAST = 2**-7


def _survivors(rate: float, key: Array, shape: tuple[int, ...]) -> Array:
    """Draw which elements survive."""
    if min(rate, 1 - rate) < _LEAST:
        return jax.random.bernoulli(key, 1 - rate, shape)
    # To draw the words takes most of the time. The halves stay in their row, so that a mesh that
    # splits the rows splits the words as well.
    *rows, columns = shape or (1,)
    words = jax.random.bits(key, (*rows, -(-columns // 2)), jnp.uint32)
    limit = round((1 - rate) * 2**16)
    halves = jnp.concatenate([(words & 0xFFFF) < limit, (words >> 16) < limit], axis=-1)
    return halves[..., :columns].reshape(shape)


_dropout = jax.custom_vjp(masked, nondiff_argnums=(0,))


def _dropout_fwd(rate: float, x: Array, key: Array) -> tuple[Array, Array]:
    return masked(rate, x, key), key


def _dropout_bwd(rate: float, key: Array, dy: Array) -> tuple[Array, None]:
    # ẏ = m ⊙ ẋ, so ⟨dy, ẏ⟩ = ⟨m ⊙ dy, ẋ⟩: the same linear map, with the mask of the same key.
    dx = masked(rate, dy, key)
    return dx, None


_dropout.defvjp(_dropout_fwd, _dropout_bwd)


def relu_dropout(z: Float[ArrayLike, "..."], rate: float, key: Array) -> Float[Array, "..."]:
    """Dropout of a rectified linear unit, `y = m ⊙ relu(z)`, with the masks of `dropout`.

    `y > 0` exactly where z > 0 and the element survives, so the output, which the next layer keeps
    as its input, tells where the gradient goes: `dz = [y > 0] ⊙ dy / (1 − rate)`. Nothing is drawn
    a second time, and nothing else is kept.

    Args, errors and source: see `dropout` and `relu`, whose composition this is.

    >>> y = relu_dropout(jnp.array([-1.0, 2.0, 3.0, 4.0]), 0.5, jax.random.key(1))
    >>> y.tolist()
    [0.0, 4.0, 6.0, 0.0]
    """
    z = floating("z", z)
    rate = checked_rate("rate", rate)
    check_key("key", key)
    return _relu_dropout(rate, z, key)


def _masked_relu(rate: float, z: Array, key: Array) -> Array:
    return masked(rate, jnp.where(z <= 0, 0, z), key)


_relu_dropout = jax.custom_vjp(_masked_relu, nondiff_argnums=(0,))


def _relu_dropout_fwd(rate: float, z: Array, key: Array) -> tuple[Array, Array]:
    y = _masked_relu(rate, z, key)
    return y, y


def _relu_dropout_bwd(rate: float, y: Array, dy: Array) -> tuple[Array, None]:
    # ẏ = ż/(1 − rate) where z > 0 and the element survives, else 0; there alone y > 0, for to
    # divide by 1 − rate makes a number no smaller. So ⟨dy, ẏ⟩ = ⟨[y > 0] ⊙ dy/(1 − rate), ż⟩.
    dz = jnp.where(y > 0, dy / (1 - rate), 0)
    return dz, None


_relu_dropout.defvjp(_relu_dropout_fwd, _relu_dropout_bwd)
