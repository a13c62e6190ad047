"""Records of training runs. A tracker is any function of an `EpochEnd`: a callback of `fit`.

`end.numbers` is what there is to record of an epoch, and `end.settings` what there is of the run.
"""

from .json_lines import JsonLines as JsonLines, Record as Record, read as read
from .tensorboard import TensorBoard as TensorBoard
