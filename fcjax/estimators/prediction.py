"""Prediction in NumPy, from the weights alone.

It is the same in every process and, up to the rounding of matrix products, for every number of rows
beside a row. It needs no compiled program, of which each number of rows would need another, and
takes sparse matrices as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.special import expit, log_softmax, softmax
from sklearn.utils.extmath import safe_sparse_dot

Function = Callable[[Any], Any]


def _where_positive(z: Any, below: Function) -> Any:
    """Return z where it is positive, else `below(z)`, which sees no positive number."""
    return np.where(z > 0, z, below(np.minimum(z, 0)))


def _hard_sigmoid(z: Any) -> Any:
    return np.clip((z + 3) / 6, 0, 1)


def _softplus(z: Any) -> Any:
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _gelu(z: Any) -> Any:
    return 0.5 * z * (1 + np.tanh((2 / np.pi) ** 0.5 * (z + 0.044715 * z**3)))


def _sparse_plus(z: Any) -> Any:
    return np.where(z >= 1, z, np.square(np.clip(z, -1, 1) + 1) / 4)


def _squareplus(z: Any) -> Any:
    half = (np.abs(z) + np.hypot(z, 2)) / 2
    return np.where(z >= 0, half, 1 / half)


# The constants of SELU, as in `jax.nn`.
_SELU, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

# The activations of fcjax with their default options, and the outputs of scikit-learn.
FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        "celu": lambda z: _where_positive(z, np.expm1),
        "elu": lambda z: _where_positive(z, np.expm1),
        "exp": np.exp,
        "gelu": _gelu,
        "hard_sigmoid": _hard_sigmoid,
        "hard_silu": lambda z: z * _hard_sigmoid(z),
        "hard_swish": lambda z: z * _hard_sigmoid(z),
        "hard_tanh": lambda z: np.clip(z, -1, 1),
        "identity": lambda z: z,
        "leaky_relu": lambda z: np.where(z >= 0, z, 0.01 * z),
        "log_sigmoid": lambda z: -_softplus(-z),
        "log_softmax": lambda z: log_softmax(z, axis=-1),
        "mish": lambda z: z * np.tanh(_softplus(z)),
        "relu": lambda z: np.maximum(z, 0),
        "relu6": lambda z: np.clip(z, 0, 6),
        "selu": lambda z: _SELU * _where_positive(z, lambda z: _SELU_ALPHA * np.expm1(z)),
        "sigmoid": expit,
        "silu": lambda z: z * expit(z),
        "soft_sign": lambda z: z / (1 + np.abs(z)),
        "softmax": lambda z: softmax(z, axis=-1),
        "softplus": _softplus,
        "sparse_plus": _sparse_plus,
        "sparse_sigmoid": lambda z: 0.5 * np.clip(z + 1, 0, 2),
        "squareplus": _squareplus,
        "swish": lambda z: z * expit(z),
        "tanh": np.tanh,
    }
)


def forward(
    X: Any, weights: Sequence[Any], biases: Sequence[Any], activations: Sequence[str], output: str
) -> np.ndarray:
    """Return the outputs of the network for the rows of X, dense or sparse."""
    A = X
    for W, b, g in zip(weights, biases, (*activations, output), strict=True):
        A = FUNCTIONS[g](safe_sparse_dot(A, W) + b)
    return A
