"""Comparison of two arrays within a tolerance."""

import numpy as np
from jax.typing import ArrayLike

from .hints import HintContext, hint
from .precision import as_float64
from .report import CheckResult


def compare(
    check: str,
    argument: str | None,
    got: ArrayLike,
    want: ArrayLike,
    tolerance: float,
    *,
    context: HintContext | None = None,
    message: str | None = None,
    leave_out: np.ndarray | np.bool_ | None = None,
) -> CheckResult:
    """Compare two arrays; NaN and infinities must occur at the same entries.

    Entries in `leave_out` are not compared and are counted as unjudged.
    """
    got, want = as_float64(got), as_float64(want)
    if got.shape != want.shape:
        text = f"got shape {list(got.shape)}, want {list(want.shape)}"
        return CheckResult(check, "failed", argument, message=text)
    if got.size == 0:
        return CheckResult(check, "passed", argument, 0.0, 0.0, tolerance=tolerance)
    out = np.zeros(got.shape, bool) if leave_out is None else leave_out
    error = np.where(out, 0.0, difference(got, want))
    place = np.unravel_index(int(np.argmax(error)), error.shape)
    worst, size = float(error[place]), _largest(want)
    failed = not worst <= tolerance
    return CheckResult(
        check,
        "failed" if failed else "passed",
        argument,
        max_abs=worst,
        max_rel=worst / size if size else worst,
        index=tuple(int(i) for i in place),
        got=float(got[place]),
        want=float(want[place]),
        tolerance=tolerance,
        hint=hint(got, want, tolerance, context) if failed and context else None,
        message=message if failed else None,
        compared=int(np.sum(np.isfinite(want) & ~out)),
        unjudged=int(np.sum(out)),
    )


def difference(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Return |got − want|: 0 where both are NaN or the same infinity, ∞ where only one is."""
    with np.errstate(invalid="ignore", over="ignore"):
        same = (got == want) | (np.isnan(got) & np.isnan(want))
        error = np.where(same, 0.0, np.abs(got - want))
    return np.where(np.isnan(error), np.inf, error)


def undefined(got: ArrayLike, want: ArrayLike) -> np.ndarray:
    """Return a mask of the entries where the rule has a number and the oracle has none.

    The rule is finite and the oracle is not, or the rule is infinite and the oracle NaN.
    """
    want, got = as_float64(want), as_float64(got)
    has_none = ~np.isfinite(want) & np.isfinite(got)
    return np.asarray(has_none | (np.isnan(want) & np.isinf(got)))


def _largest(array: np.ndarray) -> float:
    return float(np.max(np.abs(array), where=np.isfinite(array), initial=0))
