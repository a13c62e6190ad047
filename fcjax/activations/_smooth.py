"""Smooth monotone activations, such as sigmoids and soft rectifiers.

Because each is monotone, g' is a function of the output, and the output is the residual.
"""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import ArrayLike, Float

from ._elementwise import elementwise, parametric


def _sigmoid_derivative(a: Array) -> Array:
    # a = (1 + e⁻ᶻ)⁻¹, so da = (1 + e⁻ᶻ)⁻² e⁻ᶻ dz = a · e⁻ᶻ a dz, and e⁻ᶻ a = 1 − a.
    return a * (1 - a)


@elementwise(_sigmoid_derivative, keeps="output")
def sigmoid(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Logistic function, `a = 1/(1 + e⁻ᶻ)`, with `g'(z) = a (1 − a)`.

    Args:
        z: any shape and floating dtype; `a` has the same.

    Raises:
        TypeError: `z` is not floating-point.

    Source: Bishop, Pattern Recognition and Machine Learning (2006), eq. 4.88.

    >>> sigmoid(jnp.array([-1e4, 0.0, 1e4]))
    Array([0. , 0.5, 1. ], dtype=float32)
    """
    return lax.logistic(jnp.asarray(z))


def _tanh_derivative(a: Array) -> Array:
    # a = sinh z / cosh z, so da = (cosh² z − sinh² z)/cosh² z dz = (1 − a²) dz; the product of
    # the two factors keeps more digits than 1 − a² near a = ±1.
    return (1 - a) * (1 + a)


@elementwise(_tanh_derivative, keeps="output")
def tanh(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Hyperbolic tangent, `a = tanh z`, with `g'(z) = 1 − a²`.

    Args:
        z: any shape and floating dtype; `a` has the same.

    Raises:
        TypeError: `z` is not floating-point.

    Source: LeCun et al., Efficient BackProp (1998), section 4.4.

    >>> tanh(jnp.array([-1e4, 0.0, 1e4]))
    Array([-1.,  0.,  1.], dtype=float32)
    """
    return jnp.tanh(jnp.asarray(z))


def _softplus_derivative(a: Array) -> Array:
    # eᵃ = 1 + eᶻ, so eᵃ da = eᶻ dz = (eᵃ − 1) dz and da = (1 − e⁻ᵃ) dz. expm1 is accurate
    # where a is small.
    return -jnp.expm1(-a)


@elementwise(_softplus_derivative, keeps="output")
def softplus(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Soft rectifier, `a = log(1 + eᶻ)`, with `g'(z) = sigmoid(z) = 1 − e⁻ᵃ`.

    Args:
        z: any shape and floating dtype; `a` has the same.

    Raises:
        TypeError: `z` is not floating-point.

    Source: Dugas et al., Incorporating second-order functional knowledge for better option
    pricing, NeurIPS 2000.

    >>> softplus(jnp.array([-1e4, 0.0, 1e4])).round(2)
    Array([0.0e+00, 6.9e-01, 1.0e+04], dtype=float32)
    """
    return jnp.logaddexp(jnp.asarray(z), 0)


def _log_sigmoid_derivative(a: Array) -> Array:
    # a = −log(1 + e⁻ᶻ), so da = e⁻ᶻ/(1 + e⁻ᶻ) dz = (1 − eᵃ) dz, as eᵃ = 1/(1 + e⁻ᶻ).
    return -jnp.expm1(a)


@elementwise(_log_sigmoid_derivative, keeps="output")
def log_sigmoid(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Logarithm of the logistic function, `a = −log(1 + e⁻ᶻ)`, with `g'(z) = 1 − eᵃ`.

    Args:
        z: any shape and floating dtype; `a` has the same.

    Raises:
        TypeError: `z` is not floating-point.

    Source: Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.2.

    >>> log_sigmoid(jnp.array([-1e4, 0.0])).round(2)
    Array([-1.0e+04, -6.9e-01], dtype=float32)
    """
    z = jnp.asarray(z)
    # Not written as -logaddexp(-z, 0): XLA would store logaddexp(-z, 0) as well as the output.
    rest = jnp.log1p(jnp.exp(jnp.where(z >= 0, -z, z)))
    return jnp.where(z >= 0, -rest, z - rest)


def _soft_sign_derivative(a: Array) -> Array:
    # With r = 1 + |z|: da = (r − |z|)/r² dz = r⁻² dz, and 1 − |a| = (r − |z|)/r = r⁻¹.
    return jnp.square(1 - jnp.abs(a))


@elementwise(_soft_sign_derivative, keeps="output")
def soft_sign(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Rational S curve, `a = z/(1 + |z|)`, with `g'(z) = 1/(1 + |z|)² = (1 − |a|)²`.

    Args:
        z: any shape and floating dtype; `a` has the same.

    Raises:
        TypeError: `z` is not floating-point.

    Source: Bergstra et al., Quadratic polynomials learn better image features, technical report
    1337, Université de Montréal (2009).

    >>> soft_sign(jnp.array([-1.0, 0.0, 3.0]))
    Array([-0.5 ,  0.  ,  0.75], dtype=float32)
    """
    z = jnp.asarray(z)
    return z / (1 + jnp.abs(z))


_SELU_SCALE = 1.0507009873554805
_SELU_SCALE_ALPHA = 1.7580993408473766


def _selu_derivative(a: Array) -> Array:
    # a = λ z above 0, so da = λ dz; a = λα(eᶻ − 1) below, so da = λα eᶻ dz = (a + λα) dz.
    return jnp.where(a > 0, _SELU_SCALE, a + _SELU_SCALE_ALPHA).astype(a.dtype)


@elementwise(_selu_derivative, keeps="output", kinks={0.0: _SELU_SCALE_ALPHA})
def selu(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Self-normalizing unit, `a = λ z` for z > 0, else `λα (eᶻ − 1)`; λ ≈ 1.0507, α ≈ 1.6733.

    `g'(z) = λ` for z > 0, else `a + λα`. At the kink `g'(0) = λα`, as in `jax.nn.selu`. Below 0,
    `a + λα` has the rounding error of `a`, even where `a + λα` is no larger than that error.

    Args:
        z: any shape and floating dtype; `a` has the same.

    Raises:
        TypeError: `z` is not floating-point.

    Source: Klambauer et al., Self-normalizing neural networks, NeurIPS 2017, eq. 2.

    >>> selu(jnp.array([-1e4, 0.0, 1.0])).round(2)
    Array([-1.76,  0.  ,  1.05], dtype=float32)
    """
    z = jnp.asarray(z)
    # One constant λα, so that at saturation a = −λα exactly and the derivative is 0.
    negative = _SELU_SCALE_ALPHA * jnp.expm1(jnp.where(z > 0, 0, z))
    return jnp.where(z > 0, _SELU_SCALE * z, negative)


def _elu_from_output(a: Array, alpha: float) -> Array:
    # a = z above 0, so da = dz; a = α(eᶻ − 1) below, so da = α eᶻ dz = (a + α) dz.
    return jnp.where(a > 0, 1, a + alpha).astype(a.dtype)


def _elu_from_input(z: Array, alpha: Array) -> Array:
    return jnp.where(z > 0, 1, alpha * jnp.exp(jnp.where(z > 0, 0, z)))


def _elu_wrt_alpha(z: Array, alpha: Array) -> Array:
    # ∂a/∂α = eᶻ − 1 below 0, and 0 above.
    del alpha
    return jnp.expm1(jnp.where(z > 0, 0, z))


@parametric(
    from_output=_elu_from_output,
    from_input=_elu_from_input,
    wrt_parameter=_elu_wrt_alpha,
    kinks={0.0: 1.0},
)
def elu(
    z: Float[ArrayLike, "..."], alpha: Float[ArrayLike, "..."] | float = 1.0
) -> Float[Array, "..."]:
    """Exponential linear unit, `a = z` for z > 0, else `α (eᶻ − 1)`.

    `g'(z) = 1` for z > 0, else `a + α`. At the kink `g'(0) = α`, as in `jax.nn.elu`.

    Args:
        z: any shape and floating dtype; `a` has the same.
        alpha: α, a number, or an array that broadcasts against `z` and has a gradient.

    Raises:
        TypeError: `z` or an array `alpha` is not floating-point.

    Source: Clevert, Unterthiner & Hochreiter, Fast and accurate deep network learning by
    exponential linear units, ICLR 2016.

    >>> elu(jnp.array([-1e4, 0.0, 2.0]))
    Array([-1.,  0.,  2.], dtype=float32)
    """
    z = jnp.asarray(z)
    return jnp.where(z > 0, z, alpha * jnp.expm1(jnp.where(z > 0, 0, z)))


def _celu_from_output(a: Array, alpha: float) -> Array:
    # a = z above 0, so da = dz; a = α(e^(z/α) − 1) below, so da = e^(z/α) dz = (a/α + 1) dz.
    return jnp.where(a > 0, 1, a / alpha + 1).astype(a.dtype)


def _celu_from_input(z: Array, alpha: Array) -> Array:
    return jnp.exp(jnp.where(z > 0, 0, z / alpha))


def _celu_wrt_alpha(z: Array, alpha: Array) -> Array:
    # With u = z/α below 0: a = α(eᵘ − 1) and ∂u/∂α = −u/α, so ∂a/∂α = eᵘ − 1 − u eᵘ; 0 above.
    u = jnp.where(z > 0, 0, z / alpha)
    return jnp.expm1(u) - u * jnp.exp(u)


@parametric(
    from_output=_celu_from_output,
    from_input=_celu_from_input,
    wrt_parameter=_celu_wrt_alpha,
    kinks={0.0: 1.0},
)
def celu(
    z: Float[ArrayLike, "..."], alpha: Float[ArrayLike, "..."] | float = 1.0
) -> Float[Array, "..."]:
    """Continuously differentiable ELU, `a = z` for z > 0, else `α (e^(z/α) − 1)`.

    `g'(z) = 1` for z > 0, else `a/α + 1`, which is 1 at 0 for every α, so there is no kink.

    Args:
        z: any shape and floating dtype; `a` has the same.
        alpha: α ≠ 0, a number, or an array that broadcasts against `z` and has a gradient.

    Raises:
        TypeError: `z` or an array `alpha` is not floating-point.

    Source: Barron, Continuously differentiable exponential linear units, arXiv:1704.07483.

    >>> celu(jnp.array([-1e4, 0.0, 2.0]), 0.5)
    Array([-0.5,  0. ,  2. ], dtype=float32)
    """
    z = jnp.asarray(z)
    return jnp.where(z > 0, z, alpha * jnp.expm1(jnp.where(z > 0, 0, z / alpha)))


def _squareplus_from_output(a: Array, b: float) -> Array:
    # With r = √(z² + b): a = (z + r)/2, so da = (1 + z/r)/2 dz = a/r dz. And z = a − b/(4a),
    # hence r = 2a − z = a + b/(4a), and a/r = 1/(1 + b/(4a²)).
    return 1 / (1 + jnp.square(b**0.5 / 2 / a))


def _squareplus_from_input(z: Array, b: Array) -> Array:
    return _squareplus_value(z, b) / jnp.hypot(z, jnp.sqrt(b))


def _squareplus_wrt_b(z: Array, b: Array) -> Array:
    # ∂a/∂b = ½ ∂r/∂b = 1/(4r).
    return 0.25 / jnp.hypot(z, jnp.sqrt(b))


def _squareplus_value(z: Array, b: ArrayLike) -> Array:
    # (z + r)/2 cancels for negative z; times (r − z)/(r − z) it is (b/4)/((r − z)/2), which does
    # not. hypot does not overflow where z² would, nor do two halves where their sum would.
    b = b if isinstance(b, Array) else jnp.asarray(b, z.dtype)
    half = jnp.where(z >= 0, z, -z) / 2 + jnp.hypot(z, jnp.sqrt(b)) / 2
    return jnp.where(z >= 0, half, b / 4 / half)


@parametric(
    from_output=_squareplus_from_output,
    from_input=_squareplus_from_input,
    wrt_parameter=_squareplus_wrt_b,
)
def squareplus(
    z: Float[ArrayLike, "..."], b: Float[ArrayLike, "..."] | float = 4.0
) -> Float[Array, "..."]:
    """Algebraic soft rectifier, `a = (z + √(z² + b))/2`, with `g'(z) = a/√(z² + b)`.

    Args:
        z: any shape and floating dtype; `a` has the same.
        b: b ≥ 0, a number, or an array that broadcasts against `z` and has a gradient
            `∂a/∂b = 1/(4√(z² + b))`.

    Raises:
        TypeError: `z` or an array `b` is not floating-point.

    Source: Barron, Squareplus: a softplus-like algebraic rectifier, arXiv:2112.11687.

    >>> squareplus(jnp.array([-1.5, 0.0, 1.5]))
    Array([0.5, 1. , 2. ], dtype=float32)
    """
    return _squareplus_value(jnp.asarray(z), b)
