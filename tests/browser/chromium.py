"""A real browser, and pages in it that nothing can reach from outside."""

import os
import shutil
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("Chromium is not installed", allow_module_level=True)

# Width, height and colour scheme.
SETTINGS = {
    "light": (1280, 900, "light"),
    "dark": (1280, 900, "dark"),
    "phone": (390, 844, "light"),
    "phone-dark": (390, 844, "dark"),
}
SCREENSHOTS = Path(__file__).parents[2] / "out"


def opened(browser, address, setting="light", *, alone=True):
    """Open a page offline; with `alone`, it may load no other file.

    The page raises no error, and asks for nothing but files.
    """
    width, height, scheme = SETTINGS[setting]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: errors.append(request.url))
    page.goto(address)
    own = page.url.partition("#")[0]
    assert [e for e in errors if e != own and (alone or not e.startswith(("file:", "data:")))] == []
    return page
