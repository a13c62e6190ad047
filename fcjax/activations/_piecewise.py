"""Piecewise linear and piecewise quadratic activations.

At a kink the derivative is not defined. Each docstring states the value that the rule uses, which
is that of `jax.nn`. The conditions of `jnp.where` are written so that NaN propagates.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import ArrayLike, Float

from .._arguments import is_number
from ._elementwise import elementwise, parametric


def _identity_derivative(a: Array) -> Array:
    # a = z, so da = 1 dz.
    return jnp.ones_like(a)


@elementwise(_identity_derivative, keeps="output")
def identity(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """The identity, `a = z`, with `g'(z) = 1`: the output activation of regression.

    Args:
        z: any shape and floating dtype; `a` has the same.

    Raises:
        TypeError: `z` is not floating-point.

    Source: Bishop, Pattern Recognition and Machine Learning (2006), section 5.1.

    >>> identity(jnp.array([-1.0, 2.0]))
    Array([-1.,  2.], dtype=float32)
    """
    return jnp.asarray(z)


def _relu_derivative(a: Array) -> Array:
    # a = z for z > 0, where da = dz; a = 0 for z ≤ 0, where da = 0. And a > 0 exactly if z > 0.
    return jnp.where(a > 0, 1, 0).astype(a.dtype)


@elementwise(_relu_derivative, keeps="output", kinks={0.0: 0.0})
def relu(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Rectified linear unit, `a = max(z, 0)`, with `g'(z) = 1` for z > 0 and 0 for z < 0.

    At the kink `g'(0) = 0`, as in `jax.nn.relu`: with this choice a unit whose input is
    exactly 0 stays inactive, and training is more robust than with 1 (Bertoin et al., 2021).

    Args:
        z: any shape and floating dtype; `a` has the same.

    Raises:
        TypeError: `z` is not floating-point.

    Source: Nair & Hinton, Rectified linear units improve restricted Boltzmann machines, ICML 2010;
    Bertoin et al., Numerical influence of ReLU'(0) on backpropagation, NeurIPS 2021.

    >>> relu(jnp.array([-1.0, 0.0, 2.0]))
    Array([0., 0., 2.], dtype=float32)
    """
    z = jnp.asarray(z)
    return jnp.where(z <= 0, 0, z)


def _relu6_derivative(a: Array) -> Array:
    # a = z between 0 and 6, where da = dz; a is constant outside.
    return jnp.where((a > 0) & (a < 6), 1, 0).astype(a.dtype)


@elementwise(_relu6_derivative, keeps="output", kinks={0.0: 0.0, 6.0: 0.0})
def relu6(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Clipped rectifier, `a = min(max(z, 0), 6)`, with `g'(z) = 1` for 0 < z < 6, else 0.

    At the kinks `g'(0) = g'(6) = 0`, as in `jax.nn.relu6`.

    Args:
        z: any shape and floating dtype; `a` has the same.

    Raises:
        TypeError: `z` is not floating-point.

    Source: Howard et al., MobileNets, arXiv:1704.04861.

    >>> relu6(jnp.array([-1.0, 2.0, 7.0]))
    Array([0., 2., 6.], dtype=float32)
    """
    z = jnp.asarray(z)
    return jnp.where(z <= 0, 0, jnp.where(z >= 6, 6, z))


def _hard_sigmoid_derivative(a: Array) -> Array:
    # a = (z + 3)/6 between 0 and 1, where da = dz/6; a is constant outside.
    return jnp.where((a > 0) & (a < 1), 1 / 6, 0).astype(a.dtype)


@elementwise(_hard_sigmoid_derivative, keeps="output", kinks={-3.0: 0.0, 3.0: 0.0})
def hard_sigmoid(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Piecewise linear sigmoid, `a = relu6(z + 3)/6`, with `g'(z) = 1/6` for |z| < 3, else 0.

    At the kinks `g'(±3) = 0`, as in `jax.nn.hard_sigmoid`.

    Args:
        z: any shape and floating dtype; `a` has the same.

    Raises:
        TypeError: `z` is not floating-point.

    Source: Howard et al., Searching for MobileNetV3, ICCV 2019.

    >>> hard_sigmoid(jnp.array([-4.0, 0.0, 4.0]))
    Array([0. , 0.5, 1. ], dtype=float32)
    """
    z = jnp.asarray(z)
    # Just below 3 the quotient would round to 1. Use the number below 1 instead, because g' is read
    # from a.
    below_one = 1 - jnp.finfo(z.dtype).epsneg
    between = jnp.minimum((z + 3) / 6, below_one)
    return jnp.where(z <= -3, 0, jnp.where(z >= 3, 1, between))


def _hard_tanh_derivative(z: Array) -> Array:
    # a = z for |z| ≤ 1, where da = dz; a = ±1 outside. The output cannot distinguish z = 1 from
    # z > 1, so the residual is the input.
    return jnp.where(jnp.abs(z) > 1, 0, 1).astype(z.dtype)


@elementwise(_hard_tanh_derivative, keeps="input", kinks={-1.0: 1.0, 1.0: 1.0})
def hard_tanh(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Clipped identity, `a = min(max(z, −1), 1)`, with `g'(z) = 1` for |z| ≤ 1, else 0.

    At the kinks `g'(±1) = 1`, as in `jax.nn.hard_tanh`.

    Args:
        z: any shape and floating dtype; `a` has the same.

    Raises:
        TypeError: `z` is not floating-point.

    Source: Collobert, Large scale machine learning, thesis, Université Paris VI (2004).

    >>> hard_tanh(jnp.array([-2.0, 0.5, 2.0]))
    Array([-1. ,  0.5,  1. ], dtype=float32)
    """
    z = jnp.asarray(z)
    return jnp.where(z > 1, 1, jnp.where(z < -1, -1, z))


def _sparse_plus_derivative(a: Array) -> Array:
    # Between −1 and 1, a = (z + 1)²/4 gives da = (z + 1)/2 dz = √a dz; above, da = dz.
    # The inner where keeps the second derivative finite: that of the root is infinite at a = 0.
    outside = a <= 0
    return jnp.where(outside, 0, jnp.minimum(jnp.sqrt(jnp.where(outside, 1, a)), 1))


@elementwise(_sparse_plus_derivative, keeps="output")
def sparse_plus(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Softplus with a compact bend: `a = 0` for z ≤ −1, `(z + 1)²/4` between, `z` for z ≥ 1.

    Its derivative is continuous: `g'(z) = min(max((z + 1)/2, 0), 1)`; there is no kink.

    Args:
        z: any shape and floating dtype; `a` has the same.

    Raises:
        TypeError: `z` is not floating-point.

    Source: Blondel, Martins & Niculae, Learning with Fenchel–Young losses, JMLR 21 (2020).

    >>> sparse_plus(jnp.array([-2.0, 0.0, 2.0]))
    Array([0.  , 0.25, 2.  ], dtype=float32)
    """
    z = jnp.asarray(z)
    return jnp.where(z <= -1, 0, jnp.where(z >= 1, z, jnp.square(z + 1) / 4))


def _sparse_sigmoid_derivative(z: Array) -> Array:
    # a = (z + 1)/2 for |z| < 1, where da = dz/2; a is constant outside. At |z| = 1, g' is
    # the mean of both sides. The output cannot distinguish |z| = 1 from |z| > 1, so the residual is
    # the input.
    distance = jnp.abs(z)
    return jnp.where(distance < 1, 0.5, jnp.where(distance == 1, 0.25, 0)).astype(z.dtype)


@elementwise(_sparse_sigmoid_derivative, keeps="input", kinks={-1.0: 0.25, 1.0: 0.25})
def sparse_sigmoid(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """The derivative of `sparse_plus`: `a = min(max((z + 1)/2, 0), 1)`, `g'(z) = 1/2` for |z| < 1.

    At the kinks `g'(±1) = 1/4`, the mean of the two sides, as in `jax.nn.sparse_sigmoid`.

    Args:
        z: any shape and floating dtype; `a` has the same.

    Raises:
        TypeError: `z` is not floating-point.

    Source: Martins & Astudillo, From softmax to sparsemax, ICML 2016, in two dimensions.

    >>> sparse_sigmoid(jnp.array([-2.0, 0.0, 0.5]))
    Array([0.  , 0.5 , 0.75], dtype=float32)
    """
    return 0.5 * jnp.clip(jnp.asarray(z) + 1, 0, 2)


def _leaky_relu_from_output(a: Array, negative_slope: float) -> Array:
    # da = dz for z ≥ 0 and negative_slope dz below. With a positive slope, a has the sign of z.
    return jnp.where(a >= 0, 1, negative_slope).astype(a.dtype)


def _leaky_relu_from_input(z: Array, negative_slope: Array) -> Array:
    return jnp.where(z >= 0, 1, negative_slope)


def _leaky_relu_wrt_slope(z: Array, negative_slope: Array) -> Array:
    # a = negative_slope · z below 0, so ∂a/∂negative_slope = z there, and 0 above.
    del negative_slope
    return jnp.where(z >= 0, 0, z)


@parametric(
    from_output=_leaky_relu_from_output,
    from_input=_leaky_relu_from_input,
    wrt_parameter=_leaky_relu_wrt_slope,
    kinks={0.0: 1.0},
)
def leaky_relu(
    z: Float[ArrayLike, "..."], negative_slope: Float[ArrayLike, "..."] | float = 0.01
) -> Float[Array, "..."]:
    """Leaky rectifier, `a = z` for z ≥ 0, else `negative_slope · z`.

    `g'(z) = 1` for z ≥ 0, including the kink, else `negative_slope`, as in `jax.nn.leaky_relu`.

    Args:
        z: any shape and floating dtype; `a` has the same.
        negative_slope: a number, or an array that broadcasts against `z`. An array has a gradient,
            `∂a/∂negative_slope = min(z, 0)`, and can be learned.

    Raises:
        TypeError: `z` or an array `negative_slope` is not floating-point.

    Source: Maas, Hannun & Ng, Rectifier nonlinearities improve neural network acoustic models,
    ICML 2013; with a learned slope, He et al., Delving deep into rectifiers, ICCV 2015.

    >>> leaky_relu(jnp.array([-2.0, 0.0, 3.0]), 0.5)
    Array([-1.,  0.,  3.], dtype=float32)
    """
    z = jnp.asarray(z)
    below = negative_slope * z
    if is_number(negative_slope):
        # The number is positive, and g' is read from the sign of a: keep it nonzero if the product
        # underflows.
        below = jnp.minimum(below, -_smallest_positive(z.dtype))
    return jnp.where(z >= 0, z, below)


def _smallest_positive(dtype: DTypeLike) -> float:
    """Return the smallest positive number of a dtype that hardware does not flush to zero."""
    info = jnp.finfo(dtype)
    # Hardware computes float16 in float32, where even its subnormal numbers are normal.
    return float(info.smallest_subnormal if info.dtype == jnp.float16 else info.tiny)
