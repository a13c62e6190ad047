"""Audit the hand-written rules that a program or a test suite calls; also a plugin of pytest."""

from .hooks import (
    pytest_addoption as pytest_addoption,
    pytest_configure as pytest_configure,
)
from .listener import Listener as Listener
from .report import Audit as Audit, Finding as Finding, Rule as Rule
from .verdicts import audited as audited
