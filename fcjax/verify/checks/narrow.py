"""Gradients in the dtypes of the arguments, in bfloat16 and in float16."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..compare import compare, undefined
from ..point import Leaves
from ..precision import Precision, as_float64, eps_of, largest
from ..program import Refused, Skip
from ..report import CheckResult
from ..sample import Sample, nearly_equal
from ..subject import ValuesAndGrads

STEP = 1e-13  # away from a kink, in float64


def precision(sample: Sample) -> Iterator[CheckResult]:
    """Gradients are right to rounding in the dtypes of the arguments, bfloat16 and float16.

    The oracle is the float64 reference at the rounded arguments.
    """
    own = {str(x.dtype) for x in sample.point.xs}
    precisions = [Precision.OWN] if own != {Precision.FLOAT64.value} else []
    narrow = (Precision.BFLOAT16, Precision.FLOAT16)
    if sample.explicit_checks or not sample.subject.may_not_end:
        precisions += [narrower for narrower in narrow if own != {narrower.value}]
    done = [result for chosen in precisions for result in _in(sample, chosen)]
    if not done:
        raise Skip("the function supports no other dtype")
    yield from done


def _in(sample: Sample, chosen: Precision) -> Iterator[CheckResult]:
    try:
        got, want = sample.rule(chosen), _right(sample, chosen)
        agrees = _agrees_with_float64(sample, chosen, got)
    except Refused:
        return  # the function does not support the dtype, or the reference has no gradient
    if not agrees:
        return  # a dropout mask drawn in this dtype, or overflow
    label = "/".join(sorted({str(x.dtype) for x in sample.xs(chosen)}))
    for k, right in enumerate(want.dxs):
        result = _compared(sample, chosen, k, got.dxs[k], right, f"in {label}")
        if result is not None:
            yield result


def _right(sample: Sample, chosen: Precision) -> ValuesAndGrads:
    """Return the results of the float64 reference at the arguments rounded to `chosen`."""
    xs = _widened(sample, chosen)
    return sample.autodiff(Precision.FLOAT64, xs, _cotangents(sample, chosen))


def _cotangents(sample: Sample, chosen: Precision) -> Leaves:
    return sample.as_cotangents(sample.dys(chosen), Precision.FLOAT64)


def _widened(sample: Sample, chosen: Precision) -> Leaves:
    """Return the leaves rounded to `chosen`, in float64; captured arrays are unchanged."""
    count = len(sample.point.wrt)
    xs = sample.xs(chosen)
    return (*Precision.FLOAT64.cast(xs[:count]), *xs[count:])


def _agrees_with_float64(sample: Sample, chosen: Precision, got: ValuesAndGrads) -> bool:
    """Whether the values of the function in `chosen` equal those in float64 up to rounding."""
    exact = sample.rule(Precision.FLOAT64, _widened(sample, chosen), _cotangents(sample, chosen))
    return all(map(nearly_equal, got.ys, exact.ys))


def _compared(
    sample: Sample, chosen: Precision, k: int, got: Array, right: Array, label: str
) -> CheckResult | None:
    eps = sample.subject.eps(chosen, k)
    tolerance = sample.allowed_for(eps, k, right, sample.precision_loss(k))
    name, out = sample.name(k), undefined(got, right)
    result = compare("precision", name, got, right, tolerance, message=label, leave_out=out)
    if result.status == "passed":
        return result
    if _autodiff_is_no_better(sample, chosen, k, right, result):
        return None
    tolerance += 2 * _conditioning(sample, chosen, k, right)
    nearest = _nearest_to(sample, chosen, k, got, right)
    return compare("precision", name, got, nearest, tolerance, message=label, leave_out=out)


def _conditioning(sample: Sample, chosen: Precision, k: int, right: Array) -> float:
    """Return how much the k-th gradient changes if its leaf changes by a rounding error.

    A rule with an error of this size is exact at a neighbouring point.
    """
    exact = _widened(sample, chosen)
    x, eps = np.asarray(exact[k]), eps_of(sample.xs(chosen)[k].dtype)
    signs = np.where(sample.random(x.shape, 300) < 0, -1.0, 1.0)
    with Precision.FLOAT64.context():
        moved = jnp.asarray((x * (1 + eps / 2 * signs)).astype(x.dtype))
    xs = (*exact[:k], moved, *exact[k + 1 :])
    beside = sample.autodiff(Precision.FLOAT64, xs, _cotangents(sample, chosen)).dxs[k]
    with np.errstate(invalid="ignore"):
        return largest(np.abs(as_float64(beside) - as_float64(right)))


def _nearest_to(sample: Sample, chosen: Precision, k: int, got: Array, want: Array) -> np.ndarray:
    """Return the value nearest to `got` between the correct gradients here and on either side.

    Rounded numbers often lie on a kink, where the choice of autodiff of the reference is arbitrary.
    """
    wants = [as_float64(want)]
    random = np.random.default_rng(0)
    exact = _widened(sample, chosen)
    steps: list[np.ndarray] = [STEP * random.uniform(-1, 1, x.shape) for x in exact]
    for sign in (-1, 1):
        with Precision.FLOAT64.context():
            xs = tuple(
                x + (sign * d * (1 + abs(x))).astype(x.dtype)
                for x, d in zip(exact, steps, strict=True)
            )
        dys = _cotangents(sample, chosen)
        wants.append(as_float64(sample.autodiff(Precision.FLOAT64, xs, dys).dxs[k]))
    here = as_float64(got)
    between = np.clip(here, np.min(wants, axis=0), np.max(wants, axis=0))
    return np.where(np.isfinite(here), between, want)


def _autodiff_is_no_better(
    sample: Sample, chosen: Precision, k: int, exact: Array, result: CheckResult
) -> bool:
    """Whether autodiff of the reference has an error of comparable size in this dtype."""
    try:
        plain = as_float64(sample.autodiff(chosen).dxs[k])
    except Refused:
        return True
    with np.errstate(invalid="ignore"):
        error = largest(np.abs(plain - as_float64(exact)))
    return not error * 8 < (result.max_abs or 0)
