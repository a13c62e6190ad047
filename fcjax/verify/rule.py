"""`check_rule` and `assert_rule`: is a hand-written gradient right, and if not, where and why."""

import dataclasses
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .checks import CHECKS
from .computing import first_line
from .culprit import culprits
from .plain import is_array
from .report import CheckResult, RuleReport
from .trial import Skip, Trial

# What compares with the derivative, as `vjp` does.
SAME_AS_VJP = ("finite_differences", "dot_product", "precision", "exact")

Expected = Mapping[str, bool | str | Sequence[str]]
Kinks = Mapping[str, Mapping[float, float]]


class Declared(NamedTuple):
    """The arguments that a check may fail for, None for any, and whether `vjp` implies it."""

    arguments: tuple[str, ...] | None
    implied: bool = False


# Larger arguments are not written out in the call that repeats a failure.
WRITTEN_OUT = 32


def check_rule(
    fun: Callable[..., Any],
    args: Sequence[Any],
    *,
    reference: Callable[..., Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    key: Any = None,
    checks: Sequence[str] | None = None,
    expected_failures: Expected | None = None,
    kinks: Kinks | None = None,
) -> RuleReport:
    r"""Check the hand-written gradient of `fun` at `args`, argument by argument.

    `fun` may be a `jax.custom_vjp` or `jax.custom_jvp` function, or any function that calls some:
    a wrapper, a loss over a whole network, a training step. The oracle is the same computation
    with every hand-written rule taken out of it (`fcjax.verify.without_rules`), differentiated by
    JAX in float64; finite differences and forward mode are further, independent ones. When a
    composition is wrong, the report names the rule in it that is.

    The checks, by the names that `checks` and `expected_failures` take:

    - structure, dtype: each argument has a cotangent of its tree, shape and dtype.
    - primal: the forward rule returns what the function, and the reference, return.
    - vjp: each gradient equals autodiff of the reference, in float64.
    - finite_differences: and central differences of the function itself.
    - dot_product: and forward mode of the reference, ⟨dy, J u⟩ = ⟨dx, u⟩.
    - precision: in the arguments' own dtypes, bfloat16 and float16, gradients are right to
      rounding.
    - exact: a polynomial's gradient at integers, where nothing is rounded, is right bit for bit.
    - zero_cotangent, linearity: the backward rule is linear in its cotangent.
    - second_order: it can be differentiated again, in forward and in reverse mode.
    - finite: at 0 and far out, it is finite where the reference's gradient is.
    - kinks: derivatives at kinks are the declared ones, or lie between the slopes beside them.
    - integers: integer arguments get no gradient.
    - vmap, jit, scan: transformed, it gives the same; in `scan` also differentiated through.
    - determinism: two calls give equal bits, and two traces the same program.
    - sharding: split over devices (automatically, with explicit axes, by `shard_map`), it gives
      what the reference gives; for this, there must be two devices.

    What `vjp` finds is told by finite_differences, dot_product, precision and exact too.

    The point matters: choose shapes with unlike sizes (3 × 5, not 4 × 4), at least three examples,
    and values that are not all alike, or a transposed or unsummed gradient may look right. What is
    checked is `fun` at this point, for a random cotangent, and at points far out and at zero.

    Args:
        fun: the function. Whatever it returns (arrays, pytrees, integers beside them) is fine.
        args: its positional arguments, pytrees of any kind. Floating-point arrays are
            differentiated by. Integer arrays, PRNG keys, Python numbers, names and None are held;
            write `jnp.asarray(0.5)` to check the gradient by a number.
        reference: a function with the arguments of `fun` and a gradient that is known to be right.
            Needed where JAX cannot differentiate what the rule decorates (a kernel, a
            `while_loop`).
        kwargs: keyword arguments of `fun`, treated as `args` are.
        key: a PRNG key that the cotangents and directions are drawn from; `jax.random.key(0)` by
            default.
        checks: names of the checks to run, in `fcjax.verify.CHECKS`; all by default.
        expected_failures: what is wrong on purpose (a straight-through estimator, a clipped or
            reversed gradient): from the name of a check to the name of the argument, several
            names, or True for any. What is declared of `vjp` covers the checks that tell the same.
            Anything else that fails still counts, and a declared failure that does not happen is
            told.
        kinks: for an elementwise function, the derivative at its kinks by convention: from the
            name of an argument to {point: derivative}. `{"z": {0.0: 0.0}}` is relu'(0) = 0.

    Returns:
        A `RuleReport`: `report.ok`, `report.results`, `report.to_dict()`, and `print(report)`.
        A wrong rule never raises.

    Raises:
        TypeError: `args` is no tuple, holds no floating-point array, or a complex one; or
            `reference` cannot be called with them.
        ValueError: an unknown check or argument was named; or `reference` returns other shapes.

    Tolerances follow from the dtype and the sums that are rounded, for each argument by itself;
    `fcjax/verify/tolerance.py` derives them. A correct rule passes at 4096 × 4096, and a factor of
    1.0005 fails at 3 × 5.

    Source: the oracles are those of Griewank & Walther, Evaluating Derivatives (2008): the dot
    product test of section 3.3 and differences of section 8.1; ChainRulesTestUtils.jl and PyTorch's
    gradcheck check in a like way.

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
    >>> report.ok
    False
    >>> [(result.argument, result.status) for result in report.results if result.name == "vjp"]
    [('x', 'passed'), ('w', 'passed'), ('b', 'failed')]
    >>> report.failures[0].hint
    'a factor 1/5 too many, and 5 is the size of axis 0 of x'
    """
    _call_of(fun, args, kwargs)
    selected = _selected(checks)
    expected = _expected(expected_failures or {})
    trial = Trial(fun, args, kwargs or {}, reference, _seed(key), kinks, checks is None)
    _known_arguments(trial, expected)
    trial.refuse_other_reference()
    report = _report(trial, selected, expected)
    if report.ok:
        return report
    failed = list(dict.fromkeys(result.name for result in report.failures))
    call = _call(trial, failed, key)
    return dataclasses.replace(report, culprits=culprits(trial), call=call)


def check_at_points(
    fun: Callable[..., Any],
    points: Sequence[Sequence[Any]],
    *,
    reference: Callable[..., Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    checks: Sequence[str] | None = None,
    expected_failures: Expected | None = None,
) -> Iterator[RuleReport]:
    """Check a function at several points of one form, with a key of its own at each.

    What was compiled for the first point serves the others, so that these cost little. What is
    not differentiated by (labels, keys, keyword arguments) stays that of the first.

    Args:
        fun: the function, as in `check_rule`.
        points: its positional arguments at each point.
        reference: as in `check_rule`.
        kwargs: as in `check_rule`.
        checks: as in `check_rule`.
        expected_failures: as in `check_rule`.

    Yields:
        A report for each point.

    Source: `check_rule`.

    >>> import jax.numpy as jnp
    >>> import fcjax
    >>> points = [(jnp.linspace(-2, 2, 7) * scale,) for scale in (1, 2, 3)]
    >>> [report.ok for report in check_at_points(fcjax.tanh, points)]
    [True, True, True]
    """
    selected, expected = _selected(checks), _expected(expected_failures or {})
    trial = Trial(fun, points[0], kwargs or {}, reference, _seed(None), {}, checks is None)
    for number, args in enumerate(points):
        yield _report(trial.at(args, (number,)), selected, expected)


def _report(trial: Trial, selected: Sequence[str], expected: Mapping[str, Declared]) -> RuleReport:
    results = [_told(result, expected) for name in selected for result in _run(name, trial)]
    return RuleReport(_name(trial.fun), trial.described(), tuple(results))


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
        AssertionError: a check failed that was not declared to.

    Warns:
        UserWarning: a failure was declared in `expected_failures` and did not happen.

    Source: `check_rule`.

    >>> import jax.numpy as jnp
    >>> import fcjax
    >>> report = assert_rule(fcjax.tanh, (jnp.linspace(-2, 2, 7),))
    """
    __tracebackhide__ = True  # pytest then shows the caller's line
    report = check_rule(fun, args, **options)
    if not report.ok:
        raise AssertionError(f"\n{report}")
    for result in report.results:
        if result.status == "not needed":
            warnings.warn(f"{report.function}: {result}", stacklevel=2)
    return report


def _call_of(fun: Any, args: Any, kwargs: Any) -> None:
    """Raise TypeError unless these are a function and its arguments."""
    if not callable(fun):
        raise TypeError(f"fun must be a function, got {type(fun).__name__}")
    if not isinstance(args, tuple | list):
        raise TypeError(
            f"args must be a tuple of the positional arguments, got {type(args).__name__}; "
            "write (x,) for a single one"
        )
    if not isinstance(kwargs, Mapping | None):
        raise TypeError(f"kwargs must be a mapping from names, got {type(kwargs).__name__}")


def _selected(checks: Sequence[str] | None) -> list[str]:
    if checks is None:
        return list(CHECKS)
    checks = [checks] if isinstance(checks, str) else checks
    for name in checks:
        _known("checks", name)
    # without its form, nothing else of a rule can be judged
    return [name for name in CHECKS if name in checks or name == "structure"]


def _known(argument: str, name: str) -> None:
    if name not in CHECKS:
        raise ValueError(f"{argument}: {name!r} is unknown; accepted: {', '.join(CHECKS)}")


def _expected(declared: Expected) -> dict[str, Declared]:
    """Return what is declared of each check."""
    expected: dict[str, Declared] = {}
    for name, arguments in declared.items():
        _known("expected_failures", name)
        if isinstance(arguments, bool):
            expected |= {name: Declared(None)} if arguments else {}
        else:
            names = (arguments,) if isinstance(arguments, str) else tuple(arguments)
            expected[name] = Declared(names)
    if "vjp" in expected:
        implied = expected["vjp"]._replace(implied=True)
        expected = dict.fromkeys(SAME_AS_VJP, implied) | expected
    return expected


def _known_arguments(trial: Trial, expected: Mapping[str, Declared]) -> None:
    """Raise ValueError where `kinks` or `expected_failures` name no argument."""
    differentiable = [trial.name(k) for k in range(trial.count)]
    _all_in("kinks", trial.kinks, differentiable)
    for declared in expected.values():
        _all_in("expected_failures", declared.arguments or (), trial.point.names)


def _all_in(option: str, names: Iterable[str], accepted: Sequence[str]) -> None:
    for name in names:
        if name not in accepted:
            raise ValueError(f"{option}: {name!r} is no argument; accepted: {', '.join(accepted)}")


def _told(result: CheckResult, expected: Mapping[str, Declared]) -> CheckResult:
    """Return the result with what was declared of it taken into account."""
    declared = expected.get(result.name)
    if declared is None:
        return result
    if declared.arguments is not None and result.argument not in declared.arguments:
        return result
    if result.status == "failed":
        return dataclasses.replace(result, status="declared")
    if result.status == "passed" and declared.arguments is not None and not declared.implied:
        message = "declared to fail, and right: the declaration is not needed"
        return dataclasses.replace(result, status="not needed", message=message)
    return result


def _run(name: str, trial: Trial) -> list[CheckResult]:
    """Run one check; what it cannot do is skipped, and what JAX refuses has failed."""
    if name != "structure" and trial.broken:
        return []  # `structure` says why
    try:
        # far-out points overflow, and that is looked at
        with np.errstate(all="ignore"):
            return list(CHECKS[name](trial))
    except Skip as reason:
        return [CheckResult(name, "skipped", message=str(reason))]
    except Exception as error:
        return [CheckResult(name, "failed", message=first_line(error))]


def _seed(key: Any) -> tuple[int, ...]:
    """Return the integers of a PRNG key, old style or new."""
    key = jax.random.key(0) if key is None else key
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    return tuple(int(word) for word in np.ravel(key))


def _name(fun: Callable[..., Any]) -> str:
    return getattr(fun, "__name__", type(fun).__name__)


def _call(trial: Trial, failed: list[str], key: Any) -> str:
    """Return Python that repeats the failed checks; short arguments are written out."""
    leaves = [leaf for leaf in jax.tree.leaves(trial.args) if is_array(leaf)]
    short = sum(np.size(leaf) for leaf in leaves) <= WRITTEN_OUT
    args = _written(trial.args) if short else "args"
    where = getattr(inspect.unwrap(trial.fun), "__module__", None)
    imported = f"from {where} import {_name(trial.fun)}\n" if where and where != "__main__" else ""
    options = [f"checks={failed}"]
    if trial.reference is not None:
        options.append(f"reference={_name(trial.reference)}")
    if trial.kwargs:
        options.append(f"kwargs={_written(trial.kwargs)}")
    if trial.kinks:
        options.append(f"kinks={dict(trial.kinks)}")
    if key is not None:
        words = list(_seed(key))
        options.append(f"key=jax.random.wrap_key_data(jnp.array({words}, 'uint32'))")
    note = "" if short else f"\n# args: {trial.described()}"
    return f"{imported}fcjax.check_rule({_name(trial.fun)}, {args}, {', '.join(options)}){note}"


def _written(value: Any) -> str:
    """Return Python for a value: exact, for the arrays in it."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = value._asdict().items()  # pyright: ignore[reportAttributeAccessIssue]
        return f"{type(value).__name__}({', '.join(f'{n}={_written(v)}' for n, v in fields)})"
    if isinstance(value, tuple):
        return f"({', '.join(map(_written, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {_written(v)}" for k, v in value.items()) + "}"
    if is_array(value) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        words = np.asarray(jax.random.key_data(value)).tolist()
        return f"jax.random.wrap_key_data(jnp.array({words}, 'uint32'))"
    if is_array(value):
        return f"jnp.array({_digits(value)}, '{value.dtype}')"
    return getattr(value, "__name__", repr(value))


def _digits(array: Any) -> str:
    """Return the numbers of an array as a list, each with the digits that identify it."""
    array = np.asarray(array)
    if jnp.issubdtype(array.dtype, jnp.bfloat16):
        array = array.astype(np.float32)
    if array.ndim == 0:
        return str(array)
    return "[" + ", ".join(map(_digits, array)) + "]"
