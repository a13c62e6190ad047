"""The Frobenius norm: all three gradients, by entry, against NumPy loops in float64."""

import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from loader import EXAMPLES, load
from PIL import Image

script = load("04_frobenius")


def numpy_f(W, X, Y):
    return np.linalg.norm(np.maximum(X @ W, 0) - Y) ** 2


def numpy_gradients(W, X, Y):
    """∂f/∂W, ∂f/∂X, ∂f/∂Y and ∂f/∂S, sums over indices written out."""
    gradients = {name: np.zeros(a.shape) for name, a in (("W", W), ("X", X), ("Y", Y), ("S", Y))}
    for i, j in np.ndindex(Y.shape):
        z = sum(X[i, k] * W[k, j] for k in range(X.shape[1]))
        slope = 2 * (max(z, 0) - Y[i, j])
        gradients["S"][i, j] = slope
        gradients["Y"][i, j] = -slope
        for k in range(X.shape[1]):
            gradients["W"][k, j] += slope * X[i, k] * (z > 0)
            gradients["X"][i, k] += slope * W[k, j] * (z > 0)
    return gradients


def points():
    rng = np.random.default_rng(0)
    drawn = [rng.standard_normal(shape) for shape in ((5, 7), (3, 5), (3, 7))]
    return {"the script's": (script.W, script.X, script.Y), "random": drawn}


each_point = pytest.mark.parametrize("point", points().values(), ids=points().keys())


@each_point
def test_every_entry_of_every_gradient(point):
    expected = numpy_gradients(*point)
    with jax.enable_x64(True):
        gradients = script.gradients(*point)
    assert list(gradients) == ["W", "X", "Y", "S"]
    for name, (rules, autodiff, differences, mistake) in gradients.items():
        assert rules.dtype == np.float64
        np.testing.assert_allclose(rules, expected[name], rtol=0, atol=1e-13, err_msg=name)
        np.testing.assert_allclose(autodiff, expected[name], rtol=0, atol=1e-13, err_msg=name)
        np.testing.assert_allclose(differences, expected[name], rtol=0, atol=1e-8, err_msg=name)
        # The mistake is one of sign, and a sign is seen only where there is something.
        np.testing.assert_allclose(mistake, -expected[name], rtol=0, atol=1e-13, err_msg=name)
        assert np.max(np.abs(expected[name])) > 1


@each_point
def test_the_value(point):
    with jax.enable_x64(True):
        for function in (script.f, script.plain_f):
            assert float(function(*point)) == pytest.approx(numpy_f(*point), rel=1e-14)


def test_the_script_has_active_and_inactive_units_and_no_kink():
    Z = script.X @ script.W
    assert np.min(np.abs(Z)) > 0.1
    assert (Z > 0).any(axis=0).all()
    assert (Z < 0).any(axis=0).all()


@each_point
def test_the_picture_shows_every_entry_in_each_way(point):
    expected = numpy_gradients(*point)
    with jax.enable_x64(True):
        figure = script.picture(script.gradients(*point))
    (legend,) = figure.legends
    colors = [mark.get_color() for mark in legend.legend_handles]
    ways = [text.get_text() for text in legend.get_texts()]
    assert ways == ["finite differences", "autodiff", "fcjax", "mistake"]
    for ax, (name, gradient) in zip(figure.axes, expected.items(), strict=True):
        assert ax.get_title() == f"∂f/∂{name}"
        zero, *marks = ax.lines
        assert [*zero.get_ydata()] == [0, 0]
        assert [line.get_color() for line in marks] == colors
        *right, mistake = (line.get_ydata() for line in marks)
        for way in right:
            np.testing.assert_allclose(way, gradient.ravel(), rtol=0, atol=1e-8)
        np.testing.assert_allclose(mistake, -gradient.ravel(), rtol=0, atol=1e-13)
        indices = [label.get_text() for label in ax.get_xticklabels()]
        assert indices == [f"{i},{j}" for i, j in np.ndindex(gradient.shape)]


def test_the_script_prints_and_draws_each_gradient_beside_the_mistake(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "error", EXAMPLES / "04_frobenius.py", "--out", tmp_path]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    expected = numpy_gradients(script.W, script.X, script.Y)
    tables = re.split(r"^∂f/∂(.).*$", run.stdout, flags=re.MULTILINE)[1:]
    assert tables[::2] == ["W", "X", "Y", "S"]
    for name, table in zip(tables[::2], tables[1::2], strict=True):
        rows = re.findall(r"^\[.*\] +(\S+) +(\S+) +(\S+) +(\S+)$", table, re.MULTILINE)
        *right, mistake = np.array(rows, float).T
        for way in right:
            np.testing.assert_allclose(way, expected[name].ravel(), rtol=0, atol=1e-6)
        np.testing.assert_allclose(mistake, -expected[name].ravel(), rtol=0, atol=1e-6)
        (off,) = re.findall(r"^off by +(\S+) +(\S+) +(\S+)$", table, re.MULTILINE)
        assert max(float(off[0]), float(off[1])) < 1e-9
        assert float(off[2]) > 1
    with Image.open(tmp_path / "04_frobenius.png") as picture:
        assert picture.size == (1800, 600)
