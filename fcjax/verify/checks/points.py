"""The rule at points where mistakes hide: far out, at zero, and at kinks."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..computing import OWN, as_float64, mode
from ..report import CheckResult
from ..trial import Skip, Trial
from ._compare import compare
from .values import RESOLVED, called, step_of

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
    # not all alike: a matrix of equal entries is singular
    sizes = size * (1 + 0.1 * np.tanh(trial.random(x.shape, 60)))
    xs = _moved(trial, k, sizes * signs, dtype)
    try:
        by_rule = trial.rule(dtype, xs)
    except Exception:
        return  # the function refuses the point
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


def _moved(trial: Trial, k: int, values: Any, dtype: str) -> tuple:
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
    if not _is_elementwise(trial, k):
        raise Skip("kinks are declared for elementwise functions, and this is none")
    xs = _moved(trial, k, np.full(trial.point.xs[k].shape, point), dtype)
    got, want = trial.rule(dtype, xs).dxs[k], slope * as_float64(trial.dys(dtype)[0])
    said = f"at {trial.name(k)} = {point:g} the declared derivative is {slope:g}"
    return compare("kinks", trial.name(k), got, want, trial.allowed(k, want, dtype), message=said)


def _is_elementwise(trial: Trial, k: int) -> bool:
    """Whether each entry of the output follows the entry of the argument at its place alone."""
    dtype = trial.wide
    x, ys = as_float64(trial.xs(dtype)[k]), trial.ys(dtype)
    if len(ys) != 1 or ys[0].shape != x.shape or x.size == 0:
        return False
    start = _values(trial, k, x, dtype)
    for place in {0, x.size // 2, x.size - 1}:
        moved = x.copy()
        moved.flat[place] += 0.5
        others = np.arange(x.size) != place
        if not np.array_equal(
            _values(trial, k, moved, dtype).flat[others], start.flat[others], equal_nan=True
        ):
            return False
    return True


def _values(trial: Trial, k: int, x: Any, dtype: str) -> np.ndarray:
    return as_float64(called(trial, dtype, _moved(trial, k, x, dtype))[0][0])


def _between_slopes(trial: Trial, k: int) -> Iterator[CheckResult]:
    """Compare with one-sided differences at zero, where an elementwise function has a kink."""
    dtype, name, eps = trial.wide, trial.name(k), trial.eps(trial.wide)
    if eps > RESOLVED or not _is_elementwise(trial, k):
        return
    zero, step = np.zeros(trial.point.xs[k].shape), step_of(trial, k, eps)
    middle = _values(trial, k, zero, dtype)
    slopes = {h: (_values(trial, k, zero + h, dtype) - middle) / h for h in _around(step)}
    left, near_left, near_right, right = slopes.values()
    slack = 4 * np.abs(right - near_right) + 4 * np.abs(left - near_left)
    slack += 64 * eps * np.abs(middle) / step + 64 * eps
    kinked = np.abs(near_right - near_left) > 4 * slack + 1e-3 * np.abs(near_right)
    if not np.any(kinked & np.isfinite(slack)):
        return
    dy = as_float64(trial.dys(dtype)[0])
    got = as_float64(trial.rule(dtype, _moved(trial, k, zero, dtype)).dxs[k]) / dy
    low, high = np.minimum(near_left, near_right) - slack, np.maximum(near_left, near_right) + slack
    outside = kinked & ~((low <= got) & (got <= high))
    if not outside.any():
        yield CheckResult("kinks", "passed", name, message="a kink at 0, its convention undeclared")
        return
    index = tuple(int(i) for i in np.argwhere(outside)[0])
    yield CheckResult(
        "kinks",
        "failed",
        name,
        max_abs=float(max(low[index] - got[index], got[index] - high[index])),
        index=index,
        got=float(got[index]),
        want=float((near_left[index] + near_right[index]) / 2),
        tolerance=float(high[index] - low[index]) / 2,
        message=f"at {name} = 0 the derivative is not between the slopes of the two sides",
    )


def _around(step: float) -> tuple[float, ...]:
    return -step, -step / 2, step / 2, step
