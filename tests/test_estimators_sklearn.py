"""scikit-learn's own checks of estimators."""

import warnings

import pytest

pytest.importorskip("sklearn", "1.7")

from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import check_dataframe_column_names_consistency
from support import every_check

from fcjax.estimators import MLPClassifier, MLPRegressor

# as many epochs as scikit-learn gives its own networks in these checks
ESTIMATORS = [MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)]


@pytest.fixture(autouse=True)
def _quiet(unchecked):
    """As scikit-learn does for its own: some checks train for one epoch, or on infinite numbers."""
    with warnings.catch_warnings():
        for kind in (ConvergenceWarning, FutureWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        yield


# None is expected to fail. Those of sample weights compare at 1e-7 what Adam computes from rows
# that are repeated and from rows that are weighted.
@every_check(ESTIMATORS, part=2)
def test_an_estimator_passes_each_check_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_an_estimator_checks_the_names_of_columns(estimator):
    check_dataframe_column_names_consistency(type(estimator).__name__, estimator)
