"""Tolerances: how far two correct results may differ because of rounding.

A computation in a dtype with unit roundoff `eps` rounds once per operation, and a sum of n terms n
times. Rounding errors are nearly random, so k of them change the result by about `√k eps` (Higham &
Mary 2019), relative to the largest entry of the array. To find k, the program that JAX derives for
the gradient of one argument is traversed backwards from that gradient; k counts its operations and
the terms of its sums. Two correct results then differ by at most

    eps · max(4 √k · |largest entry|,  8 · loss)

The second term covers ill-conditioned gradients, and values whose terms cancel. `loss` is the
float32 error of autodiff of the reference, in units of the float32 eps; if gradients in float64
are compared, it is the float32 error of the rule where that is larger. A gradient whose terms
cancel exactly, such as that of a bias before a normalization, consists of rounding errors only, and
so does the residual of a solution. Their entries say nothing about the size of the terms, but
`loss` does.

`eps` is that of the dtype in which the check computes, float64 for most checks. If the function
rounds to a coarser dtype internally, `eps` is that of the coarser dtype, because the rule may round
at other places than autodiff. The same holds for a constant that was rounded to a coarser dtype:
the rule may use its exact value.

A mistake far below the rounding error of the arguments' own dtype is none: a rule may add 1e-10 to
a denominator, or sum a series to nine digits. A small part of that error is allowed, and of one in
float32 if it is coarser.

If the function itself is only accurate to `rtol` and `atol`, as an iteration that stops early is,
then `rtol · |largest entry| + atol` is added for its values. A gradient sums the effects of many
such values and may amplify their errors, so 8 times as much is added for gradients.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._jax import (
    Atom,
    ClosedJaxpr,
    Jaxpr,
    JaxprEqn,
    accumulates_in,
    contracted_size,
    inner_programs,
    is_key,
    is_literal,
    name_of,
    opened,
    repetitions,
    type_of,
)
from .precision import eps_of

PER_ROUNDING = 4.0
PER_LOSS = 8.0
# The part of a rounding error of the arguments, in float32 at most, that no result in it shows.
UNSEEN = 1 / 128
SINGLE = 24  # significant bits of a float32
# Primitives that do not round.
MOVES = ("broadcast_in_dim", "convert_element_type", "copy", "reshape")


class Accuracy(NamedTuple):
    """The accuracy of the function itself, relative to its size and absolute."""

    rtol: float = 0.0
    atol: float = 0.0

    def of(self, size: float) -> float:
        """Return the error that this accuracy allows in numbers of this size."""
        return self.rtol * size + self.atol


def rounding_error(eps: float, roundings: float, size: float, loss: float) -> float:
    """Return the largest difference due to rounding, as derived at the top of this file."""
    return eps * max(PER_ROUNDING * np.sqrt(roundings) * size, PER_LOSS * loss)


def roundings(program: Jaxpr, outputs: Sequence[Atom]) -> float:
    """Count the operations, and the terms of their sums, on which `outputs` depend."""
    needed = {v for v in outputs if not is_literal(v)}
    count = 1.0
    for equation in reversed(program.eqns):
        if needed.isdisjoint(equation.outvars):
            continue
        needed |= {v for v in equation.invars if not is_literal(v)}
        count += _terms(equation)
    return count


def _terms(equation: JaxprEqn) -> float:
    inner = [roundings(p, p.outvars) for p in map(opened, inner_programs(equation))]
    if inner:
        return max(inner) * repetitions(equation)
    # an output smaller than its inputs is a sum; a matrix product sums over a dimension
    contracted = contracted_size(equation)
    if contracted is not None:
        return float(contracted)
    sizes = [type_of(v).size for v in equation.invars if hasattr(v.aval, "size")]
    outputs = [type_of(v).size for v in equation.outvars if hasattr(v.aval, "size")]
    return max(1.0, max(sizes, default=1) / max(1, max(outputs, default=1)))


class Dtypes(NamedTuple):
    """The floating-point dtypes in a program.

    Attributes:
        computed: the dtypes of all values that depend on the floating-point inputs.
        constants: the dtypes to which constants were rounded.
    """

    computed: frozenset[np.dtype]
    constants: frozenset[np.dtype]


def dtypes_in(closed: ClosedJaxpr) -> Dtypes:
    """Return the dtypes of the values and of the constants in a closed program."""
    program = opened(closed)
    found = list(_dtypes(program, [_is_floating(v) for v in program.invars]))
    scalars = [_rounded_to(c) for c in closed.consts if np.ndim(c) == 0 and not is_key(c)]
    found += [(dtype, True) for dtype in scalars if dtype is not None]
    computed = frozenset(dtype for dtype, is_constant in found if not is_constant)
    return Dtypes(computed, frozenset(dtype for dtype, is_constant in found if is_constant))


def _dtypes(program: Jaxpr, depends: list[bool]) -> Iterator[tuple[np.dtype, bool]]:
    marked = {v for v, does in zip(program.invars, depends, strict=True) if does}
    for equation in program.eqns:
        flags = [not is_literal(v) and v in marked for v in equation.invars]
        rounded = [_rounded_to(v.val) for v in equation.invars if is_literal(v)]
        yield from ((dtype, True) for dtype in rounded if dtype is not None)
        outputs = [type_of(v).dtype for v in equation.outvars if _is_floating(v)]
        if not any(flags):
            if name_of(equation) not in MOVES:  # computed from constants alone
                yield from ((dtype, True) for dtype in outputs)
            continue
        marked.update(equation.outvars)
        yield from ((dtype, False) for dtype in outputs)
        dtype = accumulates_in(equation)
        if dtype is not None:
            yield dtype, False
        for inner in map(opened, inner_programs(equation)):
            same = len(inner.invars) == len(flags)
            yield from _dtypes(inner, flags if same else [True] * len(inner.invars))


def _rounded_to(number: ArrayLike) -> np.dtype | None:
    """Return the dtype to which a constant was rounded, None if it is exact.

    Integers and numbers with few significant bits are taken to be exact. A float64 constant that is
    exactly a float32 number with many significant bits was rounded to float32 earlier.
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
    """Whether a number has at most so many significant bits."""
    return (float(np.frexp(value)[0]) * 2**bits).is_integer()


def _is_floating(variable: Atom) -> bool:
    dtype = getattr(variable.aval, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jnp.floating)


def coarsest(dtypes: frozenset[np.dtype]) -> float:
    """Return the spacing at 1 of the coarsest of these dtypes, 0 if there are none."""
    return max(map(eps_of, dtypes), default=0.0)
