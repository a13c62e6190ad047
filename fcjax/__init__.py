"""Fully connected networks in JAX, with every gradient derived by hand and verified."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import (
    activations as activations,
    distributed as distributed,
    losses as losses,
    trackers as trackers,
)
from .activations import *  # noqa: F403 - activations/__init__.py has the only list of names
from .dense import dense as dense
from .dropout import dropout as dropout
from .encoding import piecewise_linear_encoding as piecewise_linear_encoding
from .ensemble import ensemble_dense as ensemble_dense, grouped_dense as grouped_dense
from .forward_mode import (
    gauss_newton_product as gauss_newton_product,
    hvp as hvp,
    jacfwd as jacfwd,
    jvp as jvp,
    linearize as linearize,
)
from .losses import (
    absolute_error as absolute_error,
    binary_cross_entropy as binary_cross_entropy,
    dense_softmax_cross_entropy as dense_softmax_cross_entropy,
    half_squared_error as half_squared_error,
    hinge as hinge,
    huber as huber,
    mean_squared_error as mean_squared_error,
    poisson as poisson,
    sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy,
    softmax_cross_entropy as softmax_cross_entropy,
    squared_error as squared_error,
)
from .model import (
    DamagedModelError as DamagedModelError,
    Model as Model,
    load as load,
    save as save,
)
from .network import (
    Layer as Layer,
    LayerCache as LayerCache,
    backward as backward,
    deltas as deltas,
    forward as forward,
    init as init,
    mlp as mlp,
    stack as stack,
    unstack as unstack,
)
from .norms import layer_norm as layer_norm, rms_norm as rms_norm
from .scale import scale as scale
from .train import (
    BatchError as BatchError,
    EpochEnd as EpochEnd,
    FitResult as FitResult,
    NonFiniteLossError as NonFiniteLossError,
    StepInfo as StepInfo,
    TrainingInterrupted as TrainingInterrupted,
    TrainState as TrainState,
    fit as fit,
    init_state as init_state,
    make_train_epoch as make_train_epoch,
    make_train_step as make_train_step,
)
from .verify import (
    assert_rule as assert_rule,
    check_elementwise as check_elementwise,
    check_rule as check_rule,
    compare_cost as compare_cost,
)

if _TYPE_CHECKING:
    from . import export as export
    from .explainer import explain as explain


def __getattr__(name: str) -> object:
    # it knows the models for tables too, and is loaded at first use: half of the import otherwise
    if name == "export":
        return _import_module(".export", __name__)
    if name == "explain":  # which needs the extra of this name
        return _import_module(".explainer", __name__).explain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "explain", "export"})
