"""Likely causes of a wrong gradient, from its pattern."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

CONJUGATED = (
    "a conjugate is missing or too many: the gradient of JAX is ∂/∂x − i ∂/∂y, that of a "
    "holomorphic function f'(z) times the cotangent, without a conjugate"
)


class HintContext(NamedTuple):
    """Quantities to which a wrong gradient may be related.

    Attributes:
        sizes: numbers that may occur as a factor, and what each one counts.
        cotangents: the cotangents of the outputs.
        gradients: the correct gradients of the other arguments, by name.
        narrow: dtypes that are narrower than those of the computation.
        conjugated: the gradient in the other convention of complex numbers, if there are any.
        ignored: the outputs whose cotangents do not change the gradient by the rule.
        without_ignored: the correct gradient if the cotangents of these outputs are 0.
    """

    sizes: Mapping[int, str]
    cotangents: Sequence[np.ndarray] = ()
    gradients: Mapping[str, np.ndarray] = {}
    narrow: Sequence[str] = ()
    conjugated: np.ndarray | None = None
    ignored: Sequence[int] = ()
    without_ignored: np.ndarray | None = None


def hint(got: np.ndarray, want: np.ndarray, close: float, context: HintContext) -> str | None:
    """Return the first known pattern that relates `got` to `want`, or None.

    Differences of at most `close` are ignored.
    """
    if not np.all(np.isfinite(want)):
        return None
    return next(_patterns(got, want, close, context), None)


def _patterns(
    got: np.ndarray, want: np.ndarray, close: float, context: HintContext
) -> Iterator[str]:
    if not np.all(np.isfinite(got)):
        yield "not finite, though the correct gradient is"
        return
    if not np.any(got):
        yield "all zeros: no gradient reaches this argument"
        return
    if context.conjugated is not None and _same(got, context.conjugated, close):
        yield CONJUGATED
    if context.without_ignored is not None and _same(got, context.without_ignored, close):
        yield _ignores(context.ignored)
    ratio = _ratio(got, want, close)
    if ratio is not None:
        yield from _constant_factor(ratio, context.sizes, known_only=want.size == 1)
    if got.ndim == 2 and got.shape[0] == got.shape[1] and _same(got.T, want, close):
        yield "transposed"
    if got.ndim == 2 and min(got.shape) > 1 and _same(got.reshape(got.shape[::-1]).T, want, close):
        yield "transposed, and read in the shape of the argument: is a .T missing?"
    for name, other in context.gradients.items():
        if _same(got, other, close):
            yield f"this is the gradient of {name}"
    for cotangent in context.cotangents:
        yield from _copies(got, cotangent, close)
    if got.ndim and len(got) > 1 and _same(got, np.broadcast_to(got[:1], got.shape), close):
        yield "all rows are equal, though each row has a different gradient"
    for name in context.narrow:
        if np.array_equal(got, got.astype(jnp.dtype(name)).astype(got.dtype)):
            yield f"rounded to {name} in an intermediate step"


def _ignores(outputs: Sequence[int]) -> str:
    if len(outputs) == 1:
        return f"the cotangent of output {outputs[0]} is ignored"
    return f"the cotangents of outputs {', '.join(map(str, outputs))} are ignored"


def _same(got: np.ndarray, want: np.ndarray | np.float64, close: float) -> bool:
    return got.shape == want.shape and bool(np.all(np.abs(got - want) <= close))


def _ratio(got: np.ndarray, want: np.ndarray, close: float) -> float | None:
    """Return r where `got = r want` everywhere, or None."""
    square = float(np.sum(want * want))
    if not np.any(np.abs(want) > close):
        return None
    ratio = float(np.sum(got * want)) / square
    tolerance = 4 * max(1.0, abs(ratio)) * max(close, 1e-12 * float(np.max(np.abs(want))))
    return ratio if _same(got, ratio * want, tolerance) else None


def _constant_factor(ratio: float, sizes: Mapping[int, str], known_only: bool) -> Iterator[str]:
    if np.isclose(ratio, -1, rtol=1e-6):
        yield "the sign is wrong"
        return
    prefix = "the sign is wrong, and " if ratio < 0 else ""
    factor = abs(ratio)
    for size, what in sizes.items():
        if np.isclose(factor, 1 / size, rtol=1e-5):
            yield f"{prefix}an extra factor of 1/{size} ({size} is {what})"
        if np.isclose(factor, size, rtol=1e-5):
            yield f"{prefix}{size} times too large: is 1/{size} missing? ({size} is {what})"
    if not known_only:
        yield f"{prefix}a constant factor: {_unlike_one(ratio)} times the correct gradient"


def _unlike_one(ratio: float) -> str:
    """Return a factor with as many digits as distinguish it from 1."""
    texts = (f"{ratio:.{digits}g}" for digits in range(6, 18))
    return next((text for text in texts if float(text) != 1), repr(ratio))


def _copies(got: np.ndarray, cotangent: np.ndarray, close: float) -> Iterator[str]:
    if _same(got, cotangent, close):
        yield "the cotangent, unchanged: the factor g' is missing"
    if cotangent.ndim == got.ndim + 1 and got.ndim:
        for row, one in enumerate(cotangent):
            if _same(got, one, close):
                yield f"row {row} of the cotangent alone: the sum over examples is missing"
