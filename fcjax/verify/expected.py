"""Gradients that are wrong on purpose: the failures that `expected_failures` names."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .checks import CHECKS
from .complex_parts import whole
from .report import CheckResult

ExpectedFailures = Mapping[str, bool | str | Sequence[str]]


class Expectation(NamedTuple):
    """The arguments for which a check may fail.

    Attributes:
        arguments: their names; None for any argument.
        is_implied: whether it was declared for `vjp` rather than for this check.
    """

    arguments: tuple[str, ...] | None
    is_implied: bool = False

    def covers(self, result: CheckResult) -> bool:
        """Whether the result is about one of these arguments."""
        if self.arguments is None or result.argument is None:
            return self.arguments is None
        return not {result.argument, whole(result.argument)}.isdisjoint(self.arguments)


Expected = Mapping[str, Expectation]


def expectations(expected_failures: ExpectedFailures) -> dict[str, Expectation]:
    """Return the expectation for each check.

    A gradient that may fail `vjp` may also fail every other check of its values.
    """
    expected: dict[str, Expectation] = {}
    for name, arguments in expected_failures.items():
        if isinstance(arguments, bool):
            expected |= {name: Expectation(None)} if arguments else {}
        else:
            names = (arguments,) if isinstance(arguments, str) else tuple(arguments)
            expected[name] = Expectation(names)
    if "vjp" in expected:
        implied = expected["vjp"]._replace(is_implied=True)
        followers = [check.name for check in CHECKS.values() if check.follows_vjp]
        expected = dict.fromkeys(followers, implied) | expected
    return expected


def apply_expectations(result: CheckResult, expected: Expected) -> CheckResult:
    """Mark an expected failure as "expected", and its absence as an "unexpected pass"."""
    expectation = expected.get(result.name)
    if expectation is None or not expectation.covers(result):
        return result
    if result.status == "failed":
        return dataclasses.replace(result, status="expected")
    is_named = expectation.arguments is not None and not expectation.is_implied
    if result.status == "passed" and is_named:
        message = "expected to fail, but passed; remove it from expected_failures"
        return dataclasses.replace(result, status="unexpected pass", message=message)
    return result
