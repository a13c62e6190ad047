"""Piecewise-linear encoding: a number as how far it has come through each of its bins."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike, Float

from ._arguments import describe, floating
from ._cotangent import cotangent_of
from ._placement import beside


def piecewise_linear_encoding(
    x: Float[ArrayLike, "*batch n"], edges: Float[ArrayLike, "n edges"]
) -> Float[Array, "*batch n bins"]:
    r"""Encode each feature by the bins between its edges `e₀ < e₁ < … < e_T`.

    With `zₜ = (x − eₜ)/(eₜ₊₁ − eₜ)`, entry t of the encoding is `zₜ` cut off at 0 and 1: it is 1 in
    the bins below x, 0 in those above, and the fraction of the way in the bin of x. The first bin
    is not cut off below, and the last not above, so numbers outside the edges keep their distance.

    Exactly one bin t has a slope at each x. The gradients are

        dx = dqₜ/Δₜ     deₜ = −dqₜ (1 − zₜ)/Δₜ     deₜ₊₁ = −dqₜ zₜ/Δₜ,     Δₜ = eₜ₊₁ − eₜ

    At an edge, t is the bin on its right: the derivative from the right.

    Args:
        x: numbers, shape `(..., n)`, any number of leading batch dimensions.
        edges: the edges of each feature in increasing order, shape `(n, T + 1)`, with at least two
            columns. A feature with fewer bins has ∞ in place of the missing edges.

    Returns:
        q, shape `(..., n, T)`, in the dtype to which `x` and `edges` promote; 0 in missing bins.

    Raises:
        TypeError: an argument is not floating-point.
        ValueError: the shapes do not match.

    Source: Gorishniy, Rubachev & Babenko, On embeddings for numerical features in tabular deep
    learning, NeurIPS 2022, eq. 1.

    >>> edges = jnp.array([[0.0, 1.0, 3.0]])
    >>> piecewise_linear_encoding(jnp.array([[-1.0], [0.5], [2.0], [5.0]]), edges)
    Array([[[-1. ,  0. ]],
           [[ 0.5,  0. ]],
           [[ 1. ,  0.5]],
           [[ 1. ,  2. ]]], dtype=float32)
    """
    x, edges = floating("x", x), floating("edges", edges)
    if x.ndim < 1 or edges.ndim != 2 or edges.shape[1] < 2 or len(edges) != x.shape[-1]:
        raise ValueError(
            f"edges must have shape ({x.shape[-1] if x.ndim else 'n'}, T + 1) with T at least 1, "
            f"one row per feature of x {describe(x)}, got {describe(edges)}"
        )
    return _encoding(x, edges)


class _Bins(NamedTuple):
    """The place of x in each bin, the bin's width, and whether x lies in it or above it."""

    z: Array
    width: Array
    is_active: Array
    is_full: Array
    exists: Array


def _bins(x: Array, edges: Array) -> _Bins:
    X = x[..., None]
    edges = beside(edges, X)
    lower, upper = edges[:, :-1], edges[:, 1:]
    exists = jnp.isfinite(upper)
    next_exists = jnp.pad(exists[:, 1:], ((0, 0), (0, 1)))
    is_first, is_last = jnp.arange(exists.shape[1]) == 0, exists & ~next_exists
    width = jnp.where(exists, upper - lower, 1)
    z = (X - jnp.where(exists, lower, 0)) / width
    begun, ended = is_first | (lower <= X), ~is_last & (upper <= X)
    return _Bins(z, width, exists & begun & ~ended, exists & ended, exists)


def _encoded(x: Array, edges: Array) -> Array:
    z, _, is_active, is_full, exists = _bins(x, edges)
    q = jnp.where(is_active, z, is_full.astype(z.dtype))
    return jnp.where(jnp.isnan(x)[..., None] & exists, jnp.nan, q)


_encoding = jax.custom_vjp(_encoded)


def _encoding_fwd(x: Array, edges: Array) -> tuple[Array, tuple[Array, Array]]:
    # z is computed again: x and the edges take much less memory than all bins
    return _encoded(x, edges), (x, edges)


def _encoding_bwd(kept: tuple[Array, Array], dq: Array) -> tuple[Array, Array]:
    # In the bin of x, q Δ = x − e₀ with Δ = e₁ − e₀, so q̇ Δ + q (ė₁ − ė₀) = ẋ − ė₀, and
    #   q̇ = (ẋ − (1 − q) ė₀ − q ė₁)/Δ.
    # The other bins are constant. ⟨dq, q̇⟩ gives dx, which sums over the bins of x; de, which sums
    # over examples, has a term from the bin on either side of the edge.
    x, edges = kept
    z, width, is_active, _, _ = _bins(x, edges)
    dz = jnp.where(is_active, dq, 0) / width
    dx = jnp.sum(dz, axis=-1)
    wide = jnp.promote_types(dz.dtype, jnp.float32)
    examples = tuple(range(x.ndim - 1))
    z = jnp.where(is_active, z, 0)
    de_lower = -jnp.sum(dz * (1 - z), axis=examples, dtype=wide)
    de_upper = -jnp.sum(dz * z, axis=examples, dtype=wide)
    de = jnp.pad(de_lower, ((0, 0), (0, 1))) + jnp.pad(de_upper, ((0, 0), (1, 0)))
    return cotangent_of(x, dx), cotangent_of(edges, de)


_encoding.defvjp(_encoding_fwd, _encoding_bwd)
