"""The rule under transformations of JAX: second derivatives, `jit` and `scan`."""

import dataclasses
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..._jax import equations_in
from ..._types import Function, Tree
from ..compare import compare
from ..point import Leaves
from ..precision import FACTORS, Precision, as_float64, eps_of, largest, scaled
from ..program import Refused, Skip
from ..report import CheckResult
from ..sample import Sample
from ..subject import OfLeaves, Side, pullback_of
from .values import vjp

# Evaluated one by one, each operation is a program to compile, which takes 30 ms or more.
MAX_EAGER_OPERATIONS = 32
Mode = Callable[[Function, Leaves, Leaves], Tree]


def second_order(sample: Sample) -> Iterator[CheckResult]:
    """The rule can be differentiated again: reverse over reverse and forward over reverse."""
    if any(result.status == "failed" for result in _first_order(sample)):
        raise Skip("the first derivative is already wrong")
    right = _reference_product(sample)
    modes = {"reverse over reverse": _reverse_again, "forward over reverse": _forward_again}
    for name, mode in modes.items():
        try:
            got = _hessian_product(sample, sample.subject.rule, mode)
        except Refused as refusal:
            message = f"the rule cannot be differentiated {name}: {refusal}"
            yield CheckResult("second_order", "skipped", message=message)
            continue
        for k, (one, want) in enumerate(zip(got, right, strict=True)):
            size = max(largest(want), largest(sample.rule(sample.wide).dxs[k]))
            tolerance = 64 * sample.allowed(k, size, sample.wide)
            out = ~np.isfinite(as_float64(want))
            result = compare(
                "second_order", sample.name(k), one, want, tolerance, message=name, leave_out=out
            )
            yield _with_hint(result)


def _first_order(sample: Sample) -> list[CheckResult]:
    try:
        return list(vjp(sample))
    except Skip:
        return []


def _with_hint(result: CheckResult) -> CheckResult:
    if result.status != "failed":
        return result
    hint = "a residual is under stop_gradient, or was computed outside the rule"
    return dataclasses.replace(result, hint=hint)


def _reference_product(sample: Sample) -> Tree:
    why: Refused | None = None
    for mode in (_forward_again, _reverse_again):
        try:
            return _hessian_product(sample, sample.subject.plain, mode)
        except Refused as refusal:
            why = refusal
    raise Skip(f"JAX cannot differentiate the reference twice: {why}")


def _hessian_product(sample: Sample, side: Side, mode: Mode) -> Tree:
    precision = sample.wide

    def gradient(xs: tuple[Array, ...], dys: tuple[Array, ...]) -> tuple[Array, ...]:
        # the cotangent depends on y, so that the derivative of the rule in its cotangent counts too
        ys, pull = jax.vjp(lambda *xs: side.function(*xs)[0], *xs)
        return pull(tuple(dy + y for dy, y in zip(dys, ys, strict=True)))

    def product(xs: Leaves, dys: Leaves, us: Leaves) -> Tree:
        return mode(lambda xs: gradient(xs, dys), xs, us)

    xs, dys = sample.xs(precision), sample.dys(precision)
    with precision.context():
        us = tuple(jnp.asarray(sample.random(x.shape, 30 + k), x.dtype) for k, x in enumerate(xs))
    which = "rule" if side is sample.subject.rule else "plain"
    program = sample.subject.program(f"{which} {mode.__name__}", product)
    return program(precision, xs, dys, us)


def _forward_again(gradient: Function, xs: Leaves, us: Leaves) -> Tree:
    return jax.jvp(gradient, (xs,), (us,))[1]


def _reverse_again(gradient: Function, xs: Leaves, us: Leaves) -> Tree:
    # the Hessian is symmetric, so its transpose times u equals the result of forward mode
    dxs, pull = jax.vjp(gradient, xs)
    return pull(tuple(u.astype(dx.dtype) for u, dx in zip(us, dxs, strict=True)))[0]


def jit(sample: Sample) -> Iterator[CheckResult]:
    """The compiled rule equals the rule evaluated operation by operation."""
    own = Precision.OWN
    program = sample.subject.traced(sample.subject.rule, own)
    operations = sum(1 for _ in equations_in(program))
    if operations > MAX_EAGER_OPERATIONS and not sample.explicit_checks:
        raise Skip(
            f"{operations} operations to compile one by one; checks=['jit'] checks it anyway"
        )
    compiled, eager = sample.rule(own), sample.eagerly()
    for k, (got, want) in enumerate(zip(compiled.dxs, eager.dxs, strict=True)):
        tolerance = 2 * sample.allowed(k, want, own)
        message = "the compiled rule and the rule operation by operation differ"
        yield compare("jit", sample.name(k), got, want, tolerance, message=message)


def scan(sample: Sample) -> Iterator[CheckResult]:
    """Gradients inside `lax.scan`, where dtypes must not change, and of a `lax.scan`."""
    own = Precision.OWN
    xs, dys = sample.xs(own), sample.dys(own)
    program = sample.subject.program("scan", _scanned(sample.subject.rule.function))
    try:
        found = program(own, xs, dys, jnp.asarray(FACTORS, jnp.float32))
    except Refused as refusal:
        yield CheckResult("scan", "failed", message=str(refusal))
        return
    points = [tuple(jnp.asarray(scaled(x, factor)) for x in xs) for factor in FACTORS]
    singles = [sample.rule(own, point, dys).dxs for point in points]
    weights = {"inside scan": (1.0, 1.0, 1.0), "of scan": FACTORS}
    for (mode, weight), got in zip(weights.items(), found, strict=True):
        for k in range(sample.count):
            terms = [w * as_float64(dxs[k]) for w, dxs in zip(weight, singles, strict=True)]
            size = max(map(largest, terms))
            tolerance = 3 * sample.allowed(k, size, own) + 8 * eps_of(xs[k].dtype) * size
            yield compare(
                "scan",
                sample.name(k),
                got[k],
                sum(terms),
                tolerance,
                context=sample.hint_context(k, own),
                message=f"gradient {mode}",
            )


def _scanned(f: OfLeaves) -> Function:
    """Return the function of both: Σ of gradients at scaled points, and the gradient of Σ."""

    def at(xs: tuple[Array, ...], factor: Array) -> tuple[Array, ...]:
        return tuple(x * factor.astype(x.dtype) for x in xs)

    def program(xs: tuple[Array, ...], dys: tuple[Array, ...], factors: Array) -> tuple[Tree, Tree]:
        def add_gradients(total: Tree, factor: Array) -> tuple[Tree, None]:
            return jax.tree.map(jnp.add, total, pullback_of(f)(at(xs, factor), dys).dxs), None

        def add_values(*xs: Array) -> Tree:
            def step(total: Tree, factor: Array) -> tuple[Tree, None]:
                return jax.tree.map(jnp.add, total, f(*at(xs, factor))[0]), None

            return lax.scan(step, jax.tree.map(jnp.zeros_like, dys), factors)[0]

        inside = lax.scan(add_gradients, jax.tree.map(jnp.zeros_like, xs), factors)[0]
        return inside, jax.vjp(add_values, *xs)[1](dys)

    return program
