"""Two layers, sigmoid, biases: all 501 losses and the parameters against NumPy in float64."""

import functools
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

script = load("06_two_layers_sigmoid")


# Products this small gain nothing from threads, and lose tenfold where other programs run too.
@threadpool_limits.wrap(limits=1, user_api="blas")
def numpy_program(X, Y, W1, b1, W2, b2, iterations=501, rate=1e-6):
    losses = []
    for _ in range(iterations):
        A1 = 1 / (1 + np.exp(-(X @ W1 + b1)))
        error = A1 @ W2 + b2 - Y
        losses.append(np.sum(error**2))
        dZ2 = 2 * error
        dW2, db2 = A1.T @ dZ2, dZ2.sum(axis=0)
        dZ1 = dZ2 @ W2.T * A1 * (1 - A1)
        dW1, db1 = X.T @ dZ1, dZ1.sum(axis=0)
        W1, b1, W2, b2 = W1 - rate * dW1, b1 - rate * db1, W2 - rate * dW2, b2 - rate * db2
    return np.array(losses), (W1, b1, W2, b2)


@functools.cache
def trained_by_both(dtype):
    """Losses and parameters: the script's in `dtype`, NumPy's in float64 from the same start."""
    with jax.enable_x64(dtype == jnp.float64):
        params, X, Y = script.problem(dtype)
        trained, losses, _ = script.train(params, X, Y)
    start = [np.asarray(a).astype(np.float64) for a in (X, Y, *jax.tree.leaves(params))]
    assert losses.dtype == dtype
    return (losses, [np.asarray(a) for a in jax.tree.leaves(trained)]), numpy_program(*start)


def test_the_problem_is_the_one_stated():
    params, X, Y = script.problem()
    assert [layer.w.shape for layer in params] == [(1000, 100), (100, 10)]
    assert [layer.b.shape for layer in params] == [(100,), (10,)]
    assert (X.shape, Y.shape) == ((64, 1000), (64, 10))
    for array in (X, params[0].w):
        assert float(jnp.mean(array)) == pytest.approx(0, abs=0.02)
        assert float(jnp.std(array)) == pytest.approx(1, abs=0.02)
    assert all(jnp.any(layer.b != 0) for layer in params)


def test_every_loss_and_the_final_parameters_in_float64():
    (losses, params), (expected, expected_params) = trained_by_both(jnp.float64)
    assert losses.shape == (501,)
    # The sigmoid is smooth and bounded and the loss stays above 1e4: nothing amplifies rounding.
    np.testing.assert_allclose(losses, expected, rtol=1e-13)
    for W, expected_W in zip(params, expected_params, strict=True):
        np.testing.assert_allclose(W, expected_W, rtol=0, atol=1e-13)


def test_every_loss_in_float32():
    (losses, params), (expected, expected_params) = trained_by_both(jnp.float32)
    # 501 updates, each rounded by up to 2.4e-7 for a weight between 4 and 8: 1.2e-4 in all.
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for W, expected_W in zip(params, expected_params, strict=True):
        np.testing.assert_allclose(W, expected_W, rtol=0, atol=2e-4)


def test_the_picture_shows_the_losses_and_why_they_fall_slowly():
    with jax.enable_x64(True):
        params, X, Y = script.problem(jnp.float64)
        losses = np.array([3.0, 2.0, 1.5])
        figure = script.picture(params, X, Y, losses)
    X, Y, W1, b1, W2, b2 = (np.asarray(a) for a in (X, Y, *jax.tree.leaves(params)))
    A1 = 1 / (1 + np.exp(-(X @ W1 + b1)))
    A2 = A1 @ W2 + b2
    dZ2 = 2 * (A2 - Y)
    dZ1 = dZ2 @ W2.T * A1 * (1 - A1)
    curve, *passes = figure.axes
    np.testing.assert_array_equal(curve.lines[0].get_ydata(), losses)
    for ax, matrix in zip(passes, (X, A1, A2, dZ1, dZ2), strict=True):
        shown = np.asarray(ax.images[0].get_array())
        np.testing.assert_allclose(shown, matrix, rtol=1e-11, atol=1e-12)
    # what the picture is to show: in most places, nearly nothing goes back
    assert np.mean(np.minimum(A1, 1 - A1) < 0.01) > 0.8
    assert np.mean(np.abs(dZ1) < 0.01 * np.max(np.abs(dZ1))) > 0.8


def test_the_script_prints_every_50th_loss_and_draws(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [
        sys.executable,
        "-W",
        "error",
        EXAMPLES / "06_two_layers_sigmoid.py",
        "--out",
        tmp_path,
    ]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    rows = re.findall(r"^ *(\d+)  +(\S+e[+-]\d\d)$", run.stdout, re.MULTILINE)
    assert [int(iteration) for iteration, _ in rows] == list(range(0, 501, 50))
    _, (expected, _) = trained_by_both(jnp.float32)
    printed = [float(loss) for _, loss in rows]
    np.testing.assert_allclose(printed, expected[::50], rtol=1e-4)
    assert re.search(r"^\d+\.\d{3} ms per iteration$", run.stdout, re.MULTILINE)
    with Image.open(tmp_path / "06_two_layers_sigmoid.png") as picture:
        assert picture.size == (1950, 750)
