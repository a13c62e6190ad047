"""The checks; `CHECKS` maps their names to them, in the order in which they run."""

from ._registry import CHECKS as CHECKS
