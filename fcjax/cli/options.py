"""Check the options of `fcjax verify`."""

from collections.abc import Iterable, Sequence

from fcjax_cli.options import Checking, Function, Library

from .._arguments import brief, check_one_of

DTYPES = ("bfloat16", "float16", "float32", "float64")
NEED_A_FUNCTION = ("shapes", "args", "reference", "expected_failures")
NEED_CHECKS = ("checks", "rtol", "atol", "time_limit")


def check_options(function: Function, library: Library, checking: Checking) -> None:
    """Raise ValueError for contradictory options, an unknown dtype, or a seed out of range."""
    _check_unused(function, library, checking)
    if function.target and not (function.shapes or function.args):
        raise ValueError(
            "shapes: got none; accepted: one for each argument, e.g. --shapes 5x3 3x2 2, or --args"
        )
    if function.shapes and function.args:
        raise ValueError("args: got --shapes as well; accepted: either --shapes or --args")
    for dtype in checking.dtypes:
        check_one_of("dtypes", dtype, DTYPES)
    if checking.search < 0:
        raise ValueError(f"search: got {checking.search}; accepted: a number of points, or 0")
    if not 0 <= checking.seed < 2**32:
        raise ValueError(
            f"seed: got {brief(checking.seed)}; accepted: an integer from 0 to 2³² - 1"
        )


def _check_unused(function: Function, library: Library, checking: Checking) -> None:
    """Raise ValueError for an option that would have no effect."""
    if function.target:
        why = f"applies to fcjax's own rules only; got the target {function.target!r} as well"
        _reject(library, ("only", "exhaustive"), why)
    else:
        _reject(function, NEED_A_FUNCTION, "needs a target, package.module:function")
    if library.exhaustive:
        _reject(checking, NEED_CHECKS, "has no effect on an exhaustive comparison")


def _reject(options: object, names: Iterable[str], why: str) -> None:
    for name in names:
        if getattr(options, name) not in (None, (), "", False):
            raise ValueError(f"{name}: {why}")


def parse_expected_failures(pairs: Sequence[str]) -> dict[str, bool | list[str]]:
    """Return `check_rule`'s `expected_failures` from options such as `vjp=x` or `linearity`."""
    failures: dict[str, bool | list[str]] = {}
    for pair in pairs:
        check, separator, argument = pair.partition("=")
        if not check or bool(separator) != bool(argument):
            raise ValueError(
                f"expected_failures: got {brief(pair)}; accepted: a check and an argument, such as "
                "vjp=x, or a check alone"
            )
        named = failures.setdefault(check, [])
        failures[check] = [*named, argument] if argument and isinstance(named, list) else True
    return failures
