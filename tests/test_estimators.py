"""`MLPClassifier` and `MLPRegressor`: what they share with scikit-learn's, and what they add."""

import functools
import inspect
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

pytest.importorskip("sklearn", "1.7")

import joblib
from scipy.sparse import csr_array
from sklearn import neural_network as theirs
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fcjax
from fcjax import estimators as ours
from fcjax.estimators import MLPClassifier, MLPRegressor, base, fitting, network, prediction, start
from fcjax.model import folder

pytestmark = pytest.mark.usefixtures("quiet")

IRIS, SPECIES = load_iris(return_X_y=True)
IRIS = StandardScaler().fit_transform(IRIS)
BINARY, BENIGN = IRIS[50:], SPECIES[50:] > 1
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
DIABETES, PROGRESS = StandardScaler().fit_transform(DIABETES)[:150], PROGRESS[:150] / 100
LABELS = np.stack([SPECIES > 0, IRIS[:, 0] > 0], 1).astype(int)
WEIGHTS = np.random.default_rng(0).uniform(0.5, 2, 150)
CLASSES = IRIS, SPECIES
NUMBERS = DIABETES, PROGRESS


@pytest.fixture
def quiet(unchecked):
    """Errors as users see them, and no warning that few epochs are too few."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def both(kind, X, y, fit=None, **options):
    """Fit ours and scikit-learn's with the same arguments."""
    options = {"hidden_layer_sizes": (6,), "random_state": 3, "max_iter": 8, **options}
    return [getattr(module, kind)(**options).fit(X, y, **(fit or {})) for module in (ours, theirs)]


def weights_of(estimator):
    return [*estimator.coefs_, *estimator.intercepts_]


def assert_same_training(a, b, tolerance=1e-10):
    for V, W in zip(weights_of(a), weights_of(b), strict=True):
        np.testing.assert_allclose(V, W, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(a.loss_, b.loss_, rtol=tolerance)
    for name in ("loss_curve_", "validation_scores_"):
        if getattr(b, name, None) is not None:
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=tolerance)
    for name in ("best_loss_", "best_validation_score_"):
        best = getattr(b, name, None)
        expected = None if best is None else pytest.approx(best, rel=tolerance)
        assert getattr(a, name, None) == expected
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(a, name) == getattr(b, name)


# --- parity with scikit-learn ---------------------------------------------------------------------

SGD = {"solver": "sgd", "learning_rate_init": 0.1}
SAME = {
    "adam": ("MLPClassifier", *CLASSES, {"batch_size": 40}),
    "adam in order": ("MLPClassifier", *CLASSES, {"shuffle": False}),
    "one batch": ("MLPClassifier", BINARY, BENIGN, {"activation": "logistic"}),
    "other numbers": ("MLPClassifier", *CLASSES, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}),
    "nesterov": ("MLPClassifier", *CLASSES, {**SGD, "activation": "tanh", "batch_size": 70}),
    "momentum": ("MLPClassifier", *CLASSES, {**SGD, "nesterovs_momentum": False, "alpha": 3.0}),
    "no hidden layer": ("MLPClassifier", *CLASSES, {**SGD, "hidden_layer_sizes": ()}),
    "two hidden layers": ("MLPClassifier", *CLASSES, {"hidden_layer_sizes": (5, 4)}),
    "invscaling": ("MLPClassifier", *CLASSES, {**SGD, "learning_rate": "invscaling"}),
    "adaptive": (
        "MLPClassifier",
        *CLASSES,
        {**SGD, "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1, "max_iter": 300},
    ),
    "stopping": ("MLPClassifier", *CLASSES, {"tol": 0.02, "n_iter_no_change": 2, "max_iter": 300}),
    "early stopping": (
        "MLPClassifier",
        BINARY,
        BENIGN,
        {"early_stopping": True, "n_iter_no_change": 3, "max_iter": 300},
    ),
    "several labels": ("MLPClassifier", IRIS, LABELS, {}),
    "lbfgs": ("MLPClassifier", *CLASSES, {"solver": "lbfgs", "max_iter": 12}),
    "numbers": ("MLPRegressor", *NUMBERS, {"batch_size": 64}),
    "numbers, early stopping": (
        "MLPRegressor",
        *NUMBERS,
        {"early_stopping": True, "activation": "identity", "max_iter": 60, "tol": 0.01},
    ),
    "poisson": ("MLPRegressor", *NUMBERS, {"loss": "poisson"}),
    "poisson, lbfgs": ("MLPRegressor", *NUMBERS, {"loss": "poisson", "solver": "lbfgs"}),
}


@pytest.mark.parametrize(("kind", "X", "y", "options"), SAME.values(), ids=SAME)
def test_training_computes_what_scikit_learn_computes(kind, X, y, options):
    assert_same_training(*both(kind, X, y, **options))


@pytest.mark.parametrize(
    "options", [{"solver": "lbfgs"}, {"batch_size": 32}, {"early_stopping": True}]
)
def test_weighted_training_computes_what_scikit_learn_computes(options):
    weights = {"sample_weight": WEIGHTS[:100]}
    assert_same_training(*both("MLPClassifier", BINARY, BENIGN, weights, **options))
    weights = {"sample_weight": WEIGHTS}
    assert_same_training(*both("MLPRegressor", DIABETES, PROGRESS, weights, **options))


def test_partial_fit_computes_what_scikit_learn_computes():
    pair = [module.MLPClassifier((6,), random_state=0, batch_size=30) for module in (ours, theirs)]
    for rows in (slice(0, 80), slice(70, 150), slice(0, 80)):
        for estimator in pair:
            estimator.partial_fit(IRIS[rows], SPECIES[rows], classes=[0, 1, 2])
    assert_same_training(*pair)


@pytest.mark.parametrize(
    "options",
    [{}, {"early_stopping": True}, {"solver": "sgd", "learning_rate": "invscaling"}],
)
def test_a_warm_start_computes_what_scikit_learn_computes(options):
    pair = both("MLPRegressor", *NUMBERS, warm_start=True, **options)
    for estimator in pair:
        estimator.fit(*NUMBERS)
    assert_same_training(*pair)
    assert len(pair[0].loss_curve_) == 16


def test_a_warm_start_is_not_undone_by_what_other_rows_had_chosen():
    options = {"max_iter": 6, "learning_rate_init": 0.05, "random_state": 0}
    model = MLPClassifier((6,), warm_start=True, early_stopping=True, **options)
    X = np.random.default_rng(0).normal(size=(120, 4))
    y = (X[:, 0] > 0).astype(int)
    first = model.fit(X, y).coefs_[0]
    for _ in range(2):
        model.fit(X, 1 - y)
        assert model.n_iter_ == 6
        assert model.best_validation_score_ == max(model.validation_scores_[-6:])
    assert np.any(model.coefs_[0] != first)
    assert model.score(X, 1 - y) > 0.6


@pytest.mark.parametrize(("name", "own"), [("relu", "relu"), ("logistic", "sigmoid")])
def test_the_start_is_that_of_scikit_learn_bit_for_bit(name, own):
    dtype = np.dtype(np.float32)
    started = start.start_weights(np.random.RandomState(5), (4, 6, 3), [own, own], dtype)
    estimator = theirs.MLPClassifier(
        (6,), name, random_state=5, max_iter=1, solver="sgd", learning_rate_init=1e-30
    ).fit(IRIS.astype(np.float32), SPECIES)
    for V, W in zip([*started[0], *started[1]], weights_of(estimator), strict=True):
        np.testing.assert_array_equal(V, W)


def test_a_random_state_is_left_where_scikit_learn_leaves_it():
    states = [np.random.RandomState(0) for _ in range(2)]
    for module, state in zip((ours, theirs), states, strict=True):
        module.MLPClassifier((3,), random_state=state, max_iter=300, tol=0.05).fit(*CLASSES)
    assert states[0].randint(2**30) == states[1].randint(2**30)


def test_float32_is_trained_in_float32():
    pair = both("MLPClassifier", IRIS.astype(np.float32), SPECIES)
    assert_same_training(*pair, tolerance=1e-4)
    assert {V.dtype for V in weights_of(pair[0])} == {np.dtype(np.float32)}
    X = IRIS.astype(np.float32)
    assert pair[0].predict_proba(X).dtype == np.float32
    lbfgs = MLPRegressor(hidden_layer_sizes=3, solver="lbfgs").fit(X, IRIS[:, 0])
    assert {V.dtype for V in weights_of(lbfgs)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("first", [np.float32, np.float64])
def test_training_that_goes_on_keeps_the_dtype_of_the_first_fit(first):
    for dtype in (np.float32, np.float64, int):
        pair = [m.MLPClassifier((4,), random_state=0) for m in (ours, theirs)]
        for estimator in pair:
            estimator.partial_fit(IRIS.astype(first), SPECIES, classes=[0, 1, 2])
            estimator.partial_fit(IRIS.astype(dtype), SPECIES)
        assert {V.dtype for V in weights_of(pair[0])} == {np.dtype(first)}
        assert_same_training(*pair, tolerance=1e-4 if np.float32 in (first, dtype) else 1e-10)
    model = MLPRegressor(hidden_layer_sizes=4, warm_start=True, max_iter=2)
    model.fit(DIABETES.astype(first), PROGRESS).fit(DIABETES, PROGRESS)
    assert {V.dtype for V in weights_of(model)} == {np.dtype(first)}
    assert model.loss_curve_[3] < model.loss_curve_[0]


def test_where_probabilities_saturate_the_steps_are_those_of_scikit_learn_but_not_the_losses():
    pair = both("MLPClassifier", 100 * IRIS, SPECIES)
    np.testing.assert_allclose(pair[0].coefs_[0], pair[1].coefs_[0], rtol=1e-10)
    assert pair[0].loss_curve_[0] > 1.2 * pair[1].loss_curve_[0]


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_the_parameters_of_scikit_learn_come_first_with_their_defaults(kind):
    mine, known = (
        [
            (p.name, p.default, p.kind)
            for p in inspect.signature(getattr(module, kind)).parameters.values()
        ]
        for module in (ours, theirs)
    )
    assert mine[: len(known)] == known
    added = {name for name, *_ in mine[len(known) :]}
    assert added == {"dropout", "optimizer", "compute_dtype"} | (
        {"class_weight"} if kind == "MLPClassifier" else {"huber_delta"}
    )


BAD = {
    "hidden_layer_sizes": -1, "solver": "rmsprop", "alpha": -1, "batch_size": 0,
    "learning_rate": "fast", "learning_rate_init": 0, "power_t": -1, "max_iter": 0, "shuffle": 3,
    "random_state": "a", "tol": -1, "verbose": -1, "warm_start": "yes", "momentum": 2,
    "nesterovs_momentum": 0.5, "early_stopping": "no", "validation_fraction": 1, "beta_1": 1,
    "beta_2": 1, "epsilon": 0, "n_iter_no_change": -1, "max_fun": 0,
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_parameter_is_named_as_by_scikit_learn(name):
    said = []
    for module in (ours, theirs):
        with pytest.raises(ValueError, match=name) as error:
            module.MLPRegressor(**{name: BAD[name]}).fit(*NUMBERS)
        # a set, which is in another order in each process
        said.append(sorted(str(error.value)))
    assert said[0] == said[1]


@pytest.mark.parametrize("sizes", [(3.5,), 3.0, (4, "5"), [True]])
def test_numbers_of_units_are_integers(sizes):
    with pytest.raises((TypeError, ValueError), match="hidden_layer_sizes"):
        MLPClassifier(sizes).fit(*CLASSES)


CHANGES = {
    "sizes": (
        {},
        {"hidden_layer_sizes": (6,)},
        DIABETES[:, 0],
        r"hidden_layer_sizes .*\(4,\), got",
    ),
    "outputs": ({}, {}, DIABETES[:, :2], "y must have as many outputs .*, 1, got 2"),
    "loss": ({"loss": "poisson"}, {"loss": "huber"}, PROGRESS, "loss='huber' must not follow"),
}


@pytest.mark.parametrize(("options", "change", "y", "message"), CHANGES.values(), ids=CHANGES)
def test_what_must_stay_the_same_is_named(options, change, y, message):
    model = MLPRegressor(hidden_layer_sizes=(4,), max_iter=1, warm_start=True, **options)
    model.fit(*NUMBERS).set_params(**change)
    with pytest.raises(ValueError, match=message):
        model.fit(DIABETES, y)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_training_goes_on_with_another_solver(early_stopping):
    options = {"warm_start": True, "random_state": 0, "early_stopping": early_stopping}
    model = MLPClassifier((4,), solver="lbfgs", max_iter=5, **options).fit(*CLASSES)
    reached = model.loss_
    model.set_params(solver="adam", max_iter=3).fit(*CLASSES)
    assert len(model.loss_curve_) == 3
    assert model.loss_curve_[0] < 1.2 * reached
    model.set_params(solver="lbfgs").fit(*CLASSES)


@pytest.mark.parametrize(
    "options",
    [
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1},
        {"early_stopping": True, "tol": 1.0, "n_iter_no_change": 1},
    ],
)
def test_verbose_prints_what_scikit_learn_prints(options, capsys):
    printed = []
    for module in (ours, theirs):
        module.MLPRegressor(hidden_layer_sizes=3, random_state=0, verbose=True, **options).fit(
            *NUMBERS
        )
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "did not improve" in printed[0]


def test_training_that_does_not_converge_warns():
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(1\) reached"):
        MLPClassifier((3,), max_iter=1).fit(*CLASSES)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after 1 iteration"):
        MLPClassifier((3,), max_iter=1, solver="lbfgs").fit(*CLASSES)
    with pytest.warns(UserWarning, match="It is going to be clipped"):
        MLPClassifier((3,), max_iter=1, batch_size=1000).fit(*CLASSES)


def test_sparse_rows_are_trained_and_predicted_as_dense_ones():
    dense, sparse = (MLPClassifier((4,), random_state=0, max_iter=3).fit(X, SPECIES)
                     for X in (IRIS, csr_array(IRIS)))  # fmt: skip
    np.testing.assert_allclose(
        dense.predict_proba(IRIS), sparse.predict_proba(csr_array(IRIS)), rtol=1e-12
    )


# --- where scikit-learn is wrong ------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_the_loss_of_several_outputs_is_the_one_of_the_gradients(solver):
    Y = np.stack([PROGRESS, DIABETES[:, 0]], 1)
    model = MLPRegressor(
        hidden_layer_sizes=4, solver=solver, random_state=0, alpha=0, learning_rate_init=1e-12,
        max_iter=20 if solver == "lbfgs" else 1,
    ).fit(DIABETES, Y)  # fmt: skip
    expected = 0.5 * np.mean(np.sum((model.predict(DIABETES) - Y) ** 2, 1))
    assert model.loss_ == pytest.approx(expected, rel=1e-9)


def test_the_validation_rows_of_several_classes_are_stratified(monkeypatch):
    held_out = []

    def on_device(batch, rows):
        held_out.append(int(np.sum(batch.Y == 1)))
        return fitting.on_device(batch, rows)

    monkeypatch.setattr(base, "on_device", on_device)
    rare = np.r_[0:50, 50:54, 100:150]  # 4 of the second class
    for seed in range(3):
        model = MLPClassifier((3,), max_iter=1, random_state=seed, early_stopping=True)
        model.set_params(validation_fraction=0.25).fit(IRIS[rare], SPECIES[rare])
    assert held_out == [3, 1] * 3
    alone = np.r_[0:50, 50, 100:150]  # a class that cannot be on both sides
    assert model.fit(IRIS[alone], SPECIES[alone]).n_iter_ == 1


def test_a_batch_without_weight_is_left_out():
    weights = np.r_[np.zeros(50), np.ones(100)]
    options = {"shuffle": False, "batch_size": 50, "max_iter": 4, "random_state": 0}
    some = MLPClassifier((4,), **options).fit(IRIS, SPECIES, sample_weight=weights)
    rest = MLPClassifier((4,), **options).partial_fit(IRIS[50:], SPECIES[50:], classes=[0, 1, 2])
    for _ in range(3):
        rest.partial_fit(IRIS[50:], SPECIES[50:])
    for V, W in zip(weights_of(some), weights_of(rest), strict=True):
        np.testing.assert_allclose(V, W, rtol=1e-12)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_partial_fit_is_hidden_where_lbfgs_trains(kind):
    assert not hasattr(kind(solver="lbfgs"), "partial_fit")
    assert hasattr(kind(solver="lbfgs", optimizer=optax.sgd(0.1)), "partial_fit")


def test_negative_counts_are_refused():
    with pytest.raises(ValueError, match=r"y must be at least 0 with loss='poisson', got -1\.0"):
        MLPRegressor("poisson").fit(DIABETES, np.r_[-1.0, PROGRESS[1:]])


# --- what is added --------------------------------------------------------------------------------


def test_class_weights_are_sample_weights():
    options = {"random_state": 0, "max_iter": 5, "batch_size": 60}
    of_class = {0: 1.0, 1: 5.0, 2: 0.5}
    a = MLPClassifier((4,), class_weight=of_class, **options).fit(IRIS, SPECIES, WEIGHTS)
    weights = WEIGHTS * np.array([of_class[k] for k in SPECIES])
    b = theirs.MLPClassifier((4,), **options).fit(IRIS, SPECIES, sample_weight=weights)
    assert_same_training(a, b)


@pytest.mark.parametrize("weight", [-1, np.nan, np.inf, "x"])
def test_a_wrong_class_weight_is_named(weight):
    for y, given in ((SPECIES, {1: weight}), (LABELS, [{0: 1.0}, {0: weight}])):
        with pytest.raises(ValueError, match="class_weight must hold finite numbers of at least"):
            MLPClassifier(class_weight=given).fit(IRIS, y)


def test_balanced_classes_weigh_the_same():
    few = np.r_[0:50, 50:60]
    X, y = IRIS[few][:, :1], SPECIES[few]  # one feature, in which the classes overlap
    options = {"solver": "lbfgs", "random_state": 0, "alpha": 0}
    recall = [
        MLPClassifier((), class_weight=w, **options).fit(X, y).predict(X)[y == 1].mean()
        for w in (None, "balanced")
    ]
    assert recall[1] > recall[0]
    with pytest.raises(ValueError, match="class_weight='balanced' needs all rows"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1])


@pytest.mark.parametrize("loss", ["absolute_error", "huber"])
def test_robust_losses_ignore_an_outlier(loss):
    X = np.linspace(-1, 1, 41)[:, None]
    y = 2 * X[:, 0]
    y[3] = 500.0
    found = [
        MLPRegressor(kind, (), solver="lbfgs", alpha=0, random_state=0, huber_delta=0.1).fit(X, y)
        for kind in (loss, "squared_error")
    ]
    errors = [np.abs(np.delete(m.predict(X) - y, 3)).max() for m in found]
    assert errors[0] < 0.2 < 5 < errors[1]


NETWORKS = {
    "softmax": np.array([0, 2, 1, 1]),
    "sigmoid": np.array([[0.0, 1.0, 1.0], [1, 0, 0], [1, 1, 1], [0, 0, 1]]),
    "squared_error": np.arange(12.0).reshape(4, 3),
    "poisson": np.arange(12.0).reshape(4, 3),
    "absolute_error": np.arange(12.0).reshape(4, 3),
    "huber": np.arange(12.0).reshape(4, 3),
}


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("loss", NETWORKS)
def test_the_gradient_of_each_loss_is_that_of_finite_differences(loss, dropout, x64):
    net = network.Network((2, 5, 3), ("tanh",), loss, 2.0, dropout)
    rng = np.random.default_rng(1)
    vector = rng.normal(size=33)
    batch = network.Batch(*map(jnp.asarray, (rng.normal(size=(4, 2)), NETWORKS[loss], np.ones(4))))
    key = jax.random.key(0) if dropout else None

    @jax.jit
    def f(vector):
        return network.loss_and_gradient(net, vector, batch, 0.7, key)

    direction = rng.normal(size=33)
    slope = (f(vector + 1e-6 * direction)[0] - f(vector - 1e-6 * direction)[0]) / 2e-6
    value, gradient = f(vector)
    assert float(gradient @ direction) == pytest.approx(float(slope), rel=1e-7)
    assert float(value) == pytest.approx(
        float(network.penalized_loss(net, jnp.asarray(vector), batch, 0.7, key)), rel=1e-12
    )


def test_dropout_draws_masks_in_training_alone():
    a, b, c = (
        MLPClassifier((8,), dropout=rate, random_state=0, max_iter=3, shuffle=False).fit(*CLASSES)
        for rate in (0.5, 0.5, 0.0)
    )
    np.testing.assert_array_equal(a.coefs_[0], b.coefs_[0])
    assert np.abs(a.coefs_[0] - c.coefs_[0]).max() > 1e-4
    np.testing.assert_array_equal(a.predict_proba(IRIS), a.predict_proba(IRIS))
    again = MLPClassifier((8,), dropout=0.5, random_state=0).partial_fit(
        *CLASSES, classes=[0, 1, 2]
    )
    first = again.coefs_[0]
    assert np.abs(again.partial_fit(*CLASSES).coefs_[0] - first).max() > 0
    with pytest.raises(ValueError, match="dropout needs a stochastic solver"):
        MLPClassifier(dropout=0.5, solver="lbfgs").fit(*CLASSES)


def test_the_validation_loss_is_that_of_the_held_out_rows():
    options = {"early_stopping": True, "random_state": 0, "max_iter": 1, "alpha": 10.0}
    model = MLPRegressor(hidden_layer_sizes=4, **options).fit(*NUMBERS)
    random = np.random.RandomState(0)
    start.start_weights(random, (10, 4, 1), ("relu", "relu"), np.float64)
    rows = train_test_split(np.arange(150), random_state=random, test_size=0.1)[1]
    error = model.predict(DIABETES[rows]) - PROGRESS[rows]
    assert model.validation_loss_curve_ == pytest.approx([0.5 * np.mean(error**2)])
    assert model.set_params(early_stopping=False).fit(*NUMBERS).validation_loss_curve_ is None


@pytest.mark.parametrize("name", sorted(network.NAMES - {"logistic"}))
def test_numpy_predicts_what_each_activation_of_fcjax_computes(name, x64):
    Z = np.concatenate([np.linspace(-8, 8, 41), [-40.0, 40.0, 0.0, 3.0, -3.0, 1.0]]).reshape(1, -1)
    expected = fcjax.activations.ACTIVATIONS[name](jnp.asarray(Z))
    np.testing.assert_allclose(prediction.FUNCTIONS[name](Z), expected, rtol=1e-12, atol=1e-14)


def test_each_hidden_layer_may_have_its_own_activation():
    model = MLPClassifier((5, 4), ["gelu", "logistic"], random_state=0, max_iter=3).fit(*CLASSES)
    with jax.enable_x64(True):
        params = tuple(map(fcjax.Layer, model.coefs_, model.intercepts_))
        P = fcjax.mlp(params, IRIS, activations=["gelu", "sigmoid"], output_activation="softmax")
    np.testing.assert_allclose(model.predict_proba(IRIS), P, rtol=1e-12)
    with pytest.raises(ValueError, match="one for each of the 2 hidden layers, got 1"):
        MLPClassifier((5, 4), ["relu"]).fit(*CLASSES)
    with pytest.raises(ValueError, match=r"activation must name activations of .*, got 'glu'"):
        MLPClassifier((5,), ["glu"]).fit(*CLASSES)


def test_an_optimizer_of_optax_replaces_the_solver():
    options = {"random_state": 0, "max_iter": 4, "batch_size": 50}
    a = MLPClassifier((4,), optimizer=optax.sgd(0.1, momentum=0.9), **options).fit(*CLASSES)
    b = theirs.MLPClassifier((4,), **SGD, nesterovs_momentum=False, **options).fit(*CLASSES)
    assert_same_training(a, b)


@pytest.mark.parametrize(
    "optimizer",
    [
        functools.partial(optax.adamw, 1e-2),
        optax.lbfgs,
        optax.lion(1e-3),
        lambda: optax.noisy_sgd(0.01, key=jax.random.key(0)),
    ],
)
def test_every_kind_of_optimizer_trains_and_goes_on(optimizer):
    options = {"random_state": 0, "shuffle": False, "optimizer": optimizer, "tol": 0}
    whole = MLPClassifier((4,), max_iter=2, **options).fit(*CLASSES)
    parts = clone(MLPClassifier((4,), **options)).partial_fit(*CLASSES, classes=[0, 1, 2])
    first = parts.loss_
    assert parts.partial_fit(*CLASSES).loss_ < first
    np.testing.assert_allclose(parts.coefs_[0], whole.coefs_[0], rtol=1e-9)


def test_what_is_no_optimizer_is_refused():
    with pytest.raises(TypeError, match="optimizer must be an optimizer of Optax, or a function"):
        MLPClassifier(optimizer=dict).fit(*CLASSES)
    with pytest.raises(ValueError, match="'optimizer' parameter of MLPClassifier must be"):
        MLPClassifier(optimizer=0.1).fit(*CLASSES)


def test_products_in_bfloat16_leave_the_weights_in_float32():
    X = IRIS.astype(np.float32)
    options = {"random_state": 0, "max_iter": 20}
    a = MLPClassifier((8,), compute_dtype="bfloat16", **options).fit(X, SPECIES)
    b = MLPClassifier((8,), **options).fit(X, SPECIES)
    assert a.coefs_[0].dtype == np.float32
    assert 0 < np.abs(a.coefs_[0] - b.coefs_[0]).max() < 0.05


# --- compiled programs ----------------------------------------------------------------------------


def test_estimators_of_equal_shapes_share_one_program(compilations):
    MLPClassifier((5,), random_state=0, max_iter=30).fit(*CLASSES)
    compilations.clear()
    model = MLPClassifier(
        (5,), random_state=1, max_iter=7, alpha=0.1, learning_rate_init=0.01, beta_1=0.5, tol=0
    )
    model.fit(IRIS[:-3], SPECIES[:-3])  # folds differ by a few rows
    cross_val_score(model, *CLASSES, cv=7)
    n = len(compilations)  # the folds have 128 or 129 rows: two numbers of padded rows
    cross_val_score(clone(model), *CLASSES, cv=7)
    assert n <= 2
    assert len(compilations) == n


def test_optimizers_that_are_equal_share_one_program(compilations):
    for rate in (0.1, 0.1):
        optimizer = functools.partial(optax.sgd, rate)
        compilations.clear()
        model = MLPClassifier((5,), optimizer=optimizer, max_iter=3).fit(*CLASSES)
    clone(model).fit(*CLASSES)
    assert not compilations


def test_ctrl_c_keeps_what_is_trained(monkeypatch):
    calls = []

    def run_epochs(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args)

    original = fitting.run_epochs
    monkeypatch.setattr(fitting, "run_epochs", run_epochs)
    monkeypatch.setattr(fitting, "_MOST", 4)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model = MLPClassifier((4,), random_state=0).fit(*CLASSES)
    assert model.n_iter_ == 4
    assert model.predict(IRIS).shape == (150,)


def test_weights_that_become_infinite_are_an_error():
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        MLPRegressor(hidden_layer_sizes=3, solver="sgd", learning_rate_init=1e300).fit(*NUMBERS)


# --- in scikit-learn's tools ----------------------------------------------------------------------


def test_a_grid_search_in_two_processes_finds_the_best():
    model = MLPClassifier((4,), random_state=0, solver="lbfgs", max_iter=30)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), model),
        {"mlpclassifier__alpha": [1e-4, 1e4]},
        cv=2,
        n_jobs=2,
    ).fit(*CLASSES)
    assert search.best_params_ == {"mlpclassifier__alpha": 1e-4}


def test_sample_weights_are_routed():
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier((4,), random_state=0, max_iter=2).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = make_pipeline(scaler, model).fit(*CLASSES, sample_weight=WEIGHTS)
    plain = MLPClassifier((4,), random_state=0, max_iter=2).fit(IRIS, SPECIES, WEIGHTS)
    np.testing.assert_allclose(pipe[-1].coefs_[0], plain.coefs_[0], rtol=1e-9)


ELSEWHERE = """
import joblib, pickle, sys
import jax, numpy as np
compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: compiled.append(event) if "compile" in event else None)
for name in ("model.joblib", "model.pkl"):
    load = joblib.load if "joblib" in name else (lambda path: pickle.load(open(path, "rb")))
    model = load(sys.argv[1] + "/" + name)
    X, P = (np.load(sys.argv[1] + f"/{part}.npy") for part in "XP")
    assert (model.predict_proba(X) == P).all()
assert not compiled, compiled
"""


def test_a_pickled_estimator_predicts_the_same_in_another_process(tmp_path):
    optimizer = functools.partial(optax.adam, 1e-2)
    model = MLPClassifier((4,), "mish", random_state=0, max_iter=3, optimizer=optimizer)
    model.fit(IRIS, np.array(["a", "b", "c"])[SPECIES])
    np.save(tmp_path / "X.npy", IRIS)
    np.save(tmp_path / "P.npy", model.predict_proba(IRIS))
    joblib.dump(model, tmp_path / "model.joblib")
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    root = Path(fcjax.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path)],
        capture_output=True, text=True, env={"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    again = pickle.loads(pickle.dumps(model)).partial_fit(IRIS, model.predict(IRIS))
    np.testing.assert_array_equal(
        again.coefs_[0],
        model.partial_fit(IRIS, pickle.loads(pickle.dumps(model)).predict(IRIS)).coefs_[0],
    )


# --- saving ---------------------------------------------------------------------------------------

KINDS = {
    "str": np.array(["setosa", "versicolor", "virginica"]),
    "object": np.array(["setosa", "versicolor", "virginica"], dtype=object),
    "int": np.array([7, -1, 3]),
    "float": np.array([1.0, 2.0, 3.0]),
    "int8": np.array([1, 2, 3], np.int8),
}


@pytest.mark.parametrize("labels", KINDS.values(), ids=KINDS)
def test_a_folder_keeps_a_classifier_with_its_labels(labels, tmp_path):
    model = MLPClassifier((4,), random_state=0, max_iter=3, class_weight={labels[0]: 2.0})
    model.fit(IRIS, labels[SPECIES])
    fcjax.save(tmp_path, model)
    again = fcjax.load(tmp_path)
    assert type(again) is MLPClassifier
    assert again.get_params() == model.get_params()
    assert again.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(again.predict(IRIS), model.predict(IRIS))
    np.testing.assert_array_equal(again.predict_proba(IRIS), model.predict_proba(IRIS))
    assert again.loss_curve_ == model.loss_curve_
    assert vars(again).keys() == vars(model).keys()


def test_a_folder_keeps_two_classes_of_booleans_and_several_labels(tmp_path):
    for y in (SPECIES > 0, LABELS):
        model = MLPClassifier((4,), random_state=0, max_iter=3, early_stopping=True).fit(IRIS, y)
        fcjax.save(tmp_path, model)
        again = fcjax.load(tmp_path)
        np.testing.assert_array_equal(again.predict(IRIS), model.predict(IRIS))
        assert again.predict(IRIS).dtype == model.predict(IRIS).dtype
        assert again.validation_scores_ == model.validation_scores_


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_folder_keeps_a_regressor_that_can_go_on(dtype, tmp_path):
    X = DIABETES.astype(dtype)
    model = MLPRegressor("huber", [4, 3], ["tanh", "silu"], random_state=0, n_iter_no_change=np.inf)
    model.partial_fit(X, PROGRESS)
    fcjax.save(tmp_path, model)
    again = fcjax.load(tmp_path)
    assert again.get_params() == model.get_params()
    assert {V.dtype for V in weights_of(again)} == {np.dtype(dtype)}
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    for estimator in (model, again):
        estimator.partial_fit(X, PROGRESS)
    np.testing.assert_array_equal(again.coefs_[0], model.coefs_[0])
    assert again.t_ == model.t_


def test_a_folder_keeps_an_estimator_that_is_not_fitted(tmp_path):
    fcjax.save(tmp_path, MLPRegressor(alpha=0.5))
    assert repr(fcjax.load(tmp_path)) == "MLPRegressor(alpha=0.5)"


@pytest.mark.parametrize(
    ("name", "value"),
    [("random_state", np.random.RandomState(0)), ("optimizer", optax.sgd(0.1))],
)
def test_a_parameter_that_a_folder_cannot_hold_is_named(name, value, tmp_path):
    with pytest.raises(TypeError, match=f"{name} must be None, a number, a string, or a list"):
        fcjax.save(tmp_path, MLPClassifier(**{name: value}))
    assert not [*tmp_path.iterdir()]


def test_the_estimators_of_scikit_learn_are_refused(tmp_path):
    with pytest.raises(TypeError, match="model must be a Model or an estimator of fcjax"):
        fcjax.save(tmp_path, theirs.MLPClassifier())


def test_a_damaged_folder_is_named(tmp_path):
    model = MLPClassifier((4,), random_state=0, max_iter=1).fit(*CLASSES)
    contents = model.to_contents()
    left = {name: V for name, V in contents.arrays.items() if name != "coefs.1"}
    lost = contents._replace(arrays=left)
    folder.write(tmp_path, lost)
    with pytest.raises(fcjax.DamagedModelError, match=r"it has no array 'coefs\.1'"):
        fcjax.load(tmp_path)
