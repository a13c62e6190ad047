"""How far two right answers may lie apart, from the dtype and the sums that were rounded.

A computation in a dtype with unit roundoff `eps` rounds once per operation, and a sum of n terms n
times. Roundings are nearly random, so that k of them move the result by about `√k eps` (Higham &
Mary 2019); the largest entry of an array has the size that they are relative to. The program that
JAX derives for one argument's gradient is walked from that gradient back, and its operations and
the terms of its sums are counted: that is k. Two right answers then differ by at most

    eps · max(4 √k · |largest entry|,  8 · loss)

The second term is for what is ill-conditioned: `loss` is what autodiff of the reference itself
loses in float32, in units of the float32 eps; where float64 is compared also what the rule loses,
if that is more. A gradient that cancels to nothing (of a bias in front of a norm, say) is all
rounding error, and has no size of its own; its loss tells.

`eps` is that of the dtype in which the check computes, float64 for most. Where the function rounds
to a coarser dtype inside, it is that one's, for there the rule may round elsewhere than autodiff.
"""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend import core

from .._jaxpr import inner_jaxprs

PER_ROUNDING = 4.0
PER_LOSS = 8.0


def allowed(eps: float, roundings: float, size: float, loss: float) -> float:
    """Return the largest difference that rounding explains; see the head of this file."""
    return eps * max(PER_ROUNDING * np.sqrt(roundings) * size, PER_LOSS * loss)


def eps_of(dtype: Any) -> float:
    """Return the spacing of a dtype's numbers at 1."""
    return float(jnp.finfo(dtype).eps)


def roundings(jaxpr: Any, outputs: list[Any]) -> float:
    """Count the operations, and the terms of their sums, that `outputs` of a jaxpr depend on."""
    needed = {v for v in outputs if not isinstance(v, core.Literal)}
    count = 1.0
    for equation in reversed(jaxpr.eqns):
        if needed.isdisjoint(equation.outvars):
            continue
        needed |= {v for v in equation.invars if not isinstance(v, core.Literal)}
        count += _terms(equation)
    return count


def _terms(equation: Any) -> float:
    inner = [roundings(jaxpr, list(jaxpr.outvars)) for jaxpr in map(_open, inner_jaxprs(equation))]
    if inner:
        return max(inner) * equation.params.get("length", 1)
    # an output that is smaller than what went in is a sum; a product contracts a dimension
    sizes = [v.aval.size for v in equation.invars if hasattr(v.aval, "size")]
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return float(np.prod([equation.invars[0].aval.shape[axis] for axis in contracted]))
    outputs = [v.aval.size for v in equation.outvars if hasattr(v.aval, "size")]
    return max(1.0, max(sizes, default=1) / max(1, max(outputs, default=1)))


def dtypes_on_the_way(jaxpr: Any) -> set[Any]:
    """Return the floating dtypes of everything that depends on a jaxpr's floating inputs."""
    return set(_dtypes(jaxpr, [_is_floating(v) for v in jaxpr.invars]))


def _dtypes(jaxpr: Any, depends: list[bool]) -> Iterator[Any]:
    marked = {v for v, does in zip(jaxpr.invars, depends, strict=True) if does}
    for equation in jaxpr.eqns:
        flags = [not isinstance(v, core.Literal) and v in marked for v in equation.invars]
        if not any(flags):
            continue
        marked.update(equation.outvars)
        yield from (v.aval.dtype for v in equation.outvars if _is_floating(v))
        for inner in map(_open, inner_jaxprs(equation)):
            same = len(inner.invars) == len(flags)
            yield from _dtypes(inner, flags if same else [True] * len(inner.invars))


def _open(jaxpr: Any) -> Any:
    return getattr(jaxpr, "jaxpr", jaxpr)


def _is_floating(variable: Any) -> bool:
    dtype = getattr(variable.aval, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jnp.floating)
