"""The checks, each by itself; `CHECKS` names them in the order in which they run."""

from ._registry import CHECKS as CHECKS
