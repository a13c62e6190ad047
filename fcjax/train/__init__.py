"""Training: state, one compiled step, one compiled epoch, and `fit`."""

from .arguments import (
    checked_count as checked_count,
    checked_optional_count as checked_optional_count,
)
from .batch_epochs import BatchError as BatchError
from .epoch import make_train_epoch as make_train_epoch
from .fit import fit as fit
from .interrupts import TrainingInterrupted as TrainingInterrupted
from .nonfinite import NonFiniteLossError as NonFiniteLossError
from .optimizers import optimizer_named as optimizer_named, optimizers as optimizers
from .state import StepInfo as StepInfo, TrainState as TrainState, init_state as init_state
from .step import make_train_step as make_train_step
from .training import EpochEnd as EpochEnd, FitResult as FitResult
