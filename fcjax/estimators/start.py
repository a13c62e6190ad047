"""The weights with which training starts: those of scikit-learn, bit for bit."""

import itertools
from collections.abc import Sequence

import numpy as np


def start_weights(
    random: np.random.RandomState,
    sizes: Sequence[int],
    activations: Sequence[str],
    dtype: np.dtype,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw weights and biases uniformly from −s to s, `s² = 6/(n_in + n_out)`, or 2 for sigmoids.

    There is one activation per layer. That of the output layer is the last hidden layer's.

    Source: Glorot & Bengio, Understanding the difficulty of training deep feedforward neural
    networks, AISTATS 2010, eq. 16.
    """
    weights: list[np.ndarray] = []
    biases: list[np.ndarray] = []
    for (n_in, n_out), name in zip(itertools.pairwise(sizes), activations, strict=True):
        bound = np.sqrt((2.0 if name == "sigmoid" else 6.0) / (n_in + n_out))
        weights.append(random.uniform(-bound, bound, (n_in, n_out)).astype(dtype, copy=False))
        biases.append(random.uniform(-bound, bound, n_out).astype(dtype, copy=False))
    return weights, biases
