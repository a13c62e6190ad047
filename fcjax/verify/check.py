"""`check_rule` and `assert_rule`: is a hand-written gradient right, and if not, where and why."""

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._progress import tqdm
from .arbiter import autodiff_is_refuted
from .arguments import (
    Kinks,
    accuracy_of,
    call_of,
    checks_of,
    kinks_of,
    known_checks,
    mapping_of,
    points_of,
    refuse_other_reference,
    refuse_unknown_arguments,
    refuse_without_output,
    seconds_of,
    seed_of,
)
from .checks import CHECKS
from .checks._check import ORACLE, Check
from .checks.differences import finite_differences
from .culprit import culprits
from .expected import Expected, ExpectedFailures, apply_expectations, expectations
from .point import Point
from .program import Deadline, Refused, Skip, TimeUp
from .report import CheckResult, RuleReport
from .repro import call_that_repeats, name_of_function
from .sample import Sample
from .subject import Subject
from .unchecked import doubts, not_covered

VALUE_CHECKS = {check.name for check in CHECKS.values() if check.evidence == "value"}
REFUTED = "autodiff of the function is not its derivative here: its slopes agree with the rule"
STOPPED = "differences see what the function puts under stop_gradient; is it to be stopped?"
QUIET = 3.0  # seconds before a line of progress is shown


def check_rule(
    fun: Callable[..., Any],
    args: Sequence[Any],
    *,
    reference: Callable[..., Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    key: Any = None,
    checks: Sequence[str] | None = None,
    expected_failures: ExpectedFailures | None = None,
    kinks: Kinks | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    time_limit: float | None = None,
) -> RuleReport:
    r"""Check the hand-written gradient of `fun` at `args`, argument by argument.

    `fun` may be a `jax.custom_vjp` or `jax.custom_jvp` function, or any function that calls some:
    a wrapper, a loss over a whole network, a training step, a module. The oracle is the same
    computation with every hand-written rule taken out of it (`fcjax.verify.without_rules`),
    differentiated by JAX in float64; finite differences and forward mode are further, independent
    ones. When a composition is wrong, the report names the rule in it that is.

    The verdict is "wrong" if something failed. It is "right" if nothing failed and, for every
    argument, the gradient's values were compared with those of an oracle. Otherwise it is
    "inconclusive", and `report.doubts` says why. `report.unchecked` lists what was not looked at.

    The checks, by the names that `checks` and `expected_failures` take:

    - structure, dtype: each argument has a cotangent of its tree, shape and dtype.
    - primal: the forward rule returns what the function, and the reference, return.
    - vjp: each gradient equals autodiff of the reference, in float64. Where autodiff has no finite
      number and the rule has one, the slopes on both sides of the entry decide.
    - finite_differences: and central differences of the function itself.
    - dot_product: and forward mode of the reference, ⟨dy, J u⟩ = ⟨dx, u⟩.
    - precision: in the arguments' own dtypes, bfloat16 and float16, gradients are right to
      rounding.
    - exact: a polynomial's gradient at integers, where nothing is rounded, is right bit for bit.
    - partial_use: without each output, and without each argument, of a rule that asks for symbolic
      zeros.
    - zero_cotangent, linearity: the backward rule is linear in its cotangent.
    - second_order: it can be differentiated again, in forward and in reverse mode.
    - finite: at 0 and far out, it is finite where the reference's gradient is.
    - kinks: derivatives at kinks are the declared ones, or lie between the slopes beside them.
    - integers: integer arguments get no gradient.
    - vmap, jit, scan: transformed, it gives the same; in `scan` also differentiated through.
    - determinism: two calls give equal bits, and two traces the same program.
    - sharding: split over devices (automatically, with explicit axes, by `shard_map`), it gives
      what the reference gives; for this, there must be two devices. A failure is noted in
      `report.findings`. It makes the rule wrong only if `checks` asks for it, or if the function
      itself uses a mesh.

    The point matters: choose shapes with unlike sizes (3 × 5, not 4 × 4), at least three examples,
    and values that are not all alike, or a transposed or unsummed gradient may look right. What is
    checked is `fun` at this point, for a random cotangent, and at points far out and at zero.

    Args:
        fun: the function. It may return any pytree. Leaves that are not floating-point are not
            differentiated; a complex one counts as its real and its imaginary part.
        args: its positional arguments, pytrees of any kind. Floating-point arrays are
            differentiated by, and so are those that `fun` closes over, such as the parameters of a
            module. Integer arrays, PRNG keys, Python numbers, names and None are held; write
            `jnp.asarray(0.5)` to check the gradient by a number.
        reference: a function with the arguments of `fun` and a gradient that is known to be right.
            Needed where JAX cannot differentiate what the rule decorates (a kernel, a
            `while_loop`).
        kwargs: keyword arguments of `fun`, treated as `args` are.
        key: a PRNG key that the cotangents and directions are drawn from; `jax.random.key(0)` by
            default.
        checks: names of the checks to run, in `fcjax.verify.CHECKS`; all by default.
        expected_failures: what is wrong on purpose (a straight-through estimator, a clipped or
            reversed gradient): from the name of a check to the name of the argument, several
            names, or True for any. What is expected of `vjp` is expected of every check of the
            same gradient's values. Anything else that fails still counts, and an expected failure
            that does not occur is reported as an unexpected pass.
        kinks: for an elementwise function, the derivative at its kinks by convention: from the
            name of an argument to {point: derivative}. `{"z": {0.0: 0.0}}` is relu'(0) = 0.
        rtol: what the function is good to by itself, relative to its size: 1e-6 for an iteration
            that stops there. Every comparison of numbers is widened by it. 0 by default.
        atol: the same, absolutely.
        time_limit: seconds after which no further check begins; the report says which were left
            out. None: no limit. What runs is not interrupted.

    Returns:
        A `RuleReport`: `report.verdict`, `report.ok`, `report.results`, `report.unchecked`,
        `report.to_dict()`, and `print(report)`. A wrong rule never raises.

    Raises:
        TypeError: an argument of `check_rule` is of the wrong type; `args` do not fit the function,
            hold no floating-point array, or a complex one; or `reference` cannot be called with
            them.
        ValueError: an unknown check or argument was named, a tolerance or time limit is negative;
            or `reference` returns other shapes.

    Tolerances follow from the dtype and the sums that are rounded, for each argument by itself;
    `fcjax/verify/rounding.py` derives them. A correct rule passes at 4096 × 4096, and a factor of
    1.0005 fails at 3 × 5.

    Source: the oracles are those of Griewank & Walther, Evaluating Derivatives (2008): the dot
    product test of section 3.3 and differences of section 8.1. ChainRulesTestUtils.jl and PyTorch's
    gradcheck check in a like way.

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
    'a factor 1/5 too many, and 5 is the size of axis 0 of x'
    """
    call_of(fun, args, kwargs)
    declared = kinks_of(kinks)
    options = _Options(reference, dict(kwargs or {}), declared, key, rtol, atol, time_limit)
    selected, expected = checks_of(checks), _expected(expected_failures)
    sample = _sample(fun, args, options, chosen=checks is not None)
    refuse_unknown_arguments(sample, {"kinks": options.kinks}, expected)
    refuse_without_output(sample)
    refuse_other_reference(sample.subject)
    report = _report(sample, selected, expected)
    if not report.failures:
        return report
    return dataclasses.replace(
        report, culprits=culprits(sample), call=_call(sample, report, args, options)
    )


def check_at_points(
    fun: Callable[..., Any],
    points: Sequence[Sequence[Any]],
    *,
    reference: Callable[..., Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    checks: Sequence[str] | None = None,
    expected_failures: ExpectedFailures | None = None,
    rtol: float | None = None,
    atol: float | None = None,
) -> Iterator[RuleReport]:
    """Check a function at several points of one form, with a key of its own at each.

    What was compiled for the first point serves the others, so that these cost little. What is
    not differentiated by (labels, keys, keyword arguments) stays that of the first.

    Args:
        fun: the function, as in `check_rule`.
        points: its positional arguments at each point, with the tree, shapes and dtypes of the
            first.
        reference: as in `check_rule`.
        kwargs: as in `check_rule`.
        checks: as in `check_rule`.
        expected_failures: as in `check_rule`.
        rtol: as in `check_rule`.
        atol: as in `check_rule`.

    Returns:
        An iterator over a report for each point.

    Raises:
        TypeError: as `check_rule`; or `points` is not a sequence of tuples.
        ValueError: as `check_rule`; or a point has another form than the first.

    >>> import jax.numpy as jnp
    >>> import fcjax
    >>> points = [(jnp.linspace(-2, 2, 7) * scale,) for scale in (1, 2, 3)]
    >>> [report.ok for report in check_at_points(fcjax.tanh, points)]
    [True, True, True]
    """
    points = points_of(fun, points, kwargs)
    options = _Options(reference, dict(kwargs or {}), {}, None, rtol, atol, None)
    selected, expected = checks_of(checks), _expected(expected_failures)
    first = _sample(fun, points[0], options, chosen=checks is not None)
    refuse_unknown_arguments(first, {}, expected)
    refuse_without_output(first)
    refuse_other_reference(first.subject)
    samples = [_at(first, number, args) for number, args in enumerate(points)]
    return (_report(sample, selected, expected) for sample in samples)


def assert_rule(fun: Callable[..., Any], args: Sequence[Any], **options: Any) -> RuleReport:
    """Raise AssertionError, with the whole report, unless the gradient of `fun` is right.

    One line per rule in a test suite.

    Args:
        fun: the function, as in `check_rule`.
        args: its arguments.
        **options: the keyword arguments of `check_rule`.

    Returns:
        The report, where all is right.

    Raises:
        AssertionError: a check failed that was not expected to, or the verdict is inconclusive.

    Warns:
        UserWarning: a failure was named in `expected_failures` and did not occur.

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
    """How the function is called and judged."""

    reference: Callable[..., Any] | None
    kwargs: dict[str, Any]
    kinks: Kinks
    key: Any
    rtol: float | None
    atol: float | None
    time_limit: float | None


def _expected(expected_failures: ExpectedFailures | None) -> Expected:
    given = mapping_of("expected_failures", expected_failures, "a check to names of arguments")
    known_checks("expected_failures", given)
    return expectations(given)


def _sample(fun: Any, args: Sequence[Any], options: _Options, chosen: bool) -> Sample:
    seed = seed_of(options.key)
    accuracy = accuracy_of(options.rtol, options.atol)
    deadline = Deadline(seconds_of(options.time_limit))
    point = Point(fun, args, options.kwargs)

    def subject() -> Subject:
        return Subject.of(fun, options.reference, point, accuracy=accuracy, deadline=deadline)

    with contextlib.suppress(Refused):  # `structure` says why it cannot be traced
        point.capture(fun)
        if options.reference is None:
            _hold_what_is_refused(point, subject)
        while options.reference is not None and point.captured.arrays:
            point.captured = point.captured.without_first("the reference does not take it")
    point.require_leaves()
    return Sample(fun, subject(), point, seed, kinks=options.kinks, chosen=chosen)


def _hold_what_is_refused(point: Point, subject: Callable[[], Subject]) -> None:
    """Hold captured arrays that JAX will not differentiate the function by.

    Such are those that a function has declared constant, as some packages can.
    """
    while point.captured.arrays:
        refusal = subject().refusal
        if refusal is None:
            return
        why = f"the function cannot be differentiated by it ({refusal})"
        point.captured = point.captured.without_first(why)


def _at(first: Sample, number: int, args: Sequence[Any]) -> Sample:
    """Return the sample of the same subject at another point, with a seed of its own."""
    try:
        point = first.point.moved_to(args)
    except ValueError as error:
        raise ValueError(f"points[{number}]: {error}, as in points[0]") from error
    return Sample(first.fun, first.subject, point, (number,), chosen=first.chosen)


def _report(sample: Sample, selected: Sequence[Check], expected: Expected) -> RuleReport:
    results = [
        apply_expectations(result, expected)
        for check in tqdm(selected, "checks", delay=QUIET, leave=False, disable=None)
        for result in _run(check, sample)
    ]
    uncertain = doubts(sample, results, VALUE_CHECKS)
    return RuleReport(
        name_of_function(sample.fun),
        sample.point.described(),
        tuple(results),
        doubts=uncertain,
        unchecked=(*uncertain, *not_covered(sample, results)),
    )


def _run(check: Check, sample: Sample) -> list[CheckResult]:
    """Run one check; what it cannot do is skipped, and what JAX refuses has failed."""
    if check.name != "structure" and sample.subject.refusal is not None:
        return []  # `structure` says why
    results: list[CheckResult] = []
    try:
        sample.subject.deadline.check()
        reason = check.unmet(sample)
        if reason is not None:
            return [CheckResult(check.name, "skipped", message=reason)]
        # far-out points overflow, and that is looked at
        with np.errstate(all="ignore"):
            results.extend(check.run(sample))
    except Skip as reason:
        results.append(CheckResult(check.name, "skipped", message=str(reason)))
    except TimeUp:
        results.append(CheckResult(check.name, "skipped", message="left out: the time was up"))
    except Refused as refusal:
        results.append(CheckResult(check.name, "failed", message=str(refusal)))
    return [_weighed(result, check, sample) for result in results]


def _weighed(result: CheckResult, check: Check, sample: Sample) -> CheckResult:
    """Return a failure as what it is worth: noted, if it does not count, or skipped, if excused."""
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


def _call(sample: Sample, report: RuleReport, args: Sequence[Any], options: _Options) -> str:
    repeated = {
        "checks": list(dict.fromkeys(result.name for result in report.failures)),
        **options._asdict(),
    }
    repeated.pop("time_limit")
    return call_that_repeats(sample.fun, args, sample.point.described(), repeated)
