"""The rule under JAX's transformations: differentiated again, mapped, jitted, scanned."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..computing import FACTORS, OWN, as_float64, first_line, mode, times
from ..report import CheckResult
from ..tolerance import eps_of
from ..trial import Skip, Trial, pullback
from ._compare import compare
from .values import vjp

# Each operation that runs by itself is a program to compile, at 30 ms and more.
ONE_BY_ONE = 32


def second_order(trial: Trial) -> Iterator[CheckResult]:
    """The rule can be differentiated again: reverse over reverse and forward over reverse."""
    dtype = trial.wide
    if any(result.status == "failed" for result in _first_order(trial)):
        raise Skip("the first derivative is wrong already")
    right = _reference_hessian_product(trial, dtype)
    ways = {"reverse over reverse": _reverse_again, "forward over reverse": _forward_again}
    for name, way in ways.items():
        try:
            got = _hessian_product(trial, "rule", way, dtype)
        except Exception as error:
            said = f"{name}: cannot be differentiated so: {first_line(error)}"
            yield CheckResult("second_order", "skipped", message=said)
            continue
        for k, (one, want) in enumerate(zip(got, right, strict=True)):
            tolerance = 64 * trial.allowed(k, _scale(trial, k, want, dtype), dtype)
            result = compare("second_order", trial.name(k), one, want, tolerance, message=name)
            yield _explained(result)


def _first_order(trial: Trial) -> list[CheckResult]:
    try:
        return list(vjp(trial))
    except Skip:
        return []


def _scale(trial: Trial, k: int, want: Any, dtype: str) -> float:
    """Return the size of the second derivatives or of the first ones, whichever is larger."""
    first = as_float64(trial.rule(dtype).dxs[k])
    return max(np.max(np.abs(as_float64(want)), initial=0.0), np.max(np.abs(first), initial=0.0))


def _explained(result: CheckResult) -> CheckResult:
    if result.status != "failed":
        return result
    hint = "a residual under stop_gradient, or one that was computed outside of the rule"
    return dataclasses.replace(result, hint=hint)


def _reference_hessian_product(trial: Trial, dtype: str) -> Any:
    if trial.reference is None and not trial.has_rules:
        raise Skip("no hand-written rule was found in it: there is nothing to compare with")
    for way in (_forward_again, _reverse_again):
        try:
            return _hessian_product(trial, "plain", way, dtype)
        except Exception as error:
            why = error
    raise Skip(f"JAX cannot differentiate the reference twice: {first_line(why)}")


def _hessian_product(trial: Trial, which: str, way: Callable, dtype: str) -> Any:
    f = trial.functions[which]

    def gradient(xs: tuple[Array, ...], dys: tuple[Array, ...]) -> tuple[Array, ...]:
        # not linear in f, so that the rule's derivative by its cotangent is met too
        ys, pull = jax.vjp(lambda *xs: f(*xs)[0], *xs)
        return pull(tuple(dy + y for dy, y in zip(dys, ys, strict=True)))

    def program(xs: Any, dys: Any, us: Any) -> Any:
        return way(lambda xs: gradient(xs, dys), xs, us)

    xs, dys = trial.xs(dtype), trial.dys(dtype)
    with mode(dtype):
        us = tuple(jnp.asarray(trial.random(x.shape, 30 + k), x.dtype) for k, x in enumerate(xs))
    return trial.run((which, way.__name__, dtype), program, dtype, xs, dys, us)


def _forward_again(gradient: Callable, xs: Any, us: Any) -> Any:
    return jax.jvp(gradient, (xs,), (us,))[1]


def _reverse_again(gradient: Callable, xs: Any, us: Any) -> Any:
    # the Hessian is symmetric: its transpose times u is what forward mode gives
    dxs, pull = jax.vjp(gradient, xs)
    return pull(tuple(u.astype(dx.dtype) for u, dx in zip(us, dxs, strict=True)))[0]


def jit(trial: Trial) -> Iterator[CheckResult]:
    """Compiled, the rule gives what it gives operation by operation."""
    operations = len(trial.traced("rule", OWN).eqns)
    if operations > ONE_BY_ONE and trial.checks_all:
        raise Skip(f"{operations} operations would be compiled one by one; checks=['jit'] does")
    compiled, eager = trial.rule(OWN), trial.eagerly()
    for k, (got, want) in enumerate(zip(compiled.dxs, eager.dxs, strict=True)):
        tolerance = 2 * trial.allowed(k, want, OWN)
        message = "compiled and op by op, the rule gives different numbers"
        yield compare("jit", trial.name(k), got, want, tolerance, message=message)


def scan(trial: Trial) -> Iterator[CheckResult]:
    """In `lax.scan`, where dtypes must not change: gradients inside of it, and through it."""
    xs, dys = trial.xs(OWN), trial.dys(OWN)
    factors = jnp.asarray(FACTORS, jnp.float32)
    try:
        by_way = trial.run(("scan", OWN), _scanned(trial.functions["rule"]), OWN, xs, dys, factors)
    except Exception as error:
        yield CheckResult("scan", "failed", message=first_line(error))
        return
    points = [tuple(jnp.asarray(times(x, factor)) for x in xs) for factor in FACTORS]
    singles = [trial.rule(OWN, point).dxs for point in points]
    weights = {"inside of it": (1.0, 1.0, 1.0), "through it": FACTORS}
    for (way, weight), got in zip(weights.items(), by_way, strict=True):
        for k in range(trial.count):
            terms = [w * as_float64(dxs[k]) for w, dxs in zip(weight, singles, strict=True)]
            size = max(np.max(np.abs(term), initial=0.0) for term in terms)
            tolerance = 3 * trial.allowed(k, size, OWN) + 8 * eps_of(xs[k].dtype) * size
            scene = trial.scene(k, OWN)
            yield compare("scan", trial.name(k), got[k], sum(terms), tolerance, scene, message=way)


def _scanned(f: Callable) -> Callable[..., Any]:
    """Return the program of both: Σ of gradients at scaled points, and the gradient of Σ."""

    def scaled(xs: tuple[Array, ...], factor: Array) -> tuple[Array, ...]:
        return tuple(x * factor.astype(x.dtype) for x in xs)

    def program(xs: tuple[Array, ...], dys: tuple[Array, ...], factors: Array) -> Any:
        def add_gradients(total: Any, factor: Array) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, pullback(f)(scaled(xs, factor), dys).dxs), None

        def add_values(*xs: Array) -> Any:
            def step(total: Any, factor: Array) -> tuple[Any, None]:
                return jax.tree.map(jnp.add, total, f(*scaled(xs, factor))[0]), None

            return lax.scan(step, jax.tree.map(jnp.zeros_like, dys), factors)[0]

        inside = lax.scan(add_gradients, jax.tree.map(jnp.zeros_like, xs), factors)[0]
        return inside, jax.vjp(add_values, *xs)[1](dys)

    return program
