"""The plugin of pytest: `pytest -p fcjax.audit`.

With pytest-xdist, each worker listens to its own tests and checks what it heard; the report is that
of all.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from .listener import Listener
from .report import Audit, Rule
from .settings import Settings
from .verdicts import audited

_KEY = "fcjax_audit"


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
        "--audit-no-callbacks",
        action="store_true",
        help="do not add callbacks to traced programs; their rules are checked at random numbers",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin to listen."""
    if not config.pluginmanager.hasplugin(_KEY):
        config.pluginmanager.register(Auditor(_settings(config)), _KEY)


def _settings(config: pytest.Config) -> Settings:
    given = Settings.given()
    own: dict[str, Any] = {
        "json": config.getoption("audit_json", None),
        "junit": config.getoption("audit_junit", None),
        "time_limit": config.getoption("audit_time_limit", None),
        "callbacks": False if config.getoption("audit_no_callbacks", False) else None,
    }
    return given._replace(**{name: value for name, value in own.items() if value is not None})


class Auditor:
    """Listens during the tests, and checks what was called when they are over."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.rules: list[Rule] = []
        self.audit: Audit | None = None
        self._listener = Listener(callbacks=settings.callbacks)
        self._listener.__enter__()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Check the rules; a wrong one makes a run fail that has passed."""
        self._listener.__exit__()
        found = audited(self._listener, time_limit=self.settings.time_limit)
        output = getattr(session.config, "workeroutput", None)
        if output is not None:  # a worker of xdist
            output[_KEY] = found.to_dict()
            return
        self.audit = Audit.of((*found.rules, *self.rules))
        self.audit.write(*self.settings.files)
        if not self.audit.ok and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the rules that a worker of xdist has heard."""
        data = getattr(node, "workeroutput", {}).get(_KEY)
        if data is not None:
            self.rules += Audit.from_dict(data).rules

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the report."""
        lines: Sequence[str] = self.audit.lines() if self.audit else ()
        if lines:
            terminalreporter.section("fcjax audit")
        for line in lines:
            terminalreporter.write_line(line)
