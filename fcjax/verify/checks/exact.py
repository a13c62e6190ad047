"""Polynomials at integers, where floating-point arithmetic does not round."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._jaxpr import inner_jaxprs
from ..computing import OWN, mode
from ..report import CheckResult
from ..tolerance import eps_of
from ..trial import Skip, Trial
from ._compare import compare

# Sums, products, and what moves numbers without changing them. A quotient is no integer.
POLYNOMIAL = {
    "add", "add_any", "broadcast_in_dim", "concatenate", "convert_element_type", "copy",
    "cumsum", "custom_jvp_call", "custom_vjp_call", "dot_general", "dynamic_slice", "gather",
    "integer_pow", "jit", "mul", "neg", "pad", "pjit", "reduce_sum", "reshape", "rev", "scan",
    "slice", "square", "squeeze", "sub", "transpose",
}  # fmt: skip
LARGEST = 4  # of the integers
BITS = 2.0**23  # of the significand of float32: no sum of so many products of them is rounded


def exact(trial: Trial) -> Iterator[CheckResult]:
    """A polynomial's gradient at integers equals autodiff's bit for bit: nothing is rounded."""
    if any(eps_of(x.dtype) > eps_of("float32") for x in trial.point.xs):
        raise Skip("the arguments' dtype is too narrow for sums of integers to be exact")
    with mode(OWN):
        closed = jax.make_jaxpr(trial.functions["plain"])(*trial.xs(OWN))
    other = next(_others(closed.jaxpr), None)
    if other:
        raise Skip(f"no polynomial: it contains {other}")
    xs = tuple(_integers(trial, x, 80 + k) for k, x in enumerate(trial.xs(OWN)))
    dys = tuple(_integers(trial, dy, 90 + i) for i, dy in enumerate(trial.dys(OWN)))
    right, got = trial.by_autodiff(OWN, xs, dys), trial.rule(OWN, xs, dys)
    for k, (one, want) in enumerate(zip(got.dxs, right.dxs, strict=True)):
        if float(np.max(np.abs(np.asarray(want)), initial=0)) < BITS:
            said = "rounded where nothing has to be: at integers"
            yield compare("exact", trial.name(k), one, want, 0.0, message=said)


def _others(jaxpr: Any) -> Iterator[str]:
    for equation in jaxpr.eqns:
        if equation.primitive.name not in POLYNOMIAL:
            yield equation.primitive.name
        for inner in inner_jaxprs(equation):
            yield from _others(getattr(inner, "jaxpr", inner))


def _integers(trial: Trial, like: Any, stream: int) -> jax.Array:
    """Return random integers, as floating-point numbers."""
    numbers = np.rint(np.clip(2 * trial.random(like.shape, stream), -LARGEST, LARGEST))
    return jnp.asarray(numbers.astype(like.dtype))
