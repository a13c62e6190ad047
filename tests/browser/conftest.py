"""The fixtures of the tests in a browser."""

import pytest


@pytest.fixture(scope="module")
def browser():
    from chromium import CHROMIUM, playwright  # which skips where there is none

    with playwright.sync_playwright() as running:
        quiet = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
        browser = running.chromium.launch(executable_path=CHROMIUM, args=list(quiet))
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark", "phone", "phone-dark"])
def setting(request):
    return request.param
