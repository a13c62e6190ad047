"""The dense layer `Z = X W + b` and its three gradients."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Float

from ._arguments import check_matrix_product, floating
from ._cotangent import cotangent_of
from ._placement import beside, placement, product_operands
from ._products import (
    ComputeDtype,
    bias_gradient,
    compute_dtype_of,
    narrowed,
    product,
    weight_gradient,
)


def dense(
    x: Float[ArrayLike, "*batch n_in"],
    w: Float[ArrayLike, "n_in n_out"],
    b: Float[ArrayLike, " n_out"] | None = None,
    *,
    compute_dtype: ComputeDtype = None,
) -> Float[Array, "*batch n_out"]:
    r"""Affine map of a batch: `Z = X W + b`.

    The gradients, with `dZ` the gradient of the loss with respect to `Z`, are

        dX = dZ Wᵀ        dW = Xᵀ dZ        db = Σᵢ dZᵢ

    where `Xᵀ dZ` and `Σᵢ` sum over all leading batch dimensions. The 1/m of a mean belongs to the
    loss, never to the layer.

    Args:
        x: inputs X, shape `(..., n_in)`, any number of leading batch dimensions.
        w: weights W, shape `(n_in, n_out)`.
        b: bias, shape `(n_out,)`, or None for a linear map.
        compute_dtype: dtype to which the operands of the three products are rounded, for example
            `jnp.bfloat16`. None does not round them. Sums are accumulated in float32 or wider.

    Returns:
        Z, shape `(..., n_out)`, in the dtype to which `x`, `w` and `b` promote. Each gradient has
        the dtype of its argument and is never rounded to `compute_dtype` on the way.

    Raises:
        TypeError: an argument is not floating-point.
        ValueError: the shapes do not match (nothing is broadcast), or the batch is empty.

    Source: Rumelhart, Hinton & Williams, Learning representations by back-propagating errors,
    Nature 323 (1986), eqs. 1, 6 and 7.

    >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> w = jnp.array([[1.0, 0.0, -1.0], [0.0, 2.0, 1.0]])
    >>> dense(x, w, jnp.zeros(3))
    Array([[ 1.,  4.,  1.],
           [ 3.,  8.,  1.],
           [ 5., 12.,  1.]], dtype=float32)
    """
    x, w = floating("x", x), floating("w", w)
    b = None if b is None else floating("b", b)
    check_matrix_product(x, w, b)
    return _dense(compute_dtype_of(compute_dtype), x, w, b)


def _affine(compute_dtype: ComputeDtype, x: Array, w: Array, b: Array | None) -> Array:
    # On a mesh with explicit axes, X and W are moved to where their product is computed.
    X, W, sharding = product_operands(x, narrowed(compute_dtype, w))
    Z = product(X, W, ((x.ndim - 1,), (0,)), compute_dtype, sharding)
    if b is not None:
        Z = Z + beside(b, Z)
    return Z.astype(jnp.result_type(*(v for v in (x, w, b) if v is not None)))


_dense = jax.custom_vjp(_affine, nondiff_argnums=(0,))


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Dtype:
    """A dtype as a static part of the residuals, all other parts of which are arrays."""

    dtype: np.dtype


class Residuals(NamedTuple):
    """The residuals of the three gradients.

    - `X`, for dW. It is stored in `compute_dtype` if that is narrower: dW reads it in that dtype,
      and 16 bits halve the memory.
    - `W`, for dX. It is kept uncast: it is a parameter, so keeping it costs no memory.
    - `b` and `x_dtype`, for the types of db and dX.
    """

    X: Array
    W: Array
    b: Array | None
    x_dtype: _Dtype


def dense_residuals(compute_dtype: ComputeDtype, x: Array, w: Array, b: Array | None) -> Residuals:
    """Return the residuals of `dense_fwd` without computing the product."""
    return Residuals(narrowed(compute_dtype, x), w, b, _Dtype(x.dtype))


def dense_fwd(
    compute_dtype: ComputeDtype, x: Array, w: Array, b: Array | None
) -> tuple[Array, Residuals]:
    """Return Z and the residuals."""
    return _affine(compute_dtype, x, w, b), dense_residuals(compute_dtype, x, w, b)


def dense_bwd(
    compute_dtype: ComputeDtype, kept: Residuals, dZ: Array
) -> tuple[Array, Array, Array | None]:
    """Read the three gradients off the differential of `Z = X W + b`.

    Dots are derivatives along one direction, ⟨A, B⟩ = Σ A ⊙ B:

        Ż = Ẋ W + X Ẇ + 1 ḃᵀ
        ⟨dZ, Ż⟩ = ⟨dZ, Ẋ W⟩   + ⟨dZ, X Ẇ⟩   + ⟨dZ, 1 ḃᵀ⟩
                = ⟨dZ Wᵀ, Ẋ⟩  + ⟨Xᵀ dZ, Ẇ⟩  + ⟨dZᵀ 1, ḃ⟩

    The factor that meets Ẋ, Ẇ and ḃ is dX, dW and db; `dZᵀ 1` is the sum over examples, because
    one bias is added to each of them.
    """
    x, w, b, x_dtype = kept
    X, W, _ = product_operands(x, narrowed(compute_dtype, w))
    dX = product(dZ, W, ((dZ.ndim - 1,), (1,)), compute_dtype, placement(X, dZ))
    dX = cotangent_of(x, dX, x_dtype.dtype)
    dW = cotangent_of(w, weight_gradient(compute_dtype, X, dZ, placement(w, dZ)))
    if b is None:
        return dX, dW, None
    return dX, dW, cotangent_of(b, bias_gradient(dZ, placement(b, dZ)))


_dense.defvjp(dense_fwd, dense_bwd)
