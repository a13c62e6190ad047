"""Calls of what meets the outside world: data sets, plots, and the files of `fcjax verify`."""

import json
import math
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from fcjax import datasets, plot
from fcjax.cli.arguments import load_args, parse_shape
from fcjax.cli.options import check_options, parse_expected_failures
from fcjax.cli.rules import Draw
from fcjax.cli.verify import verify
from fcjax_cli.options import Checking, Function, Library

from .judge import Call
from .registry import calls_of
from .rules import wrong_option
from .spec import as_numpy, integer, number, require
from .values import junk, wrong_array, wrong_ones

FOLDER = Path(tempfile.gettempdir()) / "fcjax-fuzz"


def load(name, test_fraction=0.25, seed=0):
    require(isinstance(name, str) and name in datasets.NAMES, "name", "dataset")
    number("test_fraction", test_fraction, 0, 1)
    integer("seed", seed, 0)
    require(seed < 2**32, "seed")
    return lambda got: None if len(got.x_train) and len(got.x_test) else f"{got}"


@calls_of("datasets.load", cases=150)
def load_calls(draw):
    wrong = wrong_ones(draw, ["name", "test_fraction", "seed"])
    odd = st.one_of(st.sampled_from(("digit", "", None, "Iris", "iris\n", 3, ("iris",))), junk())
    given = {
        "name": draw(odd if "name" in wrong else st.sampled_from(("iris", "wine", "diabetes")))
    }
    if "test_fraction" in wrong:
        fractions = st.sampled_from((1e-9, 0.9999999, 5, 150, 10**6, -0.5))
        given["test_fraction"] = draw(st.one_of(fractions, wrong_option()))
    if "seed" in wrong:
        seeds = st.sampled_from((-1, 2**32, 2**70, 1.5, "0", None, True))
        given["seed"] = draw(st.one_of(seeds, wrong_option()))
    return Call(datasets.load, given, load, wrong=wrong, uncertain="test_fraction" in wrong)


# --- plots ----------------------------------------------------------------------------------------


def drawn(**_):
    return lambda got: None


def axes():
    return plot.figure(2, 2).subplots()


def numbers_1d(name, value):
    array = as_numpy(value)
    require(array is not None and array.size and array.dtype.kind in "iuf", name)
    return array


def loss_curve(ax, history):
    require(hasattr(ax, "plot"), "ax")
    require(isinstance(history, dict) and "loss" in history, "history")
    for name in ("loss", "val_loss"):
        if name in history:
            array = numbers_1d("history", history[name])
            require(array.ndim == 1, "history")
    return drawn()


@calls_of("plot.loss_curve", cases=60)
def loss_curve_calls(draw):
    wrong = wrong_ones(draw, ["ax", "history"])
    given = {"ax": axes(), "history": {"loss": [1.0, 0.5], "val_loss": [2.0, 0.25]}}
    if "ax" in wrong:
        given["ax"] = draw(st.sampled_from((None, 3, "ax", plot.figure(2, 2))))
    if "history" in wrong:
        odd = (
            None,
            3,
            "loss",
            {},
            {"loss": 3},
            {"loss": "ab"},
            {"loss": [None]},
            [1.0],
            {"loss": ["a"]},
            {"loss": [[1.0], [2.0, 3.0]]},
        )
        given["history"] = draw(st.sampled_from(odd))
    return Call(plot.loss_curve, given, loss_curve, wrong=wrong)


def predicted_against_true(ax, targets, predictions):
    require(hasattr(ax, "plot"), "ax")
    t, p = numbers_1d("targets", targets), numbers_1d("predictions", predictions)
    require(t.size == p.size, "targets", "predictions")
    return drawn()


@calls_of("plot.predicted_against_true", cases=60)
def predicted_calls(draw):
    wrong = wrong_ones(draw, ["ax", "targets", "predictions"])
    given = {"ax": axes(), "targets": [1.0, 2.0, 3.0], "predictions": np.array([1.0, 2.5, 2.0])}
    if "ax" in wrong:
        given["ax"] = None
    for name in ("targets", "predictions"):
        if name in wrong:
            given[name] = draw(wrong_array((3,)))
    return Call(plot.predicted_against_true, given, predicted_against_true, wrong=wrong)


def residuals(ax, targets, predictions):
    return predicted_against_true(ax, targets, predictions)


@calls_of("plot.residuals", cases=60)
def residuals_calls(draw):
    return predicted_calls(draw)._replace(function=plot.residuals, spec=residuals)


def history(fig, figures, metric=None, best=None):
    require(hasattr(fig, "subplots"), "fig")
    require(isinstance(figures, dict), "figures")
    known = metric is None or f"val_{metric}" in figures or metric in figures
    require(known, "metric", "figures")
    lengths = set()
    for name in ("loss", "val_loss", "val_auc"):
        if name in figures and (name != "val_auc" or metric == "auc"):
            array = numbers_1d("figures", figures[name])
            require(array.ndim == 1, "figures")
            lengths.add(len(array))
    require(len(lengths) == 1, "figures")
    if best is not None:
        integer("best", best, 1)
        require(best <= lengths.pop(), "best")
    return drawn()


@calls_of("plot.history", cases=60)
def history_calls(draw):
    wrong = wrong_ones(draw, ["fig", "figures", "metric", "best"])
    figures = {"loss": [1.0, 0.5], "val_loss": [2.0, math.nan], "val_auc": [0.5, 0.75]}
    given = {"fig": plot.figure(3, 2), "figures": figures, "metric": "auc", "best": 2}
    odd = {
        "fig": st.sampled_from((None, axes(), 3)),
        "figures": st.sampled_from(
            (None, 3, {}, {"loss": 3}, {"loss": ["a"], "val_auc": [1]}, {"loss": [1.0, 2.0]},
             {"loss": [1.0], "val_auc": [1.0, 2.0]})
        ),
        "metric": st.sampled_from((3, "auk", None, "loss")),
        "best": st.sampled_from((0, 3, -1, 1.5, "1", None, 10**30)),
    }  # fmt: skip
    for name in wrong:
        given[name] = draw(odd[name])
    return Call(plot.history, given, history, wrong=wrong)


def calibration(fig, probabilities, happened, bins=10):
    require(hasattr(fig, "subplots"), "fig")
    p, event = numbers_1d("probabilities", probabilities), as_numpy(happened)
    require(event is not None and event.dtype == bool, "happened")
    require(p.size == event.size, "probabilities", "happened")
    require(np.all(np.isnan(p) | ((p >= 0) & (p <= 1))), "probabilities")
    integer("bins", bins, 1)
    return drawn()


@calls_of("plot.calibration", cases=60)
def calibration_calls(draw):
    wrong = wrong_ones(draw, ["fig", "probabilities", "happened", "bins"])
    given = {"fig": plot.figure(3, 3), "probabilities": [0.0, 0.5, math.nan]}
    given |= {"happened": [True, False, True], "bins": 4}
    odd = {
        "fig": st.sampled_from((None, axes(), 3)),
        "probabilities": wrong_array((3,)),
        "happened": st.sampled_from((None, [True], [1, 0, 1], ["a", "b", "c"], [[True]])),
        "bins": st.sampled_from((0, -1, 1.5, "3", None)),
    }
    for name in wrong:
        given[name] = draw(odd[name])
    return Call(plot.calibration, given, calibration, wrong=wrong)


def importance(ax, names, losses, what=""):
    require(hasattr(ax, "barh"), "ax")
    require(isinstance(names, list | tuple | str), "names")
    array = numbers_1d("losses", losses)
    require(array.ndim == 2, "losses")
    require(len(array) == len(names), "names", "losses")
    require(isinstance(what, str), "what")
    return drawn()


@calls_of("plot.importance", cases=60)
def importance_calls(draw):
    wrong = wrong_ones(draw, ["ax", "names", "losses", "what"])
    given = {"ax": axes(), "names": ["a", "b"], "losses": [[1.0, 2.0], [0.0, math.nan]]}
    given["what"] = draw(st.text(max_size=5))
    odd = {
        "ax": st.sampled_from((None, 3, plot.figure(2, 2))),
        "names": st.sampled_from((None, 3, [], ["a"], "ab", [1, 2])),
        "losses": wrong_array((2, 2)),
        "what": st.sampled_from((None, 3, b"t")),
    }
    for name in wrong:
        given[name] = draw(odd[name])
    return Call(plot.importance, given, importance, wrong=wrong)


def short_names(names):
    require(isinstance(names, list | tuple | str), "names")

    def judge(got):
        alike = len(got) == len(names) and len(set(got)) == len(set(map(str, names)))
        return None if alike and all(len(text) <= 28 for text in got) else f"{got}"

    return judge


@calls_of("plot.short_names", cases=60)
def short_names_calls(draw):
    names = st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
    long = st.lists(st.from_regex("[ab]{25,40}", fullmatch=True), max_size=6)
    wrong = wrong_ones(draw, ["names"])
    given = st.sampled_from((None, 3, {"a": 1})) if wrong else st.one_of(names, long)
    return Call(plot.short_names, {"names": draw(given)}, short_names, wrong=wrong)


def png(fig):
    require(hasattr(fig, "savefig"), "fig")
    return lambda got: None if got.startswith(b"\x89PNG") else f"{got[:8]}"


@calls_of("plot.png", cases=30)
def png_calls(draw):
    wrong = wrong_ones(draw, ["fig"])
    odd = st.sampled_from((None, 3, axes()))
    return Call(plot.png, {"fig": draw(odd) if wrong else plot.figure(1, 1)}, png, wrong=wrong)


def confusion(ax, labels, predictions, classes):
    require(hasattr(ax, "imshow"), "ax")
    require(isinstance(classes, list | tuple | str) and classes, "classes", "labels", "predictions")
    for name, value in (("labels", labels), ("predictions", predictions)):
        array = as_numpy(value)
        require(array is not None and array.dtype.kind in "iu" and array.ndim == 1, name)
        require(((array >= 0) & (array < len(classes))).all(), name, "classes")
    require(len(labels) == len(predictions), "labels", "predictions")
    return drawn()


@calls_of("plot.confusion", cases=60)
def confusion_calls(draw):
    wrong = wrong_ones(draw, ["ax", "labels", "predictions", "classes"])
    given = {
        "ax": axes(),
        "labels": [0, 1, 1],
        "predictions": np.array([0, 1, 0]),
        "classes": ["a", "b"],
    }
    if "ax" in wrong:
        given["ax"] = None
    for name in ("labels", "predictions"):
        if name in wrong:
            odd = st.sampled_from(
                ([0, 1, 2], [0, 1, -1], [0, 1], [0.0, 1.0, 0.0], [[0], [1], [1]], ["a", "b", "a"])
            )
            given[name] = draw(st.one_of(odd, wrong_array((3,))))
    if "classes" in wrong:
        given["classes"] = draw(st.sampled_from((None, 3, [], ["a"], "ab", [1, 2])))
    return Call(plot.confusion, given, confusion, wrong=wrong)


def wrong_images(fig, images, labels, predictions, title, most=24):
    require(hasattr(fig, "subplots"), "fig")
    array = as_numpy(images)
    require(array is not None and array.ndim == 3 and array.dtype.kind in "iufb", "images")
    require(array.size or not len(array), "images")
    for name, names in (("labels", labels), ("predictions", predictions)):
        require(isinstance(names, list | str) and len(names) == len(array), name, "images")
    require(isinstance(title, str), "title")
    integer("most", most, 0)
    return drawn()


@calls_of("plot.wrong_images", cases=40)
def wrong_images_calls(draw):
    wrong = wrong_ones(draw, ["fig", "images", "labels", "predictions", "title", "most"])
    given = {"fig": plot.figure(2, 2), "images": np.zeros((2, 3, 3)), "labels": ["a", "b"]}
    given |= {"predictions": ["b", "a"], "title": "wrong", "most": 24}
    odd = {
        "fig": st.sampled_from((None, axes(), 3)),
        "images": wrong_array((2, 3, 3)),
        "labels": st.sampled_from((None, ["a"], [1, 2], "ab", ["a", "b", "c"])),
        "predictions": st.sampled_from((None, ["a"], [1, 2], [])),
        "title": st.sampled_from((None, 3, b"t")),
        "most": st.sampled_from((-1, None, 1.5, "3", 0, True)),
    }
    for name in wrong:
        given[name] = draw(odd[name])
    return Call(plot.wrong_images, given, wrong_images, wrong=wrong)


def figure(width, height):
    for name, value in (("width", width), ("height", height)):
        require(number(name, value, 0) < math.inf, name)
    return drawn()


@calls_of("plot.figure", cases=60)
def figure_calls(draw):
    wrong = wrong_ones(draw, ["width", "height"])
    given = {
        name: draw(wrong_option() if name in wrong else st.sampled_from((2, 3.5)))
        for name in ("width", "height")
    }
    return Call(plot.figure, given, figure, wrong=wrong)


def save(fig, path):
    require(hasattr(fig, "savefig"), "fig")
    require(isinstance(path, str | Path), "path")
    require(Path(path).suffix in (".png", ".pdf", ".svg"), "path")
    require("\0" not in str(path), "path")
    return lambda got: None if got == Path(path) else f"{got}"


@calls_of("plot.save", cases=30)
def save_calls(draw):
    wrong = wrong_ones(draw, ["fig", "path"])
    given = {"fig": plot.figure(1, 1), "path": FOLDER / "figure.png"}
    if "fig" in wrong:
        given["fig"] = draw(st.sampled_from((None, 3, "fig")))
    if "path" in wrong:
        odd = (
            None,
            3,
            b"figure.png",
            FOLDER / "figure.unknown",
            f"{FOLDER}/a\0b.png",
            ["figure.png"],
        )
        given["path"] = draw(st.sampled_from(odd))
    return Call(plot.save, given, save, wrong=wrong)


# --- the command ----------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.floats(allow_nan=True),
    st.sampled_from((2**31, -(2**31), 2**63, 10**30, 1e308)),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=8,
)
MATRICES = st.sampled_from(
    ("[[[1.0, 2.0], [0.5, 0.25]], [1.0, 3.0]]", "[[[1.0, 2.0]], [[1, 2], [3]]]")
)
TEXTS = (
    *(
        "",
        "[",
        "[" * 100_000,
        "{" * 50,
        "[1e999]",
        "[NaN]",
        "[1" + "0" * 5000 + "]",
        "nul",
        "[[]]",
        "[[[]]]",
    ),
    *(
        "[" * 900 + "]" * 900,
        '["' + "x" * 10_000 + '"]',
        "[[1, 2], [3.0, 4]]",
        "\ufeff[]",
        "[1,]",
        "// []",
    ),
    '{"a": 1}',
)


def target(x, y):
    return jnp.tanh(x @ y)


def write(content):
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / "args.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def checked(content):
    """Check `target` at the arguments of a file, as the command does."""
    function = Function("fuzz.outside:target", args=str(write(content)))
    status = verify(function, Library(), Checking(checks=("vjp",)), FOLDER / "verify.json")
    reports = json.loads((FOLDER / "verify.json").read_text())
    return status, reports


def a_status(content):
    return lambda got: None if got[0] in (0, 1, 2) else f"{got}"


@st.composite
def contents(draw):
    kind = draw(st.sampled_from(("json", "json", "bytes", "text", "right")))
    if kind == "json":
        return json.dumps(draw(st.lists(JSON, max_size=3)))
    if kind == "bytes":
        return draw(st.binary(max_size=40))
    return draw(MATRICES if kind == "right" else st.sampled_from(TEXTS))


@calls_of("fcjax verify --args", cases=200)
def args_calls(draw):
    given = {"content": draw(contents())}
    return Call(checked, given, a_status, wrong=("args", "target", "fun"), uncertain=True)


@calls_of("cli.load_args", cases=600)
def load_args_calls(draw):
    given = {"content": draw(contents())}

    def read(content):
        args, kwargs = load_args(str(write(content)), ())
        return jax.tree.map(
            lambda v: v(np.random.default_rng(0), "float32") if isinstance(v, Draw) else v, args
        ), kwargs

    return Call(read, given, lambda content: lambda got: None, wrong=("args",), uncertain=True)


SHAPE_TEXTS = st.one_of(
    st.text("0123456789x@:.-+eE=scalar(), '", max_size=12),
    st.sampled_from(
        (
            "5x3",
            "5:4",
            "5:-2:4",
            "scalar",
            "0.5",
            "=3",
            "=name",
            "5x3@0:1",
            "9" * 30,
            "9" * 5000,
            "5x99999999999",
            "=" + "(" * 500,
            "=" + "[" * 5000,
            "3:99999999999999",
            "3@1e400:2",
            "3@0:1e39",
            "1e400",
            "=1e400",
            "=" + "9" * 5000,
            "0x3",
            "3:0",
            "x",
            "5x",
            "=" + "x" * 10_000,
            "x" * 10_000,
            "=-" * 3000,
            "100000x100000x100000",
        )
    ),
)


def described(text):
    """Return what a description stands for, with arrays drawn."""
    value = parse_shape(text)
    return value(np.random.default_rng(0), "float32") if isinstance(value, Draw) else value


@calls_of("cli.parse_shape", cases=800)
def shape_calls(draw):
    given = {"text": draw(SHAPE_TEXTS)}
    return Call(described, given, lambda text: lambda got: None, wrong=("shapes",), uncertain=True)


@calls_of("cli.options", cases=300)
def option_calls(draw):
    words = st.one_of(
        st.sampled_from(
            ("vjp=x", "vjp", "=", "=x", "vjp=", "a=b=c", "float32", "float128", "x" * 500)
        ),
        st.text(max_size=5),
    )
    given = {
        "dtypes": tuple(draw(st.lists(words, max_size=2))),
        "pairs": draw(st.lists(words, max_size=3)),
    }
    given["seed"] = draw(st.sampled_from((0, -1, 2**32, 10**400)))

    def check(dtypes, pairs, seed):
        check_options(Function(), Library(), Checking(dtypes=dtypes, seed=seed))
        return parse_expected_failures(pairs)

    names = ("dtypes", "expected_failures", "seed")
    return Call(check, given, lambda **_: lambda got: None, wrong=names, uncertain=True)
