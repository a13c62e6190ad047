"""What a report does not cover, and why a verdict is inconclusive."""

import inspect
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jax.typing import ArrayLike

from .._jax import JaxprEqn, place_in_source
from .._types import AnyArray
from .branches import Branches, branches_of
from .point import described
from .precision import Precision, as_float64, largest
from .program import Refused, TimeUp
from .report import CheckResult
from .rounding import PER_LOSS
from .sample import Sample

INNER_DERIVATIVE = (
    "the function computes a derivative itself (jax.grad, jax.vjp, jax.jvp), and the rules used in "
    "it cannot be seen: check the function that it differentiates"
)


def not_covered(sample: Sample, results: Sequence[CheckResult]) -> tuple[str, ...]:
    """Return a line for everything that the results do not cover."""
    lines = [*_unjudged(results), *_constants(sample), *_declared(sample)]
    lines += sample.point.captured.fixed
    lines += _options(sample)
    lines += [f"{text}: it takes too much memory" for text in sample.too_large]
    lines += _kept_in_search(sample, results)
    if sample.subject.refusal is None:
        lines += [*_rules(sample), *_branches(sample), *_zeros(sample)]
    return tuple(dict.fromkeys(lines))


UNJUDGED = {
    "vjp": "where autodiff is not finite",
    "finite_differences": "where the function is not finite or has no slope",
}


def _unjudged(results: Iterable[CheckResult]) -> Iterator[str]:
    """Yield the entries that have no oracle."""
    for result in results:
        if result.unjudged and result.name in UNJUDGED:
            entries = "1 entry" if result.unjudged == 1 else f"{result.unjudged} entries"
            yield f"{entries} of {result.argument}, {UNJUDGED[result.name]} ({result.name})"


def _constants(sample: Sample) -> Iterator[str]:
    """Yield the Python numbers among the arguments, which are not differentiable leaves."""
    for name, leaf in zip(sample.point.names, sample.point.leaves, strict=True):
        if isinstance(leaf, float):
            note = f"pass jnp.asarray({leaf}) to check its gradient"
            yield f"{name} = {leaf} is kept constant; {note}"


def _declared(sample: Sample) -> Iterator[str]:
    """Yield the arrays that the rule declares not to be differentiable."""
    for i in sample.point.declared:
        yield f"{sample.point.names[i]} is kept constant, as nondiff_argnums says"


def _kept_in_search(sample: Sample, results: Iterable[CheckResult]) -> Iterator[str]:
    """Yield the arrays whose numbers the search does not change."""
    names = sample.point.captured.names
    if names and any(r.name == "search" and r.status != "skipped" for r in results):
        yield f"other numbers of {', '.join(names)}: the search moves arguments alone"


def _options(sample: Sample) -> Iterator[str]:
    """Yield the arguments that were left at their defaults."""
    try:
        bound = inspect.signature(sample.fun).bind(*sample.point.call[0], **sample.point.call[1])
    except (TypeError, ValueError):
        return
    tried = {name for other in sample.others for name in other.options}
    known = {*bound.arguments, *tried}
    left = [p for n, p in bound.signature.parameters.items() if n not in known]
    defaults = [f"{p.name}={described(p.default)}" for p in left if p.default is not p.empty]
    if defaults:
        yield f"options other than {', '.join(defaults)}"


def _rules(sample: Sample) -> Iterator[str]:
    subject = sample.subject
    if not (subject.calls or subject.has_reference or subject.differentiates):
        yield "the function has no hand-written rule: its gradient is JAX's own"


def _branches(sample: Sample) -> Iterator[str]:
    """Yield the branches that were taken neither at this point nor in a search."""
    branches = branches_of(sample.subject.value_program)
    taken = _taken(sample, branches)
    for number, (equation, index) in enumerate(zip(branches.equations, taken, strict=True)):
        if index is None:
            yield _branch_line(equation, "the branch that was taken is unknown")
            continue
        searched = {branch for cond, branch in sample.searched if cond == number}
        missed = sorted({*range(branches.counts[number])} - {index} - searched)
        if missed:
            yield _branch_line(equation, f"branch {', '.join(map(str, missed))} was not taken")
    if branches.inner:
        note = "a branch may not have been taken"
        yield f"{branches.inner} cond or switch inside a loop or a branch: {note}"


def _zeros(sample: Sample) -> Iterator[str]:
    """Yield the arguments whose gradient is zero here, which hides a wrong factor."""
    gradients = _outputs_and_gradients(sample)
    for k, gradient in enumerate(gradients[1:] if gradients else ()):
        if np.size(gradient) and not np.any(as_float64(gradient)):
            yield f"the gradient of {sample.name(k)} at other points: at this point it is zero"


def _taken(sample: Sample, branches: Branches) -> list[int | None]:
    if not branches.equations:
        return []
    evaluate = sample.subject.program("branches", branches.indices)
    try:
        return [int(i) for i in evaluate(Precision.OWN, *sample.xs(Precision.OWN))]
    except (Refused, TimeUp):
        return [None] * len(branches.equations)


def _branch_line(equation: JaxprEqn, what: str) -> str:
    place = place_in_source(equation)
    return f"the cond{' at ' + place if place else ''}: {what}"


def doubts(
    sample: Sample, results: Sequence[CheckResult], value_checks: set[str]
) -> tuple[str, ...]:
    """Return why the verdict cannot be "right": gradients that were not compared."""
    if sample.subject.refusal is not None:
        return (f"the function could not be differentiated: {sample.subject.refusal}",)
    gradients = _outputs_and_gradients(sample)
    if gradients is not None and gradients[0].size and not _has_finite_entry(gradients[0]):
        return ("the function has no finite value here, so its gradient is meaningless",)
    if not any(map(np.size, sample.point.xs)):
        return ("the arguments have no elements",)
    if sample.subject.differentiates:
        return (INNER_DERIVATIVE,)
    compared = {
        r.argument
        for r in results
        if r.name in value_checks and r.compared and r.status in ("passed", "expected", "failed")
    }
    lines = [f"{missed}: its gradient was not compared" for missed in sample.point.captured.missed]
    for k, x in enumerate(sample.point.xs):
        name = sample.name(k)
        if np.size(x) and name not in compared:
            lines.append(_doubt(name, results, value_checks))
        elif gradients is not None and _is_within_tolerance(sample, gradients[1 + k]):
            lines.append(f"rtol and atol are too large for the gradient of {name}")
    return tuple(lines)


def _outputs_and_gradients(sample: Sample) -> list[AnyArray] | None:
    """Return all outputs in one array, followed by the gradients; None if they are unknown."""
    try:
        found = sample.rule(sample.wide)
    except (Refused, TimeUp):
        return None
    outputs = [np.ravel(as_float64(y)) for y in found.ys]
    return [np.concatenate(outputs) if outputs else np.zeros(0), *found.dxs]


def _is_within_tolerance(sample: Sample, gradient: ArrayLike) -> bool:
    """Whether rtol and atol allow an error of half the gradient or more."""
    size = largest(gradient)
    return size > 0 and PER_LOSS * sample.subject.accuracy.of(size) > size / 2


def _doubt(name: str, results: Sequence[CheckResult], value_checks: set[str]) -> str:
    skipped = [r for r in results if r.status == "skipped" and r.name in value_checks]
    reasons = [f"{r.name}: {r.message}" for r in skipped if r.argument in (None, name)]
    ran = {r.name for r in results} & value_checks
    if not ran:
        reasons.append(f"none of {', '.join(sorted(value_checks))} was chosen")
    if not reasons:
        reasons.append("the comparisons are too uncertain, or their numbers are not finite")
    return f"the gradient of {name} was not compared with an oracle ({'; '.join(reasons)})"


def _has_finite_entry(y: ArrayLike) -> bool:
    """Whether an array has a finite entry."""
    return bool(np.any(np.isfinite(as_float64(y))))
