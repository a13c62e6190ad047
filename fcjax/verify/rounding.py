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
A constant that was rounded to a coarser dtype counts likewise: the rule may have it exactly.

A function that is itself good to `rtol` and `atol` only, such as an iteration that stops early, has
values that are no better: `rtol · |largest entry| + atol` is added. Its gradient is a sum of what
follows from many such values, and conditioned as a loss is: 8 times as much is added to that.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from .._jax import (
    contracted_size,
    inner_programs,
    is_key,
    is_literal,
    name_of,
    opened,
    repetitions,
)
from .precision import eps_of

PER_ROUNDING = 4.0
PER_LOSS = 8.0
SINGLE = 24  # significant bits of a float32
# Primitives that round nothing.
MOVES = ("broadcast_in_dim", "convert_element_type", "copy", "reshape")


class Accuracy(NamedTuple):
    """What a function is good to by itself, relative to its size and absolutely."""

    rtol: float = 0.0
    atol: float = 0.0

    def of(self, size: float) -> float:
        """Return what this explains of a difference between numbers of a size."""
        return self.rtol * size + self.atol


def explained(eps: float, roundings: float, size: float, loss: float) -> float:
    """Return the largest difference that rounding explains; see the head of this file."""
    return eps * max(PER_ROUNDING * np.sqrt(roundings) * size, PER_LOSS * loss)


def roundings(program: Any, outputs: list[Any]) -> float:
    """Count the operations, and the terms of their sums, that `outputs` of a program depend on."""
    needed = {v for v in outputs if not is_literal(v)}
    count = 1.0
    for equation in reversed(program.eqns):
        if needed.isdisjoint(equation.outvars):
            continue
        needed |= {v for v in equation.invars if not is_literal(v)}
        count += _terms(equation)
    return count


def _terms(equation: Any) -> float:
    inner = [roundings(p, list(p.outvars)) for p in map(opened, inner_programs(equation))]
    if inner:
        return max(inner) * repetitions(equation)
    # an output that is smaller than what went in is a sum; a product contracts a dimension
    contracted = contracted_size(equation)
    if contracted is not None:
        return float(contracted)
    sizes = [v.aval.size for v in equation.invars if hasattr(v.aval, "size")]
    outputs = [v.aval.size for v in equation.outvars if hasattr(v.aval, "size")]
    return max(1.0, max(sizes, default=1) / max(1, max(outputs, default=1)))


class Dtypes(NamedTuple):
    """The floating-point dtypes in a program.

    Attributes:
        computed: of everything that depends on the floating-point inputs.
        constants: of the numbers that do not, where they were rounded to them.
    """

    computed: frozenset[Any]
    constants: frozenset[Any]


def dtypes_in(closed: Any) -> Dtypes:
    """Return the dtypes of what flows through a closed program, and of its constants."""
    program = opened(closed)
    found = list(_dtypes(program, [_is_floating(v) for v in program.invars]))
    scalars = [_rounded_to(c) for c in closed.consts if np.ndim(c) == 0 and not is_key(c)]
    found += [(dtype, True) for dtype in scalars if dtype is not None]
    computed = frozenset(dtype for dtype, is_constant in found if not is_constant)
    return Dtypes(computed, frozenset(dtype for dtype, is_constant in found if is_constant))


def _dtypes(program: Any, depends: list[bool]) -> Iterator[tuple[Any, bool]]:
    marked = {v for v, does in zip(program.invars, depends, strict=True) if does}
    for equation in program.eqns:
        flags = [not is_literal(v) and v in marked for v in equation.invars]
        rounded = [_rounded_to(v.val) for v in equation.invars if is_literal(v)]
        yield from ((dtype, True) for dtype in rounded if dtype is not None)
        outputs = [v.aval.dtype for v in equation.outvars if _is_floating(v)]
        if not any(flags):
            if name_of(equation) not in MOVES:  # computed from constants alone, in their dtype
                yield from ((dtype, True) for dtype in outputs)
            continue
        marked.update(equation.outvars)
        yield from ((dtype, False) for dtype in outputs)
        for inner in map(opened, inner_programs(equation)):
            same = len(inner.invars) == len(flags)
            yield from _dtypes(inner, flags if same else [True] * len(inner.invars))


def _rounded_to(number: Any) -> Any | None:
    """Return the dtype that a constant was rounded to, None for one that is exact.

    Whole numbers are exact, and so are those of few bits. A float64 that is a float32 of many bits
    was rounded to float32 before it came here.
    """
    number = np.asarray(number)
    if number.ndim or not jnp.issubdtype(number.dtype, jnp.floating) or not np.isfinite(number):
        return None
    bits = 1 - int(jnp.finfo(number.dtype).machep)
    value = float(number)
    if bits > SINGLE and _has_bits(value, SINGLE):
        bits, dtype = SINGLE, jnp.dtype("float32")
    else:
        dtype = number.dtype
    return None if value.is_integer() or _has_bits(value, 2 * bits // 3) else dtype


def _has_bits(value: float, bits: int) -> bool:
    """Whether a number is one of so many significant bits."""
    return (float(np.frexp(value)[0]) * 2**bits).is_integer()


def _is_floating(variable: Any) -> bool:
    dtype = getattr(variable.aval, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jnp.floating)


def coarsest(dtypes: frozenset[Any]) -> float:
    """Return the spacing at 1 of the coarsest of some dtypes, 0 for none."""
    return max(map(eps_of, dtypes), default=0.0)
