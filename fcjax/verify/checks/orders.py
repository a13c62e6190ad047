"""The rule differentiated again: second and third derivatives."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..._types import Function, Tree
from ..compare import compare
from ..point import Leaves
from ..precision import as_float64, eps_of, largest
from ..program import Refused, Skip
from ..report import CheckResult
from ..sample import Sample
from ..search.constants import constants_of
from ..subject import Side
from .values import vjp

Mode = Callable[[Function, Leaves, Leaves], Tree]
# Third derivatives of larger functions are left out, unless they are asked for.
MAX_OPERATIONS = 200
# Differences at two distances that differ by more than this fraction are no derivative.
SIZEABLE = 0.05
# At other numbers, derivatives that differ by less than this fraction are equal.
CLOSE = 1e-3
NOISE = 1e-7
# So many numbers are stepped over: 1, and those of the program.
CONSTANTS = 2


class Oracle(NamedTuple):
    """A derivative in one direction, for each leaf, and how far it may be off."""

    values: Sequence[np.ndarray]
    errors: Sequence[np.ndarray]


def second_order(sample: Sample) -> Iterator[CheckResult]:
    """The rule can be differentiated again: reverse over reverse and forward over reverse.

    Where JAX cannot differentiate the reference twice, differences of the gradient are the oracle.
    """
    if any(result.status == "failed" for result in _first_order(sample)):
        raise Skip("the first derivative is already wrong")
    right = _reference_product(sample) or _differences(sample, _gradient_at(sample))
    results = list(_compared(sample, "second_order", right))
    yield from results
    if not any(result.status == "failed" for result in results):
        yield from _elsewhere(sample)


def _elsewhere(sample: Sample) -> Iterator[CheckResult]:
    """Yield a mistake at other numbers, if the first derivative is right there.

    A rule may be differentiated by a rule of its own, which is wrong beyond a clip or a mask.
    """
    subject, wide = sample.subject, sample.wide
    if not subject.has_oracle or subject.computed_eps(wide) > eps_of("float64"):
        return
    for text, xs in _other_points(sample):
        try:
            found = _mistake_at(sample, xs)
        except Refused:
            return
        if found is not None:
            k, got, want, size = found
            message = f"reverse over reverse, {text}"
            name, tolerance = sample.name(k), CLOSE * size
            yield compare("second_order", name, got, want, tolerance, message=message)
            return


def _mistake_at(sample: Sample, xs: Leaves) -> tuple[int, Array, Array, float] | None:
    """Return a leaf whose second derivative is wrong there: by the rule, by autodiff, and its size.

    None if there is none, or if the first derivative is already wrong.
    """
    wide = sample.wide
    first = [sample.rule(wide, xs).dxs, sample.autodiff(wide, xs).dxs]
    if any(_differ(got, want, largest(want)) for got, want in zip(*first, strict=True)):
        return None
    second = [_hessian_product(sample, side, _reverse_again, xs) for side in sample.subject.sides]
    sizes = [max(*map(largest, dxs)) for dxs in zip(first[0], second[1], strict=True)]
    # terms that are as large as in other leaves may cancel
    widths = [largest(x) or 1.0 for x in xs]
    terms = NOISE * max(s * width for s, width in zip(sizes, widths, strict=True))
    usual = map(largest, sample.rule(wide).dxs)
    each = zip(*second, sizes, usual, widths, strict=True)
    for k, (got, want, *some, width) in enumerate(each):
        size = max(*some, terms / width)
        if _differ(got, want, size):
            return k, got, want, size
    return None


def _differ(got: Array, want: Array, size: float) -> bool:
    """Whether two derivatives that are finite differ by more than rounding can explain."""
    change = as_float64(got) - as_float64(want)
    return bool(np.isfinite(change).all()) and largest(change) > CLOSE * size


def _other_points(sample: Sample) -> Iterator[tuple[str, Leaves]]:
    """Yield arguments of another size, and on the other sides of numbers in the program."""
    xs, moved = sample.xs(sample.wide), len(sample.point.wrt)
    changes = {f"with {c} times the arguments": (c, 0.0) for c in (4, -4)}
    for constant in (1.0, *constants_of(sample))[:CONSTANTS]:
        for shift in (2 * constant, -2 * constant):
            changes[f"with {shift:.6g} added to the arguments"] = 1, shift
    for text, (factor, shift) in changes.items():
        values = tuple(as_float64(x) * factor + shift for x in xs[:moved])
        values = *values, *map(as_float64, xs[moved:])
        if sample.is_inside(values):
            with sample.wide.context():
                pairs = zip(values, xs, strict=True)
                yield text, tuple(jnp.asarray(v, x.dtype) for v, x in pairs)


def _compared(sample: Sample, check: str, right: Oracle) -> Iterator[CheckResult]:
    modes = {"reverse over reverse": _reverse_again, "forward over reverse": _forward_again}
    for name, mode in modes.items():
        try:
            got = _hessian_product(sample, sample.subject.rule, mode)
        except Refused as refusal:
            message = f"the rule cannot be differentiated {name}: {refusal}"
            yield CheckResult(check, "skipped", message=message)
            continue
        yield from (_result(sample, check, k, one, right, name) for k, one in enumerate(got))


def _result(sample: Sample, check: str, k: int, got: Array, right: Oracle, how: str) -> CheckResult:
    want, error = right.values[k], right.errors[k]
    size = max(largest(want), largest(sample.rule(sample.wide).dxs[k]))
    tolerance = 64 * sample.allowed(k, size, sample.wide) + largest(error)
    out = ~np.isfinite(want) | ~np.isfinite(error)
    result = compare(check, sample.name(k), got, want, tolerance, message=how, leave_out=out)
    if result.status != "failed":
        return result
    hint = "a residual is under stop_gradient, or was computed outside the rule"
    return dataclasses.replace(result, hint=hint)


def _first_order(sample: Sample) -> list[CheckResult]:
    try:
        return list(vjp(sample))
    except Skip:
        return []


def _reference_product(sample: Sample) -> Oracle | None:
    """Return the product by autodiff of the reference, None if JAX cannot differentiate it."""
    for mode in (_forward_again, _reverse_again):
        try:
            values = list(map(as_float64, _hessian_product(sample, sample.subject.plain, mode)))
        except Refused:
            continue
        return Oracle(values, [np.zeros_like(value) for value in values])
    return None


def _gradient(side: Side) -> Function:
    def gradient(xs: tuple[Array, ...], dys: tuple[Array, ...]) -> tuple[Array, ...]:
        # the cotangent depends on y, so that the derivative of the rule in its cotangent counts too
        ys, pull = jax.vjp(lambda *xs: side.function(*xs)[0], *xs)
        return pull(tuple(dy + y for dy, y in zip(dys, ys, strict=True)))

    return gradient


def _gradient_at(sample: Sample) -> Callable[[Leaves], Leaves]:
    """Return the gradient by the rule, as a function of the leaves."""
    program = sample.subject.program("gradient", _gradient(sample.subject.rule))
    return lambda xs: program(sample.wide, xs, sample.dys(sample.wide))


def _directions(sample: Sample) -> Leaves:
    xs = sample.xs(sample.wide)
    with sample.wide.context():
        return tuple(jnp.asarray(sample.random(x.shape, 30 + k), x.dtype) for k, x in enumerate(xs))


def _hessian_product(sample: Sample, side: Side, mode: Mode, xs: Leaves | None = None) -> Leaves:
    gradient = _gradient(side)

    def product(xs: Leaves, dys: Leaves, us: Leaves) -> Tree:
        return mode(lambda xs: gradient(xs, dys), xs, us)

    which = "rule" if side is sample.subject.rule else "plain"
    program = sample.subject.program(f"{which} {mode.__name__}", product)
    xs = sample.xs(sample.wide) if xs is None else xs
    return program(sample.wide, xs, sample.dys(sample.wide), _directions(sample))


def _forward_again(gradient: Function, xs: Leaves, us: Leaves) -> Tree:
    return jax.jvp(gradient, (xs,), (us,))[1]


def _reverse_again(gradient: Function, xs: Leaves, us: Leaves) -> Tree:
    # the Hessian is symmetric, so its transpose times u equals the result of forward mode
    dxs, pull = jax.vjp(gradient, xs)
    return pull(tuple(u.astype(dx.dtype) for u, dx in zip(us, dxs, strict=True)))[0]


def third_order(sample: Sample) -> Iterator[CheckResult]:
    """The rule can be differentiated twice more; the oracle are differences of its second order."""
    if sample.subject.size > MAX_OPERATIONS and not sample.explicit_checks:
        raise Skip(f"{sample.subject.size} operations; checks=['third_order'] checks it anyway")
    second = list(second_order(sample))
    if any(result.status == "failed" for result in second):
        raise Skip("the second derivative is already wrong")
    mode = _forward_again
    try:
        _hessian_product(sample, sample.subject.rule, mode)
    except Refused:
        mode = _reverse_again
    gradient, us = _gradient(sample.subject.rule), _directions(sample)

    def again(xs: Leaves, dys: Leaves, us: Leaves) -> Tree:
        return mode(lambda xs: mode(lambda xs: gradient(xs, dys), xs, us), xs, us)

    program = sample.subject.program("third order", again)
    try:
        got = program(sample.wide, sample.xs(sample.wide), sample.dys(sample.wide), us)
    except Refused as refusal:
        raise Skip(f"the rule cannot be differentiated three times: {refusal}") from refusal
    right = _differences(sample, lambda xs: _hessian_product(sample, sample.subject.rule, mode, xs))
    # what has no first derivative by autodiff has no third one
    with contextlib.suppress(Refused):
        plain = map(as_float64, sample.autodiff(sample.wide).dxs)
        pairs = zip(plain, right.errors, strict=True)
        right = right._replace(errors=[np.where(np.isfinite(dx), e, np.inf) for dx, e in pairs])
    for k, one in enumerate(got):
        yield _result(sample, "third_order", k, one, right, "differentiated twice more")


def _differences(sample: Sample, function: Callable[[Leaves], Leaves]) -> Oracle:
    """Return the derivative of a function of leaves along the directions, by differences.

    Of two central differences, with steps h and 2h and errors c h² + O(h⁴), 4/3 of the first minus
    1/3 of the second has the error O(h⁴). Their difference, 3c h², bounds it where c h² dominates.
    Where it is a sizeable part of the result, there is a kink or a pole between the points, and
    nothing is known. A kink that is much nearer than h changes both alike, but then those to the
    two sides differ by a jump j, which does not double with the distance. A kink at the distance
    d ≤ h has j (6h − 7d)/12h of error, which |near − far| = j d/4h and half of |j − 3jd/2h| bound.
    """
    xs, us = sample.xs(sample.wide), _directions(sample)
    eps = max(eps_of(x.dtype) for x in xs)
    step = eps**0.2
    sizes = [1 + largest(x) for x in xs]

    def at(h: float) -> list[np.ndarray]:
        with sample.wide.context():
            moved = tuple(x + np.asarray(h, x.dtype) * u for x, u in zip(xs, us, strict=True))
        return list(map(as_float64, function(moved)))

    middle = at(0.0)
    sides = [(h, at(h), at(-h)) for h in (step, 2 * step)]
    near, far = (
        [(a - b) / (2 * h) for a, b in zip(ahead, behind, strict=True)]
        for h, ahead, behind in sides
    )
    bends = [
        [(a - 2 * m + b) / h for a, m, b in zip(ahead, middle, behind, strict=True)]
        for h, ahead, behind in sides
    ]
    values = [(4 * a - b) / 3 for a, b in zip(near, far, strict=True)]
    with np.errstate(invalid="ignore"):
        errors = [
            np.abs(a - b) + np.abs(d - 2 * c) / 2
            for a, b, c, d in zip(near, far, *bends, strict=True)
        ]
        sizeable = [e > SIZEABLE * np.abs(v) for e, v in zip(errors, values, strict=True)]
    errors = [np.where(s & (e > 0), np.inf, e) for s, e in zip(sizeable, errors, strict=True)]
    lost = eps * max(sizes) / step
    return Oracle(values, [e + lost * largest(v) for e, v in zip(errors, values, strict=True)])
