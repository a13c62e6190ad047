"""Value and derivative of the known activations in float64, accurate in the tails too.

Autodiff of the plain forward formula is not an oracle in the tails: `1 − tanh²z` is 0 beyond
z = 19, where the derivative is `4e⁻²ᶻ`. The derivatives here are written so that nothing cancels,
except near a zero of the derivative (for silu, near z = −1.28), where the absolute error is still
a rounding error. At a kink, they follow the convention of `jax.nn`. They are not evaluated at ±∞:
for the limits there, a caller evaluates at ±1e300.

This module imports nothing from fcjax: these formulas share no code with the rules they judge.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

Function = Callable[[Array], Array]


class Oracle(NamedTuple):
    """An elementwise function and its derivative, both for float64 arguments."""

    value: Function
    derivative: Function


def _identity(z: Array) -> Array:
    return z


def _clip(low: float, high: float) -> Function:
    return lambda z: jnp.where(z <= low, low, jnp.where(z >= high, high, z))


# --- piecewise ------------------------------------------------------------------------------


def _relu(z: Array) -> Array:
    return jnp.where(z > 0, z, 0.0)


def _relu_derivative(z: Array) -> Array:
    return jnp.where(z > 0, 1.0, 0.0)


def _inside(low: float, high: float, slope: float, at_ends: float) -> Function:
    """Return the derivative of a clipped line: `slope` inside, `at_ends` at both ends, else 0."""

    def derivative(z: Array) -> Array:
        at_an_end = (z == low) | (z == high)
        return jnp.where(at_an_end, at_ends, jnp.where((z > low) & (z < high), slope, 0.0))

    return derivative


def _hard_sigmoid(z: Array) -> Array:
    return _clip(0, 6)(z + 3) / 6


def _hard_silu(z: Array) -> Array:
    return z * _hard_sigmoid(z)


def _hard_silu_derivative(z: Array) -> Array:
    return jnp.where(z <= -3, 0.0, jnp.where(z >= 3, 1.0, (2 * z + 3) / 6))


def _sparse_plus(z: Array) -> Array:
    return jnp.where(z <= -1, 0.0, jnp.where(z >= 1, z, jnp.square((z + 1) / 2)))


def _sparse_sigmoid(z: Array) -> Array:
    return (_clip(-1, 1)(z) + 1) / 2


def _leaky_relu(z: Array) -> Array:
    return jnp.where(z >= 0, z, 0.01 * z)


def _leaky_relu_derivative(z: Array) -> Array:
    return jnp.where(z >= 0, 1.0, 0.01)


# --- exponential ----------------------------------------------------------------------------


def _sigmoid(z: Array) -> Array:
    return lax.logistic(z)


def _sigmoid_derivative(z: Array) -> Array:
    return lax.logistic(z) * lax.logistic(-z)


def _tanh(z: Array) -> Array:
    # expm1 is accurate for small z
    e = jnp.expm1(-2 * jnp.abs(z))
    return jnp.copysign(-e / (2 + e), z)


def _tanh_derivative(z: Array) -> Array:
    return 4 * _sigmoid_derivative(2 * z)


def _softplus(z: Array) -> Array:
    return jnp.maximum(z, 0) + jnp.log1p(jnp.exp(-jnp.abs(z)))


def _log_sigmoid(z: Array) -> Array:
    return -_softplus(-z)


def _log_sigmoid_derivative(z: Array) -> Array:
    return lax.logistic(-z)


def _elu(z: Array) -> Array:
    return jnp.where(z > 0, z, jnp.expm1(jnp.minimum(z, 0)))


def _elu_derivative(z: Array) -> Array:
    return jnp.exp(jnp.minimum(z, 0))


_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_ALPHA = 1.6732632423543772848170429916717


def _selu(z: Array) -> Array:
    return _SELU_SCALE * jnp.where(z > 0, z, _SELU_ALPHA * jnp.expm1(jnp.minimum(z, 0)))


def _selu_derivative(z: Array) -> Array:
    return _SELU_SCALE * jnp.where(z > 0, 1.0, _SELU_ALPHA * jnp.exp(jnp.minimum(z, 0)))


# --- gated ----------------------------------------------------------------------------------


def _silu(z: Array) -> Array:
    return z * lax.logistic(z)


def _silu_derivative(z: Array) -> Array:
    return lax.logistic(z) * (1 + z * lax.logistic(-z))


def _mish(z: Array) -> Array:
    # With p = log(1 + eᶻ), tanh p = ((1 + eᶻ)² − 1)/((1 + eᶻ)² + 1); divided by e²ᶻ for z > 0.
    e = jnp.exp(-jnp.abs(z))
    gate = jnp.where(z > 0, (1 + 2 * e) / (1 + 2 * e * (1 + e)), e * (e + 2) / (e * (e + 2) + 2))
    return z * gate


def _mish_derivative(z: Array) -> Array:
    # t + z (1 − t²) sigmoid(z), with 1 − t² = 4(1 + eᶻ)²/((1 + eᶻ)² + 1)² and sigmoid(z) =
    # eᶻ/(1 + eᶻ); numerator and denominator divided by e⁴ᶻ for z > 0.
    e = jnp.exp(-jnp.abs(z))
    gate = jnp.where(z > 0, (1 + 2 * e) / (1 + 2 * e * (1 + e)), e * (e + 2) / (e * (e + 2) + 2))
    below = 4 * e * (1 + e) / jnp.square(jnp.square(1 + e) + 1)
    above = 4 * e * e * (1 + e) / jnp.square(jnp.square(1 + e) + e * e)
    return gate + z * jnp.where(z > 0, above, below)


_SQRT_2_OVER_PI = 0.79788456080286535588
_CUBIC = 0.044715


def _gelu(z: Array) -> Array:
    # (1 + tanh u)/2 = sigmoid(2u)
    return z * lax.logistic(2 * _SQRT_2_OVER_PI * (z + _CUBIC * z**3))


def _gelu_derivative(z: Array) -> Array:
    z = jnp.clip(z, -50, 50)  # beyond ±50, the gate is 0 or 1 and z³ may overflow
    u = _SQRT_2_OVER_PI * (z + _CUBIC * z**3)
    du = _SQRT_2_OVER_PI * (1 + 3 * _CUBIC * z**2)
    return lax.logistic(2 * u) * (1 + 2 * z * du * lax.logistic(-2 * u))


_SQRT_HALF = 0.70710678118654752440
_SQRT_HALF_OVER_PI = 0.39894228040143267794


def _gelu_exact(z: Array) -> Array:
    return 0.5 * z * lax.erfc(-z * _SQRT_HALF)


def _gelu_exact_derivative(z: Array) -> Array:
    z = jnp.clip(z, -50, 50)
    density = _SQRT_HALF_OVER_PI * jnp.exp(-0.5 * z**2)
    return 0.5 * lax.erfc(-z * _SQRT_HALF) + z * density


# --- algebraic ------------------------------------------------------------------------------


def _soft_sign(z: Array) -> Array:
    return z / (1 + jnp.abs(z))


def _soft_sign_derivative(z: Array) -> Array:
    return jnp.square(1 / (1 + jnp.abs(z)))


def _squareplus(z: Array) -> Array:
    # with r = √(z² + 4), (z + r)/2 cancels for z < 0, where it equals 1/((r − z)/2)
    half = (jnp.abs(z) + jnp.hypot(z, 2.0)) / 2
    return jnp.where(z >= 0, half, 1 / half)


def _squareplus_derivative(z: Array) -> Array:
    return _squareplus(z) / jnp.hypot(z, 2.0)


ORACLES: Mapping[str, Oracle] = MappingProxyType(
    {
        "celu": Oracle(_elu, _elu_derivative),
        "elu": Oracle(_elu, _elu_derivative),
        "gelu": Oracle(_gelu, _gelu_derivative),
        "gelu_exact": Oracle(_gelu_exact, _gelu_exact_derivative),
        "hard_sigmoid": Oracle(_hard_sigmoid, _inside(-3, 3, 1 / 6, 0)),
        "hard_silu": Oracle(_hard_silu, _hard_silu_derivative),
        "hard_tanh": Oracle(_clip(-1, 1), _inside(-1, 1, 1, 1)),
        "identity": Oracle(_identity, jnp.ones_like),
        "leaky_relu": Oracle(_leaky_relu, _leaky_relu_derivative),
        "log_sigmoid": Oracle(_log_sigmoid, _log_sigmoid_derivative),
        "mish": Oracle(_mish, _mish_derivative),
        "relu": Oracle(_relu, _relu_derivative),
        "relu6": Oracle(_clip(0, 6), _inside(0, 6, 1, 0)),
        "selu": Oracle(_selu, _selu_derivative),
        "sigmoid": Oracle(_sigmoid, _sigmoid_derivative),
        "silu": Oracle(_silu, _silu_derivative),
        "soft_sign": Oracle(_soft_sign, _soft_sign_derivative),
        "softplus": Oracle(_softplus, _sigmoid),
        "sparse_plus": Oracle(_sparse_plus, _sparse_sigmoid),
        "sparse_sigmoid": Oracle(_sparse_sigmoid, _inside(-1, 1, 0.5, 0.25)),
        "squareplus": Oracle(_squareplus, _squareplus_derivative),
        "tanh": Oracle(_tanh, _tanh_derivative),
    }
)
"""The oracle of each activation, for the default parameters of `jax.nn`."""
