"""Two ReLU layers: all 501 losses and the final weights against a NumPy program in float64."""

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

import fcjax

script = load("05_two_layers_relu")


# Products this small gain nothing from threads, and lose tenfold where other programs run too.
@threadpool_limits.wrap(limits=1, user_api="blas")
def numpy_program(X, Y, W1, W2, iterations=501, rate=1e-6):
    losses = []
    for _ in range(iterations):
        Z1 = X @ W1
        A1 = np.maximum(Z1, 0)
        error = A1 @ W2 - Y
        losses.append(np.sum(error**2))
        dA2 = 2 * error
        dW2 = A1.T @ dA2
        dZ1 = dA2 @ W2.T * (Z1 > 0)
        dW1 = X.T @ dZ1
        W1, W2 = W1 - rate * dW1, W2 - rate * dW2
    return np.array(losses), (W1, W2)


@functools.cache
def trained_by_both(dtype):
    """Losses and weights of the script in `dtype`, and of NumPy in float64 from the same start."""
    with jax.enable_x64(dtype == jnp.float64):
        params, X, Y = script.problem(dtype)
        trained, losses, _ = script.train(params, X, Y)
    start = [np.asarray(a).astype(np.float64) for a in (X, Y, *jax.tree.leaves(params))]
    assert losses.dtype == dtype
    return (losses, [np.asarray(W) for W in jax.tree.leaves(trained)]), numpy_program(*start)


def test_the_problem_is_the_one_stated():
    params, X, Y = script.problem()
    assert [layer.w.shape for layer in params] == [(1000, 100), (100, 10)]
    assert [layer.b for layer in params] == [None, None]
    assert (X.shape, Y.shape) == ((64, 1000), (64, 10))
    for array in (X, params[0].w):
        assert float(jnp.mean(array)) == pytest.approx(0, abs=0.02)
        assert float(jnp.std(array)) == pytest.approx(1, abs=0.02)


def test_every_loss_and_the_final_weights_in_float64():
    (losses, weights), (expected, expected_weights) = trained_by_both(jnp.float64)
    assert losses.shape == (501,)
    # The loss falls from 1e7 to 1e-5. At its end the errors A₂ − Y are near 1e-4, differences of
    # numbers near 1 that carry rounding of 1e-14: a relative error of about 1e-10 in the loss.
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    np.testing.assert_allclose(losses[:200], expected[:200], rtol=1e-12)
    for W, expected_W in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(W, expected_W, rtol=0, atol=1e-12)


def test_every_loss_in_float32():
    (losses, weights), (expected, expected_weights) = trained_by_both(jnp.float32)
    # The loss follows NumPy's to a part in 1e-4 down to 1. Below, it feels that 501 rounded updates
    # put the weights 2e-5 apart, and from 1e-4 on an update is too small to change a weight.
    np.testing.assert_allclose(losses, expected, rtol=1e-3, atol=1e-3)
    for W, expected_W in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(W, expected_W, rtol=0, atol=1e-4)


def test_the_picture_shows_the_losses_the_hidden_units_and_the_fit():
    (losses, weights), _ = trained_by_both(jnp.float64)
    with jax.enable_x64(True):
        params, X, Y = script.problem(jnp.float64)
        trained = tuple(fcjax.Layer(jnp.asarray(W), None) for W in weights)
        figure = script.picture(params, trained, X, Y, losses)
    curve, hidden, before, after = figure.axes
    np.testing.assert_array_equal(curve.lines[0].get_ydata(), losses)
    assert curve.get_yscale() == "log"
    X, Y = np.asarray(X), np.asarray(Y)
    A1 = np.maximum(X @ weights[0], 0)
    heights = [bar.get_height() for bar in hidden.containers[1]]  # [0] is of dead units
    # rounding may put a value on the other side of an edge
    np.testing.assert_allclose(heights, np.histogram(A1, 40)[0], rtol=0, atol=1)
    W1, W2 = (np.asarray(layer.w) for layer in params)
    for ax, predicted in ((before, np.maximum(X @ W1, 0) @ W2), (after, A1 @ weights[1])):
        targets, shown = ax.lines[0].get_xydata().T
        np.testing.assert_array_equal(targets, Y.ravel())
        np.testing.assert_allclose(shown, predicted.ravel(), rtol=0, atol=1e-9)
    assert (before.get_title(), after.get_title()) == ("before training", "after training")


def test_the_script_prints_every_50th_loss_and_draws(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "error", EXAMPLES / "05_two_layers_relu.py", "--out", tmp_path]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    rows = re.findall(r"^ *(\d+)  +(\S+e[+-]\d\d)$", run.stdout, re.MULTILINE)
    assert [int(iteration) for iteration, _ in rows] == list(range(0, 501, 50))
    _, (expected, _) = trained_by_both(jnp.float32)
    printed = [float(loss) for _, loss in rows]
    np.testing.assert_allclose(printed, expected[::50], rtol=1e-3, atol=1e-3)
    assert re.search(r"^\d+\.\d{3} ms per iteration$", run.stdout, re.MULTILINE)
    with Image.open(tmp_path / "05_two_layers_relu.png") as picture:
        assert picture.size == (1950, 570)
