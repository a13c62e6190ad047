"""The documentation in a real browser, without a network: `make test-browser` builds it first."""

from pathlib import Path

import pytest
from chromium import SCREENSHOTS, axe, opened

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"
if not (SITE / "index.html").exists():
    pytest.skip("the documentation is not built: make docs", allow_module_level=True)

PAGES = ("index", "learn/01-one-neuron", "rules/layer_norm", "rules/gelu", "explained", "own-rule")


def address(name):
    return (SITE / f"{name}.html").as_uri()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_needs_no_network_and_its_formulas_are_set(browser, name, setting):
    page = opened(browser, address(name), setting, alone=False)
    page.wait_for_timeout(300)
    shot = SCREENSHOTS / f"docs-{name.replace('/', '-')}-{setting}.png"
    page.screenshot(path=shot)
    if name != "explained":
        assert page.locator("math").count() > 3
    # nothing but what scrolls by itself is wider than the screen
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 1
    page.context.close()


@pytest.mark.parametrize("name", ["index", "rules/layer_norm", "learn/01-one-neuron"])
def test_the_text_can_be_read_by_everybody(browser, name):
    page = opened(browser, address(name), alone=False)
    found = axe.Axe().run(page, context="article").response["violations"]
    bad = [
        (v["id"], v["nodes"][0]["html"][:150])
        for v in found
        if v["impact"] in ("critical", "serious")
    ]
    assert bad == []
    page.context.close()


def test_the_search_works_without_a_network(browser):
    page = opened(browser, (SITE / "search.html").as_uri() + "?q=softmax", alone=False)
    page.wait_for_selector("#search-results li", timeout=10_000)
    texts = " ".join(page.locator("#search-results li").all_inner_texts())
    assert "softmax_cross_entropy" in texts
    page.context.close()


def test_a_report_of_this_build_is_on_the_page_of_a_rule(browser):
    page = opened(browser, address("rules/dense"), alone=False)
    text = page.locator("article").inner_text()
    assert "says right" in text
    assert "✓" in text
    assert "def dense_bwd(" in text
    page.context.close()
