"""Pictures in the folder of a model, and the importance of columns, on rows that chose nothing."""

import io
import re
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.inspection import permutation_importance as theirs
from support import quick_networks

import fcjax
import fcjax_cli
from fcjax.tables import TableModel, train_table
from fcjax.tables.columns import as_table
from fcjax.tables.importance import Importance, losses, permutation_importance
from fcjax.tables.metrics import metric_of
from fcjax.tables.pictures import _importance, draw
from fcjax.tables.report import HeldOut

pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")

RNG = np.random.default_rng(0)
OF_CLASSES = {"history.png", "importance.png", "confusion.png", "calibration.png"}
OF_NUMBERS = {"history.png", "importance.png", "predictions.png"}


def houses(n=200, seed=0):
    rng = np.random.default_rng(seed)
    size, town = rng.uniform(20, 200, n), rng.choice(["Bern", "Basel", "Genf"], n)
    rooms = np.where(rng.random(n) < 0.2, np.nan, np.round(size / 30))
    price = 3 * size + 40 * (town == "Genf") + rng.normal(0, 5, n)
    sold = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), "D")
    frame = {"rooms": rooms, "town": town, "sold": sold, "size": size, "price": price}
    return pd.DataFrame({**frame, "dear": np.where(price > 330, "yes", "no")})


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with quick_networks():
        yield


@pytest.fixture(scope="module")
def classification():
    return trained("dear", "price", pictures=True)


@pytest.fixture(scope="module")
def regression():
    return trained("price", "dear", pictures=True)


def trained(target, drop, **options):
    frame = houses().drop(columns=drop)
    return train_table(frame, target, **({"epochs": 20, "progress": False} | options))


def held_out_of(model, data):
    """What `train_table` knows of its test rows, for other rows."""
    data = as_table(data)
    X = model.treatment.transform(data)
    y = model.target.encoded(data)
    return HeldOut(X, y, None, model.outputs_of_matrix(X))


# --- importance -----------------------------------------------------------------------------------


class Predictor(ClassifierMixin, BaseEstimator):
    """The model as scikit-learn wants it."""

    def __init__(self, model=None):
        self.model = model

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.model.predict(X)


def test_importance_is_that_of_scikit_learn_on_the_columns_of_the_table(classification):
    """With the same permutations; a category and a column with missing values are one each."""
    data = houses(n=70, seed=5)
    columns, repeats = classification.treatment.columns, 4
    estimator = Predictor(classification).fit(data[columns], data["dear"])
    want = theirs(estimator, data[columns], data["dear"], n_repeats=repeats, random_state=3)
    # scikit-learn shuffles again what it has shuffled before
    rng = np.random.RandomState(np.random.RandomState(3).randint(np.iinfo(np.int32).max + 1))
    order, orders, places = np.arange(len(data)), [], np.arange(len(data))
    for _ in range(repeats):
        rng.shuffle(order)
        places = places[order]
        orders.append((np.arange(len(data)), places))
    held_out = held_out_of(classification, data)
    found = losses(
        held_out.X,
        held_out.outputs,
        classification.treatment.blocks,
        orders,
        classification.outputs_of_matrix,
        lambda outputs, rows: np.mean(outputs.argmax(axis=1) == held_out.y[rows]),
    )
    np.testing.assert_allclose(found, want.importances, atol=1e-12)
    assert found[columns.index("size")].mean() > 0.1


@pytest.mark.parametrize(("target", "metric"), [("price", "rmse"), ("price", "r2")])
def test_the_mean_importance_is_that_of_scikit_learn(regression, target, metric):
    """With other permutations."""
    data, columns = houses(n=150, seed=6), regression.treatment.columns

    class Regressor(BaseEstimator):
        def fit(self, X, y):
            return self

        def predict(self, X):
            return regression.predict(X)

    scoring = {"rmse": "neg_root_mean_squared_error", "r2": "r2"}[metric]
    want = theirs(Regressor().fit(data, data), data[columns], data[target], n_repeats=30,
                  random_state=0, scoring=scoring)  # fmt: skip
    held_out = held_out_of(regression, data)
    found = permutation_importance(
        regression, held_out, metric_of("regression", metric), seed=1, repeats=30
    )
    by_name = dict(zip(found.columns, found.losses, strict=True))
    for name, own in zip(columns, want.importances, strict=True):
        error = np.hypot(own.std(), by_name[name].std()) / np.sqrt(30)
        assert by_name[name].mean() == pytest.approx(own.mean(), abs=5 * error + 1e-6), name
    means = found.losses.mean(axis=1)
    assert list(means) == sorted(means, reverse=True)
    assert found.change == ("increase" if metric == "rmse" else "decrease")


def test_the_report_lists_columns_by_importance_of_the_monitored_metric(regression):
    found = regression.report["importance"]
    assert found["metric"] == "rmse"
    assert (found["rows"], found["repeats"], found["not measured"]) == (40, 5, 0)
    assert next(iter(found["columns"])) == "size"
    assert set(found["columns"]) == set(regression.treatment.columns)
    size = found["columns"]["size"]["mean"]
    assert size > 10 * abs(found["columns"]["sold"]["mean"])
    assert size > 20  # in the unit of the price, of which the deviation is about 150


def test_of_many_columns_the_strongest_are_measured():
    """Also one on which the output depends without a trend."""
    X = RNG.normal(size=(600, 60)).astype(np.float32)
    table = {f"x{i}": X[:, i] for i in range(60)}
    table["y"] = 2 * X[:, 41] + 3 * np.abs(X[:, 7])
    model = train_table(table, "y", epochs=30, progress=False)
    found = model.report["importance"]
    assert [*found["columns"]][:2] == ["x41", "x7"] or [*found["columns"]][:2] == ["x7", "x41"]
    assert (len(found["columns"]), found["not measured"]) == (30, 30)


def test_many_rows_and_large_networks_take_a_bounded_number_of_predictions(regression, monkeypatch):
    taken = []

    def predict(self, X):
        taken.append(len(X))
        return np.zeros((len(X), 1), np.float32)

    X = np.zeros((5000, len(regression.treatment.outputs)), np.float32)
    held_out = HeldOut(X, np.zeros((5000, 1), np.float32), None, np.zeros((5000, 1), np.float32))
    monkeypatch.setattr(TableModel, "outputs_of_matrix", predict)
    found = permutation_importance(regression, held_out, metric_of("regression", None), seed=0)
    assert taken == [2000] * 5 * 4
    assert found.rows == 2000
    monkeypatch.setattr("fcjax.tables.importance.MOST_PRODUCTS", 1)
    found = permutation_importance(regression, held_out, metric_of("regression", None), seed=0)
    assert found.rows == 256


@pytest.mark.parametrize("rows", [1, 2])
def test_few_rows_have_an_importance_and_pictures(classification, regression, rows):
    for model in (classification, regression):
        held_out = held_out_of(model, houses(n=rows, seed=2))
        metric = metric_of(model.target.task, None)
        found = permutation_importance(model, held_out, metric, seed=0)
        assert np.all(found.losses[:, :] == 0) or rows > 1
        assert len(draw(model, held_out, found)) == (4 if model is classification else 3)


# --- pictures -------------------------------------------------------------------------------------


def checked(model, names):
    files = dict(model.files)
    card = files.pop("README.md").decode()
    assert set(files) == names
    for name, content in files.items():
        image = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
        assert image.std() > 5, name
        assert min(image.shape) > 150, name
        assert re.search(rf"^!\[[^\]]+\]\({name}\)$", card, re.M), name
    return card


def test_pictures_of_classes_lie_beside_the_card_that_shows_them(classification):
    card = checked(classification, OF_CLASSES)
    assert re.search(r"^\| size \| 0\.\d+ ± 0\.\d+ \|$", card, re.M)
    assert "| column | decrease of accuracy when it is shuffled |" in card
    assert "in 40 rows that neither trained the network nor chose anything" in card
    order = [card.index(text) for text in ("confusion.png", "importance.png", "history.png")]
    assert order == sorted(order)


def test_pictures_of_numbers_are_kept_by_a_model_that_is_loaded(regression, tmp_path):
    checked(regression, OF_NUMBERS)
    fcjax.save(tmp_path / "one", regression)
    fcjax.save(tmp_path / "two", fcjax.load(tmp_path / "one"))
    for name in (*OF_NUMBERS, "README.md"):
        assert (tmp_path / "two" / name).read_bytes() == regression.files[name]


def test_without_pictures_the_report_is_the_same(classification):
    plain = trained("dear", "price")
    assert set(plain.files) == {"README.md"}
    assert ".png" not in plain.files["README.md"].decode()
    for report in (plain.report, classification.report):
        report["training"].pop("seconds")
    assert plain.report == classification.report


def test_pictures_need_matplotlib_before_the_training(monkeypatch):
    for name in [n for n in sys.modules if n.startswith(("fcjax.plot", "fcjax.tables.pictures"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(fcjax, "plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"plots need matplotlib: pip install 'fcjax\[app\]'"):
        trained("price", "dear", pictures=True, epochs=10**9)
    assert isinstance(trained("price", "dear", epochs=1), TableModel)


def test_a_picture_that_cannot_be_drawn_does_not_lose_the_model(monkeypatch):
    def fail(*_):
        raise RuntimeError("too many letters")

    monkeypatch.setattr("fcjax.tables.pictures._importance", fail)
    with pytest.warns(UserWarning, match=r"importance\.png could not be drawn: too many letters"):
        model = trained("price", "dear", pictures=True, epochs=2)
    assert set(model.files) == {*OF_NUMBERS, "README.md"} - {"importance.png"}
    assert "(importance.png)" not in model.files["README.md"].decode()


@pytest.mark.usefixtures("unchecked")
def test_the_flag_is_a_boolean():
    with pytest.raises(TypeError, match="pictures must be True or False"):
        trained("price", "dear", pictures="yes")


def nonsense(model, outputs):
    X = np.zeros((6, sum(map(len, model.treatment.blocks))), np.float32)
    y = np.zeros(6, np.int32) if model.target.classes else np.zeros((6, 1), np.float32)
    return HeldOut(X, y, None, np.full((6, model.target.outputs), outputs))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_a_network_that_predicts_nonsense_has_pictures(regression, value):
    found = permutation_importance(
        regression, nonsense(regression, value), metric_of("regression", "mae"), seed=0
    )
    assert len(draw(regression, nonsense(regression, value), found)) == 3


def test_a_classifier_that_predicts_nan_has_pictures(classification):
    held_out = nonsense(classification, np.nan)
    found = permutation_importance(
        classification, held_out, metric_of("classification", "auc"), seed=0
    )
    assert len(draw(classification, held_out, found)) == 4
    assert fcjax.tables.train._strict(found.to_json())["columns"]["size"]["mean"] is None


def test_targets_and_odd_names_have_panels_within_limits():
    data = houses()
    outputs = {f"ziel {i} $x$\n": data["size"] * 10.0 ** (i - 3) for i in range(5)}
    table = {"房间": data["rooms"], "m" * 80: data["size"], **outputs}
    model = train_table(table, list(outputs), epochs=1, progress=False, pictures=True)
    card = checked(model, OF_NUMBERS)
    assert f"| {'m' * 18}…{'m' * 9} | {'m' * 80} |" in card


def test_the_card_has_a_key_to_names_that_no_font_can_draw(monkeypatch):
    monkeypatch.setattr("fcjax.plot._labels._family_with", lambda letter: None)
    data = houses()
    features = {"房间": data["rooms"], "大小": data["size"], "town": data["town"]}
    quick = {"epochs": 10, "progress": False, "pictures": True}
    classes = {"y": data["dear"].replace("yes", "贵")}
    of_classes = checked(train_table(features | classes, "y", **quick), OF_CLASSES)
    targets = {"价": data["price"], "b": data["price"]}
    of_numbers = checked(train_table(features | targets, [*targets], **quick), OF_NUMBERS)
    head = "| in the picture | name |\n| --- | --- |\n"
    assert f"(confusion.png)\n\n{head}| #2 | 贵 |\n\n" in of_classes
    assert f"(predictions.png)\n\n{head}| #1 | 价 |\n\n" in of_numbers
    # the numbers are the places among the bars, which are those in the table
    for card in (of_classes, of_numbers):
        bars = re.findall(r"^\| (\S+) \| \S+ ± \S+ \|$", card, re.M)
        keyed = re.findall(r"^\| #(\d) \| (\S+) \|$", card.split("(importance.png)")[1], re.M)
        assert [(str(bars.index(name) + 1), name) for _, name in keyed] == keyed
        assert {name for _, name in keyed} == {"房间", "大小"}


def test_a_picture_of_some_columns_says_of_how_many(regression):
    names = tuple(f"x{i}" for i in range(30))
    for found, title in (
        (Importance("rmse", "increase", names, np.ones((30, 2)), 9, 170), "20 of 200 columns"),
        (Importance("rmse", "increase", names[:20], np.ones((20, 2)), 9, 0), ""),
    ):
        fig, _ = _importance(found, regression)
        assert fig.axes[0].get_title() == title


def test_the_learning_rate_of_each_epoch_is_in_the_history(regression):
    rates = regression.report["training"]["history"]["learning_rate"]
    assert len(rates) == 20
    # 160 training rows make no step but one per epoch: the cosines of `coslog`
    progress = np.arange(20) / 20
    want = 0.07 * 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * progress)))
    np.testing.assert_allclose(rates, want, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("preset", ["realmlp", "tabm"])
def test_callbacks_learn_the_same_rates(preset):
    ends = []
    model = trained("price", "dear", preset=preset, epochs=3, callbacks=ends.append)
    rates = model.report["training"]["history"]["learning_rate"]
    np.testing.assert_allclose([end.learning_rate for end in ends], rates, rtol=1e-6)


def test_the_command_writes_and_names_what_matters(tmp_path, monkeypatch, capsys):
    houses().drop(columns="price").to_csv(tmp_path / "houses.csv", index=False)
    for command in (
        ("train", tmp_path / "houses.csv", "--target", "dear", "--out", tmp_path / "model",
         "--epochs", 10),
        ("show", tmp_path / "model"),
    ):  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["fcjax", *map(str, command)])
        with pytest.raises(SystemExit) as end:
            fcjax_cli.main()
        assert end.value.code == 0
    assert {path.name for path in (tmp_path / "model").glob("*.png")} == OF_CLASSES
    assert "decrease of accuracy when it is shuffled" in capsys.readouterr().out
