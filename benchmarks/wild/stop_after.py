"""A plugin of pytest: start no further test after some seconds, and end as usual."""

import time
from typing import Any

_BEGIN = time.monotonic()


def pytest_addoption(parser: Any) -> None:
    """Add the option."""
    parser.addoption("--stop-after", type=float, metavar="SECONDS", default=float("inf"))


def pytest_runtest_teardown(item: Any) -> None:
    """End the session once the time has passed."""
    if time.monotonic() - _BEGIN > item.config.getoption("--stop-after"):
        item.session.shouldstop = "the time for this suite has passed"
