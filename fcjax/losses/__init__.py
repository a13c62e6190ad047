"""Losses `f(pred, target, *, weights=None, reduction="mean")` with hand-derived derivatives."""

from .binary import (
    binary_cross_entropy as binary_cross_entropy,
    hinge as hinge,
    sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy,
)
from .dense_softmax import dense_softmax_cross_entropy as dense_softmax_cross_entropy
from .regression import (
    absolute_error as absolute_error,
    half_squared_error as half_squared_error,
    huber as huber,
    mean_squared_error as mean_squared_error,
    poisson as poisson,
    squared_error as squared_error,
)
from .softmax import softmax_cross_entropy as softmax_cross_entropy
