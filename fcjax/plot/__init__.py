"""Pictures of training: how it went, what a network predicts beside what is true, and its inside.

Every function draws into a matplotlib Axes or Figure of the caller, and needs no display.

Needs the extra `fcjax[app]`.
"""

from ._labels import short_names as short_names
from .classes import (
    MOST_CLASSES as MOST_CLASSES,
    calibration as calibration,
    confusion as confusion,
)
from .columns import MOST_COLUMNS as MOST_COLUMNS, importance as importance
from .figures import Figure as Figure, figure as figure, png as png, save as save
from .images import wrong_images as wrong_images
from .network import (
    activation_histograms as activation_histograms,
    decision_boundary as decision_boundary,
    gradient_norms as gradient_norms,
    passes as passes,
    weight_spectrum as weight_spectrum,
)
from .numbers import predicted_against_true as predicted_against_true, residuals as residuals
from .training import history as history, loss_curve as loss_curve
