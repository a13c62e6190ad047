"""What pytest calls of a plugin: `pytest -p fcjax.audit`.

pytest itself is imported when it calls, for an audit of a script needs none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .settings import Settings

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the audit."""
    group = parser.getgroup("fcjax audit", "check the hand-written rules that the tests call")
    group.addoption("--audit-json", metavar="FILE", help="write the report as JSON")
    group.addoption("--audit-junit", metavar="FILE", help="write the report as JUnit XML")
    group.addoption(
        "--audit-time-limit",
        metavar="SECONDS",
        type=float,
        help="seconds after which no further rule is checked, by default 300",
    )
    group.addoption(
        "--audit-expected",
        metavar="NAME,...",
        help="rules whose gradients are wrong on purpose, such as those that clip them; a rule is "
        "its name, FILE:LINE as the report shows it, FILE:NAME or MODULE:NAME",
    )
    group.addoption(
        "--audit-no-callbacks",
        action="store_true",
        help="do not add callbacks to traced programs, which can slow loops a lot; their rules are "
        "checked at random numbers",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin to listen."""
    from .plugin import KEY, Auditor

    if not config.pluginmanager.hasplugin(KEY):
        config.pluginmanager.register(Auditor(_settings(config)), KEY)


def _settings(config: pytest.Config) -> Settings:
    given = Settings.given()
    own: dict[str, Any] = {
        "json": config.getoption("audit_json", None),
        "junit": config.getoption("audit_junit", None),
        "time_limit": config.getoption("audit_time_limit", None),
        "expected": _names(config.getoption("audit_expected", None)),
        "callbacks": False if config.getoption("audit_no_callbacks", False) else None,
    }
    return given._replace(**{name: value for name, value in own.items() if value is not None})


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(text.split(","))
