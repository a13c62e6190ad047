"""The plugin that `fcjax audit` gives to pytest.

It loads JAX when the first conftest.py has been read, which may set what JAX reads on import.
"""

from typing import Any


def pytest_sessionstart(session: Any) -> None:
    """Begin to listen."""
    from fcjax.audit import pytest_configure

    pytest_configure(session.config)
