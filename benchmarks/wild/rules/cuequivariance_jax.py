"""Hand-written rules of cuequivariance-jax, which on a CPU calls no kernels of its own.

The rule of its primitive `segmented_polynomial` is not listed: version 0.13.0 cannot be called
with JAX 0.12.
"""

import jax.numpy as jnp

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "cuequivariance-jax"
CASES: list[Case] = []
case = collector(CASES)


@case
def triangle_attention_custom_vjp():
    from cuequivariance_jax import triangle_attention

    # The rule is for the first of three results. The mask lets the last key out.
    mask = jnp.arange(5).reshape(1, 1, 1, 1, 5) < 4

    def fun(q, k, v, bias):
        return triangle_attention(q, k, v, bias, mask, scale=0.5)[0]

    return fun, (
        normal(0, 1, 2, 2, 3, 4),
        normal(1, 1, 2, 2, 5, 4),
        normal(2, 1, 2, 2, 5, 4),
        normal(3, 1, 1, 2, 3, 5),
    )


@case
def triangle_attention_custom_vjp__all():
    from cuequivariance_jax import triangle_attention

    # The rule takes no gradient from the second and the third result.
    def fun(q, k, v, bias):
        return triangle_attention(q, k, v, bias, None, scale=0.5)

    return fun, (
        normal(0, 1, 2, 2, 3, 4),
        normal(1, 1, 2, 2, 5, 4),
        normal(2, 1, 2, 2, 5, 4),
        normal(3, 1, 1, 2, 3, 5),
    )


@case
def _layer_norm():
    from cuequivariance_jax.triangle._layer_norm_transpose import layer_norm_transpose

    return (
        lambda x, w, b: layer_norm_transpose(x, w, b, layout="bnd->dbn"),
        (normal(0, 2, 5, 3), uniform(1, 0.5, 2, 3), normal(2, 3)),
    )


@case
def _sigmoid_gated_dual_gemm_core():
    from cuequivariance_jax.triangle import Precision
    from cuequivariance_jax.triangle._sigmoid_gated_dual_gemm import sigmoid_gated_dual_gemm

    def fun(x, w1, w2, b1, b2, mask):
        return sigmoid_gated_dual_gemm(x, w1, w2, b1=b1, b2=b2, mask=mask, precision=Precision.IEEE)

    return fun, (
        normal(0, 5, 3),
        normal(1, 7, 3),
        normal(2, 7, 3),
        normal(3, 7),
        normal(4, 7),
        uniform(5, 0.5, 1, 5),
    )


@case
def _sigmoid_gated_dual_gemm_core__two():
    from cuequivariance_jax.triangle import Precision
    from cuequivariance_jax.triangle._sigmoid_gated_dual_gemm import (
        sigmoid_gated_dual_gemm_dual_x,
    )

    def fun(x1, x2, w1, w2):
        return sigmoid_gated_dual_gemm_dual_x(
            x1, x2, w1, w2, transpose_out=True, precision=Precision.IEEE
        )

    return fun, (normal(0, 5, 3), normal(1, 5, 3), normal(2, 7, 3), normal(3, 7, 3))
