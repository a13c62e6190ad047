"""The rule under `vmap`, over each argument by itself."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..computing import FACTORS, as_float64, first_line, mode, times
from ..report import CheckResult
from ..trial import Trial, pullback
from ._compare import compare
from .linear import worst


def vmap(trial: Trial) -> Iterator[CheckResult]:
    """Mapped over each argument, the rule gives what it gives one example at a time."""
    dtype = trial.wide
    stacks = {i: _stacked(trial, i, dtype) for i in trial.point.arrays}

    inputs = trial.xs(dtype), trial.dys(dtype)

    def all_mapped(xs: tuple, dys: tuple, stacks: dict[int, Any]) -> dict[int, Any]:
        return {i: _over(trial, i)(xs, dys, stack) for i, stack in stacks.items()}

    try:  # one program for all arguments is half the work of one for each
        together = trial.run(("vmap", dtype), all_mapped, dtype, *inputs, stacks)
    except Exception:
        together = {}
    for i, stack in stacks.items():
        yield _mapped(trial, i, stack, dtype, together.get(i))


def _stacked(trial: Trial, i: int, dtype: str) -> Any:
    """Return three versions of leaf i."""
    leaf = trial.point.leaves[i]
    with mode(dtype):
        if i in trial.point.wrt:
            x = trial.xs(dtype)[trial.point.wrt.index(i)]
            return jnp.asarray(np.stack([times(x, factor) for factor in FACTORS]))
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.vmap(lambda n: jax.random.fold_in(leaf, n))(jnp.arange(3))
        array = np.asarray(leaf)
        return jnp.asarray(np.stack([np.roll(array, n) for n in range(3)]))


def _at(trial: Trial, xs: tuple, i: int, x: Any) -> tuple[tuple, dict[int, Any]]:
    """Return the differentiable leaves, and what else is replaced, with x for leaf i."""
    if i not in trial.point.wrt:
        return xs, {i: x}
    k = trial.point.wrt.index(i)
    return (*xs[:k], x, *xs[k + 1 :]), {}


def _one(trial: Trial, i: int, which: str = "rule") -> Callable[[tuple, tuple, Any], tuple]:
    """Return the gradients as a function of the inputs and leaf i."""

    def pulled(xs: tuple, dys: tuple, x: Any) -> tuple:
        moved, held = _at(trial, xs, i, x)
        f = trial.functions[which]
        return pullback(lambda *xs: f(*xs, held=held))(moved, dys).dxs

    return pulled


def _over(trial: Trial, i: int) -> Callable[[tuple, tuple, Any], tuple]:
    return jax.vmap(_one(trial, i), in_axes=(None, None, 0))


def _mapped(trial: Trial, i: int, stack: Any, dtype: str, got: Any) -> CheckResult:
    name = trial.point.names[i]
    try:
        inputs = trial.xs(dtype), trial.dys(dtype), stack
        got = got or trial.run(("vmap", i, dtype), _over(trial, i), dtype, *inputs)
    except Exception as error:
        if "UNIMPLEMENTED" in str(error):  # the backend's limit, not the rule's
            return CheckResult("vmap", "skipped", name, message=first_line(error))
        if _reference_can_be_mapped(trial, i, stack, dtype):
            return CheckResult("vmap", "failed", name, message=first_line(error))
        said = f"the reference cannot be mapped over it either: {first_line(error)}"
        return CheckResult("vmap", "skipped", name, message=said)
    singles = [_single(trial, i, x, dtype) for x in stack]
    want = [np.stack([as_float64(dxs[k]) for dxs in singles]) for k in range(trial.count)]
    results = [
        compare("vmap", name, g, w, 4 * trial.allowed(k, w, dtype), trial.scene(k, dtype))
        for k, (g, w) in enumerate(zip(got, want, strict=True))
    ]
    return worst(results)


def _reference_can_be_mapped(trial: Trial, i: int, stack: Any, dtype: str) -> bool:
    """Whether the reference runs mapped: differentiated, if it can be, or by itself."""
    inputs = trial.xs(dtype), trial.dys(dtype)

    def value(xs: tuple, dys: tuple, x: Any) -> Any:
        moved, held = _at(trial, xs, i, x)
        return trial.functions["plain"](*moved, held=held)

    try:
        trial.by_autodiff(dtype)
        one = _one(trial, i, "plain")
    except Exception:
        one = value
    try:
        with mode(dtype):
            jax.block_until_ready(jax.jit(jax.vmap(one, (None, None, 0)))(*inputs, stack))
    except Exception:
        return False
    return True


def _single(trial: Trial, i: int, x: Any, dtype: str) -> Any:
    """Return the gradients at one version of leaf i."""
    xs, held = _at(trial, trial.xs(dtype), i, x)
    if not held:
        return trial.rule(dtype, xs).dxs
    return trial.run(("held", i, dtype), _one(trial, i), dtype, xs, trial.dys(dtype), x)
