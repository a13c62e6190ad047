"""The rule under JAX's transformations: differentiated again, mapped, jitted, scanned."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..report import CheckResult
from ..trial import OWN, Skip, Trial, as_float64, first_line, mode, pullback
from ._compare import compare
from .linear import worst
from .values import vjp

# Three points at once; all stay inside a domain such as (0, 1).
FACTORS = (1.0, 0.9, 0.8)


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


def vmap(trial: Trial) -> Iterator[CheckResult]:
    """Mapped over each argument, the rule gives what it gives one example at a time."""
    dtype = trial.wide
    for i, name in enumerate(trial.point.names):
        stack = _stacked(trial, i, dtype)
        if stack is not None:
            yield _mapped(trial, i, name, stack, dtype)


def _stacked(trial: Trial, i: int, dtype: str) -> Any:
    """Return three versions of leaf i, or None for what is no array."""
    leaf = trial.point.leaves[i]
    if not hasattr(leaf, "dtype"):
        return None
    with mode(dtype):
        if i in trial.point.wrt:
            x = np.asarray(trial.xs(dtype)[trial.point.wrt.index(i)])
            return jnp.asarray(np.stack([_times(x, factor) for factor in FACTORS]))
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.vmap(lambda n: jax.random.fold_in(leaf, n))(jnp.arange(3))
        array = np.asarray(leaf)
        return jnp.asarray(np.stack([np.roll(array, n) for n in range(3)]))


def _times(x: Any, factor: float) -> np.ndarray:
    """Multiply on the host: one program fewer to compile."""
    x = np.asarray(x)
    return (x * np.asarray(factor, x.dtype)).astype(x.dtype)


def _mapped(trial: Trial, i: int, name: str, stack: Any, dtype: str) -> CheckResult:
    xs, dys = trial.xs(dtype), trial.dys(dtype)
    k = trial.point.wrt.index(i) if i in trial.point.wrt else None

    def one(which: str, x: Any) -> Any:
        f = trial.functions[which]
        moved = xs if k is None else (*xs[:k], x, *xs[k + 1 :])
        held = {i: x} if k is None else None
        return pullback(lambda *xs: f(*xs, held=held))(moved, dys).dxs

    def over(which: str) -> Callable:
        return lambda stack: jax.vmap(lambda x: one(which, x))(stack)

    try:
        got = trial.run(("vmap", i, dtype), over("rule"), dtype, stack)
    except Exception as error:
        try:
            with mode(dtype):
                jax.eval_shape(lambda s: jax.vmap(lambda x: _value(trial, i, k, xs, x))(s), stack)
        except Exception:
            said = f"the function itself cannot be mapped over it: {first_line(error)}"
            return CheckResult("vmap", "skipped", name, message=said)
        return CheckResult("vmap", "failed", name, message=first_line(error))
    singles = [_single(trial, i, k, x, dtype, one) for x in stack]
    want = [np.stack([as_float64(dxs[j]) for dxs in singles]) for j in range(trial.count)]
    return worst([
        compare("vmap", name, g, w, 4 * trial.allowed(j, w, dtype), trial.scene(j, dtype))
        for j, (g, w) in enumerate(zip(got, want, strict=True))
    ])  # fmt: skip


def _single(trial: Trial, i: int, k: int | None, x: Any, dtype: str, one: Callable) -> Any:
    """Return the gradients at one version of leaf i."""
    if k is None:
        return trial.run(("held", i, dtype), lambda x: one("rule", x), dtype, x)
    xs = trial.xs(dtype)
    return trial.rule(dtype, (*xs[:k], x, *xs[k + 1 :])).dxs


def _value(trial: Trial, i: int, k: int | None, xs: Any, x: Any) -> Any:
    moved = xs if k is None else (*xs[:k], x, *xs[k + 1 :])
    return trial.functions["plain"](*moved, held={i: x} if k is None else None)


def jit(trial: Trial) -> Iterator[CheckResult]:
    """Compiled, the rule gives what it gives operation by operation."""
    compiled, eager = trial.rule(OWN), trial.eagerly()
    for k, (got, want) in enumerate(zip(compiled.dxs, eager.dxs, strict=True)):
        tolerance = 2 * trial.allowed(k, want, OWN)
        message = "compiled and op by op, the rule gives different numbers"
        yield compare("jit", trial.name(k), got, want, tolerance, message=message)


def scan(trial: Trial) -> Iterator[CheckResult]:
    """Inside `lax.scan`, where dtypes must not change, gradients add up."""
    xs, dys = trial.xs(OWN), trial.dys(OWN)
    f = trial.functions["rule"]

    def scaled(factor: Array) -> tuple[Array, ...]:
        return tuple(x * factor.astype(x.dtype) for x in xs)

    def program(factors: Array) -> Any:
        def step(total: Any, factor: Array) -> tuple[Any, None]:
            dxs = pullback(f)(scaled(factor), dys).dxs
            return tuple(jnp.add(t, dx) for t, dx in zip(total, dxs, strict=True)), None

        return lax.scan(step, tuple(jnp.zeros_like(x) for x in xs), factors)[0]

    factors = jnp.asarray(FACTORS, jnp.float32)
    try:
        got = trial.run(("scan", OWN), program, OWN, factors)
    except Exception as error:
        yield CheckResult("scan", "failed", message=first_line(error))
        return
    singles = [
        trial.rule(OWN, tuple(jnp.asarray(_times(x, factor)) for x in xs)).dxs for factor in FACTORS
    ]
    for k in range(trial.count):
        want = sum(as_float64(dxs[k]) for dxs in singles)
        size = max(np.max(np.abs(as_float64(dxs[k])), initial=0.0) for dxs in singles)
        tolerance = 3 * trial.allowed(k, size, OWN) + 8 * float(jnp.finfo(xs[k].dtype).eps) * size
        yield compare("scan", trial.name(k), got[k], want, tolerance, trial.scene(k, OWN))
