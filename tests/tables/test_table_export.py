"""Models for tables as files of ONNX and JAX: run by ONNX Runtime, and compared with the model."""

import dataclasses
import functools
import json
import subprocess
import sys

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_linnerud, load_wine
from support import command, quick_networks

import fcjax
from fcjax import export
from fcjax.export.onnx_graph import DOUBLE, FLOAT, Graph
from fcjax.export.onnx_networks import add_encoding
from fcjax.export.onnx_scaling import add_quantile, add_robust
from fcjax.export.onnx_treatment import add_inputs, add_treatment
from fcjax.tables import TableModel
from fcjax.tables.columns import as_table
from fcjax.tables.features import Category
from fcjax.tables.presets import network_of
from fcjax.tables.scaling import Quantile, Robust
from fcjax.tables.target import fit_target
from fcjax.tables.training import Networks
from fcjax.tables.treatment import Treatment, fit_treatment, kinds_of

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

NUMBERS = ["large", "holes", "whole", "flag", "only train"]
WORDS = ["town", "two", "one", "code", "empty"]
DATES = ["day", "moment"]


def table(n=257, seed=0):
    """A column of each kind, with what is missing in some."""
    rng = np.random.default_rng(seed)

    def some(column, rate=0.2):
        return np.where(rng.random(n) < rate, None, column)

    seconds = pd.to_timedelta(rng.integers(0, 10**8, n), "s")
    moments = pd.Series(pd.Timestamp("1969-06-01") + seconds)
    frame = pd.DataFrame({
        "large": 1.7e9 + rng.normal(size=n),
        "holes": some(rng.exponential(size=n)).astype(float),
        "whole": rng.integers(0, 4, n).astype(float),
        "flag": rng.random(n) < 0.5,
        "only train": np.where(np.arange(n) < 3, 1.0, 0.0),
        "constant": 3.0,
        "town": some(rng.choice(["Bern", "Zürich", " Genf", "a,b", "日本"], n)),
        "two": rng.choice(["no", "yes"], n),
        "one": some(np.full(n, "it")),
        "code": some(rng.choice(["1", "2.50", "-3", "x", "12345678901234567890"], n)),
        "empty": rng.choice(["", "b", "c"], n),
        "day": moments.dt.floor("D").where(rng.random(n) > 0.1),
        "moment": moments,
    })  # fmt: skip
    score = frame["large"] - 1.7e9 + (frame["town"] == "Bern") + frame["flag"]
    frame["text"] = np.where(score > 1, "high", "low")
    frame["number"] = 1e9 + 1000 * score
    frame["other"] = -score
    frame["three"] = np.digitize(score, [0, 1])
    frame["halves"] = np.digitize(score, [0, 1]) / 2
    return frame


def unusual(frame):
    """The table with rows that training did not have."""
    frame = frame.copy()
    frame.loc[:5, "large"] = [np.nan, np.inf, -np.inf, 1e308, 0.0, -1.7e9]
    frame.loc[:3, "whole"] = [np.nan, 1e-320, 2.5, -7]
    frame.loc[:3, "town"] = ["Basel", "", " Bern", "zürich"]
    frame.loc[:3, "two"] = [None, "YES", "maybe", "no "]
    frame.loc[:6, "code"] = ["1.0", " 01\n", "true", "2.5", "-3e0", "1e99", "12345678901234567891"]
    frame.loc[:1, "day"] = [pd.NaT, pd.Timestamp("1066-10-14")]
    frame.loc[:1, "moment"] = [pd.NaT, pd.Timestamp("2262-01-01 12:34:56.789012")]
    return frame


def fed(frame, m=None):
    """A table as ONNX Runtime takes it, by the rules of the documentation."""
    feed = {}
    for name in frame.columns:
        column = frame[name].iloc[:m]
        if column.dtype.kind == "M":
            values = column.to_numpy("datetime64[us]").astype(np.int64)
        elif column.dtype.kind in "biuf":
            values = column.to_numpy(np.float64)
        else:
            missing = "(missing)" if name == "empty" else ""
            values = np.array([missing if pd.isna(v) else v for v in column], object)
        feed[name] = values[:, None]
    return feed


def made(target, preset="realmlp", columns=None, copies=1, embeddings=False, frame=None):
    """A model as `train_table` makes it, but with parameters drawn at random."""
    given = as_table(table() if frame is None else frame)
    names = [target] if isinstance(target, str) else target
    task = "regression" if {"number", "target", "Weight"} & {*names} else "classification"
    features = {n: given[n] for n in columns or [*NUMBERS, "constant", *WORDS, *DATES]}
    kinds = kinds_of(features, {"code": "category"} if "code" in features else {}, refuse=False)
    scaling = "robust" if preset == "realmlp" else "quantile"
    treatment = fit_treatment(features, kinds, scaling)
    found = fit_target(given, names, task, given)
    edges = treatment.edges(treatment.transform(features)) if embeddings else None
    network = network_of(preset, task, treatment.groups, found.outputs, edges)
    small = {"hidden": (32, 16)} if preset == "realmlp" else {"members": 4, "width": 16}
    networks = Networks(dataclasses.replace(network, **small), copies)
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda V: V + rng.normal(0, 0.3, V.shape).astype(np.float32), networks.init(0)
    )
    return TableModel(networks, params, treatment, found)


MODELS = {
    "realmlp, two classes": lambda: made("text"),
    "realmlp, numbers": lambda: made("number"),
    "realmlp, three of whole numbers": lambda: made("three", copies=3),
    "realmlp, categories alone": lambda: made("halves", columns=WORDS),
    "tabm, several targets": lambda: made(["number", "other"], "tabm", copies=2),
    "tabm, categories alone": lambda: made("text", "tabm", columns=WORDS),
    "tabm, embeddings": lambda: made("halves", "tabm", embeddings=True),
    "tabm, embeddings alone": lambda: made("number", "tabm", ["large"], 2, embeddings=True),
}
model_of = functools.cache(lambda name: MODELS[name]())


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    data = model if isinstance(model, bytes) else model.read_bytes()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run(running, frame, m=None):
    """The outputs by name, from the inputs that the file has."""
    feed, names = fed(frame, m), [put.name for put in running.get_inputs()]
    return dict(
        zip(
            [out.name for out in running.get_outputs()],
            running.run(None, {name: feed[name] for name in names}),
            strict=True,
        )
    )


def assert_same(got, model, frame):
    """Compare with the model: labels where they are no tie, numbers in units of their spread."""
    want = model.predict(frame)
    assert got["prediction"].shape == want.shape
    assert got["prediction"].dtype == want.dtype
    if model.target.classes is None:
        spread = np.array(model.target.deviation)
        np.testing.assert_allclose(got["prediction"] / spread, want / spread, rtol=0, atol=1e-5)
        return
    P = model.predict_proba(frame)
    assert got["probability"].dtype == np.float32
    np.testing.assert_allclose(got["probability"], P, rtol=0, atol=1e-5)
    first, second = np.sort(P)[:, -1], np.sort(P)[:, -2]
    clear = first - second > 1e-5
    assert clear.mean() > 0.9 or len(P) < 10
    np.testing.assert_array_equal(got["prediction"][clear], want[clear])


# --- ONNX -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_onnx_runtime_predicts_what_the_model_does(name, tmp_path):
    model = model_of(name)
    export.to_onnx(model, tmp_path / "it")
    onnx.checker.check_model(onnx.load(tmp_path / "it"), full_check=True)
    running, frame = session(tmp_path / "it"), unusual(table())
    for m in (1, 3, 257):
        assert_same(run(running, frame, m), model, frame.iloc[:m])
    outputs = model.outputs_of_matrix(model.treatment.transform(as_table(frame)))
    assert np.any(outputs.std(axis=0) > 0.02)  # else any row would pass for another


def test_the_evaluator_of_onnx_predicts_it_too(tmp_path):
    from onnx.reference import ReferenceEvaluator

    columns = [*NUMBERS, "town", "two", *DATES]  # none of "code": it has no package for patterns
    model, frame = made("text", "tabm", columns, embeddings=True), unusual(table())
    export.to_onnx(model, tmp_path / "it")
    evaluator = ReferenceEvaluator(str(tmp_path / "it"))
    feed = fed(frame)
    outputs = evaluator.run(None, {name: feed[name] for name in evaluator.input_names})
    assert_same(dict(zip(evaluator.output_names, outputs, strict=True)), model, frame)


@pytest.mark.parametrize("name", ["realmlp, numbers", "tabm, embeddings"])
def test_the_matrix_of_onnx_is_that_of_the_treatment(name):
    treatment, frame = model_of(name).treatment, unusual(table())
    want = treatment.transform(as_table(frame))
    graph = Graph()
    X = add_treatment(graph, treatment, add_inputs(graph, treatment))
    graph.output("X", X, want.shape[1])
    got = run(session(graph.to_model({}).SerializeToString()), frame)["X"]
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def test_a_file_asks_for_the_columns_that_are_used(tmp_path):
    export.to_onnx(model_of("realmlp, two classes"), tmp_path / "it")
    made_of = onnx.load(tmp_path / "it")
    running = session(tmp_path / "it")
    inputs = {put.name: (put.type, put.shape) for put in running.get_inputs()}
    kinds = {"tensor(double)": NUMBERS, "tensor(string)": WORDS, "tensor(int64)": DATES}
    assert inputs == {n: (kind, ["m", 1]) for kind, names in kinds.items() for n in names}
    outputs = {out.name: (out.type, out.shape) for out in running.get_outputs()}
    assert outputs == {
        "prediction": ("tensor(string)", ["m"]),
        "probability": ("tensor(float)", ["m", 2]),
    }
    assert [o.domain for o in made_of.opset_import] == [""]
    notes = {put.name: put.doc_string for put in made_of.graph.input}
    assert notes["day"].startswith("date as microseconds since 1970")
    assert notes["town"] == "category as text; missing is empty text"
    assert notes["empty"] == "category as text; missing is any other text"
    config = json.loads({p.key: p.value for p in made_of.metadata_props}["fcjax_config"])
    assert config["classes"] == ["high", "low"]
    assert config["preprocessing"]["dropped"] == {
        "constant": "all values in the rows of training are '3'"
    }


TEXTS = [
    "1", "1.0", "1.", "01", " 1", "1\n", "+1", "1e0", "10e-1", "true", "TRUE ", "True", "0.5", ".5",
    "0", "-0", "false", "False", "-1", "1_0", "10", "0x1", "nan", "inf", "1e400", "1e", "", " ",
    "x", " x", "x ", "X", "é", "é", "日本", "a\nb", "9007199254740993", "9007199254740992",
    "9007199254740992.0", "2024-01-31", "2024-1-31", "None", "1,0", "1 0", "\t0.50",
]  # fmt: skip


@pytest.mark.parametrize("known", [["1"], ["0", "1"], ["1", "x"], TEXTS], ids=str)
def test_text_is_the_category_that_the_treatment_takes_it_for(known):
    feature = Category.fitted("c", np.array(known, object))
    columns = len(feature.outputs)
    treatment = Treatment((feature,), {}, Robust(np.zeros(columns), np.ones(columns)))
    frame = pd.DataFrame({"c": np.array(TEXTS, object)})
    graph = Graph()
    X = add_treatment(graph, treatment, add_inputs(graph, treatment))
    graph.output("X", X, columns)
    got = run(session(graph.to_model({}).SerializeToString()), frame)["X"]
    want = treatment.transform(as_table(frame))
    np.testing.assert_array_equal(got, want, err_msg=str(feature.categories))
    assert np.any(want)


@pytest.mark.parametrize("name", ["prediction", "probability", "Softmax", "Mul_2", "a/b: ü 'c'"])
def test_a_column_may_have_any_name(name, tmp_path):
    frame = table().rename(columns={"holes": name})
    model = made("text", columns=[name, "town"], frame=frame)
    export.to_onnx(model, tmp_path / "it")
    outputs = [*run(session(tmp_path / "it"), frame).values()]
    assert_same({"prediction": outputs[0], "probability": outputs[1]}, model, frame)


def evaluated(add, x, dtype=DOUBLE, out=FLOAT):
    graph = Graph()
    value = graph.input("x", x.shape[1], dtype)
    graph.output("y", graph.cast(add(graph, value), out), x.shape[1], out)
    return session(graph.to_model({}).SerializeToString()).run(None, {"x": x})[0]


@pytest.mark.parametrize("count", [2, 3, 8, 9, 1000])
def test_quantiles_are_those_of_numpy(count):
    rng = np.random.default_rng(count)
    knots = np.sort(rng.normal(size=(3, count)), axis=1)
    knots[1] = np.round(knots[1], 1)  # of which many are equal
    knots[2] = 5.0
    scores = np.tile(np.linspace(-5, 5, count), (3, 1))
    scaling = Quantile(knots, scores)
    around = np.concatenate([knots, np.nextafter(knots, 9), np.nextafter(knots, -9)], axis=1).T
    far = np.array([[-np.inf] * 3, [np.inf] * 3, [1e308] * 3, [-9.0, 9.0, 5.0]])
    x = np.concatenate([around, far, rng.normal(size=(100, 3))])
    got = evaluated(lambda graph, X: add_quantile(graph, scaling, X), x, out=DOUBLE)
    want = np.stack([np.interp(x[:, i], knots[i], scores[i]) for i in range(3)], axis=1)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_robust_scaling_is_that_of_the_treatment():
    scaling = Robust(np.array([0.0, 1e300, -5.0, 3.0]), np.array([1e-9, 1e300, 0.0, 2.0]))
    x = np.array([0.0, 1.0, -1.0, 1e308, -1e308, np.inf, -np.inf, 1e9, 3.0])
    x = np.stack([x] * 4, axis=1)
    got = evaluated(lambda graph, X: add_robust(graph, scaling, X), x, out=DOUBLE)
    np.testing.assert_allclose(got, scaling.scaled(x), rtol=1e-14)


def test_the_encoding_is_that_of_the_rule():
    edges = np.array([[0, 1, 3, np.inf], [-2, -1, 0, 0.1], [5, 6, np.inf, np.inf]], np.float32)
    x = np.random.default_rng(0).uniform(-4, 8, (200, 3)).astype(np.float32)
    x[:8] = np.array([0, 1, 3, -2, -1, 0.1, 5, 6], np.float32)[:, None]
    want = np.asarray(fcjax.piecewise_linear_encoding(x, edges))

    def add(graph, X):
        rows = graph.add("Transpose", X, perm=[1, 0])
        axes = graph.constant([-1], "axes", np.int64)
        encoded = add_encoding(graph, edges, graph.add("Unsqueeze", rows, axes))
        return graph.add("Transpose", encoded, perm=[1, 0, 2])

    graph = Graph()
    y = add(graph, graph.input("x", 3))
    graph.output("y", graph.add("Reshape", y, graph.constant([-1, 9], "shape", np.int64)), 9)
    got = session(graph.to_model({}).SerializeToString()).run(None, {"x": x})[0]
    np.testing.assert_allclose(got.reshape(want.shape), want, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("load", "target", "preset"),
    [
        (load_breast_cancer, "target", "tabm"),
        (load_wine, "target", "realmlp"),
        (load_diabetes, "target", "tabm"),
        (load_linnerud, ["Weight", "Waist", "Pulse"], "realmlp"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_real_tables(load, target, preset, tmp_path):
    frame = load(as_frame=True).frame
    names = [c for c in frame if c not in np.ravel(target)]
    model = made(target, preset, names, embeddings=preset == "tabm", frame=frame)
    export.to_onnx(model, tmp_path / "it")
    assert_same(run(session(tmp_path / "it"), frame), model, frame)


APPLIED = """
import sys
sys.modules.update(dict.fromkeys(["fcjax", "jax", "onnx", "sklearn", "pandas"]))  # not installed
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
arrays = np.load(sys.argv[2])
feed = {put.name: arrays[put.name] for put in session.get_inputs()}
feed = {name: V.astype(object) if V.dtype.kind == "U" else V for name, V in feed.items()}
prediction, probability = session.run(["prediction", "probability"], feed)
np.savez(sys.argv[3], prediction=prediction.astype(str), probability=probability)
"""


def test_a_file_predicts_in_another_process_without_fcjax(tmp_path):
    model, frame = model_of("realmlp, two classes"), table()
    export.to_onnx(model, tmp_path / "it.onnx")
    feed = {n: V.astype(str) if V.dtype == object else V for n, V in fed(frame).items()}
    np.savez(tmp_path / "in.npz", **feed)
    files = [str(tmp_path / name) for name in ("it.onnx", "in.npz", "out.npz")]
    subprocess.run([sys.executable, "-I", "-c", APPLIED, *files], check=True, timeout=300)
    got = np.load(tmp_path / "out.npz")
    assert_same({n: got[n].astype(object) if n == "prediction" else got[n] for n in got}, model,
                frame)  # fmt: skip


def test_weights_that_do_not_fit_into_a_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("fcjax.export.onnx_graph.LIMIT", 1000)
    with pytest.raises(ValueError, match=r"^model must have less than 2 GiB of weights"):
        export.to_onnx(model_of("realmlp, two classes"), tmp_path / "it")
    assert not list(tmp_path.iterdir())


# --- JAX, PyTorch, the command --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["realmlp, three of whole numbers", "tabm, embeddings alone"])
def test_a_program_of_jax_is_the_network_alone(name, tmp_path):
    pytest.importorskip("flatbuffers")
    model = model_of(name)
    export.to_jax(model, tmp_path / "it", platforms=["cpu"])
    program = jax.export.deserialize(bytearray((tmp_path / "it").read_bytes()))
    X = model.treatment.transform(as_table(table()))
    for m in (1, 3, 257):
        got = np.asarray(program.call(jnp.asarray(X[:m])))
        np.testing.assert_allclose(got, model.outputs_of_matrix(X[:m]), rtol=1e-5, atol=1e-5)


REFUSAL = "model must be a Model, got TableModel.*; write a model for tables as ONNX"


def test_pytorch_is_refused(tmp_path, unchecked):
    for write in (export.to_torch, lambda model, _: export.torch_code(model)):
        with pytest.raises(TypeError, match=REFUSAL):
            write(model_of("realmlp, numbers"), tmp_path / "it")
    assert not list(tmp_path.iterdir())


def test_from_a_file_to_onnx_in_two_commands(tmp_path, monkeypatch, capsys, unchecked):
    pytest.importorskip("pyarrow")
    frame = load_iris(as_frame=True).frame
    frame.to_csv(tmp_path / "iris.csv", index=False)
    folder, out = tmp_path / "model", tmp_path / "new" / "it.onnx"
    with quick_networks():  # whose networks begin with equal probabilities
        arguments = ["train", tmp_path / "iris.csv", "--target", "target", "--epochs", 9]
        assert command(monkeypatch, *arguments, "--out", folder) == 0
    for to in ("onnx", "jax"):
        path = out.with_suffix(f".{to}")
        assert command(monkeypatch, "export", folder, "--to", to, "--out", path) == 0
    said = capsys.readouterr().out
    assert "TableModel(classification of target from 4 columns, realmlp) is in" in said
    assert said.rstrip().endswith("--to onnx writes the treatment of the table too")
    # all values of a CSV file are text, so the classes are too
    assert_same(run(session(out), frame), fcjax.load(folder), frame)
    code = command(monkeypatch, "export", folder, "--to", "torch", "--out", tmp_path / "it")
    assert "; write a model for tables as ONNX (--to onnx), with the treatment of its table" in code
    assert "\n" not in code


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_estimator_is_refused_by_the_command(tmp_path, monkeypatch):
    from fcjax.estimators import MLPClassifier

    X, y = load_iris(return_X_y=True)
    fcjax.save(tmp_path / "model", MLPClassifier((3,), max_iter=1, solver="sgd").fit(X, y))
    code = command(monkeypatch, "export", tmp_path / "model", "--to", "onnx", "--out", "it")
    assert "must hold a Model, a TableModel or an estimator of tables to be exported, got" in code


@pytest.mark.parametrize("labels", [["no", "yes"], [3, 7], [-1.0, 2.0], [False, True]])
def test_an_estimator_of_tables_is_exported_with_its_labels(labels, tmp_path, monkeypatch):
    from fcjax.estimators import TabularClassifier

    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2)).astype(np.float32)
    with quick_networks():
        model = TabularClassifier(epochs=2, random_state=0).fit(
            X, np.array(labels)[rng.integers(0, 2, 60)]
        )
        fcjax.save(tmp_path / "model", model)
        assert (
            command(
                monkeypatch,
                "export",
                tmp_path / "model",
                "--to",
                "onnx",
                "--out",
                tmp_path / "it.onnx",
            )
            == 0
        )
        session = onnxruntime.InferenceSession(tmp_path / "it.onnx")
        columns = {
            one.name: X[:, [i]].astype(np.float64) for i, one in enumerate(session.get_inputs())
        }
        prediction, probability = session.run(None, columns)
        assert prediction.tolist() == model.predict(X).tolist()
        np.testing.assert_allclose(probability, model.predict_proba(X), atol=1e-5)


def test_an_estimator_of_numbers_is_exported_in_units(tmp_path):
    from fcjax.estimators import TabularRegressor

    X = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    with quick_networks():
        model = TabularRegressor(epochs=2, random_state=0).fit(X, 1000 + 50 * X)
        export.to_onnx(model.to_table_model(), tmp_path / "it.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "it.onnx")
        columns = {
            one.name: X[:, [i]].astype(np.float64) for i, one in enumerate(session.get_inputs())
        }
        np.testing.assert_allclose(session.run(None, columns)[0], model.predict(X), rtol=1e-5)
