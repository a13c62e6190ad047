"""What `pytest -p fcjax.audit` does in a run.

With pytest-xdist, each worker listens to its own tests and checks what it heard; the report is that
of all.
"""

from collections.abc import Sequence
from typing import Any

try:
    import pytest
except ImportError as error:
    raise ImportError("audits of tests need pytest: pip install 'fcjax[audit]'") from error

from .listener import Listener
from .report import CALLBACKS, Audit, Rule, blames_callbacks
from .settings import Settings
from .verdicts import audited

KEY = "fcjax_audit"


class Auditor:
    """Listens during the tests, and checks what was called when they are over."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.rules: list[Rule] = []
        self.audit: Audit | None = None
        self._callbacks_failed = False
        self._listener = Listener(callbacks=settings.callbacks)
        self._listener.__enter__()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Check the rules; a wrong one makes a run fail that has passed."""
        self._listener.__exit__()
        settings = self.settings
        found = audited(self._listener, time_limit=settings.time_limit)
        output = getattr(session.config, "workeroutput", None)
        if output is not None:  # a worker of xdist
            output[KEY] = found.to_dict()
            return
        # which rules a name fits is known when those of all workers are
        self.audit = Audit.of((*found.rules, *self.rules), settings.expected)
        if self._callbacks_failed:
            self.audit = self.audit.with_hint(CALLBACKS)
        self.audit.write(*settings.files)
        if session.exitstatus == pytest.ExitCode.OK:
            if not self.audit.ok:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
            elif settings.time_counts:
                session.exitstatus = self.audit.status

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notice a test that fails because of callbacks."""
        if self.settings.callbacks and report.failed and blames_callbacks(report.longreprtext):
            self._callbacks_failed = True

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the rules that a worker of xdist has heard."""
        data = getattr(node, "workeroutput", {}).get(KEY)
        if data is not None:
            self.rules += Audit.from_dict(data).rules

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the report."""
        lines: Sequence[str] = self.audit.lines() if self.audit else ()
        if lines:
            terminalreporter.section("fcjax audit")
        for line in lines:
            terminalreporter.write_line(line)
