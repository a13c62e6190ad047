"""Formulas of activations and losses, as LaTeX, and their MathML."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array

from .. import activations, losses, norms
from .extra import converter

# g and its derivative; where the derivative is a matrix, dz instead.
ACTIVATIONS = {
    "identity": (r"a = z", r"g'(z) = 1"),
    "sigmoid": (r"a = \frac{1}{1 + e^{-z}}", r"g'(z) = a (1 - a)"),
    "tanh": (r"a = \tanh z", r"g'(z) = 1 - a^2"),
    "relu": (r"a = \max(z, 0)", r"g'(z) = [z > 0]"),
    "relu6": (r"a = \min(\max(z, 0), 6)", r"g'(z) = [0 < z < 6]"),
    "leaky_relu": (
        r"a = z \text{ if } z \ge 0, \text{ else } s z",
        r"g'(z) = 1 \text{ if } z \ge 0, \text{ else } s",
    ),
    "hard_sigmoid": (r"a = \frac{\min(\max(z + 3, 0), 6)}{6}", r"g'(z) = \frac{1}{6} [|z| < 3]"),
    "hard_tanh": (r"a = \min(\max(z, -1), 1)", r"g'(z) = [|z| \le 1]"),
    "hard_silu": (
        r"a = z \, \frac{\min(\max(z + 3, 0), 6)}{6}",
        r"g'(z) = \frac{2 z + 3}{6} \text{ for } |z| < 3, \text{ else } [z > 0]",
    ),
    "softplus": (r"a = \log(1 + e^z)", r"g'(z) = 1 - e^{-a}"),
    "sparse_plus": (
        r"a = \frac{(z + 1)^2}{4} \text{ for } |z| < 1, \text{ else } \max(z, 0)",
        r"g'(z) = \frac{z + 1}{2} \text{ for } |z| < 1, \text{ else } [z > 0]",
    ),
    "sparse_sigmoid": (
        r"a = \min(\max(\frac{z + 1}{2}, 0), 1)",
        r"g'(z) = \frac{1}{2} [|z| < 1]",
    ),
    "soft_sign": (r"a = \frac{z}{1 + |z|}", r"g'(z) = (1 - |a|)^2"),
    "log_sigmoid": (r"a = -\log(1 + e^{-z})", r"g'(z) = 1 - e^a"),
    "silu": (r"a = z \sigma(z)", r"g'(z) = \sigma(z) (1 + z (1 - \sigma(z)))"),
    "elu": (
        r"a = z \text{ if } z > 0, \text{ else } \alpha (e^z - 1)",
        r"g'(z) = 1 \text{ if } z > 0, \text{ else } a + \alpha",
    ),
    "celu": (
        r"a = z \text{ if } z > 0, \text{ else } \alpha (e^{z / \alpha} - 1)",
        r"g'(z) = 1 \text{ if } z > 0, \text{ else } e^{z / \alpha}",
    ),
    "selu": (
        r"a = \lambda z \text{ if } z > 0, \text{ else } \lambda \alpha (e^z - 1), \; "
        r"\lambda = 1.0507, \; \alpha = 1.6733",
        r"g'(z) = \lambda \text{ if } z > 0, \text{ else } a + \lambda \alpha",
    ),
    "gelu": (
        r"a = z h, \; h = \frac{1 + \tanh u}{2}, \; u = \sqrt{\frac{2}{\pi}} (z + 0.044715 z^3)",
        r"g'(z) = h + 2 z h (1 - h) u', \; u' = \sqrt{\frac{2}{\pi}} (1 + 3 \cdot 0.044715 z^2)",
    ),
    "squareplus": (
        r"a = \frac{z + \sqrt{z^2 + b}}{2}",
        r"g'(z) = \frac{a}{\sqrt{z^2 + b}}",
    ),
    "mish": (r"a = z t, \; t = \tanh \log(1 + e^z)", r"g'(z) = t + z (1 - t^2) \sigma(z)"),
    "glu": (
        r"a = u \sigma(v), \; z = [u \, v]",
        r"du = da \, \sigma(v), \; dv = da \, a (1 - \sigma(v))",
    ),
    "layer_norm": (
        r"a = s \odot h + c, \; h = \frac{z - \mu}{\sigma}, \; \mu = \overline{z}, \; "
        r"\sigma^2 = \overline{(z - \mu)^2} + \epsilon",
        r"dz = \frac{1}{\sigma} (dh - \overline{dh} - h \, \overline{h \, dh}), \; dh = s \odot da",
    ),
    "rms_norm": (
        r"a = s \odot h, \; h = \frac{z}{\rho}, \; \rho^2 = \overline{z^2} + \epsilon",
        r"dz = \frac{1}{\rho} (dh - h \, \overline{h \, dh}), \; dh = s \odot da",
    ),
    "softmax": (r"p = \frac{e^z}{\sum e^z}", r"dz = p (dp - \sum p \, dp)"),
    "log_softmax": (r"a = z - \log \sum e^z", r"dz = da - e^a \sum da"),
}
# gelu with approximate=False, where Φ is the normal distribution function and φ its density
EXACT_GELU = (r"a = z \Phi(z)", r"g'(z) = \Phi(z) + z \varphi(z)")
ACTIVATIONS["swish"] = ACTIVATIONS["silu"]
ACTIVATIONS["hard_swish"] = ACTIVATIONS["hard_silu"]

# The loss of an example with the target y, and its gradient with respect to the prediction, the
# output of the network; m examples are averaged.
LOSSES = {
    "squared_error": (r"\ell = \sum_j (p_j - y_j)^2", r"dp = \frac{2}{m} (p - y)"),
    "half_squared_error": (r"\ell = \frac{1}{2} \sum_j (p_j - y_j)^2", r"dp = \frac{1}{m} (p - y)"),
    "mean_squared_error": (
        r"\ell = \frac{1}{n} \sum_j (p_j - y_j)^2",
        r"dp = \frac{2}{m n} (p - y)",
    ),
    "absolute_error": (r"\ell = \sum_j |p_j - y_j|", r"dp = \frac{1}{m} \mathrm{sign}(p - y)"),
    "huber": (
        r"\ell = \sum_j h(p_j - y_j), \; h(e) = \frac{1}{2} e^2 "
        r"\text{ if } |e| \le \delta, \text{ else } \delta (|e| - \frac{1}{2} \delta)",
        r"dp = \frac{1}{m} \min(\max(p - y, -\delta), \delta)",
    ),
    "poisson": (r"\ell = \sum_j (e^{r_j} - y_j r_j)", r"dr = \frac{1}{m} (e^r - y)"),
    "hinge": (r"\ell = \sum_j \max(0, 1 - p_j y_j)", r"dp = -\frac{1}{m} y [p y < 1]"),
    "binary_cross_entropy": (
        r"\ell = -\sum_j (y_j \log p_j + (1 - y_j) \log (1 - p_j))",
        r"dp = \frac{1}{m} \frac{p - y}{p (1 - p)}",
    ),
    "sigmoid_binary_cross_entropy": (
        r"\ell = \sum_j (\log (1 + e^{z_j}) - y_j z_j)",
        r"dz = \frac{1}{m} (p - y), \; p = \sigma(z)",
    ),
    "softmax_cross_entropy": (
        r"\ell = -\sum_k y_k \log p_k, \; p = \mathrm{softmax}(z)",
        r"dz = \frac{1}{m} (p - y)",
    ),
}


# The symbols of options; their values are written behind the formula.
SYMBOLS = {
    "leaky_relu": {"negative_slope": "s"},
    "elu": {"alpha": r"\alpha"},
    "celu": {"alpha": r"\alpha"},
    "squareplus": {"b": "b"},
    "layer_norm": {"scale": "s", "bias": "c", "eps": r"\epsilon"},
    "rms_norm": {"scale": "s", "eps": r"\epsilon"},
    "huber": {"delta": r"\delta"},
}
# An option with more numbers is written with their count.
MOST_NUMBERS = 8


def of_loss(loss: Callable[..., Array], L: int) -> tuple[str, ...]:
    """Return the formulas of a loss of the output A_L, and of its gradient; none if not known.

    Options may change the formulas, so that a loss with options has none, except for huber's delta.
    """
    base, options = _base_and_options(loss)
    name = getattr(base, "__name__", "")
    if name not in LOSSES or base is not getattr(losses, name) or not options.keys() <= {"delta"}:
        return ()
    value, gradient = LOSSES[name]
    value, p = value + _values(base, options), gradient[1]
    return value, gradient, rf"{p} = A_{{{L}}}, \; d{p} = dA_{{{L}}}"


def of_activation(g: Callable[..., Array]) -> tuple[str, str] | None:
    """Return the formulas of an activation and of its derivative; None for a function not known.

    Known are the functions of this package, and those of `jax.nn` that compute the same.
    """
    base, options = _base_and_options(g)
    name = getattr(base, "__name__", "")
    ours = getattr(norms, name, None) or getattr(activations, name, None)
    if name not in ACTIVATIONS or base not in (ours, getattr(jax.nn, name, None)):
        return None
    if name == "gelu" and not options.get("approximate", True):
        return EXACT_GELU
    value, derivative = ACTIVATIONS[name]
    return value + _values(base, options), derivative


def _values(function: Callable[..., Array], options: dict[str, Any]) -> str:
    """Return the values of the options that have symbols in a formula, given or by default."""
    text = ""
    parameters = inspect.signature(function).parameters
    for name, symbol in SYMBOLS.get(getattr(function, "__name__", ""), {}).items():
        given = options.get(name, parameters[name].default)
        if given is inspect.Parameter.empty:
            continue
        value = np.asarray(given, np.float64)
        if value.size > MOST_NUMBERS:
            text += rf", \; {symbol} \text{{ of {value.size} numbers}}"
        else:
            numbers = ", ".join(map(_number, value.ravel()))
            text += rf", \; {symbol} = " + (f"({numbers})" if value.ndim else numbers)
    return text


def _number(value: float) -> str:
    mantissa, _, exponent = f"{value:.4g}".partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa


def _base_and_options(g: Callable[..., Array]) -> tuple[Callable[..., Array], dict[str, Any]]:
    if isinstance(g, functools.partial) and not g.args:
        return g.func, g.keywords
    return g, {}


def mathml(latex: str) -> str:
    """Return a formula as MathML."""
    return converter().convert(latex)
