"""Calls of the pictures of what is in a network."""

import math

import numpy as np
from hypothesis import strategies as st

from fcjax import plot

from .judge import Call
from .outside import axes, drawn, numbers_1d
from .registry import calls_of
from .spec import as_numpy, integer, require
from .values import wrong_array, wrong_ones

FIGURES = st.sampled_from((None, 3, "fig", [1.0]))
A, B = np.array([[0.0, 1.0], [math.nan, -2.0], [3.0, 4.0]]), np.zeros((3, 1), np.float32)
ODD_LISTS = st.sampled_from((None, 3, [], [3.0], [[1.0]], ["a"], [A, None], 12 * [A], [A, A[0]]))


def matrices(name, values, most):
    """Require a sequence of matrices; return them."""
    require(isinstance(values, list | tuple | str), name)
    found = [numbers_1d(name, matrix) for matrix in values]
    require(0 < len(found) <= most and all(matrix.ndim == 2 for matrix in found), name)
    return found


def passes(fig, activations, deltas):
    require(hasattr(fig, "subplots"), "fig")
    outputs, errors = matrices("activations", activations, 9), matrices("deltas", deltas, 8)
    require(len(outputs) == len(errors) + 1, "activations", "deltas")
    require(len({len(m) for m in (*outputs, *errors)}) == 1, "activations", "deltas", "matrices")
    return drawn()


@calls_of("plot.passes", cases=60)
def passes_calls(draw):
    wrong = wrong_ones(draw, ["fig", "activations", "deltas"])
    given = {"fig": plot.figure(3, 3), "activations": [A, B], "deltas": [A]}
    for name in wrong:
        given[name] = draw(FIGURES if name == "fig" else ODD_LISTS)
    return Call(plot.passes, given, passes, wrong=wrong)


def activation_histograms(fig, activations, bins=40):
    require(hasattr(fig, "subplots"), "fig")
    matrices("activations", activations, 8)
    integer("bins", bins, 1)
    return drawn()


@calls_of("plot.activation_histograms", cases=60)
def activation_histograms_calls(draw):
    wrong = wrong_ones(draw, ["fig", "activations", "bins"])
    given = {"fig": plot.figure(3, 3), "activations": [A, B], "bins": 5}
    odd = {"fig": FIGURES, "activations": ODD_LISTS,
           "bins": st.sampled_from((0, -1, 1.5, "3", None))}  # fmt: skip
    for name in wrong:
        given[name] = draw(odd[name])
    return Call(plot.activation_histograms, given, activation_histograms, wrong=wrong)


def weight_spectrum(ax, weights):
    require(hasattr(ax, "plot"), "ax")
    for matrix in matrices("weights", weights, 100):
        require(np.isfinite(matrix).all(), "weights")
    return drawn()


@calls_of("plot.weight_spectrum", cases=60)
def weight_spectrum_calls(draw):
    wrong = wrong_ones(draw, ["ax", "weights"])
    given = {"ax": axes(), "weights": [np.eye(3, 2), np.zeros((2, 2), np.float32)]}
    for name in wrong:
        given[name] = draw(FIGURES if name == "ax" else ODD_LISTS)
    return Call(plot.weight_spectrum, given, weight_spectrum, wrong=wrong)


def gradient_norms(ax, norms):
    require(hasattr(ax, "plot"), "ax")
    require(isinstance(norms, dict) and norms, "norms")
    shapes = {numbers_1d("norms", values).shape for values in norms.values()}
    require(len(shapes) == 1 and len(shapes.pop()) == 1, "norms")
    return drawn()


@calls_of("plot.gradient_norms", cases=60)
def gradient_norms_calls(draw):
    wrong = wrong_ones(draw, ["ax", "norms"])
    given = {"ax": axes(), "norms": {"layer 1": [1.0, 0.0, 1e300], "layer 2": [math.nan] * 3}}
    odd = (
        None,
        3,
        {},
        [1.0],
        {"a": 3},
        {"a": ["b"]},
        {"a": [1.0], "b": [1.0, 2.0]},
        {"a": [[1.0]]},
    )
    for name in wrong:
        given[name] = draw(FIGURES if name == "ax" else st.sampled_from(odd))
    return Call(plot.gradient_norms, given, gradient_norms, wrong=wrong)


def decision_boundary(ax, predict, x, labels):
    require(hasattr(ax, "plot"), "ax")
    require(callable(predict), "predict")
    points, classes = numbers_1d("x", x), as_numpy(labels)
    require(points.ndim == 2 and points.shape[1] == 2, "x")
    require(np.isfinite(points).all(), "x")
    require(classes is not None and classes.dtype.kind in "iu" and classes.size, "labels")
    require(classes.size == len(points), "labels", "x")
    require(classes.min() >= 0 and classes.max() <= 6, "labels")
    scores = as_numpy(predict(np.zeros((7, 2), np.float32)))
    require(scores is not None and scores.dtype.kind in "iuf", "predict")
    is_of_classes = scores.ndim == 2 and len(scores) == 7 and 1 < scores.shape[1] <= 7
    require(scores.shape in ((7,), (7, 1)) or is_of_classes, "predict")
    return drawn()


@calls_of("plot.decision_boundary", cases=60)
def decision_boundary_calls(draw):
    wrong = wrong_ones(draw, ["ax", "predict", "x", "labels"])
    good = (lambda p: p[:, 0], lambda p: p[:, :1], lambda p: np.stack([p[:, 0]] * 3, axis=1))
    given = {"ax": axes(), "predict": draw(st.sampled_from(good))}
    given |= {"x": [[0.0, 1.0], [2.0, 3.0]], "labels": np.array([1, 0])}
    odd = {
        "ax": FIGURES,
        "predict": st.sampled_from((None, 3, len, lambda p: "a", lambda p: p[:1], lambda p: None)),
        "x": wrong_array((2, 2)),
        "labels": st.sampled_from((None, [1], [0, 7], [-1, 0], ["a", "b"], [0.5, 1.0])),
    }
    for name in wrong:
        given[name] = draw(odd[name])
    return Call(plot.decision_boundary, given, decision_boundary, wrong=wrong)
