"""Networks as estimators of scikit-learn. Needs the extra `fcjax[sklearn]`."""

from . import _sklearn as _sklearn  # first, for it says which extra is missing
from .mlp import MLPClassifier as MLPClassifier, MLPRegressor as MLPRegressor
from .tabular import TabularClassifier as TabularClassifier, TabularRegressor as TabularRegressor
