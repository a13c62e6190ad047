"""Example 10: each of the five mistakes is found, named, and drawn."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from loader import EXAMPLES, load
from PIL import Image

import fcjax

script = load("10_catch_the_textbook")

# what is wrong in each, in the order of the script
FOUND = [
    ("vjp", "a", "the sign is wrong"),
    ("vjp", "Y", "the sign is wrong"),
    ("vjp", "Y_pred", "the sign is wrong"),
    ("structure", "b2", "the sum over the examples"),
    ("vjp", "W1", None),
]


def gradient(number, dy=None):
    """The right gradient of the argument that is wrong, by the formulas in NumPy.

    `dy` is the gradient by what the rule returns, 1 in every place unless given.
    """
    _, args = list(script.MISTAKES.values())[number]
    values = [np.asarray(arg, np.float64) for arg in args]
    if number == 0:
        a, y = values
        return -(y / a - (1 - y) / (1 - a)) * (1 if dy is None else dy)
    if number in (1, 2):
        return (-2 if number == 1 else 2) * (values[0] - values[1]) * (1 if dy is None else dy)
    X, W1, b1, W2, b2 = values
    H = 1 / (1 + np.exp(-(X @ W1 + b1)))
    dY = np.ones((len(X), len(b2))) if dy is None else dy
    return dY.sum(0) if number == 3 else X.T @ ((dY @ W2.T) * H * (1 - H))


@pytest.mark.parametrize("number", range(5))
def test_each_mistake_is_found_and_named(number):
    rule, args = list(script.MISTAKES.values())[number]
    check, argument, cause = FOUND[number]
    report = fcjax.check_rule(rule, args, checks=["structure", "vjp", "finite_differences"])
    assert {result.argument for result in report.failures} == {argument}
    first = report.failures[0]
    assert first.name == check
    assert cause is None or cause in (first.hint or "")


@pytest.mark.parametrize("number", [0, 1, 2, 4])
def test_what_is_printed_in_the_text_is_wrong(number):
    rule, args = list(script.MISTAKES.values())[number]
    names = list(rule.__wrapped__.__annotations__) or rule.__wrapped__.__code__.co_varnames
    place = names.index(FOUND[number][1])
    y, pull = jax.vjp(rule, *args)
    got = pull(np.ones(y.shape, y.dtype))[place]
    want = gradient(number)
    assert got.shape == want.shape
    assert not np.allclose(got, want, rtol=0.1)
    by_jax = jax.vjp(rule.__wrapped__, *args)[1](np.ones(y.shape, y.dtype))[place]
    np.testing.assert_allclose(by_jax, want, rtol=1e-4, atol=1e-5)


def test_the_picture_shows_the_wrong_entries_against_the_right_ones():
    names = [argument for _, argument, _ in FOUND]
    figure = script.picture(names)
    for number, (ax, name) in enumerate(zip(figure.axes, names, strict=True)):
        assert ax.get_title() == f"{number + 1}. gradient by {name}"
        right, printed = ax.lines[0].get_xydata().T
        shape = ((5, 1), (), (), (5, 2), (5, 2))[number]
        dy = np.asarray(script.draw(*shape, seed=20), np.float64)
        want = gradient(number, dy)
        if number < 3:
            wrong = -want
        elif number == 3:  # an entry for each example, of which the right one is the sum
            want, wrong = np.broadcast_to(want, dy.shape), dy
        else:
            X, _, _, W2, _ = (np.asarray(layer, np.float64) for layer in script.LAYERS)
            wrong = X.T @ (dy @ W2.T)
        np.testing.assert_allclose(right, want.ravel(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(printed, wrong.ravel(), rtol=1e-4, atol=1e-5)
        assert np.ptp(right) > 1  # not all in one place


def test_the_script_prints_a_verdict_for_each_and_draws(tmp_path):
    command = [sys.executable, "-W", "error", EXAMPLES / "10_catch_the_textbook.py"]
    command += ["--out", tmp_path]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    blocks = run.stdout.strip().split("\n\n")
    *blocks, last = blocks
    assert last == f"picture: {tmp_path / '10_catch_the_textbook.png'}"
    assert len(blocks) == 5
    for block, (check, argument, cause) in zip(blocks, FOUND, strict=True):
        verdict = block.splitlines()[1]
        assert f"✗ {check}, {argument}: " in verdict
        assert cause is None or cause in verdict
    with Image.open(tmp_path / "10_catch_the_textbook.png") as picture:
        assert picture.size == (2250, 570)
