"""From two arrays and a tolerance to a result."""

from typing import Any

import numpy as np

from ..computing import as_float64
from ..hints import Scene, hint
from ..report import CheckResult


def compare(
    check: str,
    argument: str | None,
    got: Any,
    want: Any,
    tolerance: float,
    scene: Scene | None = None,
    message: str | None = None,
) -> CheckResult:
    """Return the result of a comparison; NaN and infinities must stand in the same places."""
    got, want = as_float64(got), as_float64(want)
    if got.shape != want.shape:
        said = f"shape {list(got.shape)}, want {list(want.shape)}"
        return CheckResult(check, "failed", argument, message=said)
    if got.size == 0:
        return CheckResult(check, "passed", argument, 0.0, 0.0, tolerance=tolerance)
    error = difference(got, want)
    index = np.unravel_index(int(np.argmax(error)), error.shape)
    worst, size = (
        float(error[index]),
        float(np.max(np.abs(want), where=np.isfinite(want), initial=0)),
    )
    failed = not worst <= tolerance
    return CheckResult(
        check,
        "failed" if failed else "passed",
        argument,
        max_abs=worst,
        max_rel=worst / size if size else worst,
        index=tuple(int(i) for i in index),
        got=float(got[index]),
        want=float(want[index]),
        tolerance=tolerance,
        hint=hint(got, want, tolerance, scene) if failed and scene else None,
        message=message if failed else None,
    )


def difference(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Return |got − want|, 0 where both are the same NaN or infinity and ∞ where one is."""
    with np.errstate(invalid="ignore", over="ignore"):
        same = (got == want) | (np.isnan(got) & np.isnan(want))
        error = np.where(same, 0.0, np.abs(got - want))
    return np.where(np.isnan(error), np.inf, error)
