"""From a table to a model: figures that chose nothing, predictions that are the same elsewhere."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as theirs
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from support import quick_networks

import fcjax
import fcjax.tables.pictures
import fcjax_cli
from fcjax.tables import TableModel, batches, read, train_table
from fcjax.tables.columns import as_table
from fcjax.tables.metrics import metrics_of
from fcjax.tables.report import figures
from fcjax.tables.splits import how_to_split, split

pytest.importorskip("pyarrow")
pytest.importorskip("tyro")

RNG = np.random.default_rng(0)
QUICK = {"epochs": 3, "progress": False}


def houses(n=240, seed=0):
    rng = np.random.default_rng(seed)
    size, town = rng.uniform(20, 200, n), rng.choice(["Bern", "Basel", "Genf"], n)
    rooms = np.where(rng.random(n) < 0.2, np.nan, np.round(size / 30))
    price = 3 * size + 40 * (town == "Genf") + rng.normal(0, 5, n)
    sold = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), "D")
    agent = rng.choice([f"agent {i}" for i in range(12)], n)
    return pd.DataFrame({
        "size": size, "town": town, "rooms": rooms, "sold": sold, "agent": agent, "price": price,
        "dear": np.where(price > 330, "yes", "no"),
    })  # fmt: skip


def trained(target="price", drop="dear", data=None, **options):
    frame = houses() if data is None else data
    return train_table(frame.drop(columns=drop), target, **(QUICK | options))


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with quick_networks():
        yield


@pytest.fixture(scope="module")
def regression():
    return trained(epochs=40)


@pytest.fixture(scope="module")
def classification():
    return trained("dear", "price", epochs=20)


# --- figures --------------------------------------------------------------------------------------


def test_a_network_learns_and_is_reported_beside_a_constant_and_a_linear_model(
    regression, classification
):
    found = regression.report["figures"]
    assert list(found) == ["model", "mean", "linear"]
    assert found["mean"]["r2"]["value"] == pytest.approx(0, abs=0.1)
    assert found["model"]["r2"]["value"] > 0.9
    assert list(classification.report["figures"]) == ["model", "majority", "linear"]
    accuracy = classification.report["figures"]["model"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert accuracy["value"] > 0.85


def test_the_report_says_how_rows_were_used(regression):
    rows = regression.report["rows"]
    assert rows == {"without a target": 0, "train": 153, "validation": 39, "test": 48}
    training = regression.report["training"]
    assert training["epochs"] == 40
    history = training["history"]["val_rmse"]
    assert training["best epoch"] == len(history) - np.argmin(history[::-1])
    assert training["parameters"] == sum(V.size for V in jax.tree.leaves(regression.params))


@pytest.mark.parametrize("weighted", [False, True])
def test_figures_are_those_of_scikit_learn(weighted):
    n, weights = 300, RNG.uniform(0.5, 2, 300).astype(np.float32) if weighted else None
    y, scores = RNG.integers(0, 2, n), RNG.random((n, 2)).round(2)
    scores = scores + 0.01
    P = (scores / scores.sum(1, keepdims=True)).astype(np.float32)
    exact = P.astype(float) / P.astype(float).sum(1, keepdims=True)
    w = {"sample_weight": weights}
    found = figures("classification", P, y, weights, 0)
    want = {
        "accuracy": theirs.accuracy_score(y, P.argmax(1), **w),
        "error": 1 - theirs.accuracy_score(y, P.argmax(1), **w),
        "log_loss": theirs.log_loss(y, exact, **w),
        "auc": theirs.roc_auc_score(y, P[:, 1], **w),
        "brier": 2 * theirs.brier_score_loss(y, P[:, 1], **w),
    }
    for name, value in want.items():
        assert found[name]["value"] == pytest.approx(value, rel=1e-4), name
    t = RNG.normal(size=(n, 1)).astype(np.float32)
    p = t + RNG.normal(size=(n, 1)).astype(np.float32)
    found = figures("regression", p, t, weights, 0)
    want = {
        "rmse": theirs.root_mean_squared_error(t, p, **w),
        "mae": theirs.mean_absolute_error(t, p, **w),
        "r2": theirs.r2_score(t, p, **w),
        "mse": theirs.mean_squared_error(t, p, **w),
    }
    for name, value in want.items():
        assert found[name]["value"] == pytest.approx(value, rel=1e-4), name


def test_the_auc_of_several_classes_is_the_mean_of_each_against_the_others():
    y = RNG.integers(0, 3, 200)
    P = RNG.dirichlet(np.ones(3), 200).astype(np.float32)
    got = float(metrics_of("classification")["auc"].function(jnp.asarray(P), jnp.asarray(y), None))
    exact = P.astype(float) / P.astype(float).sum(1, keepdims=True)
    assert got == pytest.approx(theirs.roc_auc_score(y, exact, multi_class="ovr"), rel=1e-4)


def test_figures_of_large_numbers_keep_their_digits():
    """Such as times in seconds since 1970, of which float32 has steps of 128."""
    t = 1.7e9 + RNG.normal(size=(300, 1))
    p = t + 0.5 * RNG.normal(size=(300, 1))
    found = figures("regression", p, t, None, 0)
    want = theirs.root_mean_squared_error(t, p)
    assert found["rmse"]["value"] == pytest.approx(want, rel=1e-6)
    assert found["rmse"]["low"] < want < found["rmse"]["high"]


def test_an_interval_holds_the_figure_as_often_as_it_says():
    """Of the mean absolute error of normal numbers, which is √(2/π)."""
    inside = 0
    for seed in range(60):
        error, y = np.random.default_rng(seed).normal(size=(2, 150, 1)).astype(np.float32)
        found = figures("regression", y + error, y, None, seed)["mae"]
        inside += found["low"] <= np.sqrt(2 / np.pi) <= found["high"]
    assert 51 <= inside <= 60


def test_no_figure_of_the_test_rows_decides_anything():
    """Other targets in the test rows: the same network, other figures."""
    data = houses()
    first = trained(data=data, split="time:sold", seed=3)
    last = data.sold >= data.sold.sort_values().iloc[-int(first.report["rows"]["test"])]
    data.loc[last, "price"] = -1000 * data.loc[last, "price"]
    data.loc[last, "size"] *= 100
    data.loc[last, "town"] = "Zug"
    second = trained(data=data, split="time:sold", seed=3)
    assert first.treatment.to_json() == second.treatment.to_json()
    for a, b in zip(*(map(np.asarray, m.params.layers[0]) for m in (first, second)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.report["figures"]["model"] != second.report["figures"]["model"]


@pytest.mark.parametrize(
    ("load", "figure", "least"),
    [
        (load_breast_cancer, "accuracy", 0.93),
        (load_diabetes, "r2", 0.2),
        (load_iris, "accuracy", 0.9),
    ],
)
def test_real_data(load, figure, least):
    frame = load(as_frame=True).frame
    model = train_table(frame, "target", epochs=60, progress=False)
    assert model.report["figures"]["model"][figure]["value"] >= least


# --- options --------------------------------------------------------------------------------------


def test_equal_seeds_give_equal_models():
    one, two, other = trained(), trained(), trained(seed=1)
    np.testing.assert_array_equal(one.predict(houses()), two.predict(houses()))
    assert one.report["figures"] == two.report["figures"]
    assert np.any(one.predict(houses()) != other.predict(houses()))


@pytest.mark.parametrize("embeddings", [False, True])
@pytest.mark.in_turn(2)
def test_tabm(embeddings):
    model = trained("dear", "price", preset="tabm", embeddings=embeddings, epochs=2)
    assert model.preset == "tabm"
    np.testing.assert_allclose(model.predict_proba(houses()).sum(axis=1), 1, rtol=1e-5)
    assert (model.params.embedding is not None) == embeddings


def test_several_members_and_several_targets():
    model = trained(["price", "size"], members=2)
    assert model.predict(houses()).shape == (240, 2)
    assert model.params.s.shape[0] == 2
    assert np.any(model.params.layers[0].w[0] != model.params.layers[0].w[1])


def test_narrow_products_and_weights():
    plain = trained("dear", "price", seed=2)
    narrow = trained("dear", "price", seed=2, compute_dtype="bfloat16")
    assert np.any(plain.predict_proba(houses()) != narrow.predict_proba(houses()))
    np.testing.assert_allclose(
        plain.predict_proba(houses()), narrow.predict_proba(houses()), atol=0.1
    )
    rare = trained("dear", "price", seed=2, class_weight={"yes": 50})
    yes = [model.predict_proba(houses())[:, 1].mean() for model in (plain, rare)]
    assert yes[1] > yes[0] + 0.1
    weighted = trained("dear", "price", sample_weight="size")
    assert "size" not in weighted.treatment.columns
    assert weighted.report["sample weights"] == "size"


@pytest.mark.parametrize("target", ["price", "dear"])
def test_rows_of_weight_zero_do_not_count_at_all(target):
    data = houses().assign(w=np.random.default_rng(0).choice([0.0, 1.0, 2.0], 240))
    data = data.drop(columns="price" if target == "dear" else "dear")
    kept = train_table(data[data.w > 0], target, sample_weight="w", **QUICK)
    odd = data.astype({"size": object})
    odd.loc[odd.w == 0, ["size", "town", target]] = [
        "big",
        "Zug",
        1e9 if target == "price" else "?",
    ]
    model = train_table(odd, target, sample_weight="w", **QUICK)
    np.testing.assert_array_equal(model.predict(houses()), kept.predict(houses()))
    assert model.report["figures"] == kept.report["figures"]
    assert model.report["rows"]["of weight 0"] == np.sum(data.w == 0)
    assert sum(model.report["rows"].values()) == 240


def test_a_class_of_weight_zero_is_not_trained_on():
    model = trained("dear", "price", class_weight={"yes": 0})
    assert set(model.predict(houses())) == {"no"}
    assert (
        model.treatment.features[0].median < trained("dear", "price").treatment.features[0].median
    )


def test_weights_that_cannot_be_are_named():
    for weights, message in ((0, "must be positive in a row with a target, got 0 in all of them"),
                             (-1, "must hold finite numbers of at least 0"),
                             (np.inf, "must hold finite numbers of at least 0")):  # fmt: skip
        with pytest.raises(ValueError, match=f"sample_weight: the column 'w' {message}"):
            trained(data=houses().assign(w=weights), sample_weight="w")


def test_a_figure_that_the_rows_do_not_define_is_refused():
    rare = houses().assign(dear=np.where(np.isin(np.arange(240), [7, 9]), "yes", "no"))
    with pytest.raises(ValueError, match="metric 'auc' needs at least two classes among the rows"):
        trained("dear", "price", data=rare, metric="auc")


def test_a_part_to_train_on_of_one_class_is_refused():
    data = houses().sort_values("sold").assign(dear=["yes"] * 200 + ["no"] * 40)
    with pytest.raises(ValueError, match=r"must have two classes in the rows of training.*'yes'"):
        trained("dear", "price", data=data, split="time:sold")


def test_classes_that_training_has_not_seen():
    data = houses(100).sort_values("sold").assign(dear=["a"] * 62 + ["b"] * 2 + ["c"] * 36)
    report = trained("dear", "price", data=data, split="time:sold", class_weight="balanced").report
    assert report["figures"]["linear"]["accuracy"]["value"] == 0
    assert report["figures"]["majority"]["log_loss"]["value"] > 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["_figures", "permutation_importance", "draw"])
def test_a_signal_after_the_training_costs_no_more_than_pictures(moment, number, monkeypatch):
    module = sys.modules["fcjax.tables.pictures" if moment == "draw" else "fcjax.tables.train"]
    run = getattr(module, moment)

    def interrupted(*args, **options):
        found = run(*args, **options)
        signal.raise_signal(number)
        return found

    monkeypatch.setattr(module, moment, interrupted)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells may have left out
    model = trained(pictures=True)
    assert model.report["training"]["interrupted"] is False
    assert model.report["training"]["signal"] == number.name
    assert ("importance" in model.report) == (moment != "_figures")
    assert ("history.png" in model.files) == (moment == "draw")
    assert f"| signal | {number.name} |" in model.files["README.md"].decode()
    assert model.report["figures"]["model"]["rmse"]["value"] > 0


def test_checkpoints_of_another_split_are_not_taken(tmp_path):
    """Rows of the new test were trained on in them."""
    trained(epochs=4, checkpoint_dir=tmp_path)
    fresh = trained(epochs=4, split="time:sold")
    again = trained(epochs=4, split="time:sold", checkpoint_dir=tmp_path)
    assert again.report["figures"] == fresh.report["figures"]
    for change in ({"seed": 1}, {"data": houses(seed=1)}, {"target": "size"}, {"members": 2}):
        trained(epochs=1, checkpoint_dir=tmp_path, **change)
    assert len(list(tmp_path.iterdir())) == 6


def test_columns_that_are_no_features_can_be_dropped_too():
    model = trained(split="group:agent", kinds={"agent": "drop", "town": "drop"})
    assert "agent" not in model.treatment.columns
    with pytest.raises(ValueError, match="kinds: 'price' is the target"):
        trained(kinds={"price": "drop"})


def test_a_column_that_is_dropped_may_hold_anything():
    data = houses().assign(nested=[[1]] * 240, town=[{"name": "Bern"}] * 240)
    model = trained(data=data, kinds={"nested": "drop", "town": "drop"})
    asked = {"nested": "as asked for", "town": "as asked for"}
    assert model.treatment.dropped == asked
    np.testing.assert_array_equal(model.predict(data), model.predict(houses()))
    with pytest.raises(TypeError, match=r"data\['town'\] must hold .*leave the column out, with"):
        trained(data=data, kinds={"nested": "drop"})
    with pytest.raises(ValueError, match="kinds: 'nests' is unknown; did you mean 'nested'"):
        trained(data=data, kinds={"nests": "drop"})
    with pytest.raises(
        ValueError, match=r"must have a column to predict from, got .'nested': 'as a"
    ):
        train_table(data[["price", "nested"]], "price", kinds={"nested": "drop"})


@pytest.mark.parametrize(
    "index", [np.arange(240) * 3, np.arange(240)[::-1] % 120], ids=["filtered", "put together"]
)
def test_row_numbers_of_other_tables_are_left_out(index):
    data = houses()
    data.insert(0, "", index)
    assert list(trained(data=data).treatment.dropped) == ["column 1"]
    data[""] = index + 0.5
    assert not trained(data=data).treatment.dropped


@pytest.mark.parametrize("first", [0, 1])
def test_a_column_that_has_no_name_and_counts_the_rows_is_left_out(first):
    data = houses()
    data.insert(0, "", np.arange(first, first + 240))
    model = trained(data=data)
    assert model.treatment.dropped == {"column 1": "it has no name, and numbers as of rows"}
    assert (
        "| column 1 | left out: it has no name, and numbers as of rows |"
        in model.files["README.md"].decode()
    )
    np.testing.assert_array_equal(model.predict(data), model.predict(houses()))
    as_pandas = data.rename(columns={"": "Unnamed: 0"})
    assert trained(data=as_pandas).treatment.dropped == {
        "Unnamed: 0": "it has no name, and numbers as of rows"
    }
    kept = trained(data=data, kinds={"column 1": "number"})
    assert "column 1" in kept.treatment.columns


def test_another_column_without_a_name_is_one_like_others():
    data = houses().drop(columns="dear").assign(**{"": RNG.normal(size=240)})
    data.insert(0, None, None)
    model = trained(data=data, drop=[])
    assert model.treatment.dropped == {"column 1": "all values in the rows of training are missing"}
    assert "column 8" in model.treatment.columns
    assert model.predict(data).shape == (240,)
    with pytest.raises(ValueError, match="must have the column 'column 8', got"):
        model.predict(houses())


def test_the_metric_chooses_the_epoch():
    model = trained("dear", "price", metric="log_loss", epochs=8)
    history = model.report["training"]["history"]["val_log_loss"]
    assert model.report["training"]["best epoch"] == 8 - np.argmin(history[::-1])


@pytest.mark.parametrize(
    ("metric", "unit"), [("rmse", 1e6), ("mae", 1.0), ("mse", 1e-3), ("r2", 9)]
)
def test_the_figures_of_epochs_are_in_the_unit_of_the_target(metric, unit):
    data, ends = houses(), []
    data["price"] *= unit
    model = trained(data=data, split="time:sold", metric=metric, epochs=2, callbacks=ends.append)
    rows = split(how_to_split("time:sold", as_table(data)), as_table(data), None, 0, np.arange(240))
    held_out = data.iloc[rows.validation]
    score = {
        "rmse": theirs.root_mean_squared_error, "mae": theirs.mean_absolute_error,
        "mse": theirs.mean_squared_error, "r2": theirs.r2_score,
    }[metric](held_out["price"], model.predict(held_out))  # fmt: skip
    values = model.report["training"]["history"][f"val_{metric}"]
    assert score == pytest.approx(max(values) if metric == "r2" else min(values), rel=1e-3)
    assert [end.figures[f"val_{metric}"] for end in ends] == pytest.approx(values)


def test_the_figures_of_epochs_of_several_targets_are_in_deviations():
    data = houses()
    models = [
        train_table(data.assign(size=unit * data["size"]).drop(columns="dear"), ["price", "size"],
                    **QUICK) for unit in (1.0, 1000.0)
    ]  # fmt: skip
    first, second = (model.report["training"]["history"]["val_rmse"] for model in models)
    np.testing.assert_allclose(first, second, rtol=1e-4)
    assert models[0].report["training"]["in_deviations"]


def test_rows_without_a_target_are_counted():
    data = houses()
    data.loc[:9, "price"] = np.nan
    assert trained(data=data).report["rows"]["without a target"] == 10


def test_more_columns_than_rows():
    data = pd.DataFrame(RNG.normal(size=(30, 50))).rename(columns=str)
    assert train_table(data, "0", **QUICK).predict(data).shape == (30,)


@pytest.mark.parametrize("missing", [False, True])
def test_booleans_come_back_as_booleans(missing, tmp_path):
    data = houses().assign(dear=lambda frame: frame["price"] > 330)
    if missing:
        data["dear"] = data["dear"].astype("boolean").mask(np.arange(240) == 7)
    model = trained("dear", "price", data, epochs=20, class_weight={True: 2, False: 1})
    fcjax.save(tmp_path, model)
    for found in (model, fcjax.load(tmp_path)):
        assert found.prediction_names == ["prediction", "probability_False", "probability_True"]
        predicted = found.predict(data)
        assert predicted.dtype == bool
        assert np.mean(predicted == (data["price"] > 330)) > 0.9


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_booleans_of_files_are_the_same_texts(ending, tmp_path):
    data = houses().assign(dear=lambda frame: frame["price"] > 330).drop(columns="price")
    getattr(data, f"to_{ending}")(tmp_path / f"x.{ending}", index=False)
    model = train_table(read(tmp_path / f"x.{ending}"), "dear", **QUICK)
    assert model.target.classes == ("False", "True")
    assert set(model.predict(data)) <= {"False", "True"}


@pytest.mark.parametrize("preset", ["realmlp", "tabm"])
def test_huge_numbers_among_the_features(preset):
    data = houses()
    data.loc[:3, "size"] = [1e308, -1e308, np.inf, -np.inf]
    data.loc[4:9, "rooms"] = 1e160
    assert np.all(np.isfinite(trained(data=data, preset=preset, epochs=1).predict(data)))


WRONG = {
    "a target": ({"target": "prise"}, "target: 'prise' is unknown; did you mean 'price'"),
    "no target": ({"target": []}, "target must be the name of a column, or several"),
    "twice": ({"target": ["price", "price"]}, "target must name different columns"),
    "text": ({"target": ["price", "town"]}, "target 'town' must hold numbers for a regression"),
    "a preset": ({"preset": "tabn"}, "preset: 'tabn' is unknown; did you mean 'tabm'"),
    "a task": ({"task": "ranking"}, "task: 'ranking' is unknown"),
    "classes": (
        {"target": ["price", "size"], "task": "classification"},
        "must be one column for a",
    ),
    "a metric": ({"metric": "auc"}, "metric: 'auc' is unknown; .*accepted: mae, mse, r2, rmse"),
    "embeddings": ({"embeddings": True}, "embeddings need preset='tabm', got 'realmlp'"),
    "members": ({"members": 0}, "members must be positive, got 0"),
    "epochs": ({"epochs": 0}, "epochs must be positive, got 0"),
    "weights": ({"sample_weight": "weight"}, "sample_weight: 'weight' is unknown"),
    "class weights": ({"class_weight": "balanced"}, "class_weight needs a target of classes"),
    "float64": (
        {"compute_dtype": "float64"},
        "compute_dtype must be bfloat16, float16, float32 or None, got float64",
    ),
    "eight bits": ({"compute_dtype": jnp.float8_e4m3fn}, "or None, got float8_e4m3fn"),
    "a seed": ({"seed": -1}, "seed must be an integer from 0 to"),
    "an option": ({"patiense": 3}, "unexpected keyword argument 'patiense'"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_named(changes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        trained(**changes)


# --- the model ------------------------------------------------------------------------------------


def test_predictions_need_the_columns_alone_in_any_order(regression):
    frame = houses(seed=5)
    want = regression.predict(frame)
    np.testing.assert_array_equal(regression.predict(frame[frame.columns[::-1]]), want)
    np.testing.assert_array_equal(regression.predict(frame.drop(columns="price")), want)
    np.testing.assert_allclose(regression.predict(frame[:1]), want[:1], rtol=1e-4)
    assert regression.predict(frame[:0]).shape == (0,)
    with pytest.raises(ValueError, match="must have the column 'town', got"):
        regression.predict(frame.drop(columns="town"))
    with pytest.raises(ValueError, match="column 'size' must hold numbers, got 'big' in row 3"):
        regression.predict({**frame.to_dict("list"), "size": ["1", "2", "big"] + ["1"] * 237})
    with pytest.raises(ValueError, match="predict_proba needs a model of classes"):
        regression.predict_proba(frame)


def test_classes_come_back_as_they_were(classification):
    assert set(classification.predict(houses())) == {"yes", "no"}
    numbers = houses().assign(dear=lambda d: (d.price > 330).astype(int))
    assert trained("dear", "price", data=numbers).predict(houses()).dtype == int


@pytest.mark.parametrize(
    "options",
    [{}, {"target": "dear", "drop": "price"}, {"target": ["price", "size"], "members": 2},
     {"target": "dear", "drop": "price", "preset": "tabm", "embeddings": True, "epochs": 1}],
    ids=["regression", "classes", "several", "tabm"],
)  # fmt: skip
def test_a_model_of_a_table_is_saved_and_loaded(options, tmp_path):
    model = trained(**options)
    fcjax.save(tmp_path / "model", model)
    again = fcjax.load(tmp_path / "model")
    assert isinstance(again, TableModel)
    assert repr(again) == repr(model)
    assert again.report == json.loads(json.dumps(model.report))
    np.testing.assert_array_equal(again.predict(houses()), model.predict(houses()))
    fcjax.save(tmp_path / "again", again)
    names = {path.name for path in (tmp_path / "again").iterdir()}
    assert names == {path.name for path in (tmp_path / "model").iterdir()}
    card = (tmp_path / "model" / "README.md").read_text()
    assert card.startswith("# Prediction of")
    assert "| sold | date; days since 1970" in card


# --- the command ----------------------------------------------------------------------------------


def run(*arguments, check=True, **options):
    command = [sys.executable, "-m", "fcjax", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    assert not check or done.returncode == 0, done.stderr
    return done


def test_three_commands_from_a_file_to_predictions(tmp_path):
    data = houses()
    data.drop(columns="price").to_csv(tmp_path / "houses.csv", index=False)
    out, model, new = tmp_path / "predictions.csv", tmp_path / "model", tmp_path / "new.csv"
    command = ("train", tmp_path / "houses.csv", "--target", "dear", "--out", model)
    said = run(*command, "--epochs", 5).stdout
    assert "240 rows, 6 columns" in said
    assert "Prediction of dear, one of 2 classes" in said
    assert "majority" in said
    fresh = houses(seed=7)
    fresh[["agent", "sold", "rooms", "town", "size"]].to_csv(new, index=False)
    assert "240 predictions are in" in run("predict", model, new, "--out", out).stdout
    written = pd.read_csv(out)
    assert list(written.columns) == ["prediction", "probability_no", "probability_yes"]
    here = fcjax.load(model)
    np.testing.assert_array_equal(written.prediction, here.predict(fresh))
    np.testing.assert_array_equal(
        written[["probability_no", "probability_yes"]], here.predict_proba(fresh)
    )
    shown = run("show", model).stdout
    assert re.search(r"^rooms +number; missing is the median 4, and a column says so", shown, re.M)
    assert "rows, validation" in shown


def test_predictions_of_parquet_and_of_several_targets(tmp_path):
    model = trained(["price", "size"], members=2)
    fcjax.save(tmp_path / "model", model)
    houses(seed=7).to_parquet(tmp_path / "new.parquet")
    out = tmp_path / "out.parquet"
    run("predict", tmp_path / "model", tmp_path / "new.parquet", "--out", out)
    written = pd.read_parquet(out)
    assert list(written.columns) == ["prediction_price", "prediction_size"]
    np.testing.assert_array_equal(written, model.predict(houses(seed=7)))


def test_classes_are_written_to_parquet_and_pipes_are_no_files(classification, tmp_path):
    fcjax.save(tmp_path / "model", classification)
    houses(seed=7).to_csv(tmp_path / "new.csv", index=False)
    run("predict", tmp_path / "model", tmp_path / "new.csv", "--out", tmp_path / "out.parquet")
    written = pd.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_array_equal(written.prediction, classification.predict(houses(seed=7)))
    os.mkfifo(tmp_path / "pipe")
    command = [sys.executable, "-c", f"print(len(open({str(tmp_path / 'pipe')!r}).readlines()))"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        run("predict", tmp_path / "model", tmp_path / "new.csv", "--out", tmp_path / "pipe")
        assert reader.communicate(timeout=60)[0] == "241\n"
    (tmp_path / "link.csv").symlink_to(tmp_path / "new.csv")
    same = run("predict", tmp_path / "model", tmp_path / "new.csv", "--out", tmp_path / "link.csv",
               check=False)  # fmt: skip
    assert "--out must be another file than the one to read" in same.stderr


def test_a_large_file_is_predicted_in_parts(regression, tmp_path):
    frame = pd.concat([houses(seed=7)] * 200)
    frame.to_csv(tmp_path / "large.csv", index=False)
    parts = list(regression.predict_batches(batches(tmp_path / "large.csv")))
    assert len(parts) > 3
    bad = frame.astype({"size": object})
    bad.iloc[30_000, 0] = "big"
    bad.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(ValueError, match="column 'size' must hold numbers, got 'big' in row 30001"):
        list(regression.predict_batches(batches(tmp_path / "bad.csv")))
    together = np.concatenate([part["prediction"] for part in parts])
    np.testing.assert_allclose(
        together, regression.predict(read(tmp_path / "large.csv")), rtol=1e-5
    )


# Where the tests run in the background, Ctrl-C is ignored, and so it would be by the command.
HEARING = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('fcjax', run_name='__main__')"
)


def test_ctrl_c_keeps_what_there_is(tmp_path):
    houses().drop(columns="dear").to_csv(tmp_path / "houses.csv", index=False)
    command = [sys.executable, "-u", "-c", HEARING, "train", tmp_path / "houses.csv", "--target",
               "price", "--out", tmp_path / "model", "--epochs", "1000000"]  # fmt: skip
    for seconds in (5, 20, 60):  # until there is an epoch
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            assert "240 rows, 6 columns" in process.stdout.readline()
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=120)
        finally:
            process.kill()
        assert "Traceback" not in error
        if process.returncode == 130 and "best network" in out:
            break
    assert "Training was stopped; the best network until then is in" in out
    model = fcjax.load(tmp_path / "model")
    assert model.report["training"]["interrupted"] is True
    assert model.predict(houses()).shape == (240,)


@pytest.fixture
def _hearing():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_hearing")
def test_a_training_that_was_interrupted_goes_on(tmp_path):
    def interrupt(end):
        if end.epoch == 3:
            os.kill(os.getpid(), signal.SIGINT)

    stopped = trained(epochs=6, checkpoint_dir=tmp_path, callbacks=interrupt)
    assert stopped.report["training"]["interrupted"] is True
    assert stopped.report["training"]["epochs"] == 3
    resumed, whole = trained(epochs=6, checkpoint_dir=tmp_path), trained(epochs=6)
    assert resumed.report["training"]["interrupted"] is False
    np.testing.assert_array_equal(resumed.predict(houses()), whole.predict(houses()))
    assert resumed.report["figures"] == whole.report["figures"]


WRONG_COMMANDS = {
    "no target": (("train", "houses.csv"), "target: got none; accepted: the column to predict"),
    "no file": (("train", "--target", "price"), "target: needs a file of your own, got none"),
    "ours": (("train", "houses.csv", "--target", "price", "--lr", "1"), "lr: applies to our data"),
    "kinds": (("train", "houses.csv", "--target", "price", "--kinds", "x"), "kinds: got 'x'; acc"),
    "weights": (
        ("train", "houses.csv", "--target", "dear", "--class-weight", "yes=a"),
        "class_weight: got 'a'; accepted: a number",
    ),
    "a device": (
        ("train", "houses.csv", "--target", "price", "--device", "tpu"), "device: there is no tpu;"
    ),
    "out": (
        ("train", "houses.csv", "--target", "price", "--out", "."),
        "must be new, empty or hold a model",
    ),
    "a file": (("train", "none.csv", "--target", "price"), "there is no file 'none.csv'"),
    "a model": (("predict", "none", "houses.csv", "--out", "p.csv"), "which is no folder"),
    "a folder": (("predict", "model", "houses.csv", "--out", "no/p.csv"), "lie in a folder that"),
    "a column": (("predict", "model", "short.csv", "--out", "p.csv"), "must have the column 'to"),
    "a number": (("predict", "model", "bad.csv", "--out", "p.csv"), "got 'big' in row 240"),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory, regression):
    folder = tmp_path_factory.mktemp("commands")
    data = houses()
    data.to_csv(folder / "houses.csv", index=False)
    data[["size"]].to_csv(folder / "short.csv", index=False)
    data.astype({"size": object}).assign(size=[*data["size"][:-1], "big"]).to_csv(
        folder / "bad.csv", index=False
    )
    fcjax.save(folder / "model", regression)
    return folder


@pytest.mark.parametrize(("command", "message"), WRONG_COMMANDS.values(), ids=WRONG_COMMANDS)
def test_a_wrong_command_is_named_in_a_line(command, message, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["fcjax", *command])
    with pytest.raises(SystemExit) as end:
        fcjax_cli.main()
    assert message in str(end.value.code)
    assert "\n" not in str(end.value.code)
    assert not (folder / "p.csv").exists()
    assert not list(folder.glob("*.part"))
