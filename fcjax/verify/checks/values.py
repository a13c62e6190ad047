"""The gradients themselves: against autodiff, against differences, and in every dtype."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..computing import OWN, WIDE, as_float64, cast, first_line, largest, mode
from ..report import CheckResult
from ..tolerance import allowed, eps_of
from ..trial import Skip, Trial
from ._compare import compare

# Above the coarsest of these, a difference quotient is all rounding error.
RESOLVED = 1e-6
COORDINATES = 64  # arguments of at most that size are moved along each coordinate
DIRECTIONS = 16  # larger ones along that many random directions,
LARGE = 2**17  # and still larger ones along one
BESIDE = 1e-13  # a step off a kink, in float64


def primal(trial: Trial) -> Iterator[CheckResult]:
    """The forward rule returns what the function returns, and what the reference returns."""
    dtype = trial.wide
    xs = trial.xs(dtype)
    by_rule = trial.rule(dtype)
    wanted = [("the function", called(trial, dtype, xs))]
    if trial.reference is not None:
        plain = trial.run(("plain", "value", dtype), trial.functions["plain"], dtype, *xs)
        wanted.append(("the reference", plain))
    for what, (ys, others) in wanted:
        if len(ys) != len(by_rule.ys) or len(others) != len(by_rule.others):
            yield CheckResult("primal", "failed", message=f"not as many outputs as {what}")
            continue
        for i, (got, want) in enumerate(zip(by_rule.ys, ys, strict=True)):
            tolerance = trial.allowed_value(i, want, dtype)
            message = f"output {i} of the forward rule is not that of {what}"
            yield compare("primal", None, got, want, tolerance, message=message)
        for got, want in zip(by_rule.others, others, strict=True):
            if not _equal(got, want):
                message = f"an output without gradient is not that of {what}"
                yield CheckResult("primal", "failed", message=message)


def _equal(got: Any, want: Any) -> bool:
    if jnp.issubdtype(got.dtype, jax.dtypes.prng_key):
        got, want = jax.random.key_data(got), jax.random.key_data(want)
    return got.dtype == want.dtype and bool(np.array_equal(got, want))


def vjp(trial: Trial) -> Iterator[CheckResult]:
    """Each argument's gradient equals autodiff of the reference, in float64."""
    dtype = trial.wide
    if trial.reference is None and not trial.has_rules:
        raise Skip("no hand-written rule was found in it: there is nothing to compare with")
    try:
        right = trial.by_autodiff(dtype).dxs
    except Exception as error:
        raise Skip(f"JAX cannot differentiate the reference: {first_line(error)}") from error
    for k, (got, want) in enumerate(zip(trial.rule(dtype).dxs, right, strict=True)):
        tolerance = trial.allowed(k, want, dtype)
        yield compare("vjp", trial.name(k), got, want, tolerance, trial.scene(k, dtype))


def finite_differences(trial: Trial) -> Iterator[CheckResult]:
    """Each argument's gradient equals central differences of the function, in float64."""
    dtype = trial.wide
    eps = trial.eps(dtype)
    if eps > RESOLVED:
        raise Skip("the function rounds to a dtype too coarse for differences")
    dxs = trial.rule(dtype).dxs
    for k in range(trial.count):
        yield _differences(trial, k, dxs[k], dtype, eps)


def _differences(trial: Trial, k: int, dx: Any, dtype: str, eps: float) -> CheckResult:
    step, directions = step_of(trial, k, eps), _directions(trial, k)
    values = along(trial, k, directions, step, dtype)
    slopes = (values[:, 0] - values[:, 1]) / (2 * step)
    halved = (values[:, 2] - values[:, 3]) / step
    # what the step itself does, plus rounding; where a kink is straddled the first is large
    uncertain = 4 * np.abs(slopes - halved) + 256 * eps * _terms(trial, dtype) / step
    want = halved
    got = np.array([np.sum(as_float64(dx) * u) for u in directions])
    keep = np.isfinite(want) & np.isfinite(uncertain)
    name = trial.name(k)
    if not keep.any():
        why = "the function is not finite around the point" if want.size else "no elements"
        return CheckResult("finite_differences", "skipped", name, message=why)
    tolerance = uncertain + trial.allowed(k, dx, dtype) * np.sqrt(directions[0].size)
    excess = np.where(keep, np.abs(got - want) / tolerance, 0)
    excess = np.where(np.isnan(excess), np.inf, excess)
    worst = int(np.argmax(excess))
    result = compare("finite_differences", name, got[worst], want[worst], float(tolerance[worst]))
    return _at(result, worst, directions, dx)


def _at(result: CheckResult, row: int, directions: Sequence[Any], dx: Any) -> CheckResult:
    """Name the entry that a coordinate direction moves."""
    if len(directions) != np.size(dx):
        return result
    index = tuple(int(i) for i in np.unravel_index(row, np.shape(dx)))
    return dataclasses.replace(result, index=index)


def step_of(trial: Trial, k: int, eps: float) -> float:
    """Return the step that balances truncation, h², against rounding, eps/h."""
    return eps ** (1 / 3) * (largest(trial.point.xs[k]) or 1.0)


def _directions(trial: Trial, k: int) -> list[Any]:
    shape = trial.point.xs[k].shape
    size = int(np.prod(shape))
    if size <= COORDINATES:
        return list(np.eye(size).reshape(size, *shape))
    count = DIRECTIONS if size <= LARGE else 1
    return [trial.random(shape, 100 + i) for i in range(count)]


def along(
    trial: Trial,
    k: int,
    directions: Sequence[Any],
    step: float,
    dtype: str,
    start: tuple[Any, ...] | None = None,
) -> np.ndarray:
    """Return ⟨dy, f⟩ at x ± h u, x ± h u/2 and x for each direction u of the k-th argument."""
    xs = trial.xs(dtype) if start is None else start
    x = np.asarray(xs[k])
    dys = [as_float64(dy) for dy in trial.dys(dtype)]

    def value(moved: Any) -> float:
        ys, _ = called(trial, dtype, (*xs[:k], jnp.asarray(moved.astype(x.dtype)), *xs[k + 1 :]))
        return sum(float(np.sum(dy * as_float64(y))) for dy, y in zip(dys, ys, strict=True))

    with mode(dtype):
        rows = [[value(x + h * step * u) for h in (1, -1, 0.5, -0.5, 0)] for u in directions]
    return np.reshape(rows, (len(directions), 5))


def _terms(trial: Trial, dtype: str) -> float:
    """Return Σ |dy y|, which the rounding error of ⟨dy, f⟩ is relative to."""
    pairs = zip(trial.dys(dtype), trial.rule(dtype).ys, strict=True)
    return sum(float(np.sum(np.abs(as_float64(dy) * as_float64(y)))) for dy, y in pairs)


def called(trial: Trial, dtype: str, xs: tuple[Any, ...]) -> Any:
    """Return the outputs of the function when it is called without being differentiated."""
    return trial.run(("called", dtype), trial.functions["rule"], dtype, *xs)


def precision(trial: Trial) -> Iterator[CheckResult]:
    """In the arguments' own dtypes, bfloat16 and float16, gradients are right to rounding.

    The oracle is the float64 reference at the rounded values.
    """
    if trial.wide != WIDE:
        raise Skip("the function does not take float64, which would be the oracle")
    own = {str(x.dtype) for x in trial.point.xs}
    dtypes = [OWN] if own != {WIDE} else []
    dtypes += [dtype for dtype in ("bfloat16", "float16") if own != {dtype}]
    done = [result for dtype in dtypes for result in _in_dtype(trial, dtype)]
    if not done:
        raise Skip("the function works in no other dtype")
    yield from done


def _in_dtype(trial: Trial, dtype: str) -> Iterator[CheckResult]:
    try:
        xs, dys = trial.xs(dtype), trial.dys(dtype)
        got = trial.rule(dtype)
        with mode(WIDE):
            want = trial.by_autodiff(WIDE, cast(xs, WIDE), trial.as_cotangents(dys, WIDE))
    except Exception:
        return  # the function refuses the dtype, or the reference cannot be differentiated
    if _is_another(trial, dtype):
        return  # a mask that is drawn in this dtype, or overflow
    label = "/".join(sorted({str(x.dtype) for x in xs}))
    for k, dx in enumerate(want.dxs):
        if not np.all(np.isfinite(as_float64(dx))):
            continue
        eps = max(trial.eps(dtype), eps_of(xs[k].dtype))
        tolerance = allowed(eps, trial.roundings(k), largest(dx), trial.loss(k))
        result = compare(
            "precision", trial.name(k), got.dxs[k], dx, tolerance, message=f"in {label}"
        )
        if result.status == "failed":
            if _autodiff_is_no_better(trial, dtype, k, dx, result):
                continue
            near = _nearest_beside(trial, dtype, k, got.dxs[k], dx)
            result = compare(
                "precision", trial.name(k), got.dxs[k], near, tolerance, message=f"in {label}"
            )
        yield result


def _nearest_beside(trial: Trial, dtype: str, k: int, got: Any, want: Any) -> Any:
    """Return what is next to `got` between the right answers here and on either side of here.

    Numbers of few digits often lie on a kink, where autodiff of the reference takes what it likes.
    """
    wants = [as_float64(want)]
    random = np.random.default_rng(0)
    exact = cast(trial.xs(dtype), WIDE)
    steps = [BESIDE * random.uniform(-1, 1, x.shape) for x in exact]
    for sign in (-1, 1):
        with mode(WIDE):
            xs = tuple(x + sign * d * (1 + abs(x)) for x, d in zip(exact, steps, strict=True))
            dys = trial.as_cotangents(trial.dys(dtype), WIDE)
            wants.append(as_float64(trial.by_autodiff(WIDE, xs, dys).dxs[k]))
    got = as_float64(got)
    between = np.clip(got, np.min(wants, axis=0), np.max(wants, axis=0))
    return np.where(np.isfinite(got), between, want)


def _is_another(trial: Trial, dtype: str) -> bool:
    """Whether the function, by rule or not, has other values in this dtype than in float64."""
    exact = trial.rule(WIDE, cast(trial.xs(dtype), WIDE)).ys
    return any(
        not np.all(np.abs(as_float64(r) - as_float64(e)) <= 0.1 * max(1e-3, largest(e)))
        for r, e in zip(trial.rule(dtype).ys, exact, strict=True)
    )


def _autodiff_is_no_better(
    trial: Trial, dtype: str, k: int, exact: Any, result: CheckResult
) -> bool:
    """Whether autodiff of the reference errs as much in this dtype."""
    try:
        plain = as_float64(trial.by_autodiff(dtype).dxs[k])
    except Exception:
        return True
    error = np.abs(plain - as_float64(exact))
    return not float(np.max(error)) * 8 < (result.max_abs or 0)
