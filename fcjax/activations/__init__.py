"""Activations: the functions of `jax.nn` with hand-derived derivatives, and their names."""

from ._names import ACTIVATIONS as ACTIVATIONS
from ._names import activation_named as activation_named
from .gated import (
    gelu as gelu,
)
from .gated import (
    glu as glu,
)
from .gated import (
    hard_silu as hard_silu,
)
from .gated import (
    hard_swish as hard_swish,
)
from .gated import (
    mish as mish,
)
from .gated import (
    silu as silu,
)
from .gated import (
    swish as swish,
)
from .normalized import log_softmax as log_softmax
from .normalized import softmax as softmax
from .piecewise import (
    hard_sigmoid as hard_sigmoid,
)
from .piecewise import (
    hard_tanh as hard_tanh,
)
from .piecewise import (
    identity as identity,
)
from .piecewise import (
    leaky_relu as leaky_relu,
)
from .piecewise import (
    relu as relu,
)
from .piecewise import (
    relu6 as relu6,
)
from .piecewise import (
    sparse_plus as sparse_plus,
)
from .piecewise import (
    sparse_sigmoid as sparse_sigmoid,
)
from .smooth import (
    celu as celu,
)
from .smooth import (
    elu as elu,
)
from .smooth import (
    log_sigmoid as log_sigmoid,
)
from .smooth import (
    selu as selu,
)
from .smooth import (
    sigmoid as sigmoid,
)
from .smooth import (
    soft_sign as soft_sign,
)
from .smooth import (
    softplus as softplus,
)
from .smooth import (
    squareplus as squareplus,
)
from .smooth import (
    tanh as tanh,
)
