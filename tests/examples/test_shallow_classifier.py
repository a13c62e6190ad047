"""The shallow classifier: gradients and training against a column-wise NumPy program in float64."""

import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loader import EXAMPLES, load
from PIL import Image
from threadpoolctl import threadpool_limits

import fcjax

script = load("08_shallow_classifier")


def forward(arrays, X):
    W1, b1, W2, b2 = arrays
    A1 = np.tanh(W1 @ X + b1)
    return A1, W2 @ A1 + b2


def cost(arrays, X, Y):
    _, Z2 = forward(arrays, X)
    return np.mean(np.logaddexp(0, Z2) - Y * Z2)


def numpy_gradients(arrays, X, Y):
    """One sample per column, as in the textbooks."""
    A1, Z2 = forward(arrays, X)
    dZ2 = 1 / (1 + np.exp(-Z2)) - Y
    dZ1 = np.dot(arrays[2].T, dZ2) * (1 - np.power(A1, 2))
    m = X.shape[1]
    return [
        np.dot(dZ1, X.T) / m,
        np.sum(dZ1, axis=1, keepdims=True) / m,
        np.dot(dZ2, A1.T) / m,
        np.sum(dZ2, axis=1, keepdims=True) / m,
    ]


# Products this small gain nothing from threads, and lose tenfold where other programs run too.
@threadpool_limits.wrap(limits=1, user_api="blas")
def numpy_training(arrays, X, Y, steps=4000, rate=1.0):
    costs = []
    for _ in range(steps):
        costs.append(cost(arrays, X, Y))
        gradients = numpy_gradients(arrays, X, Y)
        arrays = [a - rate * da for a, da in zip(arrays, gradients, strict=True)]
    return np.array(costs), arrays


def start(seed=0):
    """W₁, b₁, W₂ and b₂ in columns."""
    rng = np.random.default_rng(seed)
    return [0.5 * rng.standard_normal(shape) for shape in ((8, 2), (8, 1), (1, 8), (1, 1))]


def as_params(arrays):
    W1, b1, W2, b2 = map(jnp.asarray, arrays)
    return (fcjax.Layer(W1.T, b1[:, 0]), fcjax.Layer(W2.T, b2[:, 0]))


class Silence:
    """A generator whose noise is 0."""

    standard_normal = staticmethod(np.zeros)


def test_the_flower_has_four_petals_of_each_class():
    X, Y = script.flower(Silence())
    assert X.shape == (400, 2)
    radius, angle = np.hypot(*X.T), np.arctan2(X[:, 0], X[:, 1])
    np.testing.assert_allclose(radius, 4 * np.abs(np.sin(4 * angle)), rtol=0, atol=1e-12)
    inner = radius > 0.1
    petal = np.floor(angle[inner] / (np.pi / 4))
    classes = [set(Y[inner, 0][petal == p]) for p in range(-4, 4)]
    assert sorted(classes, key=min) == 4 * [{0.0}] + 4 * [{1.0}]


def test_noise_moves_the_samples():
    X, Y = script.flower(np.random.default_rng(0))
    assert np.std(X - script.flower(Silence())[0]) > 0.1
    np.testing.assert_array_equal(np.unique(Y, return_counts=True), [[0, 1], [200, 200]])
    assert np.max(np.hypot(*X.T)) < 5


def test_every_gradient_is_the_transpose_of_the_textbooks():
    X, Y = script.flower(np.random.default_rng(0))
    arrays = start()
    expected = numpy_gradients(arrays, X.T, Y.T)
    with jax.enable_x64(True):
        gradients = script.both_layouts(as_params(arrays), jnp.asarray(X), jnp.asarray(Y))
    assert list(gradients) == ["dW1", "db1", "dW2", "db2"]
    for (ours, textbook), want in zip(gradients.values(), expected, strict=True):
        assert ours.dtype == np.float64
        np.testing.assert_allclose(textbook, want, rtol=0, atol=1e-14)
        np.testing.assert_allclose(np.atleast_2d(ours), want.T, rtol=0, atol=1e-14)
        assert script.apart(ours, textbook) < 1e-14
        assert script.apart(1.001 * ours, textbook) > 1e-6


def test_finite_differences_agree_with_the_numpy_program():
    X, Y = (a.T for a in script.flower(np.random.default_rng(0)))
    arrays, h = start(), 1e-4
    for array, gradient in zip(arrays, numpy_gradients(arrays, X, Y), strict=True):
        for index in np.ndindex(array.shape):
            value, costs = array[index], []
            for k in (-2, -1, 1, 2):
                array[index] = value + k * h
                costs.append(cost(arrays, X, Y))
            array[index] = value
            assert np.dot([1, -8, 8, -1], costs) / (12 * h) == pytest.approx(
                gradient[index], abs=1e-10
            )


def test_every_loss_and_the_final_weights():
    X, Y = script.flower(np.random.default_rng(0))
    costs, arrays = numpy_training(start(), X.T, Y.T)
    with jax.enable_x64(True):
        trained, losses = script.train(as_params(start()), X, Y)
    assert losses.shape == (4000,)
    assert losses.dtype == np.float64
    np.testing.assert_allclose(losses, costs, rtol=1e-12)
    for ours, want in zip(jax.tree.leaves(trained), arrays, strict=True):
        np.testing.assert_allclose(np.atleast_2d(ours), want.T, rtol=0, atol=1e-11)
    accuracy = np.mean((forward(arrays, X.T)[1] > 0) == (Y.T == 1))
    with jax.enable_x64(True):
        assert script.accuracy(trained, X, Y) == pytest.approx(accuracy, abs=1e-6)
    assert accuracy > 0.9


def test_the_picture_shows_boundary_classes_and_title():
    X, Y = script.flower(np.random.default_rng(0))
    with jax.enable_x64(True):
        figure = script.picture(as_params(start()), X, Y, "a title")
        shown = np.asarray(figure.axes[0].images[0].get_array())
        _, Z2 = forward(start(), np.array([[-5.0, 5.0, -5.0, 5.0], [-5.0, -5.0, 5.0, 5.0]]))
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == (
        "$x_1$",
        "$x_2$",
        "a title",
    )
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["class 0", "class 1"]
    corners = shown[[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(corners, 1 / (1 + np.exp(-Z2[0])), rtol=1e-12)
    points = [c.get_offsets() for c in axes.collections if len(c.get_offsets()) == 200]
    np.testing.assert_array_equal(np.concatenate(points), X)


def test_the_script_prints_the_differences_and_draws_the_boundary(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    script_file = EXAMPLES / "08_shallow_classifier.py"
    command = [sys.executable, "-W", "error", script_file, "--out", tmp_path / "pictures"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    rows = re.findall(r"^(d[Wb]\d) .* (\S+e-\d\d) +(\S+e-\d\d)$", run.stdout, re.MULTILINE)
    assert [row[0] for row in rows] == ["dW1", "db1", "dW2", "db2"]
    assert max(float(difference) for row in rows for difference in row[1:]) < 1e-14
    (train, test) = re.findall(r"^accuracy: train (\S+), test (\S+)$", run.stdout, re.MULTILINE)[0]
    assert float(train) > 0.9
    assert float(test) > 0.9
    with Image.open(tmp_path / "pictures" / "08_shallow_classifier.png") as picture:
        assert picture.size == (960, 810)
