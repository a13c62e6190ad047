"""The curve fit: each loss, fit and final parameter against NumPy and PyTorch; the pictures."""

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

script = load("07_curve_fit")


def numpy_program(x, y, W1, b1, W2, b2, steps=201, rate=0.2):
    losses, fits = [], []
    for _ in range(steps):
        A1 = 1 / (1 + np.exp(-(x @ W1 + b1)))
        fit = A1 @ W2 + b2
        losses.append(np.mean((fit - y) ** 2))
        fits.append(fit)
        dZ2 = 2 * (fit - y) / y.size
        dW2, db2 = A1.T @ dZ2, dZ2.sum(axis=0)
        dZ1 = dZ2 @ W2.T * A1 * (1 - A1)
        dW1, db1 = x.T @ dZ1, dZ1.sum(axis=0)
        W1, b1, W2, b2 = W1 - rate * dW1, b1 - rate * db1, W2 - rate * dW2, b2 - rate * db2
    return np.array(losses), np.array(fits), (W1, b1, W2, b2)


def torch_program(x, y, W1, b1, W2, b2, steps=201, rate=0.2):
    torch = pytest.importorskip("torch")
    x, y, *starts = [torch.tensor(a) for a in (x, y, W1.T, b1, W2.T, b2)]  # W is (n_out, n_in)
    network = torch.nn.Sequential(
        torch.nn.Linear(1, 20), torch.nn.Sigmoid(), torch.nn.Linear(20, 1)
    ).double()
    for own, start in zip(network.parameters(), starts, strict=True):
        own.data = start
    criterion = torch.nn.MSELoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        loss = criterion(network(x), y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return np.array(losses), [own.detach().numpy().T for own in network.parameters()]


def arrays(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


@pytest.fixture(scope="module")
def trained():
    """The start, and the script's losses, fits and parameters, in float64."""
    with jax.enable_x64(True):
        x, y = script.samples(jnp.float64)
        params = script.start(jnp.float64)
        end, losses, fits = script.train(params, x, y)
        assert losses.dtype == np.float64
        return arrays((x, y, params)), losses, fits, arrays(end)


def test_the_samples_are_those_stated(trained):
    (x, y, *_), *_ = trained
    np.testing.assert_allclose(x, np.linspace(-1, 1, 100)[:, None], rtol=0, atol=1e-15)
    noise = (y - x**2) / 0.2
    assert noise.min() >= 0
    assert noise.max() <= 1
    assert np.mean(noise) == pytest.approx(0.5, abs=0.1)
    assert np.std(noise) == pytest.approx(12**-0.5, abs=0.05)


def test_every_step_is_that_of_the_numpy_program(trained):
    start, losses, fits, end = trained
    expected, expected_fits, expected_end = numpy_program(*start)
    assert losses.shape == (201,)
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    np.testing.assert_allclose(fits, expected_fits, rtol=0, atol=1e-12)
    for ours, theirs in zip(end, expected_end, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def test_every_step_is_that_of_pytorch(trained):
    start, losses, _, end = trained
    expected, expected_end = torch_program(*start)
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    for ours, theirs in zip(end, expected_end, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def test_the_script_prints_the_losses_and_draws_each_fit(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    script_file = EXAMPLES / "07_curve_fit.py"
    command = [sys.executable, "-W", "error", script_file, "--out", tmp_path / "pictures"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr

    rows = re.findall(r"^ *(\d+)  +(\d+\.\d+)$", run.stdout, re.MULTILINE)
    assert [int(step) for step, _ in rows] == list(range(0, 201, 20))
    start = arrays((script.samples(), script.start()))
    expected, _, _ = numpy_program(*(array.astype(np.float64) for array in start))
    np.testing.assert_allclose(
        [float(loss) for _, loss in rows], expected[::20], rtol=1e-5, atol=5e-6
    )

    with Image.open(tmp_path / "pictures" / "07_curve_fit.gif") as animation:
        assert animation.n_frames == 11  # steps 0, 20, …, 200; Pillow joins the repeated last one
    with Image.open(tmp_path / "pictures" / "07_curve_fit.png") as picture:
        assert picture.size == (1320, 540)
