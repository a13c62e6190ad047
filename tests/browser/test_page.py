"""The page of `fcjax.explain` in a real browser: `make test-browser`, which needs Chromium."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chromium import SCREENSHOTS, axe, opened

import fcjax

X = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
Y = jnp.array([[0.0], [1.0], [1.0], [0.0]])
PARAMS = fcjax.init(jax.random.key(0), (2, 4, 1))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    page = fcjax.explain(
        PARAMS, X, fcjax.binary_cross_entropy, Y, activations="sigmoid",
        output_activation="sigmoid", learning_rate=2.0, steps=10,
    )  # fmt: skip
    return page.save(tmp_path_factory.mktemp("page") / "page.html").as_uri()


def numbers(page, name):
    rows = page.locator(f'[data-name="{name}"] tbody tr').all()
    return np.array([[float(cell) for cell in row.locator("td").all_inner_texts()] for row in rows])


def gradients(steps, rate=2.0):
    """Return dW1 after some steps, in float64 and by NumPy alone."""
    (w1, b1), (w2, b2) = [[np.asarray(a, np.float64) for a in layer] for layer in PARAMS]
    x, y = np.asarray(X, np.float64), np.asarray(Y, np.float64)
    for _ in range(steps + 1):
        a1 = 1 / (1 + np.exp(-(x @ w1 + b1)))
        dz2 = (1 / (1 + np.exp(-(a1 @ w2 + b2))) - y) / len(x)
        dz1 = dz2 @ w2.T * a1 * (1 - a1)
        found = x.T @ dz1
        w1, b1 = w1 - rate * found, b1 - rate * dz1.sum(0)
        w2, b2 = w2 - rate * a1.T @ dz2, b2 - rate * dz2.sum(0)
    return found


def test_the_numbers_follow_the_slider(browser, address):
    page = opened(browser, address)
    np.testing.assert_allclose(numbers(page, "dW1"), gradients(0), rtol=1e-3, atol=1e-6)
    page.locator("#step").fill("7")
    np.testing.assert_allclose(numbers(page, "dW1"), gradients(7), rtol=1e-3, atol=1e-6)
    assert page.locator("#number").inner_text() == "7"


def test_a_number_shows_what_it_is_made_of(browser, address):
    page = opened(browser, address)
    page.locator('[data-name="dW1"] td[data-i="0"][data-j="0"]').focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    text = page.locator("#detail").inner_text()
    assert "dW1[2, 2]" in text
    assert "column 2 of X times column 2 of dZ1" in text
    sum_of = float(re.search(r"= (\S+)$", text.splitlines()[2])[1])
    assert sum_of == pytest.approx(gradients(0)[1, 1], rel=1e-3)
    assert page.locator("td.part").count() == 2 * len(X)
    assert "at=dW1.2.2" in page.url


def detail(page, place):
    """Return what the page says of an entry, such as dZ2.1.1, and the names of what is marked."""
    page.goto(f"{page.url.partition('#')[0]}#at={place}")
    names = page.eval_on_selector_all(
        "td.part", "cells => cells.map(c => c.closest('.matrix').dataset.name)"
    )
    return page.locator("#detail").inner_text(), names


def test_an_entry_of_an_activation_that_mixes_a_row_takes_the_whole_row(browser, tmp_path):
    params = fcjax.init(jax.random.key(1), (2, 4, 3))
    made = fcjax.explain(params, X, lambda a: jnp.mean(a**2), output_activation="softmax", steps=1)
    page = opened(browser, made.save(tmp_path / "page.html").as_uri())
    text, names = detail(page, "dZ2.2.1")
    assert "row 2 of dA2 through the activation, which mixes the entries of Z2" in text
    assert sorted(names) == ["Z2"] * 3 + ["dA2"] * 3
    text, names = detail(page, "A2.2.1")
    assert "g of row 2 of Z2, whose entries it mixes" in text
    assert names == ["Z2"] * 3
    assert "times the slope g'(Z1)" in detail(page, "dZ1.2.1")[0]


def test_the_gradient_of_the_loss_stands_beside_the_target(browser, tmp_path):
    made = fcjax.explain(PARAMS, X, fcjax.squared_error, Y, steps=1)
    page = opened(browser, made.save(tmp_path / "page.html").as_uri())
    text, names = detail(page, "dA2.2.1")
    output = float(numbers(page, "A2")[1, 0])
    assert re.search(rf"at A = {output} and y = 1$", text.splitlines()[2])
    assert sorted(names) == ["A2", "y"]
    assert float(numbers(page, "dA2")[1, 0]) == pytest.approx(2 * (output - 1) / 4, rel=1e-3)
    assert detail(page, "y.2.1")[0].startswith("y[2, 1] = 1, the target")


def test_an_entry_of_an_input_has_its_name(browser, tmp_path):
    made = fcjax.explain(PARAMS, X, fcjax.squared_error, Y, steps=1, names=["a & b", "<i>c</i>"])
    page = opened(browser, made.save(tmp_path / "page.html").as_uri())
    assert re.match(r"X\[1, 1\] = \S+ of a & b, an input", detail(page, "X.1.1")[0])
    assert re.match(r"dW1\[2, 1\] = \S+ of <i>c</i>, column 2", detail(page, "dW1.2.1")[0])
    assert re.match(r"dW2\[2, 1\] = \S+, column 2", detail(page, "dW2.2.1")[0])


def test_the_right_number_stands_beside_that_of_the_mistake(browser, address):
    page = opened(browser, address)
    right = float(numbers(page, "dZ2")[1, 0])
    text, _ = detail(page, "dZ2.2.1")
    product = text.splitlines()[2]
    assert float(product.rpartition("= ")[2]) == pytest.approx(right, rel=1e-3)
    assert "With the mistake" not in text
    text, _ = detail(page, "dZ2.2.1&mistake=derivative")
    dA = float(numbers(page, "dA2")[1, 0])
    assert text.splitlines()[2] == product
    assert f"With the mistake it is {dA}." in text.splitlines()
    for place, mistake in (("dA2.2.1", "mean"), ("dW1.2.1", "sign"), ("db1.1.1", "sum")):
        assert "With the mistake it is" in detail(page, f"{place}&mistake={mistake}")[0]
        assert "With the mistake" not in detail(page, f"{place}&mistake=derivative&step=0")[0]
    text, _ = detail(page, "dZ1.2.1&mistake=derivative&step=1")
    a, z = (float(numbers(page, name)[1, 0]) for name in ("dA1", "A1"))
    assert float(text.splitlines()[2].rpartition("= ")[2]) == pytest.approx(
        a * z * (1 - z), rel=2e-3
    )


def test_a_mistake_changes_gradients_and_the_curve(browser, address):
    page = opened(browser, address)
    before = numbers(page, "dW1")
    page.locator("#mistake").select_option("sign")
    np.testing.assert_allclose(numbers(page, "dW1"), -before, rtol=1e-3)
    assert page.locator("#curves path.wrong").count() == 1
    assert "chosen" in page.locator('[data-mistake="sign"]').get_attribute("class")


def test_the_address_keeps_the_state(browser, address):
    page = opened(browser, f"{address}#step=3&mistake=sum&at=db1.1.2")
    assert page.locator("#number").inner_text() == "3"
    assert page.locator("#mistake").input_value() == "sum"
    assert "db1[1, 2]" in page.locator("#detail").inner_text()


def test_the_page_is_accessible_and_fits(browser, address, setting):
    page = opened(browser, f"{address}#at=dW1.1.2&mistake=sum", setting)
    found = axe.Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"explain-{setting}.png", full_page=True)


def test_the_page_can_be_read_without_scripts(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    np.testing.assert_allclose(numbers(page, "dW1"), gradients(0), rtol=1e-3, atol=1e-6)


def test_the_data_are_json(browser, address):
    page = opened(browser, address)
    assert json.loads(page.locator("#data").inner_text() or page.locator("#data").text_content())
