"""The rule with some outputs unused, or with some arguments not differentiated.

A rule with `symbolic_zeros=True` receives a symbolic zero as the cotangent of an unused output, and
is told which arguments are not perturbed.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
from jax import Array

from ..compare import compare, undefined
from ..point import Leaves
from ..program import Refused, Skip
from ..report import CheckResult
from ..sample import Sample
from ..subject import OfLeaves

# At most this many outputs, and as many arguments, are left out in turn.
MAX_PARTS = 12


class Use(NamedTuple):
    """The outputs that are used, and the differentiable leaves that are differentiated."""

    label: str
    outputs: tuple[int, ...]
    arguments: tuple[int, ...]


def partial_use(sample: Sample) -> Iterator[CheckResult]:
    """The gradients are right without each output or argument in turn, and with each alone."""
    uses = list(_uses(sample))
    wanted = _gradients_of_all(sample, "plain", uses)
    if wanted is None:
        raise Skip("JAX cannot differentiate the reference in this way")
    found = _gradients_of_all(sample, "rule", uses)
    for number, (use, want) in enumerate(zip(uses, wanted, strict=True)):
        try:
            got = found[number] if found else _gradients_of(sample, "rule", use)
        except Refused as refusal:
            name = sample.name(use.arguments[0]) if len(use.arguments) == 1 else None
            message = f"{use.label}: {refusal}"
            yield CheckResult("partial_use", "failed", name, message=message)
            continue
        for k, one, right in zip(use.arguments, got, want, strict=True):
            tolerance, out = sample.allowed(k, right, sample.wide), undefined(one, right)
            yield compare(
                "partial_use",
                sample.name(k),
                one,
                right,
                tolerance,
                message=use.label,
                leave_out=out,
            )


def _uses(sample: Sample) -> Iterator[Use]:
    """Yield the uses: without each output, without each argument, and with each of them alone."""
    ys = tuple(range(len(sample.subject.ys(sample.wide))))
    xs = tuple(range(sample.count))
    for i in ys[: MAX_PARTS if len(ys) > 1 else 0]:
        yield Use(f"without output {i}", (*ys[:i], *ys[i + 1 :]), xs)
        if len(ys) > 2:
            yield Use(f"with output {i} alone", (i,), xs)
    for k in xs[: MAX_PARTS if len(xs) > 1 else 0]:
        name = sample.name(k)
        yield Use(f"without the gradient of {name}", ys, (*xs[:k], *xs[k + 1 :]))
        if len(xs) > 2:
            yield Use(f"with the gradient of {name} alone", ys, (k,))


def _gradients_of_all(sample: Sample, which: str, uses: list[Use]) -> list[Leaves] | None:
    """Return the gradients of all uses from one program, or None if the program fails."""
    f = getattr(sample.subject, which).function
    gradients = [_gradient(f, use) for use in uses]

    def together(xs: Leaves, dys: Leaves) -> list[Leaves]:
        return [gradient(xs, dys) for gradient in gradients]

    program = sample.subject.program(f"partial use of {which}", together)
    try:
        return program(sample.wide, sample.xs(sample.wide), sample.dys(sample.wide))
    except Refused:
        return None


def _gradients_of(sample: Sample, which: str, use: Use) -> Leaves:
    f = getattr(sample.subject, which).function
    program = sample.subject.program(f"{which} {use.label}", _gradient(f, use))
    return program(sample.wide, sample.xs(sample.wide), sample.dys(sample.wide))


def _gradient(f: OfLeaves, use: Use) -> Callable[[Leaves, Leaves], Leaves]:
    def gradient(xs: Leaves, dys: Leaves) -> Leaves:
        def partly(*active: Array) -> Leaves:
            filled = list(xs)
            for k, x in zip(use.arguments, active, strict=True):
                filled[k] = x
            ys, _ = f(*filled)
            return tuple(ys[i] for i in use.outputs)

        _, pull = jax.vjp(partly, *(xs[k] for k in use.arguments))
        return pull(tuple(dys[i] for i in use.outputs))

    return gradient
