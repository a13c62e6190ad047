"""The rule under `vmap`: values and gradients, mapped over each part and over all parts."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..._jax import says_unimplemented
from ..._types import AnyArray, Tree
from ..compare import compare
from ..point import Leaves
from ..precision import FACTORS, as_float64, scaled
from ..program import Refused
from ..report import CheckResult
from ..sample import Sample
from ..subject import Side, ValuesAndGrads, pullback_of
from .linear import worst

# A part of a call that can be mapped over: ("x", k) is the k-th differentiable leaf, ("dy", 0) the
# cotangent, and ("constant", i) the i-th leaf, if it is an array but not differentiable.
Part = tuple[str, int]
Values = dict[Part, Tree]
# The outputs of all calls, and the gradients.
Results = tuple[Tree, Tree]

COTANGENT: Part = ("dy", 0)
FIRST, LAST = 0, -1
# With at most this many operations, each part is also mapped alone, even if all batching rules are
# those of JAX.
SMALL = 200


class Mapped(NamedTuple):
    """One way to apply `vmap`.

    Attributes:
        parts: the parts that are mapped over.
        axis: the axis that is mapped over.
        is_grad_of_vmap: whether to take the gradient of `vmap`, instead of `vmap` of the gradient.
    """

    parts: tuple[Part, ...]
    axis: int = FIRST
    is_grad_of_vmap: bool = False

    def label(self, sample: Sample) -> str:
        """Return a description for the report."""
        names = " and ".join(_name(sample, part) for part in self.parts)
        axis = "" if self.axis == FIRST else ", along the last axis"
        return f"{'the gradient of vmap' if self.is_grad_of_vmap else 'vmap'} over {names}{axis}"


def vmap(sample: Sample) -> Iterator[CheckResult]:
    """Under `vmap`, the rule gives the results of separate calls.

    `vmap` maps over all arguments and the cotangent at once, and in short programs over each alone.
    If an operation in the function has a batching rule that is not JAX's, `vmap` also maps over
    each alone, over pairs, and along the last axis.
    """
    mappings = list(_mappings(sample))
    together = _evaluate_all(sample, mappings)
    for mapping in mappings:
        yield _result(sample, mapping, together.get(mapping))


def _mappings(sample: Sample) -> Iterator[Mapped]:
    xs: list[Part] = [("x", k) for k in range(sample.count)]
    others: list[Part] = [("constant", i) for i in sample.point.arrays if i not in sample.point.wrt]
    parts = [*xs, *others, COTANGENT]
    if sample.subject.is_batched_by_hand or sample.subject.size <= SMALL:
        yield from (Mapped((part,)) for part in parts)
    yield Mapped(tuple(parts))
    yield Mapped(tuple(parts), is_grad_of_vmap=True)
    if not sample.subject.is_batched_by_hand:
        return
    yield from (Mapped(pair) for pair in itertools.combinations(parts, 2) if len(parts) > 2)
    yield from (Mapped((part,), LAST) for part in parts if part[0] != "constant")
    yield from (Mapped((part,), is_grad_of_vmap=True) for part in xs)
    yield Mapped((*xs, COTANGENT), LAST)


def _name(sample: Sample, part: Part) -> str:
    kind, number = part
    if kind == "dy":
        return "the cotangent"
    return sample.name(number) if kind == "x" else sample.point.names[number]


# --- versions of each part ------------------------------------------------------------------------


def _versions(sample: Sample, part: Part) -> list[Tree]:
    """Return the values of a part in each of the stacked calls."""
    kind, number = part
    precision = sample.wide
    with precision.context():
        if kind == "x":
            x = sample.xs(precision)[number]
            return [jnp.asarray(scaled(x, factor)) for factor in FACTORS]
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


def _stacked(versions: list[Tree], axis: int) -> Tree:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=_axis(leaves[0], axis)), *versions)


def _axis(leaf: AnyArray, axis: int) -> int:
    return axis if np.ndim(leaf) else FIRST


def _base(sample: Sample) -> Values:
    xs = {("x", k): x for k, x in enumerate(sample.xs(sample.wide))}
    return {**xs, COTANGENT: sample.dys(sample.wide)}


def _stacks(sample: Sample, mapping: Mapped) -> Values:
    with sample.wide.context():
        return {p: _stacked(_versions(sample, p), mapping.axis) for p in mapping.parts}


# --- the programs ---------------------------------------------------------------------------------


def _values_and_grads(side: Side, values: Values) -> ValuesAndGrads:
    """Return values and gradients for one version of each part."""
    xs, constants = _arguments(values)
    return pullback_of(lambda *xs: side.function(*xs, constants=constants))(xs, values[COTANGENT])


def _arguments(values: Values) -> tuple[Leaves, Mapping[int, Tree]]:
    xs = sorted((part, x) for part, x in values.items() if part[0] == "x")
    constants = {number: v for (kind, number), v in values.items() if kind == "constant"}
    return tuple(x for _, x in xs), constants


def _mapped(side: Side, mapping: Mapped) -> Callable[[Values, Values], Results]:
    """Return the function that maps base values and stacked values to (ys, dxs)."""

    def program(base: Values, stacks: Values) -> Results:
        values = {**base, **stacks}
        axes = {part: _axes(values[part], mapping) if part in stacks else None for part in values}
        if mapping.parts == (COTANGENT,):
            return _vmap_of_pullback(side, values, axes[COTANGENT])
        if not mapping.is_grad_of_vmap:
            result = jax.vmap(lambda v: _values_and_grads(side, v), in_axes=(axes,))(values)
            return result.ys, result.dxs
        return _grad_of_vmap(side, values, axes)

    return program


def _vmap_of_pullback(side: Side, values: Values, axes: Tree) -> Results:
    """Map the pullback alone, as `jax.jacrev` does, and repeat the values of the one call."""
    xs, constants = _arguments(values)
    ys, pull, _ = jax.vjp(lambda *xs: side.function(*xs, constants=constants), *xs, has_aux=True)
    return jax.tree.map(lambda y: jnp.stack([y] * len(FACTORS)), ys), jax.vmap(pull, (axes,))(
        values[COTANGENT]
    )


def _axes(stack: Tree, mapping: Mapped) -> Tree:
    return jax.tree.map(lambda leaf: mapping.axis if leaf.ndim > 1 else FIRST, stack)


def _grad_of_vmap(side: Side, values: Values, axes: Mapping[Part, Tree]) -> Results:
    xs, constants = _arguments(values)
    of_xs = tuple(axes["x", k] for k in range(len(xs)))
    of_constants = {i: axes["constant", i] for i in constants}

    def one(xs: Leaves, constants: Mapping[int, Tree]) -> Leaves:
        return side.function(*xs, constants=constants)[0]

    def mapped(*xs: Array) -> Leaves:
        in_axes = (of_xs, of_constants)
        return jax.vmap(one, in_axes=in_axes, axis_size=len(FACTORS))(xs, constants)

    ys, pull = jax.vjp(mapped, *xs)
    dys = values[COTANGENT]
    if axes[COTANGENT] is None:
        dys = jax.tree.map(lambda dy, y: jnp.broadcast_to(dy, y.shape), dys, ys)
    else:
        dys = jax.tree.map(lambda dy, axis: jnp.moveaxis(dy, axis, 0), dys, axes[COTANGENT])
    return ys, pull(dys)


def _evaluate_all(sample: Sample, mappings: list[Mapped]) -> Mapping[Mapped, Results]:
    """Return the results of all mappings from one program, which halves the compile time."""
    functions = [_mapped(sample.subject.rule, mapping) for mapping in mappings]

    def together(base: Values, stacks: list[Values]) -> list[Results]:
        return [function(base, stack) for function, stack in zip(functions, stacks, strict=True)]

    program = sample.subject.program("vmap", together)
    try:
        found = program(sample.wide, _base(sample), [_stacks(sample, m) for m in mappings])
    except Refused:
        return {}
    return dict(zip(mappings, found, strict=True))


# --- comparison -----------------------------------------------------------------------------------


def _result(sample: Sample, mapping: Mapped, got: Results | None) -> CheckResult:
    name = _name(sample, mapping.parts[0]) if len(mapping.parts) == 1 else None
    name = None if mapping.parts[0] == COTANGENT else name
    label = mapping.label(sample)
    try:
        got = got or _evaluate(sample, sample.subject.rule, mapping)
    except Refused as refusal:
        message = f"{label}: {refusal}"
        # a limit of the backend, or a primitive that cannot be mapped
        if says_unimplemented(refusal.text) or isinstance(refusal.error, NotImplementedError):
            return CheckResult("vmap", "skipped", name, message=message)
        if _reference_can(sample, mapping):
            return CheckResult("vmap", "failed", name, message=message)
        message = f"{label} fails for the reference too: {refusal}"
        return CheckResult("vmap", "skipped", name, message=message)
    return worst(list(_compared(sample, mapping, name, label, *got)))


def _evaluate(sample: Sample, side: Side, mapping: Mapped) -> Results:
    which = "rule" if side is sample.subject.rule else "plain"
    program = sample.subject.program(f"vmap {which} {mapping}", _mapped(side, mapping))
    return program(sample.wide, _base(sample), _stacks(sample, mapping))


def _reference_can(sample: Sample, mapping: Mapped) -> bool:
    """Whether `vmap` of the reference works: of its gradient if it has one, else of its value."""
    plain = sample.subject.plain
    try:
        sample.autodiff(sample.wide)
    except Refused:
        return _value_can(sample, mapping)
    try:
        _evaluate(sample, plain, mapping)
    except Refused:
        return False
    return True


def _value_can(sample: Sample, mapping: Mapped) -> bool:
    def program(base: Values, stacks: Values) -> Tree:
        values = {**base, **stacks}
        axes = {part: _axes(values[part], mapping) if part in stacks else None for part in values}

        def value(v: Values) -> tuple[Leaves, Leaves]:
            xs, constants = _arguments(v)
            return sample.subject.plain.function(*xs, constants=constants)

        return jax.vmap(value, in_axes=(axes,))(values)

    try:
        sample.subject.program(f"vmap value {mapping}", program)(
            sample.wide, _base(sample), _stacks(sample, mapping)
        )
    except Refused:
        return False
    return True


def _compared(
    sample: Sample, mapping: Mapped, name: str | None, label: str, ys: Leaves, dxs: Leaves
) -> Iterator[CheckResult]:
    singles = _separate_calls(sample, mapping)
    for i, got in enumerate(ys):
        want = np.stack([as_float64(one.ys[i]) for one in singles])
        tolerance = 4 * sample.allowed_value(i, want, sample.wide)
        message = f"{label}: output {i}"
        yield compare("vmap", name, got, want, tolerance, message=message)
    for k, got in enumerate(dxs):
        each = [as_float64(one.dxs[k]) for one in singles]
        axis = _axis(each[0], mapping.axis)
        want = np.stack(each)
        tolerance = 4 * sample.allowed(k, want, sample.wide)
        if mapping.is_grad_of_vmap and ("x", k) not in mapping.parts:
            want, tolerance = np.sum(want, axis=0), len(each) * tolerance
        elif mapping.is_grad_of_vmap:
            want = np.stack(each, axis=axis)
        message = f"{label}: the gradient of {sample.name(k)}"
        context = sample.hint_context(k, sample.wide)
        yield compare("vmap", name, got, want, tolerance, context=context, message=message)


def _separate_calls(sample: Sample, mapping: Mapped) -> list[ValuesAndGrads]:
    """Return the values and gradients of each version, from separate calls."""
    versions = {part: _versions(sample, part) for part in mapping.parts}
    base, rule = _base(sample), sample.subject.rule
    singles: list[ValuesAndGrads] = []
    for n in range(len(FACTORS)):
        values = {**base, **{part: several[n] for part, several in versions.items()}}
        xs, constants = _arguments(values)
        if constants:
            label = "constants " + ", ".join(map(str, sorted(constants)))
            program = sample.subject.program(label, lambda values: _values_and_grads(rule, values))
            singles.append(program(sample.wide, values))
        else:
            singles.append(sample.rule(sample.wide, xs, values[COTANGENT]))
    return singles
