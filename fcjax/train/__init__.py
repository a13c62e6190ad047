"""Training: state, one compiled step, one compiled epoch, and `fit`."""

from .arguments import check_count as check_count
from .epoch import make_train_epoch as make_train_epoch
from .fit import FitResult as FitResult, fit as fit
from .interrupts import TrainingInterrupted as TrainingInterrupted
from .loop import BatchError as BatchError, EpochEnd as EpochEnd
from .nonfinite import NonFiniteLossError as NonFiniteLossError
from .optimizers import optimizer_named as optimizer_named, optimizers as optimizers
from .state import StepInfo as StepInfo, TrainState as TrainState, init_state as init_state
from .step import make_train_step as make_train_step
