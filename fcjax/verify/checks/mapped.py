"""The rule under `vmap`: its values and its gradients, over every part by itself and together."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..._jax import says_unimplemented
from ..compare import compare
from ..precision import FACTORS, as_float64, times
from ..program import Refused
from ..report import CheckResult
from ..sample import Sample
from ..subject import Pulled, Side, pullback_of
from .linear import worst

# What can be mapped: ("x", k) is the k-th differentiable leaf, ("held", i) another array among the
# leaves, ("dy", 0) the cotangent.
Part = tuple[str, int]
Values = dict[Part, Any]

COTANGENT: Part = ("dy", 0)
FIRST, LAST = 0, -1
# Operations up to which each part is mapped alone, even if JAX's own batching rules do it all.
SMALL = 200


class Mapped(NamedTuple):
    """Which parts are mapped over, along which axis, and whether the map is differentiated."""

    parts: tuple[Part, ...]
    axis: int = FIRST
    inside: bool = False  # the gradient of the map, instead of the map of the gradient

    def label(self, sample: Sample) -> str:
        """Say it in words."""
        names = " and ".join(_name(sample, part) for part in self.parts)
        axis = "" if self.axis == FIRST else ", along the last axis"
        return f"{'the gradient of the map' if self.inside else 'mapped'} over {names}{axis}"


def vmap(sample: Sample) -> Iterator[CheckResult]:
    """Mapped over each part of the call, it gives what it gives one example at a time.

    Parts are the arguments and the cotangent, each alone and all at once; of a long program, all at
    once. If something in the function has a batching rule of its own, they are also mapped in pairs
    and along the last axis.
    """
    mappings = list(_mappings(sample))
    together = _all(sample, mappings)
    for mapping in mappings:
        yield _result(sample, mapping, together.get(mapping))


def _mappings(sample: Sample) -> Iterator[Mapped]:
    xs: list[Part] = [("x", k) for k in range(sample.count)]
    others: list[Part] = [("held", i) for i in sample.point.arrays if i not in sample.point.wrt]
    parts = [*xs, *others, COTANGENT]
    if sample.subject.is_batched_by_hand or sample.subject.size <= SMALL:
        yield from (Mapped((part,)) for part in parts)
    yield Mapped(tuple(parts))
    yield Mapped(tuple(parts), inside=True)
    if not sample.subject.is_batched_by_hand:
        return
    yield from (Mapped(pair) for pair in itertools.combinations(parts, 2) if len(parts) > 2)
    yield from (Mapped((part,), LAST) for part in parts if part[0] != "held")
    yield from (Mapped((part,), inside=True) for part in xs)
    yield Mapped((*xs, COTANGENT), LAST)


def _name(sample: Sample, part: Part) -> str:
    kind, number = part
    if kind == "dy":
        return "the cotangent"
    return sample.name(number) if kind == "x" else sample.point.names[number]


# --- versions of each part ------------------------------------------------------------------------


def _versions(sample: Sample, part: Part) -> list[Any]:
    """Return three versions of a part."""
    kind, number = part
    precision = sample.wide
    with precision.context():
        if kind == "x":
            x = sample.xs(precision)[number]
            return [jnp.asarray(times(x, factor)) for factor in FACTORS]
        if kind == "dy":
            ys = sample.subject.ys(precision)
            return [
                sample.as_cotangents(
                    [sample.random(y.shape, 200 + 10 * n + i) for i, y in enumerate(ys)], precision
                )
                for n in range(len(FACTORS))
            ]
        leaf = sample.point.leaves[number]
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return [jax.random.fold_in(leaf, n) for n in range(len(FACTORS))]
        return [jnp.asarray(np.roll(np.asarray(leaf), n)) for n in range(len(FACTORS))]


def _stacked(versions: list[Any], axis: int) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=_axis(leaves[0], axis)), *versions)


def _axis(leaf: Any, axis: int) -> int:
    return axis if np.ndim(leaf) else FIRST


def _base(sample: Sample) -> Values:
    xs = {("x", k): x for k, x in enumerate(sample.xs(sample.wide))}
    return {**xs, COTANGENT: sample.dys(sample.wide)}


def _stacks(sample: Sample, mapping: Mapped) -> Values:
    with sample.wide.context():
        return {p: _stacked(_versions(sample, p), mapping.axis) for p in mapping.parts}


# --- the programs ---------------------------------------------------------------------------------


def _pulled(side: Side, values: Values) -> Pulled:
    """Return values and gradients for one version of each part."""
    xs, held = _arguments(values)
    return pullback_of(lambda *xs: side.function(*xs, held=held))(xs, values[COTANGENT])


def _arguments(values: Values) -> tuple[tuple[Any, ...], Mapping[int, Any]]:
    xs = sorted((part, x) for part, x in values.items() if part[0] == "x")
    held = {number: v for (kind, number), v in values.items() if kind == "held"}
    return tuple(x for _, x in xs), held


def _mapped(side: Side, mapping: Mapped) -> Callable[[Values, Values], Any]:
    """Return the program of a mapping: (ys, dxs) from the base values and the stacked ones."""

    def program(base: Values, stacks: Values) -> tuple[Any, Any]:
        values = {**base, **stacks}
        axes = {part: _axes(values[part], mapping) if part in stacks else None for part in values}
        if mapping.parts == (COTANGENT,):
            return _map_of_pullback(side, values, axes[COTANGENT])
        if not mapping.inside:
            pulled = jax.vmap(lambda v: _pulled(side, v), in_axes=(axes,))(values)
            return pulled.ys, pulled.dxs
        return _gradient_of_map(side, values, axes)

    return program


def _map_of_pullback(side: Side, values: Values, axes: Any) -> tuple[Any, Any]:
    """Map the pullback alone, as `jax.jacrev` does; the values are those of one call."""
    xs, held = _arguments(values)
    ys, pull, _ = jax.vjp(lambda *xs: side.function(*xs, held=held), *xs, has_aux=True)
    return jax.tree.map(lambda y: jnp.stack([y] * len(FACTORS)), ys), jax.vmap(pull, (axes,))(
        values[COTANGENT]
    )


def _axes(stack: Any, mapping: Mapped) -> Any:
    return jax.tree.map(lambda leaf: mapping.axis if leaf.ndim > 1 else FIRST, stack)


def _gradient_of_map(side: Side, values: Values, axes: Mapping[Part, Any]) -> tuple[Any, Any]:
    xs, held = _arguments(values)
    of_xs = tuple(axes["x", k] for k in range(len(xs)))
    of_held = {i: axes["held", i] for i in held}

    def one(xs: Any, held: Any) -> Any:
        return side.function(*xs, held=held)[0]

    def values_of_map(*xs: Any) -> Any:
        return jax.vmap(one, in_axes=(of_xs, of_held), axis_size=len(FACTORS))(xs, held)

    ys, pull = jax.vjp(values_of_map, *xs)
    dys = values[COTANGENT]
    if axes[COTANGENT] is None:
        dys = jax.tree.map(lambda dy, y: jnp.broadcast_to(dy, y.shape), dys, ys)
    else:
        dys = jax.tree.map(lambda dy, axis: jnp.moveaxis(dy, axis, 0), dys, axes[COTANGENT])
    return ys, pull(dys)


def _all(sample: Sample, mappings: list[Mapped]) -> Mapping[Mapped, Any]:
    """Return the results of all mappings: one program for all is half the work of one for each."""
    functions = [_mapped(sample.subject.rule, mapping) for mapping in mappings]

    def together(base: Values, stacks: list[Values]) -> list[Any]:
        return [function(base, stack) for function, stack in zip(functions, stacks, strict=True)]

    program = sample.subject.program("vmap", together)
    try:
        found = program(sample.wide, _base(sample), [_stacks(sample, m) for m in mappings])
    except Refused:
        return {}
    return dict(zip(mappings, found, strict=True))


# --- what they are compared with ------------------------------------------------------------------


def _result(sample: Sample, mapping: Mapped, got: Any) -> CheckResult:
    name = _name(sample, mapping.parts[0]) if len(mapping.parts) == 1 else None
    name = None if mapping.parts[0] == COTANGENT else name
    label = mapping.label(sample)
    try:
        got = got or _run(sample, sample.subject.rule, mapping)
    except Refused as refusal:
        said = f"{label}: {refusal}"
        # the backend's limit, or that of a primitive which is not meant to be mapped
        if says_unimplemented(refusal.text) or isinstance(refusal.error, NotImplementedError):
            return CheckResult("vmap", "skipped", name, message=said)
        if _reference_can(sample, mapping):
            return CheckResult("vmap", "failed", name, message=said)
        said = f"the reference cannot be {label} either: {refusal}"
        return CheckResult("vmap", "skipped", name, message=said)
    return worst(list(_compared(sample, mapping, name, label, *got)))


def _run(sample: Sample, side: Side, mapping: Mapped) -> Any:
    which = "rule" if side is sample.subject.rule else "plain"
    program = sample.subject.program(f"vmap {which} {mapping}", _mapped(side, mapping))
    return program(sample.wide, _base(sample), _stacks(sample, mapping))


def _reference_can(sample: Sample, mapping: Mapped) -> bool:
    """Whether the reference runs mapped: differentiated, if it can be, or by itself."""
    plain = sample.subject.plain
    try:
        sample.autodiff(sample.wide)
    except Refused:
        return _value_can(sample, mapping)
    try:
        _run(sample, plain, mapping)
    except Refused:
        return False
    return True


def _value_can(sample: Sample, mapping: Mapped) -> bool:
    def program(base: Values, stacks: Values) -> Any:
        values = {**base, **stacks}
        axes = {part: _axes(values[part], mapping) if part in stacks else None for part in values}

        def value(v: Values) -> Any:
            xs, held = _arguments(v)
            return sample.subject.plain.function(*xs, held=held)

        return jax.vmap(value, in_axes=(axes,))(values)

    try:
        sample.subject.program(f"vmap value {mapping}", program)(
            sample.wide, _base(sample), _stacks(sample, mapping)
        )
    except Refused:
        return False
    return True


def _compared(
    sample: Sample, mapping: Mapped, name: str | None, label: str, ys: Any, dxs: Any
) -> Iterator[CheckResult]:
    singles = _singles(sample, mapping)
    for i, got in enumerate(ys):
        want = np.stack([as_float64(one.ys[i]) for one in singles])
        tolerance = 4 * sample.allowed_value(i, want, sample.wide)
        said = f"{label}: output {i}"
        yield compare("vmap", name, got, want, tolerance, message=said)
    for k, got in enumerate(dxs):
        each = [as_float64(one.dxs[k]) for one in singles]
        axis = _axis(each[0], mapping.axis)
        want = np.stack(each)
        tolerance = 4 * sample.allowed(k, want, sample.wide)
        if mapping.inside and ("x", k) not in mapping.parts:
            want, tolerance = np.sum(want, axis=0), len(each) * tolerance
        elif mapping.inside:
            want = np.stack(each, axis=axis)
        said = f"{label}: the gradient of {sample.name(k)}"
        yield compare(
            "vmap", name, got, want, tolerance, scene=sample.scene(k, sample.wide), message=said
        )


def _singles(sample: Sample, mapping: Mapped) -> list[Pulled]:
    """Return values and gradients of each version, one at a time."""
    versions = {part: _versions(sample, part) for part in mapping.parts}
    base, rule = _base(sample), sample.subject.rule
    singles = []
    for n in range(len(FACTORS)):
        values = {**base, **{part: several[n] for part, several in versions.items()}}
        xs, held = _arguments(values)
        if held:
            held_of = "held " + ", ".join(map(str, sorted(held)))
            program = sample.subject.program(held_of, lambda values: _pulled(rule, values))
            singles.append(program(sample.wide, values))
        else:
            singles.append(sample.rule(sample.wide, xs, values[COTANGENT]))
    return singles
