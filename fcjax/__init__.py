"""Fully connected networks in JAX, with every gradient derived by hand and proved right."""

from . import activations as activations
from . import losses as losses
from .activations import (
    celu as celu,
)
from .activations import (
    elu as elu,
)
from .activations import (
    gelu as gelu,
)
from .activations import (
    glu as glu,
)
from .activations import (
    hard_sigmoid as hard_sigmoid,
)
from .activations import (
    hard_silu as hard_silu,
)
from .activations import (
    hard_swish as hard_swish,
)
from .activations import (
    hard_tanh as hard_tanh,
)
from .activations import (
    identity as identity,
)
from .activations import (
    leaky_relu as leaky_relu,
)
from .activations import (
    log_sigmoid as log_sigmoid,
)
from .activations import (
    log_softmax as log_softmax,
)
from .activations import (
    mish as mish,
)
from .activations import (
    relu as relu,
)
from .activations import (
    relu6 as relu6,
)
from .activations import (
    selu as selu,
)
from .activations import (
    sigmoid as sigmoid,
)
from .activations import (
    silu as silu,
)
from .activations import (
    soft_sign as soft_sign,
)
from .activations import (
    softmax as softmax,
)
from .activations import (
    softplus as softplus,
)
from .activations import (
    sparse_plus as sparse_plus,
)
from .activations import (
    sparse_sigmoid as sparse_sigmoid,
)
from .activations import (
    squareplus as squareplus,
)
from .activations import (
    swish as swish,
)
from .activations import (
    tanh as tanh,
)
from .dense import dense as dense
from .dropout import dropout as dropout
from .losses import (
    absolute_error as absolute_error,
)
from .losses import (
    binary_cross_entropy as binary_cross_entropy,
)
from .losses import (
    half_squared_error as half_squared_error,
)
from .losses import (
    hinge as hinge,
)
from .losses import (
    huber as huber,
)
from .losses import (
    mean_squared_error as mean_squared_error,
)
from .losses import (
    poisson as poisson,
)
from .losses import (
    sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy,
)
from .losses import (
    softmax_cross_entropy as softmax_cross_entropy,
)
from .losses import (
    squared_error as squared_error,
)
from .network import (
    Layer as Layer,
)
from .network import (
    LayerCache as LayerCache,
)
from .network import (
    backward as backward,
)
from .network import (
    deltas as deltas,
)
from .network import (
    forward as forward,
)
from .network import (
    init as init,
)
from .network import (
    mlp as mlp,
)
from .norms import layer_norm as layer_norm
from .norms import rms_norm as rms_norm
from .train import (
    EpochEnd as EpochEnd,
)
from .train import (
    FitResult as FitResult,
)
from .train import (
    NonFiniteLossError as NonFiniteLossError,
)
from .train import (
    StepInfo as StepInfo,
)
from .train import (
    TrainState as TrainState,
)
from .train import (
    fit as fit,
)
from .train import (
    init_state as init_state,
)
from .train import (
    make_train_epoch as make_train_epoch,
)
from .train import (
    make_train_step as make_train_step,
)
