"""The rule at points where mistakes hide: far out, at zero, and at kinks."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..report import CheckResult
from ..trial import OWN, Skip, Trial, as_float64, mode
from ._compare import compare
from .values import COORDINATES, along, step_of

# exp overflows in float16 at 11, in float32 at 89 and in float64 at 710
FAR = (12.0, 100.0, 800.0, 1e4)


def finite(trial: Trial) -> Iterator[CheckResult]:
    """Where function and derivative are finite, the rule is: at zero, and at ±12 … ±10⁴."""
    for k in range(trial.count):
        yield next(_non_finite(trial, k), CheckResult("finite", "passed", trial.name(k)))


def _non_finite(trial: Trial, k: int) -> Iterator[CheckResult]:
    for dtype in dict.fromkeys((OWN, trial.wide)):
        for size in (0.0, *FAR):
            for sign in (1.0, -1.0, None) if size else (1.0,):
                yield from _non_finite_at(trial, k, dtype, size, sign)


def _non_finite_at(
    trial: Trial, k: int, dtype: str, size: float, sign: float | None
) -> Iterator[CheckResult]:
    x = as_float64(trial.point.xs[k])
    signs = np.where(x < 0, -1.0, 1.0) if sign is None else np.full(x.shape, sign)
    xs = _moved(trial, k, size * signs, dtype)
    by_rule = trial.rule(dtype, xs)
    if all(_finite(dx) for dx in by_rule.dxs) or not all(map(_finite, by_rule.ys)):
        return
    try:
        right = trial.by_autodiff(dtype, xs).dxs
    except Exception:
        return
    for j, (got, want) in enumerate(zip(by_rule.dxs, right, strict=True)):
        bad = ~np.isfinite(as_float64(got)) & np.isfinite(as_float64(want))
        if bad.any():
            where = f"{'±' if sign is None else '-' if sign < 0 else ''}{size:g}"
            index = tuple(int(i) for i in np.argwhere(bad)[0])
            said = f"not finite where {trial.name(k)} = {where} ({dtype_name(trial, k, dtype)})"
            yield CheckResult(
                "finite",
                "failed",
                trial.name(j),
                index=index,
                got=float(as_float64(got)[index]),
                want=float(as_float64(want)[index]),
                max_abs=float("inf"),
                tolerance=0.0,
                message=said,
            )


def dtype_name(trial: Trial, k: int, dtype: str) -> str:
    """Return the dtype that the k-th argument has in a computation in `dtype`."""
    return str(trial.xs(dtype)[k].dtype)


def _finite(array: Any) -> bool:
    return bool(np.all(np.isfinite(as_float64(array))))


def _moved(trial: Trial, k: int, values: np.ndarray, dtype: str) -> tuple:
    xs = trial.xs(dtype)
    with mode(dtype):
        return (*xs[:k], jnp.asarray(values, xs[k].dtype), *xs[k + 1 :])


def kinks(trial: Trial) -> Iterator[CheckResult]:
    """At declared points an elementwise rule returns the declared derivative.

    At zero, where nothing is declared, a gradient lies between the slopes on the two sides.
    """
    names = [trial.name(k) for k in range(trial.count)]
    for name, declared in trial.kinks.items():
        for point, slope in declared.items():
            yield _declared(trial, names.index(name), point, slope)
    for k in range(trial.count):
        if 0.0 not in trial.kinks.get(trial.name(k), {}):
            yield from _between_slopes(trial, k)


def _declared(trial: Trial, k: int, point: float, slope: float) -> CheckResult:
    dtype = trial.wide
    xs = _moved(trial, k, np.full(trial.point.xs[k].shape, point), dtype)
    (dy,) = trial.dys(dtype) if len(trial.dys(dtype)) == 1 else (np.zeros(0),)
    if dy.shape != xs[k].shape:
        raise Skip("kinks are declared for elementwise functions: output and argument of one shape")
    got, want = trial.rule(dtype, xs).dxs[k], slope * as_float64(dy)
    said = f"at {trial.name(k)} = {point:g} the declared derivative is {slope:g}"
    return compare("kinks", trial.name(k), got, want, trial.allowed(k, want, dtype), message=said)


def _between_slopes(trial: Trial, k: int) -> Iterator[CheckResult]:
    """Compare with one-sided differences at zero, where there is a kink at all."""
    dtype, name = trial.wide, trial.name(k)
    eps = trial.eps(dtype)
    shape = trial.point.xs[k].shape
    size = int(np.prod(shape))
    if not 0 < size <= COORDINATES or eps > 1e-6:
        return
    step = step_of(trial, k, eps)
    xs = _moved(trial, k, np.zeros(shape), dtype)
    directions = list(np.eye(size).reshape(size, *shape))
    values = along(trial, k, directions, step, dtype, xs)
    right, left = (values[:, 0] - values[:, 4]) / step, (values[:, 4] - values[:, 1]) / step
    near_right = 2 * (values[:, 2] - values[:, 4]) / step
    near_left = 2 * (values[:, 4] - values[:, 3]) / step
    rounding = 64 * eps * np.max(np.abs(values), axis=1) / step
    slack = 4 * np.abs(right - near_right) + 4 * np.abs(left - near_left) + rounding
    kinked = np.abs(near_right - near_left) > 4 * slack + 1e-3 * np.abs(near_right)
    if not np.any(kinked & np.isfinite(slack)):
        return
    got = as_float64(trial.rule(dtype, xs).dxs[k]).reshape(-1)
    low, high = np.minimum(near_left, near_right) - slack, np.maximum(near_left, near_right) + slack
    outside = kinked & ~((low <= got) & (got <= high))
    if not outside.any():
        yield CheckResult("kinks", "passed", name, message="a kink at 0, its convention undeclared")
        return
    worst = int(np.argmax(outside))
    yield CheckResult(
        "kinks",
        "failed",
        name,
        max_abs=float(max(low[worst] - got[worst], got[worst] - high[worst])),
        index=tuple(int(i) for i in np.unravel_index(worst, shape)),
        got=float(got[worst]),
        want=float((near_left[worst] + near_right[worst]) / 2),
        tolerance=float(slack[worst]),
        message=f"at {name} = 0 the gradient is not between the slopes of the two sides",
    )
