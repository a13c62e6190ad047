"""Activations that multiply the input by a gate: `a = z · gate(z)`.

None of them is monotone, so two inputs can have the same output. g' is then no function of the
output, and the residual is the input.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import ArrayLike, Float

from .._arguments import check_bool, checked_axis, describe, floating
from ._elementwise import elementwise
from ._facts import Rule, rule_of, with_facts


def _sigmoid_and_rest(z: Array) -> tuple[Array, Array]:
    """Return s = sigmoid(z) and 1 − s, both to full precision, from one exponential."""
    positive = z >= 0
    e = jnp.exp(jnp.where(positive, -z, z))
    larger = 1 / (1 + e)
    smaller = e * larger
    return jnp.where(positive, larger, smaller), jnp.where(positive, smaller, larger)


def _silu_derivative(z: Array) -> Array:
    # a = z s with s = sigmoid(z) and ds = s(1 − s) dz, so da = (s + z s(1 − s)) dz. Subtracting a
    # rounded s from 1 would give 1 − s an error that a large z multiplies.
    s, rest = _sigmoid_and_rest(z)
    return s * (1 + z * rest)


@elementwise(_silu_derivative, keeps="input")
def silu(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Sigmoid-weighted unit, also called swish: `a = z s`, `s = sigmoid(z)`.

    `g'(z) = s (1 + z (1 − s))`.

    Args:
        z: any shape and floating dtype; `a` has the same.

    Raises:
        TypeError: `z` is not floating-point.

    Source: Elfwing, Uchibe & Doya, Sigmoid-weighted linear units, Neural Networks 107 (2018).

    >>> silu(jnp.array([-1e4, 0.0, 1e4]))
    Array([   -0.,     0., 10000.], dtype=float32)
    """
    z = jnp.asarray(z)
    return z * lax.logistic(z)


swish = silu


def _hard_silu_derivative(z: Array) -> Array:
    # a = z h with h = min(max(z + 3, 0), 6)/6 and dh = dz/6 for |z| < 3, else 0:
    # da = (h + z/6) dz inside, h dz outside.
    h = jnp.clip(z + 3, 0, 6) / 6
    return jnp.where(jnp.abs(z) < 3, h + z / 6, h)


@elementwise(_hard_silu_derivative, keeps="input", kinks={-3.0: 0.0, 3.0: 1.0})
def hard_silu(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Piecewise quadratic swish, also called hard_swish: `a = z · hard_sigmoid(z)`.

    `g'(z) = 0` for z ≤ −3, `z/3 + 1/2` for |z| < 3, `1` for z ≥ 3. At the kinks g' is that of the
    outer side, as in `jax.nn.hard_silu`.

    Args:
        z: any shape and floating dtype; `a` has the same.

    Raises:
        TypeError: `z` is not floating-point.

    Source: Howard et al., Searching for MobileNetV3, ICCV 2019, section 5.2.

    >>> hard_silu(jnp.array([-4.0, 1.0, 4.0]))
    Array([-0.       ,  0.6666667,  4.       ], dtype=float32)
    """
    z = jnp.asarray(z)
    # jnp.where rather than jnp.clip: autodiff of this line then takes the outer side at the kinks.
    return z * jnp.where(z <= -3, 0, jnp.where(z >= 3, 1, (z + 3) / 6))


hard_swish = hard_silu


def _mish_derivative(z: Array) -> Array:
    # a = z t with t = tanh p, p = log(1 + eᶻ): dp = s dz with s = sigmoid(z), dt = (1 − t²) dp, so
    # da = (t + z (1 − t²) s) dz. With w = 1 + eᶻ and tanh(log w) = (w² − 1)/(w² + 1):
    #   t = (w² − 1)/d    (1 − t²) s = 4w (w − 1)/d²    d = w² + 1
    # For z ≥ 0, e = e⁻ᶻ: multiply numerator and denominator by e², so that nothing overflows.
    # The forward pass is written differently, because XLA would store shared subexpressions.
    positive = z >= 0
    e = jnp.exp(jnp.where(positive, -z, z))
    d = jnp.where(positive, 1 + 2 * e + 2 * e * e, 2 + 2 * e + e * e)
    t = jnp.where(positive, 1 + 2 * e, e * (2 + e)) / d
    return t + z * (jnp.where(positive, e, 1) * (4 * e * (1 + e)) / (d * d))


@elementwise(_mish_derivative, keeps="input")
def mish(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Self-regularized unit, `a = z t`, `t = tanh(softplus(z))`.

    `g'(z) = t + z (1 − t²) sigmoid(z)`.

    Args:
        z: any shape and floating dtype; `a` has the same.

    Raises:
        TypeError: `z` is not floating-point.

    Source: Misra, Mish: a self regularized non-monotonic activation function, BMVC 2020.

    >>> mish(jnp.array([-1e4, 0.0, 1e4]))
    Array([   -0.,     0., 10000.], dtype=float32)
    """
    z = jnp.asarray(z)
    # With e = eᶻ: tanh(log(1 + e)) = ((1 + e)² − 1)/((1 + e)² + 1) = n/(n + 2), n = e(e + 2), which
    # takes a third of the time. Where n would overflow, the gate is 1 to the last bit.
    limit = 0.5 * math.log(jnp.finfo(z.dtype).max) - 0.1
    e = jnp.exp(jnp.minimum(z, limit))
    n = e * (e + 2)
    return z * (n / (n + 2))


_SQRT_2_OVER_PI = 0.7978845608028654
_SQRT_HALF = 0.7071067811865476
_SQRT_HALF_OVER_PI = 0.3989422804014327
_CUBIC = 0.044715
# Beyond ±30 the gate, and with it g', is 0 or 1 to the last bit of float64. Evaluating g' at the
# clipped input keeps the cube of a large z from overflowing into 0 · ∞.
_SATURATED = 30.0


def _gelu_tanh_derivative(z: Array) -> Array:
    # a = z h, h = (1 + tanh u)/2 = sigmoid(2u), 2u = c(z + k z³) with c = 2√(2/π), k = 0.044715:
    # dh = h(1 − h) d(2u) and d(2u) = c(1 + 3k z²) dz, so da = h (1 + z (1 − h) c (1 + 3k z²)) dz.
    # Written as a sigmoid, h keeps the digits that 1 + tanh u loses where tanh u is near −1.
    z = jnp.clip(z, -_SATURATED, _SATURATED)
    h, rest = _sigmoid_and_rest(2 * _SQRT_2_OVER_PI * (z + _CUBIC * z**3))
    du = 2 * _SQRT_2_OVER_PI * (1 + 3 * _CUBIC * jnp.square(z))
    return h * (1 + z * (rest * du))


@elementwise(_gelu_tanh_derivative, keeps="input", oracle="gelu")
def _gelu_tanh(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    z = jnp.asarray(z)
    return z * (0.5 * (1 + jnp.tanh(_SQRT_2_OVER_PI * (z + _CUBIC * z**3))))


def _gelu_erf_derivative(z: Array) -> Array:
    # a = z Φ, the normal distribution function, with dΦ = φ dz, φ = e^(−z²/2)/√(2π), so
    # da = (Φ + z φ) dz. Φ is written with erfc, which stays accurate in the lower tail.
    z = jnp.clip(z, -_SATURATED, _SATURATED)
    phi = _SQRT_HALF_OVER_PI * jnp.exp(-0.5 * jnp.square(z))
    return 0.5 * lax.erfc(-z * _SQRT_HALF) + z * phi


@elementwise(_gelu_erf_derivative, keeps="input", oracle="gelu_exact")
def _gelu_erf(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    z = jnp.asarray(z)
    return 0.5 * z * lax.erfc(-z * _SQRT_HALF)


def _gelu_rule(approximate: bool = True) -> Rule:
    return rule_of(_gelu_tanh if approximate else _gelu_erf)


@with_facts(_gelu_rule, oracle="gelu")
def gelu(z: Float[ArrayLike, "..."], approximate: bool = True) -> Float[Array, "..."]:
    """Gaussian error linear unit, `a = z Φ(z)` with Φ the normal distribution function.

    Exactly, `g'(z) = Φ(z) + z φ(z)`. The approximation replaces Φ by `h = (1 + tanh u)/2`,
    `u = √(2/π) (z + 0.044715 z³)`. Its gradient is the derivative of the approximation,
    `g'(z) = h + z h'(z)`, never that of the exact form.

    Args:
        z: any shape and floating dtype; `a` has the same.
        approximate: True for the tanh form (the default, as in `jax.nn.gelu`), False for erf.

    Raises:
        TypeError: `z` is not floating-point, or `approximate` is not a boolean.

    Source: Hendrycks & Gimpel, Gaussian error linear units, arXiv:1606.08415.

    >>> z = jnp.array([-1e4, 0.0, 1.0])
    >>> gelu(z).round(2)
    Array([-0.  ,  0.  ,  0.84], dtype=float32)
    >>> gelu(z, approximate=False).round(2)
    Array([-0.  ,  0.  ,  0.84], dtype=float32)
    """
    check_bool("approximate", approximate)
    return _gelu_tanh(z) if approximate else _gelu_erf(z)


def _gate(axis: int, Z: Array) -> Array:
    if not Z.ndim or Z.shape[axis] % 2:
        raise ValueError(f"z must have an even size along axis {axis}, got {describe(Z)}")
    linear, gate = jnp.split(Z, 2, axis)
    return linear * lax.logistic(gate)


_glu = jax.custom_vjp(_gate, nondiff_argnums=(0,))


def _glu_fwd(axis: int, Z: Array) -> tuple[Array, Array]:
    return _gate(axis, Z), Z


def _glu_pull(axis: int, Z: Array, dA: Array) -> Array:
    # A = U ⊙ S with Z = [U V], S = sigmoid(V): Ȧ = U̇ ⊙ S + U ⊙ S(1 − S) ⊙ V̇.
    # ⟨dA, Ȧ⟩ = ⟨dA ⊙ S, U̇⟩ + ⟨dA ⊙ U ⊙ S(1 − S), V̇⟩.
    U, V = jnp.split(Z, 2, axis)
    S = lax.logistic(V)
    dU = dA * S
    dV = dA * U * S * (1 - S)
    return jnp.concatenate([dU, dV], axis)


def _glu_bwd(axis: int, Z: Array, dA: Array) -> tuple[Array]:
    return (_glu_pull(axis, Z, dA),)


_glu.defvjp(_glu_fwd, _glu_bwd)


def _glu_rule(axis: int = -1) -> Rule:
    return Rule(partial(_glu_fwd, axis), partial(_glu_pull, axis), "input")


@with_facts(_glu_rule)
def glu(z: Float[ArrayLike, "..."], axis: int = -1) -> Float[Array, "..."]:
    """Gated linear unit: split `z = [u v]` in half along `axis` and return `u · sigmoid(v)`.

    `du = da · sigmoid(v)` and `dv = da · u · sigmoid(v) (1 − sigmoid(v))`.

    Args:
        z: floating-point, of even size along `axis`; the result has half that size.
        axis: the axis to split.

    Raises:
        TypeError: `z` is not floating-point, or `axis` is not an integer.
        ValueError: `z` has no such axis, or its size along it is odd.

    Source: Dauphin et al., Language modeling with gated convolutional networks, ICML 2017.

    >>> glu(jnp.array([[1.0, 2.0, 0.0, 1e4]]))
    Array([[0.5, 2. ]], dtype=float32)
    """
    z = floating("z", z)
    return _glu(checked_axis("axis", axis, "z", z), z)
