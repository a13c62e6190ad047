"""Compare the cost of a rule with that of autodiff of the same function."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ..._arguments import brief, check_function
from ..._types import Function, Tree
from ..arguments import (
    accuracy_of,
    call_of,
    require_floating_output,
    require_matching_reference,
    seconds_of,
)
from ..point import Point
from ..precision import Precision
from ..program import Refused
from ..repro import name_of_function
from ..sample import Sample
from ..subject import Side, Subject
from .agreement import agreement, require_same_values
from .measure import Measured, in_turns, time_ratio
from .report import CostReport


def compare_cost(
    fun: Function,
    args: Sequence[Tree],
    *,
    reference: Function | None = None,
    kwargs: Mapping[str, Tree] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    seconds: float = 1.0,
) -> CostReport:
    """Compare the cost of the gradient of `fun` by its hand-written rules with that by autodiff.

    Both are compiled, and called in turns on the default device: a value with its gradients with
    respect to all floating-point arguments. The bytes kept between the two passes are counted
    without the arguments: a rule that keeps its arguments alone keeps 0 B.

    The report also says where the two gradients differ by more than rounding. That may be a
    mistake, or a choice such as a straight-through estimator: `check_rule` tells more.

    Args:
        fun: the function, as in `check_rule`.
        args: its positional arguments, as in `check_rule`.
        reference: a function with the arguments and the values of `fun` that autodiff
            differentiates; by default `fun` without its hand-written rules.
        kwargs: keyword arguments of `fun`.
        rtol: the relative accuracy of the function itself, as in `check_rule`.
        atol: the absolute accuracy of the function itself, as in `check_rule`.
        seconds: how long calls are timed, at least 9 rounds.

    Returns:
        A `CostReport`: `print(report)` shows a table, `report.verdict` says in one line whether the
        rule is worth having, and `report.to_dict()` is plain data.

    Raises:
        TypeError: as `check_rule`.
        ValueError: `fun` raises or has no hand-written rule, JAX cannot differentiate it or the
            reference, the values of the reference differ from those of `fun` by more than rounding,
            `rtol` or `atol` is negative or not finite, or `seconds` is not positive and finite.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import fcjax
    >>> z = jnp.linspace(-3, 3, 1000)
    >>> report = compare_cost(fcjax.gelu, (z,), seconds=0.05)
    >>> report.rule.kept_bytes <= report.autodiff.kept_bytes
    True
    >>> report.agrees
    True
    """
    check_function("fun", fun)
    call_of(fun, args, kwargs)
    _require_positive(seconds)
    point = Point(fun, args, dict(kwargs or {}))
    subject = Subject.of(fun, reference, point, accuracy=accuracy_of(rtol, atol))
    point.require_leaves()
    _require_a_call(subject)
    require_matching_reference(subject)
    if not subject.has_oracle:
        raise ValueError("fun has no hand-written rule: there is nothing to compare with autodiff")
    sample = Sample(fun, subject, point, (0,))
    require_floating_output(sample)
    require_same_values(sample)
    sides = [Measured(name, side, point) for name, side in _sides(subject)]
    agreed = agreement(sample, sides)
    times = in_turns(sides, seconds)
    of_rule, of_plain = (side.cost(own) for side, own in zip(sides, times, strict=True))
    device = jax.devices()[0]
    return CostReport(
        name_of_function(fun),
        point.described(),
        f"{device.platform} ({device.device_kind})",
        of_rule,
        of_plain,
        *time_ratio(*times),
        *agreed,
    )


def _require_a_call(subject: Subject) -> None:
    """Raise ValueError if the function itself raises."""
    try:
        subject.ys(Precision.OWN)
    except Refused as refusal:
        raise ValueError(f"fun cannot be called with args: {refusal}") from refusal


def _require_positive(seconds: Any) -> None:
    is_number = isinstance(seconds, int | float | np.number) and not isinstance(seconds, bool)
    if is_number and not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be positive and finite, got {brief(seconds)}")
    if seconds_of(seconds, "seconds") is None:
        raise TypeError("seconds must be a number, got None")


def _sides(subject: Subject) -> list[tuple[str, Side]]:
    return [("fun", subject.rule), ("the reference", subject.plain)]
