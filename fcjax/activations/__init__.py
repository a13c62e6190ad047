"""Activations: the functions of `jax.nn` with hand-derived derivatives, and facts about them.

Their names are listed only here: `fcjax` re-exports everything in this file.
"""

from ._facts import (
    Facts as Facts,
    Rule as Rule,
    facts_of as facts_of,
    is_fixed as is_fixed,
    rule_of as rule_of,
)
from ._gated import (
    gelu as gelu,
    glu as glu,
    hard_silu as hard_silu,
    hard_swish as hard_swish,
    mish as mish,
    silu as silu,
    swish as swish,
)
from ._names import ACTIVATIONS as ACTIVATIONS
from ._normalized import log_softmax as log_softmax, softmax as softmax
from ._parametric import parametric as parametric
from ._piecewise import (
    hard_sigmoid as hard_sigmoid,
    hard_tanh as hard_tanh,
    identity as identity,
    leaky_relu as leaky_relu,
    relu as relu,
    relu6 as relu6,
    sparse_plus as sparse_plus,
    sparse_sigmoid as sparse_sigmoid,
)
from ._smooth import (
    celu as celu,
    elu as elu,
    log_sigmoid as log_sigmoid,
    selu as selu,
    sigmoid as sigmoid,
    soft_sign as soft_sign,
    softplus as softplus,
    squareplus as squareplus,
    tanh as tanh,
)
