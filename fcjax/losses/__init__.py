"""Losses `f(pred, target, *, weights=None, reduction="mean")` with hand-derived derivatives."""

from .binary import (
    binary_cross_entropy as binary_cross_entropy,
)
from .binary import (
    hinge as hinge,
)
from .binary import (
    sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy,
)
from .regression import (
    absolute_error as absolute_error,
)
from .regression import (
    half_squared_error as half_squared_error,
)
from .regression import (
    huber as huber,
)
from .regression import (
    mean_squared_error as mean_squared_error,
)
from .regression import (
    poisson as poisson,
)
from .regression import (
    squared_error as squared_error,
)
from .softmax import softmax_cross_entropy as softmax_cross_entropy
