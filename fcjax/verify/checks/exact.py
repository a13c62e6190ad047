"""Polynomials at integers, where floating-point arithmetic does not round."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._jax import CUSTOM_CALLS, HIGH_CALL, JIT, equations_in, name_of
from ..compare import compare
from ..precision import Precision, eps_of
from ..program import Refused, Skip
from ..report import CheckResult
from ..sample import Sample

# Sums, products, and what moves numbers without changing them. A quotient is no integer.
POLYNOMIAL = {
    "add", "add_any", "broadcast_in_dim", "concatenate", "convert_element_type", "copy",
    "cumsum", "dot_general", "dynamic_slice", "gather", "integer_pow", "mul", "neg", "pad",
    "reduce_sum", "reshape", "rev", "scan", "slice", "square", "squeeze", "sub", "transpose",
    HIGH_CALL, *CUSTOM_CALLS, *JIT,
}  # fmt: skip
LARGEST = 4  # of the integers
BITS = 2.0**23  # of the significand of float32: no sum of so many products of them is rounded


def exact(sample: Sample) -> Iterator[CheckResult]:
    """A polynomial's gradient at integers equals autodiff's bit for bit: nothing is rounded."""
    own = Precision.OWN
    if any(eps_of(x.dtype) > eps_of("float32") for x in sample.point.xs):
        raise Skip("the arguments' dtype is too narrow for sums of integers to be exact")
    if sample.point.captured.arrays:
        raise Skip("the function closes over arrays, which need not be integers")
    program = sample.subject.plain.value.trace(own, *sample.xs(own))
    other = next((n for n in map(name_of, equations_in(program)) if n not in POLYNOMIAL), None)
    if other:
        raise Skip(f"it is not a polynomial: it contains {other}")
    xs = tuple(_integers(sample, x, 80 + k) for k, x in enumerate(sample.xs(own)))
    dys = tuple(_integers(sample, dy, 90 + i) for i, dy in enumerate(sample.dys(own)))
    try:
        right = sample.autodiff(own, xs, dys)
    except Refused as refusal:
        raise Skip(f"JAX cannot differentiate the reference: {refusal}") from refusal
    for k, (got, want) in enumerate(zip(sample.rule(own, xs, dys).dxs, right.dxs, strict=True)):
        if float(np.max(np.abs(np.asarray(want)), initial=0)) < BITS:
            said = "rounded where nothing has to be: at integers"
            yield compare("exact", sample.name(k), got, want, 0.0, message=said)


def _integers(sample: Sample, like: Any, stream: int) -> jax.Array:
    """Return random integers, as floating-point numbers."""
    numbers = np.rint(np.clip(2 * sample.random(like.shape, stream), -LARGEST, LARGEST))
    return jnp.asarray(numbers.astype(like.dtype))
