"""Training: state, one compiled step, one compiled epoch, and `fit`."""

from .epoch import check_batch_size as check_batch_size
from .epoch import make_train_epoch as make_train_epoch
from .fit import FitResult as FitResult
from .fit import fit as fit
from .loop import EpochEnd as EpochEnd
from .loop import NonFiniteLossError as NonFiniteLossError
from .optimizers import optimizer_named as optimizer_named
from .optimizers import optimizers as optimizers
from .state import StepInfo as StepInfo
from .state import TrainState as TrainState
from .state import init_state as init_state
from .step import make_train_step as make_train_step
