"""The logistic neuron: every gradient and all of training against a NumPy loop in float64."""

import functools
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loader import EXAMPLES, load
from PIL import Image
from sklearn.datasets import load_sample_image
from threadpoolctl import threadpool_limits

import fcjax

script = load("01_logistic_neuron")


# Products this small gain nothing from threads, and lose tenfold where other programs run too.
@threadpool_limits.wrap(limits=1, user_api="blas")
def one_pass(X, y, w, b):
    """Cost and gradients, one sample at a time; z alone is vectorised."""
    J, dw, db = 0.0, np.zeros(len(w)), 0.0
    for x, target, z in zip(X, y, X @ w + b, strict=True):
        J += np.logaddexp(0, z) - target * z
        slope = 1 / (1 + np.exp(-z)) - target
        dw += slope * x
        db += slope
    return J / len(X), dw / len(X), db / len(X)


def numpy_program(X, y, steps=100, rate=0.003):
    w, b, costs = np.zeros(X.shape[1]), 0.0, []
    for _ in range(steps):
        J, dw, db = one_pass(X, y, w, b)
        costs.append(J)
        w, b = w - rate * dw, b - rate * db
    return np.array(costs), w, b


@functools.cache
def expected_training():
    X, Y = script.photographs(script.LEFT)
    return numpy_program(X, Y[:, 0])


def cost(X, y, w, b):
    z = X @ w + b
    return np.mean(np.logaddexp(0, z) - y * z)


def accuracy(w, b, columns):
    X, Y = script.photographs(columns)
    return np.mean((X @ w + b > 0) == (Y[:, 0] == 1))


def test_the_samples_are_patches_of_the_photographs():
    X, Y = script.photographs(script.LEFT)
    assert X.shape == (216, 12288)
    np.testing.assert_array_equal(Y, np.repeat([[0.0], [1.0]], 108, axis=0))
    first = load_sample_image("china.jpg")[:64, :64]
    last = load_sample_image("flower.jpg")[352:416, 256:320]
    np.testing.assert_allclose(X[0].reshape(64, 64, 3), first / 255, rtol=1e-15)
    np.testing.assert_allclose(X[-1].reshape(64, 64, 3), last / 255, rtol=1e-15)


def test_no_pixel_is_trained_on_and_tested_on():
    pixels = np.arange(427 * 640 * 3).reshape(427, 640, 3)
    train, test = (script.patches(pixels[:, part]) for part in (script.LEFT, script.RIGHT))
    assert train.shape == test.shape == (108, 12288)
    assert not np.intersect1d(train, test).size


def test_all_five_ways_give_the_gradients_of_the_numpy_program():
    X, Y = script.photographs(script.LEFT)
    rng = np.random.default_rng(0)
    w, b = 0.01 * rng.standard_normal(12288), 0.3
    J, dw, db = one_pass(X, Y[:, 0], w, b)
    with jax.enable_x64(True):
        params = (fcjax.Layer(jnp.asarray(w[:, None]), jnp.asarray([b])),)
        ways = script.gradients(params, jnp.asarray(X), jnp.asarray(Y))
    assert len(ways) == 5
    for name, (J_, dW_, db_) in ways.items():
        assert dW_.dtype == np.float64, name
        np.testing.assert_allclose(J_, J, rtol=1e-13, err_msg=name)
        np.testing.assert_allclose(dW_, dw[:, None], rtol=0, atol=1e-14, err_msg=name)
        np.testing.assert_allclose(db_, [db], rtol=0, atol=1e-14, err_msg=name)


def test_finite_differences_agree_with_the_numpy_program():
    X, Y = script.photographs(script.LEFT)
    rng = np.random.default_rng(1)
    w, direction = 0.01 * rng.standard_normal((2, 12288))
    _, dw, db = one_pass(X, Y[:, 0], w, 0.3)
    h = 1e-4
    above, below = (cost(X, Y[:, 0], w + s * direction, 0.3 + s) for s in (h, -h))
    assert (above - below) / (2 * h) == pytest.approx(dw @ direction + db, rel=1e-7)


def test_every_cost_and_the_final_weights():
    costs, w, b = expected_training()
    with jax.enable_x64(True):
        data, unseen = map(script.photographs, (script.LEFT, script.RIGHT))
        zeros = (fcjax.Layer(jnp.zeros((12288, 1)), jnp.zeros(1)),)
        result = script.train(zeros, data, unseen)
    (W, bias) = result.params[0]
    assert W.dtype == jnp.float64
    assert len(result.history["loss"]) == 100
    np.testing.assert_allclose(result.history["loss"], costs, rtol=1e-12)
    np.testing.assert_allclose(W[:, 0], w, rtol=0, atol=1e-14)
    np.testing.assert_allclose(bias, [b], rtol=0, atol=1e-14)
    X, Y = unseen
    assert result.history["val_loss"][-1] == pytest.approx(cost(X, Y[:, 0], w, b), rel=1e-12)
    assert result.history["val_accuracy"][-1] == pytest.approx(accuracy(w, b, script.RIGHT))


def test_the_picture_shows_the_losses_the_weights_and_the_test_patches():
    X, Y = script.photographs(script.RIGHT)
    w = 0.01 * np.random.default_rng(2).standard_normal(12288)
    history = {"loss": [0.7, 0.6, 0.5], "val_loss": [0.6, 0.5, 0.55], "val_accuracy": [0.5] * 3}
    with jax.enable_x64(True):
        params = (fcjax.Layer(jnp.asarray(w[:, None]), jnp.zeros(1)),)
        figure = script.picture(SimpleNamespace(params=params, history=history), (X, Y))
    losses, weights, counts = figure.axes
    for line, name in zip(losses.lines, ("loss", "val_loss"), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), history[name])
    shown = np.asarray(weights.images[0].get_array())
    largest = np.max(np.abs(w))
    np.testing.assert_allclose(shown.ravel(), (w + largest) / (2 * largest), rtol=0, atol=1e-15)
    assert shown[1, 2, 0] == shown.ravel()[(1 * 64 + 2) * 3]
    is_flower, says_flower = Y[:, 0] == 1, X @ w > 0
    table = [[np.sum((is_flower == a) & (says_flower == b)) for b in (0, 1)] for a in (0, 1)]
    assert 0 < table[0][0] < 108  # both classes are predicted
    assert [text.get_text() for text in counts.texts] == [str(n) for row in table for n in row]
    right = np.mean(is_flower == says_flower)
    assert counts.get_title() == f"test patches, {100 * right:.0f}% right"


def test_the_script_prints_the_differences_and_the_accuracies_and_draws(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "error", EXAMPLES / "01_logistic_neuron.py", "--out", tmp_path]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    differences = re.findall(r" (\d\.\de[+-]\d\d)  (\d\.\de[+-]\d\d)$", run.stdout, re.MULTILINE)
    assert len(differences) == 5
    assert np.array(differences, float).max() < 1e-14
    costs, w, b = expected_training()
    rows = re.findall(r"^ +(\d+) +(\d\.\d{6})$", run.stdout, re.MULTILINE)
    assert [int(step) for step, _ in rows] == [0, 10, 30, 99]
    np.testing.assert_allclose([float(J) for _, J in rows], costs[[0, 10, 30, 99]], atol=1e-6)
    trained, tested = accuracy(w, b, script.LEFT), accuracy(w, b, script.RIGHT)
    assert f"after 100 steps: train {trained:.3f}, test {tested:.3f}\n" in run.stdout
    assert tested > 0.8  # half of the patches are of either class
    with Image.open(tmp_path / "01_logistic_neuron.png") as picture:
        assert picture.size == (1800, 600)
