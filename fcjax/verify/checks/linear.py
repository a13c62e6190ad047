"""A pullback is a linear map of its cotangent, and the transpose of the forward derivative."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..computing import as_float64, first_line, mode
from ..report import CheckResult
from ..trial import Skip, Trial
from ._compare import compare

# Powers of two scale without rounding. A clipped cotangent shows at the large one.
SCALES = (-1.0, 2.0**20, 2.0**-20)


def zero_cotangent(trial: Trial) -> Iterator[CheckResult]:
    """A zero cotangent gives zero gradients."""
    dtype = trial.wide
    zeros = trial.as_cotangents([np.zeros(y.shape) for y in trial.ys(dtype)], dtype)
    right = trial.rule(dtype).dxs
    for k, got in enumerate(trial.rule(dtype, dys=zeros).dxs):
        result = compare("zero_cotangent", trial.name(k), got, np.zeros(got.shape), 0.0)
        same = np.array_equal(as_float64(got), as_float64(right[k])) and np.any(as_float64(got))
        yield _hinted(result, "the cotangent is ignored" if same else "something is added to it")


def linearity(trial: Trial) -> Iterator[CheckResult]:
    """Sums and multiples of cotangents give sums and multiples of gradients; NaN is not hidden."""
    dtype = trial.wide
    one = [trial.random(y.shape, 50 + i) for i, y in enumerate(trial.ys(dtype))]
    two = [as_float64(dy) for dy in trial.dys(dtype)]
    first, second = (_pull(trial, dys, dtype) for dys in (one, two))
    both = _pull(trial, [a + b for a, b in zip(one, two, strict=True)], dtype)
    scaled = {factor: _pull(trial, [factor * a for a in one], dtype) for factor in SCALES}
    try:
        spoilt = _pull(trial, [np.full_like(a, np.nan) for a in one], dtype)
    except Exception:  # what refuses NaN does not hide it
        spoilt = [np.full_like(dx, np.nan) for dx in first]
    for k in range(trial.count):
        size = np.maximum(np.abs(first[k]), np.abs(second[k]))
        tolerance = 4 * trial.allowed(k, size, dtype)
        tests = [(both[k], first[k] + second[k], "the sum of two cotangents")]
        tests += [(dx[k] / c, first[k], f"a cotangent times {c:g}") for c, dx in scaled.items()]
        results = [
            _hinted(
                compare("linearity", trial.name(k), got, want, tolerance, message=f"for {what}"),
                "nonlinear in the cotangent",
            )
            for got, want, what in tests
        ]
        if np.any(first[k]) and not np.any(np.isnan(spoilt[k])):
            said = "a cotangent that is NaN everywhere leaves no NaN in the gradient"
            results.append(CheckResult("linearity", "failed", trial.name(k), message=said))
        yield worst(results)


def _pull(trial: Trial, dys: Sequence[Any], dtype: str) -> list[np.ndarray]:
    return [as_float64(dx) for dx in trial.rule(dtype, dys=trial.as_cotangents(dys, dtype)).dxs]


def worst(results: list[CheckResult]) -> CheckResult:
    """Return the first failure, or else the largest error."""
    failed = [result for result in results if result.status == "failed"]
    return failed[0] if failed else max(results, key=lambda result: result.max_abs or 0)


def _hinted(result: CheckResult, hint: str) -> CheckResult:
    return dataclasses.replace(result, hint=hint) if result.status == "failed" else result


def dot_product(trial: Trial) -> Iterator[CheckResult]:
    """Forward and reverse agree: ⟨dy, J u⟩ = ⟨dx, u⟩, J u by forward mode of the reference."""
    dtype = trial.wide
    f = trial.functions["plain"]
    us = [trial.random(x.shape, 20 + k) for k, x in enumerate(trial.point.xs)]

    def program(
        xs: tuple[Array, ...], us: tuple[Array, ...], dys: tuple[Array, ...]
    ) -> list[Array]:
        def along(k: int) -> Array:
            alone = lambda x: f(*xs[:k], x, *xs[k + 1 :])[0]  # noqa: E731
            _, ty = jax.jvp(alone, (xs[k],), (us[k],))
            return sum(((dy * t).sum() for dy, t in zip(dys, ty, strict=True)), jnp.zeros(()))

        return [along(k) for k in range(len(xs))]

    xs, dys = trial.xs(dtype), trial.dys(dtype)
    with mode(dtype):
        tangents = tuple(np.asarray(u, x.dtype) for u, x in zip(us, xs, strict=True))
    try:
        forward = trial.run(("jvp", dtype), program, dtype, xs, tangents, dys)
    except Exception as error:
        raise Skip(f"the reference has no forward mode: {first_line(error)}") from error
    for k, dx in enumerate(trial.rule(dtype).dxs):
        terms = as_float64(dx) * us[k]
        tolerance = trial.allowed(k, dx, dtype) * np.sqrt(np.sum(us[k] ** 2))
        tolerance += trial.eps(dtype) * 8 * np.sum(np.abs(terms))
        result = compare("dot_product", trial.name(k), np.sum(terms), forward[k], float(tolerance))
        yield result
