"""Confusion and calibration are those of scikit-learn and SciPy."""

import numpy as np
import pytest

from fcjax import diagnostics

pytest.importorskip("sklearn")

from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_a_confusion_matrix_is_that_of_scikit_learn(classes):
    labels, predictions = RNG.integers(0, classes, (2, 300)).astype(np.int32)
    want = confusion_matrix(labels, predictions, labels=range(classes))
    np.testing.assert_array_equal(diagnostics.confusion_matrix(labels, predictions, classes), want)


def test_the_most_confused_classes_are_those_with_the_most_errors_as_label_or_prediction():
    counts = np.diag(np.arange(100, 106))
    counts[1, 4] = 7
    counts[4, 2] = 3
    counts[0, 5] = 5
    np.testing.assert_array_equal(diagnostics.most_confused(counts, 2), [1, 4])
    np.testing.assert_array_equal(diagnostics.most_confused(counts, 20), range(6))


# 0.2 is an edge of ten bins, and has neighbours in both bins
@pytest.mark.parametrize("p", [RNG.random(500), RNG.choice([0, 0.15, 0.2, 0.25, 0.7, 1.0], 300)])
def test_calibration_is_that_of_scikit_learn_and_its_intervals_those_of_scipy(p):
    happened = RNG.random(len(p)) < p**2
    found = diagnostics.calibration(p, happened, bins=10)
    filled = found.counts > 0
    frequency, probability = calibration_curve(happened, p, n_bins=10)
    np.testing.assert_allclose(found.frequency[filled], frequency, rtol=1e-12)
    np.testing.assert_allclose(found.probability[filled], probability, rtol=1e-12)
    assert np.isnan(found.frequency[~filled]).all()
    for i in np.flatnonzero(filled):
        k, n = round(found.frequency[i] * found.counts[i]), int(found.counts[i])
        want = binomtest(k, n).proportion_ci(method="wilson")
        np.testing.assert_allclose((found.low[i], found.high[i]), want, atol=1e-12)
    gaps = np.abs(frequency - probability) * found.counts[filled]
    assert found.error == pytest.approx(gaps.sum() / len(p), rel=1e-12)


def test_a_calibrated_forecast_has_a_small_error_and_a_bold_one_has_not():
    p = RNG.random(20_000)
    assert diagnostics.calibration(p, RNG.random(len(p)) < p).error < 0.02
    bold = np.where(p > 0.5, 0.99, 0.01)
    assert diagnostics.calibration(bold, RNG.random(len(p)) < p).error > 0.2


def test_a_probability_that_is_nan_is_left_out():
    found = diagnostics.calibration([np.nan, 0.5], [True, True])
    assert found.counts.sum() == 1
    assert np.isnan(diagnostics.calibration([np.nan], [True]).error)


WRONG = {
    "classes": (lambda: diagnostics.confusion_matrix([0], [0], 0), "classes must be a positive"),
    "a label": (lambda: diagnostics.confusion_matrix([2], [0], 2), "labels must be .* 0 to 1, got"),
    "numbers": (lambda: diagnostics.confusion_matrix([0], [0.5], 2), "predictions must be .*, got"),
    "sizes": (
        lambda: diagnostics.confusion_matrix([0, 1], [0], 2),
        "predictions must have as many entries as labels, 2, got 1",
    ),
    "a probability": (lambda: diagnostics.calibration([1.5], [True]), "from 0 to 1, got 1.5"),
    "events": (lambda: diagnostics.calibration([0.5], [1]), "happened must be .* booleans, got"),
    "texts": (lambda: diagnostics.calibration(["a"], [True]), "probabilities must be .* numbers"),
    "bins": (lambda: diagnostics.calibration([0.5], [True], bins=0), "bins must be a positive"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
