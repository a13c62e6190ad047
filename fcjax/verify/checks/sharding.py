"""The rule on several devices, on every kind of mesh."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ..computing import as_float64, first_line, mode
from ..plain import is_array
from ..report import CheckResult
from ..trial import Skip, Trial, pullback
from ._compare import compare
from .form import argument_in

DEVICES = 2
AXIS = "devices"
MISSING_SUM = "the sum over devices, a psum, is missing for an argument that all of them hold"
SUMMED_TWICE = "summed over devices twice: where nothing varies, the boundary of shard_map sums"


def sharding(trial: Trial) -> Iterator[CheckResult]:
    """Split over devices, the rule gives what the reference gives split in the same way.

    The examples are the first axis of all arrays that share a length with which this is possible.
    They are split, automatically, with explicit axis types, and by `shard_map` with its check of
    varying values on and off; what the other arguments hold is on every device.
    """
    if len(jax.devices()) < DEVICES:
        raise Skip("one device; jax.config.update('jax_num_cpu_devices', 2) simulates more")
    split = _split(trial)
    for name, way in WAYS.items():
        yield from _compared(trial, name, way, split)


def _split(trial: Trial) -> list[bool]:
    """Whether each leaf holds examples: the first length with which the reference runs split."""
    shapes = [np.shape(leaf) if is_array(leaf) else () for leaf in trial.point.leaves]
    for size in dict.fromkeys(shape[0] for shape in shapes if shape and shape[0]):
        split = [bool(shape) and shape[0] == size for shape in shapes]
        with contextlib.suppress(Exception):
            _in_shard_map(trial, "plain", split, check_vma=True)
            return split
    raise Skip("the function runs with no axis of its arguments split over devices")


def _compared(trial: Trial, name: str, way: Callable, split: list[bool]) -> Iterator[CheckResult]:
    try:
        want = way(trial, "plain", split)
    except Exception as error:
        said = f"{name}: the reference itself cannot run so: {first_line(error)}"
        yield CheckResult("sharding", "skipped", message=said)
        return
    try:
        got = way(trial, "rule", split)
    except Exception as error:
        said = f"{name}: {first_line(error)}"
        hint = MISSING_SUM if "manual axis types do not match" in str(error) else None
        yield CheckResult(
            "sharding", "failed", argument_in(trial, str(error)), message=said, hint=hint
        )
        return
    for k, (one, other) in enumerate(zip(got, want, strict=True)):
        tolerance = 4 * trial.allowed(k, other, trial.wide)
        result = compare("sharding", trial.name(k), one, other, tolerance, message=name)
        if result.status == "failed":
            result = _failure(trial, k, result, as_float64(one), as_float64(other))
        yield result


def _failure(
    trial: Trial, k: int, result: CheckResult, got: np.ndarray, want: np.ndarray
) -> CheckResult:
    """Add the likely cause; pass over what is wrong on one device too, for `vjp` says that."""
    try:
        one, right = trial.rule(trial.wide).dxs[k], trial.by_autodiff(trial.wide).dxs[k]
        error = np.max(np.abs(as_float64(one) - as_float64(right)))
        right_on_one = error <= trial.allowed(k, right, trial.wide)
    except Exception:
        right_on_one = True
    if not right_on_one:
        said = "wrong on one device already"
        return dataclasses.replace(result, status="skipped", message=said, got=None)
    for factor, hint in ((DEVICES, SUMMED_TWICE), (1 / DEVICES, MISSING_SUM)):
        if np.allclose(got, factor * want):
            result = dataclasses.replace(result, hint=hint)
    return result


def _mesh(kind: AxisType) -> Any:
    devices = np.array(jax.devices()[:DEVICES])
    return jax.sharding.Mesh(devices, (AXIS,), axis_types=(kind,))


def _enlarged(trial: Trial, split: list[bool]) -> list[Any]:
    """Return the leaves with one copy of the examples for each device, each a little different."""
    leaves = list(trial.point.leaves)
    for k, i in enumerate(trial.point.wrt):
        leaves[i] = trial.xs(trial.wide)[k]
    for i, yes in enumerate(split):
        if yes:
            floating = i in trial.point.wrt
            copies = [leaves[i] * (1 - 0.1 * n) if floating else leaves[i] for n in range(DEVICES)]
            leaves[i] = np.concatenate([np.asarray(c) for c in copies]).astype(leaves[i].dtype)
    return leaves


def _placed(leaves: list[Any], split: list[bool], mesh: Any) -> list[Any]:
    def place(leaf: Any, yes: bool) -> Any:
        if not is_array(leaf):
            return leaf
        return jax.device_put(leaf, NamedSharding(mesh, _spec(leaf, yes)))

    return [place(leaf, yes) for leaf, yes in zip(leaves, split, strict=True)]


def _spec(leaf: Any, yes: bool) -> PartitionSpec:
    return PartitionSpec(AXIS, *[None] * (np.ndim(leaf) - 1)) if yes else PartitionSpec()


def _on_mesh(trial: Trial, which: str, split: list[bool], kind: AxisType) -> Any:
    """Differentiate a call whose arguments are placed on a mesh."""
    mesh = _mesh(kind)
    with mode(trial.wide), jax.set_mesh(mesh):
        leaves = _placed(_enlarged(trial, split), split, mesh)
        f, xs = _on(trial, which, leaves)
        return jax.jit(lambda xs: pullback(f)(xs, _ones_like(f, xs)).dxs)(xs)


def _on(trial: Trial, which: str, leaves: list[Any]) -> tuple[Callable, tuple]:
    """Return the call at other leaves, as a function of the differentiable ones."""
    held = {i: leaf for i, leaf in enumerate(leaves) if i not in trial.point.wrt}
    f = trial.functions[which]
    return lambda *xs: f(*xs, held=held), tuple(leaves[i] for i in trial.point.wrt)


def _ones_like(f: Callable, xs: tuple) -> tuple:
    """Return cotangents that differ from entry to entry, placed as the outputs are."""
    ys = f(*xs)[0]
    return tuple(jnp.cos(3 * jax.lax.stop_gradient(y)) for y in ys)


def _in_shard_map(trial: Trial, which: str, split: list[bool], check_vma: bool) -> Any:
    """Differentiate `shard_map` of the call; each device returns the outputs of its examples."""
    mesh = _mesh(AxisType.Auto)
    with mode(trial.wide), jax.set_mesh(mesh):
        leaves = _placed(_enlarged(trial, split), split, mesh)
        arrays = [i for i, leaf in enumerate(leaves) if is_array(leaf)]
        specs = tuple(_spec(leaves[i], split[i]) for i in arrays)

        def local(*values: Any) -> tuple:
            filled = list(leaves)
            for i, value in zip(arrays, values, strict=True):
                filled[i] = value
            f, xs = _on(trial, which, filled)
            # a new axis first, so that scalars can be told apart by device
            return tuple(y[None] for y in f(*xs)[0])

        mapped = jax.shard_map(
            local, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(AXIS), check_vma=check_vma
        )

        def program(xs: tuple) -> Any:
            def f(*xs: Any) -> tuple:
                filled = dict(zip(trial.point.wrt, xs, strict=True))
                return mapped(*(filled.get(i, leaves[i]) for i in arrays)), ()

            return pullback(f)(xs, _ones_like(f, xs)).dxs

        return jax.jit(program)(tuple(leaves[i] for i in trial.point.wrt))


WAYS: dict[str, Callable[..., Any]] = {
    "automatic sharding": functools.partial(_on_mesh, kind=AxisType.Auto),
    "explicit axes": functools.partial(_on_mesh, kind=AxisType.Explicit),
    "shard_map": functools.partial(_in_shard_map, check_vma=True),
    "shard_map, check_vma=False": functools.partial(_in_shard_map, check_vma=False),
}
