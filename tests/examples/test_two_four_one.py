"""The 2-4-1 network: all 17 gradients and all of XOR against a NumPy program in float64."""

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

import fcjax

script = load("02_two_four_one")

NAMES = (
    [f"w1[{i},{j}]" for i in range(2) for j in range(4)]
    + [f"b1[{j}]" for j in range(4)]
    + [f"w2[{j},0]" for j in range(4)]
    + ["b2[0]"]
)
SHAPES = ((2, 4), (4,), (4, 1), (1,))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def loss(arrays, X, T):
    W1, b1, W2, b2 = arrays
    return np.mean((sigmoid(sigmoid(X @ W1 + b1) @ W2 + b2) - T) ** 2) / 2


def numpy_gradients(arrays, X, T):
    """Sums over the samples, one weight at a time, of the chain rule for a single sample."""
    W1, b1, W2, b2 = arrays
    gradients = [np.zeros(shape) for shape in SHAPES]
    for x, t in zip(X, T[:, 0], strict=True):
        a = sigmoid(x @ W1 + b1)
        y = sigmoid(a @ W2[:, 0] + b2[0])
        delta = (y - t) * y * (1 - y) / len(X)
        for j in range(4):
            hidden = delta * W2[j, 0] * a[j] * (1 - a[j])
            for i in range(2):
                gradients[0][i, j] += hidden * x[i]
            gradients[1][j] += hidden
            gradients[2][j, 0] += delta * a[j]
        gradients[3][0] += delta
    return gradients


def finite_differences(arrays, X, T, h=1e-4):
    gradients = [np.zeros(shape) for shape in SHAPES]
    for array, gradient in zip(arrays, gradients, strict=True):
        for index in np.ndindex(array.shape):
            start, losses = array[index], []
            for k in (-2, -1, 1, 2):
                array[index] = start + k * h
                losses.append(loss(arrays, X, T))
            array[index] = start
            gradient[index] = np.dot([1, -8, 8, -1], losses) / (12 * h)
    return gradients


def numpy_training(arrays, X, T, steps=3000, rate=8.0):
    W1, b1, W2, b2 = arrays
    losses = []
    for _ in range(steps):
        losses.append(loss((W1, b1, W2, b2), X, T))
        A = sigmoid(X @ W1 + b1)
        Y = sigmoid(A @ W2 + b2)
        dZ2 = (Y - T) * Y * (1 - Y) / len(X)
        dZ1 = dZ2 @ W2.T * A * (1 - A)
        W1, b1 = W1 - rate * X.T @ dZ1, b1 - rate * dZ1.sum(axis=0)
        W2, b2 = W2 - rate * A.T @ dZ2, b2 - rate * dZ2.sum(axis=0)
    return np.array(losses), (W1, b1, W2, b2)


def random_arrays(seed):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in SHAPES]


def as_params(arrays):
    W1, b1, W2, b2 = map(jnp.asarray, arrays)
    return (fcjax.Layer(W1, b1), fcjax.Layer(W2, b2))


@pytest.mark.parametrize("m", [1, 5], ids=["one sample", "batch"])
def test_all_17_gradients_by_name(m):
    rng = np.random.default_rng(m)
    arrays, X, T = random_arrays(7), rng.standard_normal((m, 2)), rng.uniform(size=(m, 1))
    expected = np.concatenate([g.ravel() for g in numpy_gradients(arrays, X, T)])
    differences = np.concatenate([g.ravel() for g in finite_differences(arrays, X, T)])
    with jax.enable_x64(True):
        params = as_params(arrays)
        passes = script.by_name(script.gradients(params, X, T))
        rules = script.by_name(jax.grad(script.loss_fn)(params, (X, T)))
        autodiff = script.by_name(jax.grad(script.plain_loss)(params, (X, T)))
    np.testing.assert_allclose(expected, differences, rtol=0, atol=1e-11)
    for got in (passes, rules, autodiff):
        assert list(got) == NAMES
        np.testing.assert_allclose([*got.values()], expected, rtol=1e-12, atol=1e-16)


def test_names_are_those_of_the_numbers():
    arrays = [np.arange(8.0).reshape(2, 4), np.arange(8.0, 12), np.arange(12.0, 16)[:, None]]
    with jax.enable_x64(True):
        named = script.by_name(as_params([*arrays, np.array([16.0])]))
    assert named == dict(zip(NAMES, range(17), strict=True))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_loss_and_the_final_weights_of_xor(seed):
    arrays = random_arrays(seed)
    expected, expected_arrays = numpy_training(arrays, script.XOR_X, script.XOR_T)
    with jax.enable_x64(True):
        trained, losses = script.train(as_params(arrays), script.XOR_X, script.XOR_T)
    assert losses.shape == (3000,)
    assert losses.dtype == np.float64
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    for ours, theirs in zip(jax.tree.leaves(trained), expected_arrays, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def test_the_picture_shows_the_losses_and_where_the_output_is_above_a_half():
    _, (W1, b1, W2, b2) = numpy_training(random_arrays(0), script.XOR_X, script.XOR_T)
    losses = np.array([0.1, 0.01, 0.001])
    with jax.enable_x64(True):
        figure = script.picture(as_params((W1, b1, W2, b2)), losses)
    curve, plane = figure.axes
    np.testing.assert_array_equal(curve.lines[0].get_ydata(), losses)
    regions = plane.collections[0].get_array().reshape(201, 201)
    side = np.linspace(-0.1, 1.1, 201)
    points = np.stack(np.meshgrid(side, side), axis=-1)
    output = sigmoid(sigmoid(points @ W1 + b1) @ W2 + b2)[..., 0]
    clear = np.abs(output - 0.5) > 1e-4  # the picture has the points in float32
    np.testing.assert_array_equal(regions[clear], output[clear] > 0.5)
    assert 0.2 < regions.mean() < 0.9
    for t, line in enumerate(plane.lines):
        np.testing.assert_array_equal(line.get_xydata(), script.XOR_X[script.XOR_T[:, 0] == t])


def test_the_script_prints_17_gradients_solves_xor_and_draws(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "error", EXAMPLES / "02_two_four_one.py", "--out", tmp_path]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    rows = [line.split() for line in run.stdout.splitlines() if re.match(r"[wb]\d\[", line)]
    assert [row[0] for row in rows] == NAMES
    one, one_autodiff, batch, batch_autodiff = np.array([row[1:] for row in rows], float).T
    np.testing.assert_allclose(one, one_autodiff, rtol=0, atol=1.5e-10)  # the last digit
    np.testing.assert_allclose(batch, batch_autodiff, rtol=0, atol=1.5e-10)
    assert not np.array_equal(one, batch)
    (largest,) = re.findall(r"^largest difference +(\S+) +(\S+)$", run.stdout, re.MULTILINE)
    assert max(map(float, largest)) < 1e-14
    points = re.findall(r"^  ([01])    ([01]) +([01]) +(\d\.\d{4})$", run.stdout, re.MULTILINE)
    assert [point[:3] for point in points] == [
        tuple("000"),
        tuple("011"),
        tuple("101"),
        tuple("110"),
    ]
    for _, _, target, output in points:
        assert float(output) == pytest.approx(float(target), abs=0.1)
    with Image.open(tmp_path / "02_two_four_one.png") as picture:
        assert picture.size == (1350, 600)
