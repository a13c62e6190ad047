"""A pullback is linear in its cotangent, and the transpose of the forward derivative."""

import dataclasses
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ..compare import compare
from ..precision import Precision, as_float64
from ..program import Refused, Skip
from ..report import CheckResult
from ..sample import Sample

# Scaling by powers of two is exact. The large one reveals a clipped cotangent.
LARGE = 2.0**20
LARGE_IN_FLOAT16 = 2.0**4


def zero_cotangent(sample: Sample) -> Iterator[CheckResult]:
    """A zero cotangent gives zero gradients."""
    precision = sample.wide
    shapes = [y.shape for y in sample.subject.ys(precision)]
    zeros = sample.as_cotangents(list(map(np.zeros, shapes)), precision)
    right = sample.rule(precision).dxs
    for k, got in enumerate(sample.rule(precision, dys=zeros).dxs):
        # where the gradient is not finite, 0 times it is not finite either
        out = ~np.isfinite(as_float64(right[k]))
        name, want = sample.name(k), np.zeros(got.shape)
        result = compare("zero_cotangent", name, got, want, 0.0, leave_out=out)
        same = np.array_equal(as_float64(got), as_float64(right[k])) and np.any(as_float64(got))
        yield _with_hint(result, "the cotangent is ignored" if same else "a constant is added")


def linearity(sample: Sample) -> Iterator[CheckResult]:
    """The gradient is linear in the cotangent, and a NaN in the cotangent is not hidden."""
    precision = sample.wide
    ys = sample.subject.ys(precision)
    one = [sample.random(y.shape, 50 + i) for i, y in enumerate(ys)]
    two = [as_float64(dy) for dy in sample.dys(precision)]
    first, second = (_gradients(sample, dys, precision) for dys in (one, two))
    both = _gradients(sample, [a + b for a, b in zip(one, two, strict=True)], precision)
    large = LARGE_IN_FLOAT16 if any(y.dtype == np.float16 for y in ys) else LARGE
    scales = -1.0, large, 1 / large
    scaled = {c: _gradients(sample, [c * a for a in one], precision) for c in scales}
    try:
        with_nan = _gradients(sample, [np.full_like(a, np.nan) for a in one], precision)
    except Refused:  # a rule that raises on NaN does not hide it
        with_nan = [np.full_like(dx, np.nan) for dx in first]
    for k in range(sample.count):
        size = np.maximum(np.abs(first[k]), np.abs(second[k]))
        tolerance = 4 * sample.allowed(k, size, precision)
        with np.errstate(invalid="ignore"):  # ∞ − ∞
            tests = [(both[k], first[k] + second[k], "the sum of two cotangents")]
        out = np.asarray(~np.isfinite(first[k]) | ~np.isfinite(second[k]))
        tests += [(dx[k] / c, first[k], f"a cotangent times {c:g}") for c, dx in scaled.items()]
        results = [
            _with_hint(
                compare(
                    "linearity",
                    sample.name(k),
                    got,
                    want,
                    tolerance,
                    message=f"for {what}",
                    leave_out=out,
                ),
                "nonlinear in the cotangent",
            )
            for got, want, what in tests
        ]
        if np.any(first[k][~out]) and not np.any(np.isnan(with_nan[k])):
            message = "a cotangent of NaN gives a gradient without NaN"
            results.append(CheckResult("linearity", "failed", sample.name(k), message=message))
        yield worst(results)


def _gradients(sample: Sample, dys: Sequence[ArrayLike], precision: Precision) -> list[np.ndarray]:
    cotangents = sample.as_cotangents(dys, precision)
    return [as_float64(dx) for dx in sample.rule(precision, dys=cotangents).dxs]


def worst(results: list[CheckResult]) -> CheckResult:
    """Return the first failure, or the result with the largest error if nothing failed."""
    failed = [result for result in results if result.status == "failed"]
    return failed[0] if failed else max(results, key=lambda result: result.max_abs or 0)


def _with_hint(result: CheckResult, hint: str) -> CheckResult:
    return dataclasses.replace(result, hint=hint) if result.status == "failed" else result


def dot_product(sample: Sample) -> Iterator[CheckResult]:
    """Reverse mode agrees with forward mode of the reference: ⟨dy, J u⟩ = ⟨dx, u⟩."""
    precision, f = sample.wide, sample.subject.plain.function
    us = [sample.random(x.shape, 20 + k) for k, x in enumerate(sample.point.xs)]

    def along(xs: tuple[Array, ...], us: tuple[Array, ...], dys: tuple[Array, ...]) -> Array:
        _, ty = jax.jvp(lambda *xs: f(*xs)[0], xs, us)
        return sum(((dy * t).sum() for dy, t in zip(dys, ty, strict=True)), jnp.zeros(()))

    # one directional derivative for each argument, all from one program
    program = sample.subject.program("jvp", along)
    xs, dys = sample.xs(precision), sample.dys(precision)
    for k, dx in enumerate(sample.rule(precision).dxs):
        tangents = tuple(
            np.asarray(u if j == k else np.zeros(u.shape), x.dtype)
            for j, (u, x) in enumerate(zip(us, xs, strict=True))
        )
        try:
            forward = float(program(precision, xs, tangents, dys))
        except Refused as refusal:
            raise Skip(f"the reference has no forward mode: {refusal}") from refusal
        yield _projected(sample, k, as_float64(dx), us[k], forward, precision)


def _projected(
    sample: Sample, k: int, dx: np.ndarray, u: np.ndarray, forward: float, precision: Precision
) -> CheckResult:
    if not np.isfinite(forward):
        message = "the reference's forward derivative is not finite"
        return CheckResult("dot_product", "skipped", sample.name(k), message=message)
    terms = dx * u
    tolerance = sample.allowed(k, dx, precision) * np.sqrt(np.sum(u**2))
    tolerance += sample.subject.eps(precision, k) * 8 * np.sum(np.abs(terms))
    return compare("dot_product", sample.name(k), np.sum(terms), forward, float(tolerance))
