"""`check_rule` and `assert_rule`: whether a hand-written gradient is right, and what is wrong."""

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from .._jax import says_no_reverse_mode
from .._progress import tqdm
from .._types import Function, Tree
from .arbiter import autodiff_is_refuted
from .arguments import (
    Kinks,
    accuracy_of,
    budget_of,
    call_of,
    checks_of,
    combinations_of,
    cotangent_of,
    kinks_of,
    mapping_of,
    points_of,
    require_floating_output,
    require_known_arguments,
    require_known_checks,
    require_matching_reference,
    seconds_of,
    seed_of,
)
from .budget import Budget
from .checks import CHECKS
from .checks._check import ORACLE, Check
from .checks.differences import finite_differences
from .checks.form import structure
from .checks.forward import forward
from .culprit import culprits
from .domain import domain_of
from .expected import Expected, ExpectedFailures, apply_expectations, expectations
from .point import Point, options_as_text
from .program import Deadline, Refused, Skip, TimeUp
from .report import CheckResult, RuleReport
from .repro import call_that_repeats, name_of_function
from .sample import Other, Sample
from .subject import Subject
from .unchecked import doubts, not_covered

VALUE_CHECKS = {check.name for check in CHECKS.values() if check.evidence == "value"}
REFUTED = "autodiff is wrong here: the slopes of the function agree with the rule"
STOPPED = "differences see through stop_gradient; is the gradient meant to be stopped?"
DELAY = 3.0  # seconds before the progress bar appears


def check_rule(
    fun: Function,
    args: Sequence[Tree],
    *,
    reference: Function | None = None,
    kwargs: Mapping[str, Tree] | None = None,
    key: Array | None = None,
    cotangent: Tree = None,
    checks: Sequence[str] | None = None,
    expected_failures: ExpectedFailures | None = None,
    kinks: Kinks | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    search: bool | Budget = True,
    options: Mapping[str, Sequence[Tree]] | None = None,
    domain: Function | None = None,
    time_limit: float | None = None,
) -> RuleReport:
    r"""Check the hand-written gradient of `fun` at `args`, argument by argument.

    `fun` may be a `jax.custom_vjp` or `jax.custom_jvp` function, or any function that calls some:
    a wrapper, a loss over a whole network, a module. The oracle is the same
    computation without its hand-written rules (`fcjax.verify.without_rules`), differentiated by
    JAX in float64. Finite differences and forward mode are independent oracles. If a composition
    of rules is wrong, the report names the rule at fault.

    The verdict is "wrong" if a check failed. It is "right" if no check failed and, for every
    argument, the values of the gradient were compared with those of an oracle. Otherwise it is
    "inconclusive", and `report.doubts` says why. `report.unchecked` lists what was not checked.

    `checks` and `expected_failures` take the names of these checks:

    - structure, dtype: the cotangent of each argument has its tree, shape and dtype.
    - primal: the forward rule returns what the function, and the reference, return.
    - vjp: each gradient equals autodiff of the reference, in float64. Where the rule is finite and
      autodiff is not, the one-sided slopes of the function decide.
    - finite_differences: each gradient equals central differences of the function.
    - dot_product: each gradient agrees with forward mode of the reference, ⟨dy, J u⟩ = ⟨dx, u⟩.
    - precision: gradients are right to rounding in the dtypes of the arguments, bfloat16 and
      float16.
    - exact: the gradient of a polynomial at integers, where nothing is rounded, is right bit for
      bit.
    - partial_use: a rule with symbolic zeros is right without each output and without each
      argument.
    - zero_cotangent, linearity: the backward rule is linear in its cotangent.
    - forward: `jax.jvp` and `jax.linearize` of the rule, where it has them, are right.
    - second_order, third_order: the rule can be differentiated again, in forward and in reverse
      mode, and once more.
    - finite: at 0 and far from 0, the rule is finite where the gradient of the reference is.
    - kinks: the derivative at a kink is the declared one, or lies between the one-sided slopes.
    - search: the rule is right at points where gradients break: zeros, ties, infinities, huge and
      tiny numbers, equal arguments, numbers that the program compares with, edges of the domain.
      A mistake of the rule fails. One that autodiff of the plain function makes too is a note.
      `report.findings` has both, each at the simplest point that shows it, `finding.args`, with
      the call that repeats it, `finding.call`.
    - integers: integer arguments get no gradient.
    - vmap, jit, checkpoint, scan: the transformed rule gives the same gradients, with donated
      arguments and with each policy too; `scan` is also differentiated.
    - repeated: in two calls in one program, each gets its own gradient.
    - determinism: two calls return equal bits, and two traces the same program.
    - sharding: split over devices (automatically, with explicit axes, by `shard_map`), the rule
      gives the gradients of the reference. This needs at least two devices. A failure is listed in
      `report.findings`. It makes the rule wrong only if `checks` names `sharding`, or if the
      function uses a mesh.

    The point matters: choose different sizes (3 × 5, not 4 × 4), at least three examples, and
    values that differ, or a transposed or unsummed gradient may look right. `fun` is checked at
    this point with a random cotangent, and also at zero and far from zero.

    Args:
        fun: the function. It may return any pytree. Leaves that are not floating-point are not
            differentiated; a complex leaf counts as two, its real and its imaginary part.
        args: its positional arguments, pytrees of any kind. The differentiable leaves are the
            floating-point arrays in them, and those that `fun` closes over, such as the parameters
            of a module. A complex array z counts as two, `z.real` and `z.imag`; its gradient is
            that of JAX, ∂/∂x − i ∂/∂y, with dz = f'(z) dw for a holomorphic w = f(z)
            (`fcjax/verify/complex_parts.py` derives it). Integer arrays, PRNG keys, Python
            numbers, names and None are kept constant, and so are the arguments that a rule names in
            `nondiff_argnums`; write `jnp.asarray(0.5)` to check the gradient with respect to a
            number.
        reference: a function with the arguments of `fun` whose gradient is known to be right.
            Required where JAX cannot differentiate the function that the rule decorates (a
            kernel, a `while_loop`).
        kwargs: keyword arguments of `fun`, treated like `args`.
        key: the PRNG key for the random cotangents and directions; `jax.random.key(0)` by default.
        cotangent: the cotangent of the output, a tree of arrays with its structure and shapes; by
            default normal random numbers. That of an output without a gradient is ignored.
        checks: names of the checks to run, from `fcjax.verify.CHECKS`; all by default.
        expected_failures: gradients that are wrong on purpose (a straight-through estimator, a
            clipped or reversed gradient). Maps the name of a check to the name of an argument,
            several names, or True for any. A failure expected of `vjp` is expected of every check
            of the same gradient. Any other failure still counts. An expected failure that does not
            occur is reported as an unexpected pass.
        kinks: for an elementwise function, the derivative at its kinks by convention. Maps the
            name of an argument to {point: derivative}: `{"z": {0.0: 0.0}}` is relu'(0) = 0.
        rtol: the relative accuracy of the function itself, such as 1e-6 for an iteration that stops
            there. Every tolerance is widened by it. 0 by default.
        atol: the absolute accuracy of the function itself, used likewise.
        search: whether to look for points at which the rule is wrong, starting from `args`. True
            is for 200 points or one second; a `fcjax.verify.Budget` sets how many or how long.
        options: other values of keyword arguments, `{"approximate": [True, False]}`. Each
            combination is searched, with the budget of `search`. All other checks are at `kwargs`.
        domain: a function of `args` that returns whether they are in the domain, in which alone
            other points are tried: `lambda a: (a > 0).all()` for an iteration that converges there.
            By default, all points are tried at which the function is finite.
        time_limit: seconds after which no further check starts; a check that has started finishes.
            The report says which checks were left out. None: no limit.

    Returns:
        A `RuleReport`: `report.verdict`, `report.ok`, `report.results`, `report.unchecked`,
        `report.to_dict()`, and `print(report)`. A wrong rule never raises.

    Raises:
        TypeError: an argument of `check_rule` has the wrong type; `args` do not fit the signature
            of the function, or contain no floating-point array; or `reference` cannot be called
            with them. If the function itself raises, the verdict is "inconclusive", and says why.
        ValueError: a check or an argument that does not exist was named, a tolerance or the time
            limit is negative, `args` are not in `domain`, or `reference` returns other shapes.

    Tolerances follow, for each argument, from the dtype and the number of roundings;
    `fcjax/verify/rounding.py` derives them. A correct rule passes at 4096 × 4096, and a rule that
    is wrong by a factor of 1.0005 fails at 3 × 5.

    Source: the oracles are those of Griewank & Walther, Evaluating Derivatives (2008): the dot
    product test of section 3.3 and the differences of section 8.1. ChainRulesTestUtils.jl and
    PyTorch's gradcheck work similarly.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> @jax.custom_vjp
    ... def affine(x, w, b):
    ...     return x @ w + b
    >>> def affine_fwd(x, w, b):
    ...     return x @ w + b, (x, w)
    >>> def affine_bwd(kept, dZ):
    ...     x, w = kept
    ...     return dZ @ w.T, x.T @ dZ, dZ.mean(0)
    >>> affine.defvjp(affine_fwd, affine_bwd)
    >>> x, w, b = jnp.sin(jnp.arange(15.0)).reshape(5, 3), jnp.eye(3, 2) + 0.5, jnp.ones(2)
    >>> report = check_rule(affine, (x, w, b), checks=["vjp"])
    >>> report.verdict
    'wrong'
    >>> [(result.argument, result.status) for result in report.results if result.name == "vjp"]
    [('x', 'passed'), ('w', 'passed'), ('b', 'failed')]
    >>> report.failures[0].hint
    'an extra factor of 1/5 (5 is the size of axis 0 of x)'
    """
    call_of(fun, args, kwargs)
    declared = kinks_of(kinks)
    given = _Options(
        reference, dict(kwargs or {}), declared, key, rtol, atol, time_limit, budget_of(search),
        cotangent,
    )  # fmt: skip
    combinations = combinations_of(options)
    selected, expected = checks_of(checks), _expected(expected_failures)
    if checks is None and not search:
        selected = [check for check in selected if check.name != "search"]
    if combinations and not any(check.name == "search" for check in selected):
        raise ValueError("options are tried by the search alone, which is left out here")
    sample = _sample(fun, args, given, explicit=checks is not None)
    require_known_arguments(sample, {"kinks": given.kinks}, expected)
    require_floating_output(sample)
    require_matching_reference(sample.subject)
    sample.cotangent = cotangent_of(sample, cotangent)
    sample.domain = domain_of(domain, sample.point.call[0])
    sample.others = tuple(_with_options(fun, args, given, chosen) for chosen in combinations)
    for other in sample.others:
        other.sample.domain = sample.domain
    report = _report(sample, selected, expected)
    if not report.failures:
        return report
    return dataclasses.replace(
        report, culprits=culprits(sample), call=_call(sample, report, args, given)
    )


def check_at_points(
    fun: Function,
    points: Sequence[Sequence[Tree]],
    *,
    reference: Function | None = None,
    kwargs: Mapping[str, Tree] | None = None,
    checks: Sequence[str] | None = None,
    expected_failures: ExpectedFailures | None = None,
    rtol: float | None = None,
    atol: float | None = None,
) -> Iterator[RuleReport]:
    """Check a function at several points with equal trees, shapes and dtypes.

    The programs compiled for the first point are reused, so further points cost little. Each point
    has a different key. Leaves that are not differentiable (labels, keys, keyword arguments) are
    taken from the first point.

    Args:
        fun: the function, as in `check_rule`.
        points: its positional arguments at each point, all with the tree, shapes and dtypes of the
            first.
        reference: as in `check_rule`.
        kwargs: as in `check_rule`.
        checks: as in `check_rule`.
        expected_failures: as in `check_rule`.
        rtol: as in `check_rule`.
        atol: as in `check_rule`.

    Returns:
        An iterator over the reports, one for each point.

    Raises:
        TypeError: as `check_rule`; or `points` is not a sequence of tuples.
        ValueError: as `check_rule`; or a point differs from the first in tree, shapes or dtypes.

    >>> import jax.numpy as jnp
    >>> import fcjax
    >>> points = [(jnp.linspace(-2, 2, 7) * scale,) for scale in (1, 2, 3)]
    >>> [report.ok for report in check_at_points(fcjax.tanh, points)]
    [True, True, True]
    """
    points = points_of(fun, points, kwargs)
    options = _Options(reference, dict(kwargs or {}), {}, None, rtol, atol, None)
    selected, expected = checks_of(checks), _expected(expected_failures)
    if checks is None:  # the points are given
        selected = [check for check in selected if check.name != "search"]
    first = _sample(fun, points[0], options, explicit=checks is not None)
    require_known_arguments(first, {}, expected)
    require_floating_output(first)
    require_matching_reference(first.subject)
    samples = [_at(first, number, args) for number, args in enumerate(points)]
    return (_report(sample, selected, expected) for sample in samples)


def assert_rule(fun: Function, args: Sequence[Tree], **options: Any) -> RuleReport:
    """Raise AssertionError, with the whole report, unless the gradient of `fun` is right.

    In a test suite, one line checks one rule.

    Args:
        fun: the function, as in `check_rule`.
        args: its arguments.
        **options: the keyword arguments of `check_rule`.

    Returns:
        The report, if its verdict is "right".

    Raises:
        AssertionError: a check failed unexpectedly, or the verdict is inconclusive.

    Warns:
        UserWarning: a failure named in `expected_failures` did not occur.

    >>> import jax.numpy as jnp
    >>> import fcjax
    >>> report = assert_rule(fcjax.tanh, (jnp.linspace(-2, 2, 7),))
    """
    __tracebackhide__ = True  # pytest then shows the caller's line
    report = check_rule(fun, args, **options)
    if not report.ok:
        raise AssertionError(f"\n{report}")
    for result in report.results:
        if result.status == "unexpected pass":
            warnings.warn(f"{report.function}: {result}", stacklevel=2)
    return report


class _Options(NamedTuple):
    """The options of one call of `check_rule`."""

    reference: Function | None
    kwargs: dict[str, Tree]
    kinks: Kinks
    key: Array | None
    rtol: float | None
    atol: float | None
    time_limit: float | None
    budget: Budget = Budget()
    cotangent: Tree = None


def _expected(expected_failures: ExpectedFailures | None) -> Expected:
    given = mapping_of("expected_failures", expected_failures, "a check to names of arguments")
    require_known_checks("expected_failures", given)
    return expectations(given)


def _sample(fun: Function, args: Sequence[Tree], options: _Options, explicit: bool) -> Sample:
    seed = seed_of(options.key)
    accuracy = accuracy_of(options.rtol, options.atol)
    deadline = Deadline(seconds_of(options.time_limit))
    point = Point(fun, args, options.kwargs)

    def subject() -> Subject:
        return Subject.of(fun, options.reference, point, accuracy=accuracy, deadline=deadline)

    with contextlib.suppress(Refused):  # `structure` says why it cannot be traced
        point.capture(fun)
        if options.reference is None:
            _exclude_nondifferentiable(point, subject)
        while options.reference is not None and point.captured.arrays:
            why = "the reference does not take it as an argument"
            point.captured = point.captured.with_first_fixed(why)
    point.require_leaves()
    return Sample(
        fun,
        subject(),
        point,
        seed,
        kinks=options.kinks,
        explicit_checks=explicit,
        budget=options.budget,
    )


def _with_options(
    fun: Function, args: Sequence[Tree], given: _Options, chosen: Mapping[str, Tree]
) -> Other:
    """Return the sample with other keyword arguments, or raise if the function refuses them."""
    text = options_as_text(chosen)
    try:
        call_of(fun, args, {**given.kwargs, **chosen})
        sample = _sample(fun, args, given._replace(kwargs={**given.kwargs, **chosen}), False)
        refusal = sample.subject.refusal
    except (TypeError, ValueError) as error:
        raise ValueError(f"options: fun cannot be called with {text}: {error}") from error
    if refusal is not None:
        raise ValueError(f"options: fun cannot be called with {text}: {refusal}")
    return Other(sample, chosen)


def _exclude_nondifferentiable(point: Point, subject: Callable[[], Subject]) -> None:
    """Keep captured arrays constant until JAX can differentiate the function.

    Some packages let a function declare an array constant; JAX then refuses to differentiate with
    respect to it.
    """
    while point.captured.arrays:
        refusal = subject().refusal
        if refusal is None:
            return
        why = f"the function cannot be differentiated with respect to it ({refusal})"
        point.captured = point.captured.with_first_fixed(why)


def _at(first: Sample, number: int, args: Sequence[Tree]) -> Sample:
    """Return a sample of the same subject at another point, seeded by its number."""
    try:
        point = first.point.moved_to(args)
    except ValueError as error:
        raise ValueError(f"points[{number}]: {error}, as in points[0]") from error
    return Sample(first.fun, first.subject, point, (number,), explicit_checks=first.explicit_checks)


def _report(sample: Sample, selected: Sequence[Check], expected: Expected) -> RuleReport:
    results = [
        apply_expectations(result, expected)
        for check in tqdm(selected, "checks", delay=DELAY, leave=False, disable=None)
        for result in _confirmed(check, sample)
    ]
    uncertain = doubts(sample, results, VALUE_CHECKS)
    return RuleReport(
        name_of_function(sample.fun),
        sample.point.described(),
        tuple(results),
        doubts=uncertain,
        unchecked=(*uncertain, *not_covered(sample, results)),
    )


def _confirmed(check: Check, sample: Sample) -> list[CheckResult]:
    """Run one check; where it finds NaN or infinities, again with all optimizations of XLA.

    Some versions of XLA compile some programs wrongly without them.
    """
    results = _run(check, sample)
    if not any(map(_is_lost, results)):
        return results
    with sample.compiled_thoroughly():
        return _run(check, sample)


def _is_lost(result: CheckResult) -> bool:
    is_number = result.got is None or math.isfinite(result.got)
    return result.status == "failed" and result.name != "search" and not is_number


def _run(check: Check, sample: Sample) -> list[CheckResult]:
    """Run one check. An error raised by JAX or by the user's code is a failure."""
    refusal = sample.subject.refusal
    has_forward = refusal is not None and says_no_reverse_mode(refusal.text)
    if refusal is not None and check.run not in (structure, *([forward] if has_forward else [])):
        return []  # `structure` says why
    results: list[CheckResult] = []
    try:
        sample.subject.deadline.check()
        reason = check.unmet(sample)
        if reason is not None:
            return [CheckResult(check.name, "skipped", message=reason)]
        # the checks overflow on purpose far from 0
        with np.errstate(all="ignore"):
            results.extend(check.run(sample))
    except Skip as reason:
        results.append(CheckResult(check.name, "skipped", message=str(reason)))
    except TimeUp:
        results.append(
            CheckResult(check.name, "skipped", message="left out: the time limit has passed")
        )
    except Refused as refusal:
        results.append(CheckResult(check.name, "failed", message=str(refusal)))
    return [_classified(result, check, sample) for result in results]


def _classified(result: CheckResult, check: Check, sample: Sample) -> CheckResult:
    """Downgrade a failure that does not count to "noted", and one of autodiff to "skipped"."""
    if result.status != "failed":
        return result
    if not check.counts(sample):
        return dataclasses.replace(result, status="noted")
    if check.run is finite_differences and sample.subject.stops_gradients:
        return dataclasses.replace(result, hint=STOPPED)
    if ORACLE in check.needs and result.argument in sample.subject.names:
        k = sample.subject.names.index(result.argument)
        if autodiff_is_refuted(sample, k):
            return CheckResult(check.name, "skipped", result.argument, message=REFUTED)
    return result


def _call(sample: Sample, report: RuleReport, args: Sequence[Tree], options: _Options) -> str:
    names = dict.fromkeys(result.name for result in report.failures if not result.call)
    if not names:
        return ""  # each result has its own
    repeated = {
        "checks": list(names),
        **options._asdict(),
    }
    del repeated["time_limit"], repeated["budget"]
    return call_that_repeats(sample.fun, args, sample.point.described(), repeated)
