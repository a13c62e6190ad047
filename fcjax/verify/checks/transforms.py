"""The rule under JAX's transformations: differentiated again, jitted, scanned."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..._jax import equations_in
from ..compare import compare
from ..precision import FACTORS, Precision, as_float64, eps_of, largest, times
from ..program import Refused, Skip
from ..report import CheckResult
from ..sample import Sample
from ..subject import OfLeaves, Side, pullback_of
from .values import vjp

# Each operation that runs by itself is a program to compile, at 30 ms and more.
ONE_BY_ONE = 32
Way = Callable[[Callable[..., Any], Any, Any], Any]


def second_order(sample: Sample) -> Iterator[CheckResult]:
    """The rule can be differentiated again: reverse over reverse and forward over reverse."""
    if any(result.status == "failed" for result in _first_order(sample)):
        raise Skip("the first derivative is wrong already")
    right = _reference_product(sample)
    ways = {"reverse over reverse": _reverse_again, "forward over reverse": _forward_again}
    for name, way in ways.items():
        try:
            got = _hessian_product(sample, sample.subject.rule, way)
        except Refused as refusal:
            said = f"{name}: cannot be differentiated so: {refusal}"
            yield CheckResult("second_order", "skipped", message=said)
            continue
        for k, (one, want) in enumerate(zip(got, right, strict=True)):
            size = max(largest(want), largest(sample.rule(sample.wide).dxs[k]))
            tolerance = 64 * sample.allowed(k, size, sample.wide)
            out = ~np.isfinite(as_float64(want))
            result = compare(
                "second_order", sample.name(k), one, want, tolerance, message=name, leave_out=out
            )
            yield _explained(result)


def _first_order(sample: Sample) -> list[CheckResult]:
    try:
        return list(vjp(sample))
    except Skip:
        return []


def _explained(result: CheckResult) -> CheckResult:
    if result.status != "failed":
        return result
    hint = "a residual under stop_gradient, or one that was computed outside of the rule"
    return dataclasses.replace(result, hint=hint)


def _reference_product(sample: Sample) -> Any:
    why: Refused | None = None
    for way in (_forward_again, _reverse_again):
        try:
            return _hessian_product(sample, sample.subject.plain, way)
        except Refused as refusal:
            why = refusal
    raise Skip(f"JAX cannot differentiate the reference twice: {why}")


def _hessian_product(sample: Sample, side: Side, way: Way) -> Any:
    precision = sample.wide

    def gradient(xs: tuple[Array, ...], dys: tuple[Array, ...]) -> tuple[Array, ...]:
        # not linear in f, so that the rule's derivative by its cotangent is met too
        ys, pull = jax.vjp(lambda *xs: side.function(*xs)[0], *xs)
        return pull(tuple(dy + y for dy, y in zip(dys, ys, strict=True)))

    def product(xs: Any, dys: Any, us: Any) -> Any:
        return way(lambda xs: gradient(xs, dys), xs, us)

    xs, dys = sample.xs(precision), sample.dys(precision)
    with precision.context():
        us = tuple(jnp.asarray(sample.random(x.shape, 30 + k), x.dtype) for k, x in enumerate(xs))
    which = "rule" if side is sample.subject.rule else "plain"
    program = sample.subject.program(f"{which} {way.__name__}", product)
    return program(precision, xs, dys, us)


def _forward_again(gradient: Callable[..., Any], xs: Any, us: Any) -> Any:
    return jax.jvp(gradient, (xs,), (us,))[1]


def _reverse_again(gradient: Callable[..., Any], xs: Any, us: Any) -> Any:
    # the Hessian is symmetric: its transpose times u is what forward mode gives
    dxs, pull = jax.vjp(gradient, xs)
    return pull(tuple(u.astype(dx.dtype) for u, dx in zip(us, dxs, strict=True)))[0]


def jit(sample: Sample) -> Iterator[CheckResult]:
    """Compiled, the rule gives what it gives operation by operation."""
    own = Precision.OWN
    program = sample.subject.traced(sample.subject.rule, own)
    operations = sum(1 for _ in equations_in(program))
    if operations > ONE_BY_ONE and not sample.chosen:
        raise Skip(f"{operations} operations would be compiled one by one; checks=['jit'] does")
    compiled, eager = sample.rule(own), sample.eagerly()
    for k, (got, want) in enumerate(zip(compiled.dxs, eager.dxs, strict=True)):
        tolerance = 2 * sample.allowed(k, want, own)
        message = "compiled and op by op, the rule gives different numbers"
        yield compare("jit", sample.name(k), got, want, tolerance, message=message)


def scan(sample: Sample) -> Iterator[CheckResult]:
    """In `lax.scan`, where dtypes must not change: gradients inside of it, and through it."""
    own = Precision.OWN
    xs, dys = sample.xs(own), sample.dys(own)
    program = sample.subject.program("scan", _scanned(sample.subject.rule.function))
    try:
        by_way = program(own, xs, dys, jnp.asarray(FACTORS, jnp.float32))
    except Refused as refusal:
        yield CheckResult("scan", "failed", message=str(refusal))
        return
    points = [tuple(jnp.asarray(times(x, factor)) for x in xs) for factor in FACTORS]
    singles = [sample.rule(own, point, dys).dxs for point in points]
    weights = {"inside of it": (1.0, 1.0, 1.0), "through it": FACTORS}
    for (way, weight), got in zip(weights.items(), by_way, strict=True):
        for k in range(sample.count):
            terms = [w * as_float64(dxs[k]) for w, dxs in zip(weight, singles, strict=True)]
            size = max(map(largest, terms))
            tolerance = 3 * sample.allowed(k, size, own) + 8 * eps_of(xs[k].dtype) * size
            scene = sample.scene(k, own)
            yield compare(
                "scan", sample.name(k), got[k], sum(terms), tolerance, scene=scene, message=way
            )


def _scanned(f: OfLeaves) -> Callable[..., Any]:
    """Return the program of both: Σ of gradients at scaled points, and the gradient of Σ."""

    def scaled(xs: tuple[Array, ...], factor: Array) -> tuple[Array, ...]:
        return tuple(x * factor.astype(x.dtype) for x in xs)

    def program(xs: tuple[Array, ...], dys: tuple[Array, ...], factors: Array) -> Any:
        def add_gradients(total: Any, factor: Array) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, pullback_of(f)(scaled(xs, factor), dys).dxs), None

        def add_values(*xs: Array) -> Any:
            def step(total: Any, factor: Array) -> tuple[Any, None]:
                return jax.tree.map(jnp.add, total, f(*scaled(xs, factor))[0]), None

            return lax.scan(step, jax.tree.map(jnp.zeros_like, dys), factors)[0]

        inside = lax.scan(add_gradients, jax.tree.map(jnp.zeros_like, xs), factors)[0]
        return inside, jax.vjp(add_values, *xs)[1](dys)

    return program
