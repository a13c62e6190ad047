"""`TabularClassifier` and `TabularRegressor`: scikit-learn's checks, and tables of every kind."""

import pickle
import subprocess
import sys
import warnings

import jax
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sklearn", "1.7")

from scipy.sparse import csr_array, dok_array
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_dataframe_column_names_consistency
from support import every_check, quick_networks

import fcjax
from fcjax.estimators import TabularClassifier, TabularRegressor

pytestmark = pytest.mark.usefixtures("unchecked")

# Half as many epochs do not learn what two of the checks ask for.
ESTIMATORS = [
    TabularClassifier(epochs=8, random_state=0),
    TabularRegressor(epochs=40, random_state=0),
]
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a row that is repeated may be held out once and trained on once; see the test of weights"
    )
}


@pytest.fixture(autouse=True)
def _quiet():
    with quick_networks(), warnings.catch_warnings():
        for kind in (FutureWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        yield


@every_check(ESTIMATORS, EXPECTED, part=6)
def test_an_estimator_passes_each_check_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_an_estimator_checks_the_names_of_columns(estimator):
    check_dataframe_column_names_consistency(type(estimator).__name__, estimator)


# --- tables ---------------------------------------------------------------------------------------


def houses(n=200, seed=0):
    rng = np.random.default_rng(seed)
    size, town = rng.uniform(20, 200, n), rng.choice(["Bern", "Basel", "Genf"], n)
    price = 3 * size + 100 * (town == "Genf")
    X = pd.DataFrame({
        "size": np.where(rng.random(n) < 0.1, np.nan, size),
        "town": pd.Categorical(np.where(rng.random(n) < 0.1, None, town)),
        "built": pd.Timestamp("1990-01-01") + pd.to_timedelta(rng.integers(0, 9999, n), "D"),
        "garden": rng.choice([True, False], n),
    })  # fmt: skip
    return X, price


X, PRICE = houses()
DEAR = np.where(PRICE > 350, "dear", "cheap")


@pytest.mark.parametrize("preset", ["realmlp", "tabm"])
@pytest.mark.in_turn(2)
def test_a_frame_of_everything_needs_no_preparation(preset):
    epochs = 30 if preset == "realmlp" else 4
    classifier = TabularClassifier(preset, epochs=epochs, random_state=0).fit(X, DEAR)
    assert classifier.score(X, DEAR) > 0.85
    assert list(classifier.classes_) == ["cheap", "dear"]
    np.testing.assert_allclose(classifier.predict_proba(X).sum(axis=1), 1)
    regressor = TabularRegressor(preset, epochs=epochs, random_state=0).fit(X, PRICE)
    assert regressor.score(X, PRICE) > (0.8 if preset == "realmlp" else 0.5)
    assert regressor.n_epochs_ == epochs
    assert 1 <= regressor.best_epoch_ <= epochs
    assert len(regressor.history_["val_rmse"]) == epochs


def test_rows_that_choose_the_epoch_can_be_given():
    parts = train_test_split(X, PRICE, random_state=0)
    train, held_out, y, y_held_out = parts
    model = TabularRegressor(epochs=10, random_state=0)
    model.fit(train, y, X_val=held_out, y_val=y_held_out)
    error = np.sqrt(np.mean((model.predict(held_out) - y_held_out) ** 2))
    assert min(model.history_["val_rmse"]) == pytest.approx(error, rel=1e-3)
    with pytest.raises(ValueError, match="X_val and y_val must be given together"):
        model.fit(train, y, X_val=held_out)
    with pytest.raises(ValueError, match="y_val must hold the classes of y, got 'new'"):
        TabularClassifier(epochs=1).fit(X, DEAR, X_val=X[:1], y_val=["new"])


WRONG_HELD_OUT = {
    "NaN": (X, np.full(200, np.nan), "Input y_val contains NaN"),
    "outputs": (X, np.zeros((200, 2)), "y_val must have as many outputs as y, 1, got 2"),
    "rows": (X[:5], PRICE, "X_val and y_val must have as many rows, .*: 5 and 200"),
    "columns": (X[["size"]], PRICE, "X_val: The feature names should match"),
    "a matrix": (np.zeros((200, 3)), PRICE, "X_val: X has 3 features"),
    "text": ([["a"] * 4] * 200, PRICE, "X_val: X must be a matrix of numbers"),
    "no rows": (X[:0], [], "X_val: Found array with 0 sample"),
}


@pytest.mark.parametrize(("X_val", "y_val", "message"), WRONG_HELD_OUT.values(), ids=WRONG_HELD_OUT)
def test_what_is_wrong_with_rows_that_choose_the_epoch_is_named(X_val, y_val, message):
    with pytest.raises(ValueError, match=message):
        TabularRegressor(epochs=1).fit(X, PRICE, X_val=X_val, y_val=y_val)


@pytest.mark.parametrize("labels", [np.zeros((200, 2)), np.full(200, np.nan), np.arange(200) / 3])
def test_wrong_classes_of_rows_that_choose_the_epoch_are_named(labels):
    with pytest.raises(ValueError, match="y_val"):
        TabularClassifier(epochs=1).fit(X, DEAR.astype(object), X_val=X, y_val=labels)


def test_a_figure_that_the_rows_do_not_define_is_refused_before_training():
    cheap = X[DEAR == "cheap"]
    rare = np.where(np.arange(200) == 150, "rare", "usual")
    auc = TabularClassifier(epochs=1, metric="auc", random_state=0)
    message = "metric 'auc' needs at least two classes among the rows that choose the epoch"
    with pytest.raises(ValueError, match=message):
        auc.fit(X, DEAR, X_val=cheap, y_val=["cheap"] * len(cheap))
    with pytest.raises(ValueError, match=message):
        auc.fit(X, rare)
    with pytest.raises(ValueError, match="metric 'r2' needs at least two different numbers"):
        TabularRegressor(epochs=1, metric="r2").fit(X, PRICE, X_val=X, y_val=0 * PRICE)
    assert np.isfinite(auc.fit(X, DEAR).history_["val_auc"]).all()


def test_a_weight_of_two_is_a_row_that_is_there_twice():
    """With one batch of all rows, and other rows that choose the epoch."""
    rng = np.random.default_rng(0)
    A, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    w = rng.integers(1, 4, 40)
    options = {"X_val": A, "y_val": y}
    # the medians and quartiles are those of rows without weights: the same in both
    order = np.repeat(np.arange(40), w)
    weighted = TabularRegressor(epochs=6, random_state=0).fit(A[order], y[order], **options)
    again = TabularRegressor(epochs=6, random_state=0)
    again.fit(A[order], y[order], sample_weight=np.ones(len(order)), **options)
    np.testing.assert_allclose(weighted.predict(A), again.predict(A), rtol=1e-4, atol=1e-4)
    heavy = TabularRegressor(epochs=30, random_state=0).fit(
        A, y, np.where(y > 0, 1e3, 1), **options
    )
    plain = TabularRegressor(epochs=30, random_state=0).fit(A, y, **options)
    assert heavy.predict(A).mean() > plain.predict(A).mean()


def test_rows_of_weight_zero_do_not_count_at_all():
    w = np.random.default_rng(0).choice([0.0, 1.0, 2.0], len(X))
    others = X.assign(size=np.where(w > 0, X["size"], 1e9), town=np.where(w > 0, X["town"], "Zug"))
    options = {"epochs": 1, "random_state": 0}
    kept = TabularRegressor(**options).fit(X[w > 0], PRICE[w > 0], w[w > 0])
    model = TabularRegressor(**options).fit(others, np.where(w > 0, PRICE, 1e9), w)
    assert model.model_.treatment.to_json() == kept.model_.treatment.to_json()
    np.testing.assert_array_equal(model.predict(X), kept.predict(X))
    labels = np.where(w > 0, DEAR, "none")
    classifier = TabularClassifier(**options).fit(others, labels, w)
    kept = TabularClassifier(**options).fit(X[w > 0], DEAR[w > 0], w[w > 0])
    assert list(classifier.classes_) == ["cheap", "dear"]
    np.testing.assert_array_equal(classifier.predict_proba(X), kept.predict_proba(X))


def test_a_class_of_weight_zero_is_not_trained_on():
    rare = np.where(np.arange(200) < 20, "rare", "usual")
    model = TabularClassifier(epochs=3, class_weight={"usual": 0}, random_state=0).fit(X, rare)
    assert set(model.predict(X)) == {"rare"}


def test_weights_may_be_huge():
    w = np.where(PRICE > 350, 2.0, 1.0)
    models = [
        TabularClassifier(epochs=2, class_weight=by_class, random_state=0).fit(X, DEAR, size * w)
        for by_class, size in ((None, 1.0), ({"cheap": 1e308, "dear": 1e308}, 1e307))
    ]
    np.testing.assert_allclose(*(model.predict_proba(X) for model in models), rtol=1e-5)


WRONG_WEIGHTS = {
    "zeros": ({}, np.zeros(200), "sample_weight must have a number that is not zero, got zeros"),
    "negative": ({}, np.where(PRICE > 350, -1.0, 1.0), "sample_weight must be at least 0 in every"),
    "all negative": ({}, -np.ones(200), "sample_weight must be at least 0 in every row, got -1"),
    "infinite": ({}, np.full(200, np.inf), "Input sample_weight contains infinity"),
    "length": ({}, np.ones(5), "sample_weight"),
    "a class": ({"dear": -1}, None, "class_weight must hold finite numbers of at least 0, got -1"),
    "NaN": ({"dear": np.nan}, None, "class_weight must hold finite numbers of at least 0, got nan"),
    "infinity": ({"dear": np.inf}, None, "class_weight must hold finite numbers .*, got inf"),
    "text": ({"dear": "x"}, None, "class_weight must hold finite numbers of at least 0, got 'x'"),
    "no class": ({"dear": 0, "cheap": 0}, None, "class_weight must be positive for a class of y"),
    "tiny": ({}, np.r_[1.0, np.full(199, 1e-300)], "sample_weight, .* at least 1e-30 of the large"),
}


@pytest.mark.parametrize(("classes", "w", "message"), WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_wrong_weights_are_named(classes, w, message):
    with pytest.raises(ValueError, match=message):
        TabularClassifier(class_weight=classes or None, random_state=0).fit(X, DEAR, w)


def test_a_run_of_one_step_learns():
    A, y = load_diabetes(return_X_y=True)
    model = TabularRegressor(epochs=1, random_state=0).fit(A[:200], y[:200])
    assert model.history_["learning_rate"] == [pytest.approx(0.07)]
    assert model.predict(A[:200]).std() > 1


@pytest.mark.parametrize("size", [1e-300, 1e160, 1.7e308])
def test_targets_may_be_of_any_size(size):
    A, y = load_diabetes(return_X_y=True)
    y = 2 * (y - y.min()) / np.ptp(y) - 1
    plain, huge = (
        TabularRegressor(epochs=1, random_state=0).fit(A, s * y).predict(A) / s for s in (1, size)
    )
    np.testing.assert_allclose(plain, huge, rtol=1e-4, atol=1e-4)


def test_class_weights_and_categories_by_number():
    balanced = TabularClassifier(epochs=8, class_weight="balanced", random_state=0).fit(X, DEAR)
    heavy = TabularClassifier(epochs=8, class_weight={"dear": 100}, random_state=0).fit(X, DEAR)
    assert np.mean(heavy.predict(X) == "dear") > np.mean(balanced.predict(X) == "dear")
    codes = np.stack([np.random.default_rng(0).integers(0, 3, 60), np.arange(60)], axis=1)
    model = TabularRegressor(epochs=1, categorical_features=[0]).fit(codes, codes[:, 1])
    assert [feature.kind for feature in model.model_.treatment.features] == ["category", "number"]


CATEGORIES = {
    "numbers": ([0, 2], "cnc"),
    "a mask": ([True, False, True], "cnc"),
    "a mask of NumPy": (np.array([False, True, False]), "ncn"),
    "none": ([False] * 3, "nnn"),
    "names": (["x1"], "ncn"),
}


@pytest.mark.parametrize(("chosen", "kinds"), CATEGORIES.values(), ids=CATEGORIES)
def test_columns_of_categories_are_chosen_as_in_scikit_learn(chosen, kinds):
    codes = np.random.default_rng(0).integers(0, 3, (60, 3))
    model = TabularRegressor(epochs=1, categorical_features=chosen).fit(codes, codes[:, 1])
    found = "".join(feature.kind[0] for feature in model.model_.treatment.features)
    assert found == kinds


def test_a_type_of_categories_makes_a_column_one_of_categories():
    frame = pd.DataFrame({"floor": pd.Categorical([1, 2, 3] * 20), "size": range(60)})
    model = TabularRegressor(epochs=1).fit(frame, range(60))
    assert [feature.kind for feature in model.model_.treatment.features] == ["category", "number"]


@pytest.mark.parametrize("chosen", [["town"], [-1], [3], [1.0], [True, 1, 2], [True, False]])
def test_wrong_columns_of_categories_are_named(chosen):
    with pytest.raises(ValueError, match=r"categorical_features .* the 3 columns of X"):
        TabularRegressor(categorical_features=chosen).fit(np.eye(3), np.arange(3))


# --- forms of a table -----------------------------------------------------------------------------


def form_of(name, frame):
    if name == "dict":
        return frame.astype(object).where(frame.notna(), None).to_dict("list")
    module = pytest.importorskip({"arrow": "pyarrow"}.get(name, name))
    return (
        module.DataFrame(form_of("dict", frame))
        if name == "polars"
        else module.Table.from_pandas(frame, preserve_index=False)
    )


@pytest.mark.parametrize("form", ["dict", "arrow", "polars"])
def test_predictions_are_the_same_in_each_form_of_a_table(form):
    other = form_of(form, X)
    trained = [TabularClassifier(epochs=1, random_state=0).fit(T, DEAR) for T in (X, other)]
    want = trained[0].predict_proba(X)
    for model in trained:
        assert list(model.feature_names_in_) == list(X.columns)
        for table in (X, other):
            np.testing.assert_array_equal(model.predict_proba(table), want)
    held_out = TabularClassifier(epochs=1).fit(other, DEAR, X_val=other, y_val=DEAR)
    assert held_out.n_features_in_ == 4


def test_columns_of_a_dict_are_found_by_name():
    model = TabularClassifier(epochs=1, random_state=0).fit(X, DEAR)
    turned = dict(reversed(form_of("dict", X).items()))
    np.testing.assert_array_equal(model.predict(turned), model.predict(X))
    with pytest.raises(ValueError, match=r"X must have the columns \['size', .*, got \['size'\]"):
        model.predict({"size": [1.0]})
    with pytest.raises(ValueError, match=r"X must have the columns \['x0', 'x1'\], got \['size'\]"):
        TabularRegressor(epochs=1).fit(np.eye(9)[:, :2], np.arange(9)).predict({"size": [1.0]})


def test_numbers_of_columns_are_no_names():
    A, y = np.random.default_rng(0).normal(size=(2, 40, 2))
    frame = pd.DataFrame(A)
    one, two = (TabularRegressor(epochs=1, random_state=0).fit(T, y[:, 0]) for T in (A, frame))
    for T in (A, frame, {"a": A[:, 0], "b": A[:, 1]}):
        np.testing.assert_array_equal(one.predict(T), two.predict(T))


def test_text_in_a_matrix_says_what_is_accepted():
    for matrix in (X[["town"]].astype(object).to_numpy(), [["a"]] * 200):
        with pytest.raises(ValueError, match="X must be a matrix of numbers, or, for text and"):
            TabularRegressor().fit(matrix, PRICE)


@pytest.mark.parametrize("kind", [csr_array, dok_array])
def test_sparse_matrices_are_refused(kind):
    with pytest.raises(TypeError, match="Sparse data was passed"):
        TabularRegressor().fit(kind(np.eye(9)), np.arange(9))


@pytest.mark.parametrize("form", ["pandas", "dict", "arrow"])
def test_no_rows_are_named_as_in_scikit_learn(form):
    none = X[:0] if form == "pandas" else form_of(form, X[:0])
    model = TabularRegressor(epochs=1).fit(X, PRICE)
    for call in (lambda: model.predict(none), lambda: clone(model).fit(none, [])):
        with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\) \(shape=\(0, 4\)\)"):
            call()


def test_infinite_numbers_are_very_large_ones_in_each_form():
    A = np.random.default_rng(0).normal(size=(60, 3))
    A[0, 0], A[1, 0], A[2, 1] = np.inf, -np.inf, 1e300
    one, two = (
        TabularRegressor(epochs=1, random_state=0).fit(T, A[:, 2]) for T in (A, pd.DataFrame(A))
    )
    np.testing.assert_array_equal(one.predict(A), two.predict(pd.DataFrame(A)))
    large = np.clip(A, -1e300, 1e300)
    np.testing.assert_array_equal(one.predict(A), one.predict(large))


def test_several_outputs():
    Y = np.stack([PRICE, -PRICE], axis=1)
    model = TabularRegressor(epochs=20, random_state=0).fit(X, Y)
    assert model.predict(X).shape == Y.shape
    assert model.score(X, Y) > 0.7


WRONG = {
    "preset": ({"preset": "mlp"}, "The 'preset' parameter of TabularClassifier must be"),
    "members": ({"members": 0}, "The 'members' parameter"),
    "metric": ({"metric": "rmse"}, "metric: 'rmse' is unknown; .*accepted: accuracy"),
    "embeddings": ({"embeddings": True}, "embeddings need preset='tabm'"),
    "dtype": ({"compute_dtype": "int8"}, "compute_dtype must be a floating-point dtype"),
}


@pytest.mark.parametrize(("parameters", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_parameter_is_named_by_fit(parameters, message):
    with pytest.raises((TypeError, ValueError), match=message):
        TabularClassifier(**parameters).fit(X, DEAR)


# --- as scikit-learn's users do -------------------------------------------------------------------


def test_searches_pipelines_and_clones():
    A, y = load_breast_cancer(return_X_y=True)
    search = GridSearchCV(TabularClassifier(random_state=0), {"epochs": [1, 6]}, cv=2, n_jobs=2)
    search.fit(A[:150], y[:150])
    assert search.best_params_ == {"epochs": 6}
    pipeline = make_pipeline(FunctionTransformer(), clone(search.best_estimator_))
    assert cross_val_score(pipeline, A[:150], y[:150], cv=2).mean() > 0.85


LOAD = """
import pickle, sys
import numpy as np
import fcjax
model = fcjax.load(sys.argv[2]) if sys.argv[1] == "load" else pickle.load(open(sys.argv[2], "rb"))
np.save(sys.argv[4], model.predict(np.load(sys.argv[3])))
"""


def test_a_fitted_estimator_predicts_the_same_elsewhere(tmp_path):
    A, y = load_diabetes(return_X_y=True)
    model = TabularRegressor(epochs=2, random_state=0).fit(A, y)
    np.save(tmp_path / "x.npy", A)
    fcjax.save(tmp_path / "model", model)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    for how, path in (("load", "model"), ("pickle", "model.pickle")):
        command = [sys.executable, "-c", LOAD, how, tmp_path / path, tmp_path / "x.npy"]
        subprocess.run([*command, tmp_path / "y.npy"], check=True)
        np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), model.predict(A))


def test_an_estimator_comes_back_from_a_folder(tmp_path):
    model = TabularClassifier(epochs=2, class_weight="balanced", random_state=3).fit(X, DEAR)
    fcjax.save(tmp_path, model)
    again = fcjax.load(tmp_path)
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.classes_, model.classes_)
    assert list(again.feature_names_in_) == list(X.columns)
    assert (again.n_epochs_, again.history_) == (model.n_epochs_, model.history_)
    with pytest.raises(ValueError, match="feature names"):
        again.predict(X.rename(columns={"size": "area"}))


@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 0.0]])
def test_a_single_row_is_refused(weights):
    X, y = ([[1.0, 2.0]], [1.0]) if weights is None else ([[1.0], [2.0], [3.0]], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="X must have at least two rows of a weight above 0"):
        TabularRegressor(epochs=1).fit(X, y, sample_weight=weights)


# --- compiled programs ----------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["realmlp", "tabm"])
@pytest.mark.in_turn(2)
def test_fits_of_equal_shapes_share_their_programs(preset, compilations):
    X, y = houses(97)
    jax.clear_caches()
    TabularRegressor(preset, epochs=2, random_state=0).fit(X, y)
    first = len(compilations)
    compilations.clear()
    y_in_another_unit = 3 * y + 1
    model = TabularRegressor(preset, epochs=3, random_state=0).fit(X, y_in_another_unit)
    model.predict(X)
    again = len(compilations)
    compilations.clear()
    jax.clear_caches()
    TabularRegressor(preset, epochs=2, members=3, random_state=0).fit(X, y)
    # realmlp's schedule has the number of its steps as a constant
    assert again <= (2 if preset == "realmlp" else 1)  # prediction among them
    assert len(compilations) < 2 * first  # the same number, and some zeros to begin with
