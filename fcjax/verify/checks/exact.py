"""Polynomials at integers, where floating-point arithmetic is exact."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from ..._jax import CUSTOM_CALLS, HIGH_CALL, JIT, equations_in, name_of, numbers_in
from ..compare import compare
from ..precision import Precision, eps_of
from ..program import Refused, Skip
from ..report import CheckResult
from ..sample import Sample

# Sums, products, and primitives that only move numbers. Quotients are not integers.
POLYNOMIAL = {
    "add", "add_any", "broadcast_in_dim", "concatenate", "convert_element_type", "copy",
    "cumsum", "dot_general", "dynamic_slice", "gather", "integer_pow", "mul", "neg", "pad",
    "reduce_sum", "reshape", "rev", "scan", "slice", "square", "squeeze", "sub", "transpose",
    HIGH_CALL, *CUSTOM_CALLS, *JIT,
}  # fmt: skip
LARGEST_INTEGER = 4
EXACT_BELOW = 2.0**23  # float32 represents every integer up to here exactly


def exact(sample: Sample) -> Iterator[CheckResult]:
    """The gradient of a polynomial at integers equals autodiff bit for bit: nothing is rounded."""
    own = Precision.OWN
    if any(eps_of(x.dtype) > eps_of("float32") for x in sample.point.xs):
        raise Skip("the dtype of the arguments is too narrow for exact sums of integers")
    if sample.point.captured.arrays:
        raise Skip("the function closes over arrays, whose values may not be integers")
    program = sample.subject.plain.value.trace(own, *sample.xs(own))
    other = next((n for n in map(name_of, equations_in(program)) if n not in POLYNOMIAL), None)
    if other:
        raise Skip(f"the function is not a polynomial: it contains {other}")
    if not all(map(_are_short, numbers_in(program))):
        raise Skip("the function is not a polynomial with short coefficients")
    xs = tuple(_integers(sample, x, 80 + k) for k, x in enumerate(sample.xs(own)))
    dys = tuple(_integers(sample, dy, 90 + i) for i, dy in enumerate(sample.dys(own)))
    try:
        right = sample.autodiff(own, xs, dys)
    except Refused as refusal:
        raise Skip(f"JAX cannot differentiate the reference: {refusal}") from refusal
    for k, (got, want) in enumerate(zip(sample.rule(own, xs, dys).dxs, right.dxs, strict=True)):
        if float(np.max(np.abs(np.asarray(want)), initial=0)) < EXACT_BELOW:
            message = "not exact at integers, where nothing needs rounding"
            yield compare("exact", sample.name(k), got, want, 0.0, message=message)


def _are_short(numbers: np.ndarray) -> bool:
    """Whether sums and products of numbers and integers are exact: they are multiples of 1/8."""
    eighths = 8 * numbers.astype(np.float64)
    return bool(np.all(eighths == np.rint(eighths)))


def _integers(sample: Sample, like: jax.Array, stream: int) -> jax.Array:
    """Return random integers, as floating-point numbers."""
    numbers = np.rint(
        np.clip(2 * sample.random(like.shape, stream), -LARGEST_INTEGER, LARGEST_INTEGER)
    )
    return jnp.asarray(numbers.astype(like.dtype))
