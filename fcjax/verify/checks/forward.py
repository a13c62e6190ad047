"""The rule in forward mode, if it has one."""

from collections.abc import Iterator

import jax
import numpy as np
from jax import Array

from ..._types import Function
from ..compare import compare
from ..point import Leaves
from ..precision import as_float64, eps_of
from ..program import Refused, Skip
from ..report import CheckResult
from ..rounding import PER_LOSS
from ..sample import Sample
from ..subject import OfLeaves

# Two forward derivatives agree to this fraction of the sum of their terms, or so many roundings.
CLOSE = 1e-9
ROUNDINGS = 512


def forward(sample: Sample) -> Iterator[CheckResult]:
    """`jax.jvp` and `jax.linearize` of the rule equal those of the reference.

    This is the only check of a function that JAX cannot differentiate in reverse mode, such as one
    with a `while_loop` and a `jax.custom_jvp`.
    """
    subject, wide = sample.subject, sample.wide
    xs = sample.xs(wide)
    by_rule = subject.program("forward", _tangents(subject.rule.function))
    plain = subject.program("forward of the reference", _tangents(subject.plain.function))
    for k, x in enumerate(xs):
        us = tuple(np.zeros(x.shape, x.dtype) for x in xs)
        u = sample.random(x.shape, 40 + k).astype(x.dtype)
        us = (*us[:k], u, *us[k + 1 :])
        try:
            got = by_rule(wide, xs, us)
        except Refused as refusal:
            raise Skip(f"the function has no forward mode: {refusal}") from refusal
        try:
            want, _ = plain(wide, xs, us)
        except Refused as refusal:
            raise Skip(f"the reference has no forward mode: {refusal}") from refusal
        yield from (
            _compared(sample, k, tangents, want, how)
            for tangents, how in zip(got, ("by jvp", "by linearize"), strict=True)
        )


def _tangents(f: OfLeaves) -> Function:
    """Return the function that gives the tangents of the outputs, computed in two ways."""

    def tangents(xs: tuple[Array, ...], us: tuple[Array, ...]) -> tuple[Leaves, Leaves]:
        def outputs(*xs: Array) -> Leaves:
            return f(*xs)[0]

        return jax.jvp(outputs, xs, us)[1], jax.linearize(outputs, *xs)[1](*us)

    return tangents


def _compared(sample: Sample, k: int, got: Leaves, want: Leaves, how: str) -> CheckResult:
    one, other = (np.concatenate([as_float64(t).ravel() for t in ts]) for ts in (got, want))
    out = ~np.isfinite(other)
    size = float(np.max(np.abs(other), initial=0.0, where=~out))
    eps = max(eps_of(x.dtype) for x in sample.xs(sample.wide))
    tolerance = max(CLOSE, ROUNDINGS * eps) * size + PER_LOSS * sample.subject.accuracy.of(size)
    return compare("forward", sample.name(k), one, other, tolerance, message=how, leave_out=out)
