"""Deep networks: dA_L and every dZ, dW, db and dX against a textbook backward pass in NumPy."""

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

import fcjax

script = load("09_deep_network")

G = {
    "sigmoid": lambda Z: 1 / (1 + np.exp(-Z)),
    "tanh": np.tanh,
    "relu": lambda Z: np.maximum(Z, 0),
    "leaky_relu": lambda Z: np.where(Z < 0, 0.01 * Z, Z),
}
DERIVATIVE = {
    "sigmoid": lambda Z: np.exp(-Z) / (1 + np.exp(-Z)) ** 2,
    "tanh": lambda Z: np.cosh(Z) ** -2,
    "relu": lambda Z: 1.0 * (Z > 0),
    "leaky_relu": lambda Z: np.where(Z < 0, 0.01, 1),
}


def half_squared_error(A, Y):
    return np.sum((A - Y) ** 2) / (2 * len(Y)), (A - Y) / len(Y)


def binary_cross_entropy(A, Y):
    """The sum over the examples, and -(Y/A) + (1 − Y)/(1 − A)."""
    return -np.sum(Y * np.log(A) + (1 - Y) * np.log(1 - A)), -(Y / A) + (1 - Y) / (1 - A)


def sum_of_cross_entropies(A, Y):
    """What `binary_cross_entropy` is in fcjax."""
    return fcjax.binary_cross_entropy(A, Y, reduction="sum")


def numpy_passes(layers, X, Y, names, loss):
    """The loss, dA_L, [dZ], [(dW, db)] and dX, the lists from the first layer to the last."""
    inputs, Zs, A = [], [], X
    for (W, b), name in zip(layers, names, strict=True):
        inputs.append(A)
        Zs.append(A @ W + b)
        A = G[name](Zs[-1])
    value, dA_L = loss(A, Y)
    dZs, dlayers, dA = [], [], dA_L
    for l in reversed(range(len(layers))):
        dZ = dA * DERIVATIVE[names[l]](Zs[l])
        dZs.insert(0, dZ)
        dlayers.insert(0, (inputs[l].T @ dZ, dZ.sum(axis=0)))
        dA = dZ @ layers[l][0].T
    return value, (dA_L, dZs, dlayers, dA)


def random_problem(L, seed=0):
    """Every size differs from its neighbours, so that a transposed matrix cannot pass."""
    rng = np.random.default_rng([seed, L])
    sizes = [7, *(8 - 3 * (l % 2) for l in range(L - 1)), 3]
    layers = [
        (rng.normal(size=(n, k)) * (2 / n) ** 0.5, rng.normal(0.3, 0.3, k))
        for n, k in itertools.pairwise(sizes)
    ]
    return layers, rng.normal(size=(12, 7)), 1.0 * rng.integers(0, 2, (12, 3))


def mixes(L):
    """Seven ways to give L layers an activation each, the output included."""
    rng = np.random.default_rng(L)
    yield script.activations_of(L)
    yield from ((name,) * L for name in G)
    yield from (tuple(str(name) for name in rng.choice([*G], L)) for _ in range(2))


def script_passes(layers, X, Y, names, loss):
    params = tuple(fcjax.Layer(jnp.asarray(W), jnp.asarray(b)) for W, b in layers)
    return script.passes(params, jnp.asarray(X), jnp.asarray(Y), names, loss)


def assert_every_gradient_equal(ours, expected):
    """Equal up to float64 rounding, on the scale of each array's largest entry."""
    ours, expected = jax.tree.leaves(ours), jax.tree.leaves(expected)
    for got, want in zip(ours, expected, strict=True):
        assert got.dtype == np.float64
        assert np.any(want)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13 * np.max(np.abs(want)))


@pytest.mark.parametrize("L", range(1, 11))
def test_every_gradient_of_every_mix(L, x64):
    for names in mixes(L):
        layers, X, Y = random_problem(L)
        _, expected = numpy_passes(layers, X, Y, names, half_squared_error)
        ours = script_passes(layers, X, Y, names, fcjax.half_squared_error)
        assert len(jax.tree.leaves(ours)) == 1 + L + 2 * L + 1
        assert_every_gradient_equal(ours, expected)


@pytest.mark.parametrize("shift", range(4))
def test_ten_layers_from_binary_cross_entropy(shift, x64):
    names = (*(script.CYCLE[(l + shift) % 4] for l in range(9)), "sigmoid")
    layers, X, Y = random_problem(10, seed=shift)
    _, expected = numpy_passes(layers, X, Y, names, binary_cross_entropy)
    ours = script_passes(layers, X, Y, names, sum_of_cross_entropies)
    assert_every_gradient_equal(ours, expected)
    # A larger probability costs where the class is 0, and pays where it is 1.
    assert np.array_equal(np.sign(ours[0]), 1 - 2 * Y)


def test_the_sign_of_the_recursion_is_that_of_finite_differences(x64):
    names = script.activations_of(10)
    layers, X, Y = random_problem(10)
    _, _, dlayers, _ = script_passes(layers, X, Y, names, sum_of_cross_entropies)

    def loss_at(l, step):
        moved = [*layers]
        moved[l] = (layers[l][0] + step * np.asarray(dlayers[l].w), layers[l][1])
        return numpy_passes(moved, X, Y, names, binary_cross_entropy)[0]

    for l in range(10):
        # Along its own gradient the loss rises at the rate ‖dW‖².
        rate = (loss_at(l, 1e-5) - loss_at(l, -1e-5)) / 2e-5
        assert rate == pytest.approx(np.sum(np.square(dlayers[l].w)), rel=1e-5)


def test_pre_activations_that_are_exactly_zero(x64):
    for names in mixes(10):
        layers, X, Y = random_problem(10)
        for W, b in layers:
            W[:, 0], b[0] = 0, 0
        _, expected = numpy_passes(layers, X, Y, names, half_squared_error)
        assert_every_gradient_equal(
            script_passes(layers, X, Y, names, fcjax.half_squared_error), expected
        )


@pytest.mark.parametrize(("name", "slope"), [("relu", 0), ("leaky_relu", 1)])
def test_the_slope_at_the_kink(name, slope, x64):
    Z, dA, dZ = script.at_kink(name)
    assert np.array_equal(Z, np.zeros(12))
    assert np.all(np.abs(dA) > 1e-4)
    np.testing.assert_allclose(dZ, slope * dA, rtol=1e-12, atol=0)


def test_the_picture_shows_both_passes_and_the_norms(x64):
    layers, X, Y = random_problem(6)
    names = script.activations_of(6)
    outputs = [X]
    for (W, b), name in zip(layers, names, strict=True):
        outputs.append(G[name](outputs[-1] @ W + b))
    _, (_, dZs, dlayers, _) = numpy_passes(layers, X, Y, names, binary_cross_entropy)
    params = tuple(fcjax.Layer(jnp.asarray(W), jnp.asarray(b)) for W, b in layers)
    figure = script.picture(params, jnp.asarray(X), jnp.asarray(Y), names)
    *passes, norms = figure.axes
    # the script's loss is the mean over the examples
    matrices = [*outputs, *(dZ / len(X) for dZ in dZs)]
    for ax, matrix in zip(passes, matrices, strict=True):
        shown = np.asarray(ax.images[0].get_array())
        np.testing.assert_allclose(shown, matrix, rtol=1e-11, atol=1e-15)
    of_layers = [(dZ, dW, db) for dZ, (dW, db) in zip(dZs, dlayers, strict=True)]
    lengths = [[np.sqrt(np.sum(d**2)) / len(X) for d in of_layer] for of_layer in of_layers]
    for line, label, length in zip(norms.lines, "ZWb", np.transpose(lengths), strict=True):
        assert line.get_label() == f"‖d{label}‖"
        np.testing.assert_array_equal(line.get_xdata(), range(1, 7))
        np.testing.assert_allclose(line.get_ydata(), length, rtol=1e-11)


def test_the_script_prints_the_differences_the_layers_and_the_kink_and_draws(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "error", EXAMPLES / "09_deep_network.py", "--out", tmp_path]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr

    rows = re.findall(r"^ *(\d+)  (\d\.\de[+-]\d\d)$", run.stdout, re.MULTILINE)
    assert [int(L) for L, _ in rows] == list(range(1, 11))
    assert max(float(difference) for _, difference in rows) < 1e-13

    layers = re.findall(r"^ +(\d)  (\w+) +(\(\d+, \d+\))", run.stdout, re.MULTILINE)
    assert [name for _, name, _ in layers] == list(script.activations_of(6))
    assert re.search(r"^relu +0\.0 .* 0\.00e\+00  0$", run.stdout, re.MULTILINE)
    assert re.search(r"^leaky_relu +0\.0 .*  1$", run.stdout, re.MULTILINE)
    with Image.open(tmp_path / "09_deep_network.png") as picture:
        assert picture.size == (2250, 750)
