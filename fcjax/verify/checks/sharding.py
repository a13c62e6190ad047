"""The rule on several devices, with every kind of mesh."""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ..._jax import is_array, says_axes_differ
from ..._types import AnyArray, Tree
from ..compare import compare
from ..point import Leaves
from ..precision import as_float64, largest
from ..program import Refused, Skip, user_code
from ..report import CheckResult
from ..sample import Sample
from ..subject import OfLeaves, Side, pullback_of
from .form import argument_in

DEVICES = 2
AXIS = "devices"
MISSING_SUM = "the sum over devices (psum) is missing for a replicated argument"
SUMMED_TWICE = (
    "summed over devices twice: shard_map already sums the cotangent of a replicated input"
)


def sharding(sample: Sample) -> Iterator[CheckResult]:
    """Split over devices, the rule gives the gradients of the reference split in the same way.

    The examples are the first axis of every array whose first axis has a certain length: the first
    length for which the reference can be split. The examples are split by automatic sharding, by
    explicit axes, and by `shard_map` with `check_vma` on and off. The other arguments are
    replicated.
    """
    split = _split(sample)
    for name, evaluate in SHARDINGS.items():
        yield from _compared(sample, name, evaluate, split)


def _split(sample: Sample) -> list[bool]:
    """Return, for each leaf, whether it is split along its first axis."""
    shapes = [np.shape(leaf) if is_array(leaf) else () for leaf in sample.point.leaves]
    for size in dict.fromkeys(shape[0] for shape in shapes if shape and shape[0]):
        split = [bool(shape) and shape[0] == size for shape in shapes]
        try:
            _in_shard_map(sample, sample.subject.plain, split, check_vma=True)
        except Refused:
            continue
        return split
    raise Skip("the function cannot be split over devices along the first axis of any argument")


def _compared(
    sample: Sample, name: str, evaluate: Callable[..., Leaves], split: list[bool]
) -> Iterator[CheckResult]:
    try:
        want = evaluate(sample, sample.subject.plain, split)
    except Refused as refusal:
        message = f"{name} fails for the reference too: {refusal}"
        yield CheckResult("sharding", "skipped", message=message)
        return
    try:
        got = evaluate(sample, sample.subject.rule, split)
    except Refused as refusal:
        message, argument = f"{name}: {refusal}", argument_in(sample, refusal.text)
        hint = MISSING_SUM if says_axes_differ(refusal.text) else None
        yield CheckResult("sharding", "failed", argument, message=message, hint=hint)
        return
    for k, (one, other) in enumerate(zip(got, want, strict=True)):
        tolerance = 4 * sample.allowed(k, other, sample.wide)
        result = compare("sharding", sample.name(k), one, other, tolerance, message=name)
        if result.status == "failed":
            result = _failure(sample, k, result, as_float64(one), as_float64(other))
        yield result


def _failure(
    sample: Sample, k: int, result: CheckResult, got: np.ndarray, want: np.ndarray
) -> CheckResult:
    """Add the likely cause. Skip what is wrong on one device too, which `vjp` reports."""
    if not _is_right_on_one(sample, k):
        message = "the gradient is already wrong on one device"
        return dataclasses.replace(result, status="skipped", message=message, got=None)
    for factor, hint in ((DEVICES, SUMMED_TWICE), (1 / DEVICES, MISSING_SUM)):
        if np.allclose(got, factor * want):
            result = dataclasses.replace(result, hint=hint)
    return result


def _is_right_on_one(sample: Sample, k: int) -> bool:
    try:
        one, right = (evaluate(sample.wide).dxs[k] for evaluate in (sample.rule, sample.autodiff))
    except Refused:
        return True
    error = largest(np.abs(as_float64(one) - as_float64(right)))
    return bool(error <= sample.allowed(k, right, sample.wide))


def _mesh(kind: AxisType) -> Mesh:
    devices = np.array(jax.devices()[:DEVICES])
    return Mesh(devices, (AXIS,), axis_types=(kind,))


def _enlarged(sample: Sample, split: list[bool]) -> list[Tree]:
    """Return the leaves with one scaled copy of the examples for each device."""
    leaves = list(sample.point.leaves)
    wrt = sample.point.wrt
    for i, x in zip(wrt, sample.xs(sample.wide)[: len(wrt)], strict=True):
        leaves[i] = x
    for i, yes in enumerate(split):
        if yes:
            copies = [leaves[i] * (1 - 0.1 * n) if i in wrt else leaves[i] for n in range(DEVICES)]
            leaves[i] = np.concatenate([np.asarray(c) for c in copies]).astype(leaves[i].dtype)
    return leaves


def _placed(leaves: list[Tree], split: list[bool], mesh: Mesh) -> list[Tree]:
    def place(leaf: Tree, yes: bool) -> Tree:
        if not is_array(leaf):
            return leaf
        return jax.device_put(leaf, NamedSharding(mesh, _spec(leaf, yes)))

    return [place(leaf, yes) for leaf, yes in zip(leaves, split, strict=True)]


def _spec(leaf: AnyArray, yes: bool) -> PartitionSpec:
    return PartitionSpec(AXIS, *[None] * (np.ndim(leaf) - 1)) if yes else PartitionSpec()


def _on_mesh(sample: Sample, side: Side, split: list[bool], kind: AxisType) -> Leaves:
    """Differentiate a call whose arguments are placed on a mesh."""
    mesh = _mesh(kind)
    with user_code(), sample.wide.context(), jax.set_mesh(mesh):
        leaves = _placed(_enlarged(sample, split), split, mesh)
        f, xs = _on(sample, side, leaves)
        return jax.jit(lambda xs: pullback_of(f)(xs, _cotangents(f, xs)).dxs)(xs)


def _on(sample: Sample, side: Side, leaves: list[Tree]) -> tuple[OfLeaves, Leaves]:
    """Return the call at other leaves as a function of the differentiable ones, and these."""
    wrt = sample.point.wrt
    constants = {i: leaf for i, leaf in enumerate(leaves) if i not in wrt}
    return lambda *xs: side.function(*xs, constants=constants), tuple(leaves[i] for i in wrt)


def _cotangents(f: OfLeaves, xs: Leaves) -> Leaves:
    """Return cotangents that differ from entry to entry, with the sharding of the outputs."""
    ys = f(*xs)[0]
    return tuple(jax.numpy.cos(3 * jax.lax.stop_gradient(y)) for y in ys)


def _in_shard_map(sample: Sample, side: Side, split: list[bool], check_vma: bool) -> Leaves:
    """Differentiate `shard_map` of the call; each device returns the outputs of its examples."""
    mesh = _mesh(AxisType.Auto)
    wrt = sample.point.wrt
    with user_code(), sample.wide.context(), jax.set_mesh(mesh):
        leaves = _placed(_enlarged(sample, split), split, mesh)
        arrays = [i for i, leaf in enumerate(leaves) if is_array(leaf)]
        specs = tuple(_spec(leaves[i], split[i]) for i in arrays)

        def local(*values: Array) -> Leaves:
            filled = list(leaves)
            for i, value in zip(arrays, values, strict=True):
                filled[i] = value
            f, xs = _on(sample, side, filled)
            # with a new first axis, so that each device returns its own scalars
            return tuple(y[None] for y in f(*xs)[0])

        mapped = jax.shard_map(
            local, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(AXIS), check_vma=check_vma
        )

        def program(xs: Leaves) -> Leaves:
            def f(*xs: Array) -> tuple[Leaves, Leaves]:
                filled: dict[int, Tree] = dict(zip(wrt, xs, strict=True))
                return mapped(*(filled.get(i, leaves[i]) for i in arrays)), ()

            return pullback_of(f)(xs, _cotangents(f, xs)).dxs

        return jax.jit(program)(tuple(leaves[i] for i in wrt))


SHARDINGS: dict[str, Callable[..., Leaves]] = {
    "automatic sharding": functools.partial(_on_mesh, kind=AxisType.Auto),
    "explicit axes": functools.partial(_on_mesh, kind=AxisType.Explicit),
    "shard_map": functools.partial(_in_shard_map, check_vma=True),
    "shard_map, check_vma=False": functools.partial(_in_shard_map, check_vma=False),
}
