"""Random arrays in float32, the arguments of the cases."""

import jax
import jax.numpy as jnp
import numpy as np


def normal(seed: int, *shape: int) -> jax.Array:
    """Return normal numbers."""
    return jnp.asarray(np.random.RandomState(seed).randn(*shape), jnp.float32)


def uniform(seed: int, low: float, high: float, *shape: int) -> jax.Array:
    """Return numbers between two bounds."""
    return jnp.asarray(low + (high - low) * np.random.RandomState(seed).rand(*shape), jnp.float32)


def positive_definite(seed: int, n: int) -> jax.Array:
    """Return a symmetric, positive definite matrix."""
    a = np.random.RandomState(seed).randn(n, n)
    return jnp.asarray(a @ a.T + n * np.eye(n), jnp.float32)
