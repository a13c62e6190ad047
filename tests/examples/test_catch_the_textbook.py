"""Example 10: each of the five mistakes is found, and named."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from loader import EXAMPLES, load

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


def gradient(number):
    """The right gradient of the argument that is wrong, by the formulas in NumPy."""
    _, args = list(script.MISTAKES.values())[number]
    values = [np.asarray(arg, np.float64) for arg in args]
    if number == 0:
        a, y = values
        return -(y / a - (1 - y) / (1 - a))
    if number == 1:
        return -2 * (values[0] - values[1])
    if number == 2:
        return 2 * (values[0] - values[1])
    X, W1, b1, W2, b2 = values
    H = 1 / (1 + np.exp(-(X @ W1 + b1)))
    dY = np.ones((len(X), len(b2)))
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


def test_the_script_prints_a_verdict_for_each():
    command = [sys.executable, EXAMPLES / "10_catch_the_textbook.py"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    blocks = run.stdout.strip().split("\n\n")
    assert len(blocks) == 5
    for block, (check, argument, cause) in zip(blocks, FOUND, strict=True):
        verdict = block.splitlines()[1]
        assert f"✗ {check}, {argument}: " in verdict
        assert cause is None or cause in verdict
