"""The δ recursion: every δ and both descents against a NumPy program in float64."""

import itertools
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
from sklearn.datasets import load_diabetes
from threadpoolctl import threadpool_limits

import fcjax

script = load("03_delta_recursion")


def numpy_loss(layers, X, Y):
    A = X
    for W, b in layers[:-1]:
        A = np.tanh(A @ W + b)
    W, b = layers[-1]
    return np.sum((A @ W + b - Y) ** 2) / (2 * len(Y))


def numpy_backward(layers, X, Y):
    """δ and (dW, db) of each layer, from the first to the last."""
    inputs = [X]
    for W, b in layers[:-1]:
        inputs.append(np.tanh(inputs[-1] @ W + b))
    W, b = layers[-1]
    deltas = [(inputs[-1] @ W + b - Y) / len(Y)]
    for (W, _), A in zip(layers[:0:-1], inputs[:0:-1], strict=True):
        deltas.insert(0, deltas[0] @ W.T * (1 - A**2))
    return deltas, [(A.T @ d, d.sum(axis=0)) for A, d in zip(inputs, deltas, strict=True)]


# Products this small gain nothing from threads, and lose tenfold where other programs run too.
@threadpool_limits.wrap(limits=1, user_api="blas")
def numpy_descent(layers, X, Y, alpha, steps):
    losses = []
    for _ in range(steps):
        losses.append(numpy_loss(layers, X, Y))
        _, gradients = numpy_backward(layers, X, Y)
        layers = [
            (W - alpha * dW, b - alpha * db)
            for (W, b), (dW, db) in zip(layers, gradients, strict=True)
        ]
    return np.array(losses), layers


def random_layers(*sizes):
    rng = np.random.default_rng(0)
    return [
        (rng.standard_normal((n, k)) / np.sqrt(n), 0.1 * rng.standard_normal(k))
        for n, k in itertools.pairwise(sizes)
    ]


def as_params(layers):
    return tuple(fcjax.Layer(jnp.asarray(W), jnp.asarray(b)) for W, b in layers)


def assert_layers_close(params, layers, atol):
    for (W, b), (expected_W, expected_b) in zip(params, layers, strict=True):
        np.testing.assert_allclose(W, expected_W, rtol=0, atol=atol)
        np.testing.assert_allclose(b, expected_b, rtol=0, atol=atol)


def test_the_data_are_the_diabetes_patients_standardized():
    X, Y = script.diabetes()
    raw = load_diabetes(scaled=False)
    assert X.shape == (442, 10)
    np.testing.assert_allclose([X.mean(0), X.std(0)], [[0] * 10, [1] * 10], atol=1e-13)
    np.testing.assert_allclose([Y.mean(), Y.std()], [0, 1], atol=1e-13)
    np.testing.assert_allclose(Y[:, 0] * raw.target.std() + raw.target.mean(), raw.target)
    np.testing.assert_allclose(X * raw.data.std(0) + raw.data.mean(0), raw.data, atol=1e-12)


def test_every_delta_and_every_gradient():
    (X, Y), layers = script.diabetes(), random_layers(10, 8, 4, 1)
    deltas, gradients = numpy_backward(layers, X, Y)
    with jax.enable_x64(True):
        params = as_params(layers)
        L, ours, dparams = script.gradients(params, X, Y)
        plain = script.plain_deltas(params, X, Y)
    assert float(L) == pytest.approx(numpy_loss(layers, X, Y), rel=1e-14)
    for got in (ours, plain):
        for delta, expected in zip(got, deltas, strict=True):
            assert delta.dtype == np.float64
            np.testing.assert_allclose(delta, expected, rtol=1e-12, atol=1e-17)
    assert_layers_close(dparams, gradients, 1e-14)


def test_finite_differences_agree_with_the_numpy_program():
    (X, Y), layers = script.diabetes(), random_layers(10, 8, 4, 1)
    _, gradients = numpy_backward(layers, X, Y)
    h, rng = 1e-4, np.random.default_rng(1)
    for l, (dW, db) in enumerate(gradients):
        W_way, b_way = rng.standard_normal(dW.shape), rng.standard_normal(db.shape)
        losses = []
        for step in (-h, h):
            moved = list(layers)
            moved[l] = (layers[l][0] + step * W_way, layers[l][1] + step * b_way)
            losses.append(numpy_loss(moved, X, Y))
        slope = np.sum(dW * W_way) + np.sum(db * b_way)
        assert (losses[1] - losses[0]) / (2 * h) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize(
    ("sizes", "alpha", "steps"), [((10, 1), 0.45, 3000), ((10, 8, 4, 1), 0.1, 2000)]
)
def test_every_loss_and_the_final_weights(sizes, alpha, steps):
    (X, Y), layers = script.diabetes(), random_layers(*sizes)
    expected, expected_layers = numpy_descent(layers, X, Y, alpha, steps)
    with jax.enable_x64(True):
        trained, losses = script.descend(as_params(layers), X, Y, alpha=alpha, steps=steps)
    assert losses.dtype == np.float64
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    assert_layers_close(trained, expected_layers, 1e-12)


def test_one_layer_reaches_least_squares():
    X, Y = script.diabetes()
    # The normal equations, which the script does not use.
    w = np.linalg.solve(X.T @ X, X.T @ Y)
    best = np.sum((X @ w - Y) ** 2) / (2 * len(Y))
    L, w_script, b_script = script.least_squares(X, Y)
    assert pytest.approx(best, rel=1e-13) == L
    np.testing.assert_allclose(w_script, w, rtol=0, atol=1e-12)
    np.testing.assert_allclose(b_script, [0], rtol=0, atol=1e-13)
    with jax.enable_x64(True):
        params, _ = script.descend(
            as_params([(np.zeros((10, 1)), np.zeros(1))]), X, Y, alpha=0.45, steps=8000
        )
    assert_layers_close(params, [(w, [0])], 1e-11)


def test_the_picture_shows_both_passes_of_some_patients_and_both_descents():
    (X, Y), layers = script.diabetes(), random_layers(10, 8, 4, 1)
    (W1, b1), (W2, b2), (W3, b3) = layers
    A1 = np.tanh(X @ W1 + b1)
    A2 = np.tanh(A1 @ W2 + b2)
    deltas, _ = numpy_backward(layers, X, Y)
    losses = {"one": np.array([0.5, 0.3]), "three": np.array([0.6, 0.5, 0.2])}
    with jax.enable_x64(True):
        figure = script.picture(as_params(layers), X, Y, losses, 0.25)
    *passes, curves = figure.axes
    names = ["X", "A₁", "A₂", "A₃", "dZ₁", "dZ₂", "dZ₃"]
    assert [ax.get_title().split("\n")[0] for ax in passes] == names
    for ax, matrix in zip(passes, (X, A1, A2, A2 @ W3 + b3, *deltas), strict=True):
        shown = np.asarray(ax.images[0].get_array())
        np.testing.assert_allclose(shown, matrix[:20], rtol=1e-12, atol=1e-17)
    one, three, best = curves.lines
    for line, (name, values) in zip((one, three), losses.items(), strict=True):
        assert line.get_label() == name
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert [*best.get_ydata()] == [0.25, 0.25]


def test_the_script_prints_both_losses_and_the_deltas_and_draws(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "error", EXAMPLES / "03_delta_recursion.py", "--out", tmp_path]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    (reached,) = re.findall(r"^after 8000 steps +(\S+)$", run.stdout, re.MULTILINE)
    (best,) = re.findall(r"^least squares +(\S+)$", run.stdout, re.MULTILINE)
    assert float(reached) == pytest.approx(float(best), abs=2e-12)
    (apart,) = re.findall(r"from least squares: (\S+)$", run.stdout, re.MULTILINE)
    assert float(apart) < 1e-11
    rows = re.findall(r"^δ_(\d) +\(442, (\d)\) +(\S+) .* (\S+)$", run.stdout, re.MULTILINE)
    assert [row[:2] for row in rows] == [("1", "8"), ("2", "4"), ("3", "1")]
    assert max(float(row[3]) for row in rows) < 1e-14
    (after,) = re.findall(r"^10-8-4-1, loss .* (\S+) after 2000 steps$", run.stdout, re.MULTILINE)
    assert float(after) < float(best)
    with Image.open(tmp_path / "03_delta_recursion.png") as picture:
        assert picture.size == (1950, 750)
