"""Check each rule that was heard at the arguments of its calls, and around them."""

import contextlib
import dataclasses
import gc
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._jax import RULE_CLASSES, Definition, definition_of
from ..verify import CheckResult, RuleReport, check_rule
from ..verify.point import described
from ..verify.program import summary
from .listener import Call, Form, Heard, Listener, restored
from .report import Audit, Finding, Rule, Verdict

# Seconds for one rule, after which no further check of it starts.
FOR_ONE = 30.0


def audited(
    listener: Listener, *, time_limit: float = 300.0, expected: Collection[str] = ()
) -> Audit:
    """Check all rules that were called, and name those that were defined and never called.

    The rules of JAX itself come last, in case the time runs out.

    Args:
        listener: what has listened.
        time_limit: seconds after which no further rule is checked.
        expected: names of rules whose gradients are wrong on purpose.
    """
    end = time.monotonic() + time_limit
    heard = sorted(listener.heard, key=lambda one: one.definition.is_jaxs_own)
    rules = [_with_purpose(_judged(one, end), expected) for one in heard]
    rules += [Rule(*definition, "never called") for definition in _never_called(rules)]
    return Audit.of(rules, expected)


def _with_purpose(rule: Rule, expected: Collection[str]) -> Rule:
    is_meant = rule.verdict == "wrong" and rule.name in expected
    return dataclasses.replace(rule, verdict="wrong on purpose") if is_meant else rule


def _never_called(rules: Sequence[Rule]) -> list[Definition]:
    """Return the other rules of the packages that were called, and of the current folder."""
    called = {rule.origin for rule in rules}
    packages = {_package(rule.module) for rule in rules if not rule.is_jaxs_own}
    return [
        definition
        for definition in dict.fromkeys(_defined())
        if definition[:2] not in called
        and not definition.is_jaxs_own
        and (_package(definition.module) in packages or _is_here(definition.source))
    ]


def _package(module: str) -> str:
    return module.partition(".")[0]


def _is_here(source: str) -> bool:
    path = Path(source.rpartition(":")[0])
    return Path.cwd() in path.parents and "site-packages" not in path.parts and not _is_own(path)


def _is_own(path: Path) -> bool:
    """Whether a file belongs to fcjax, which the audit itself imports."""
    return Path(__file__).parents[1] in path.parents


def _defined() -> Iterator[Definition]:
    """Yield the rules that are alive."""
    for thing in gc.get_objects():
        if type(thing) in RULE_CLASSES:
            definition = definition_of(thing)
            if definition is not None:
                yield definition


def _judged(heard: Heard, end: float) -> Rule:
    """Return the verdict on one rule."""
    start = time.monotonic()
    verdicts: list[Verdict] = []
    findings: dict[Finding, None] = {}
    forms: list[str] = []
    for form in heard.forms.values():
        form.drawn()
        for call in form.calls:
            verdict, found = _at(heard.rule, call, end)
            verdicts.append(verdict)
            findings.update(dict.fromkeys(found))
            forms.append(_described(call))
        if form.is_too_large:
            findings[Finding("inconclusive", _of(form), "too many numbers to check")] = None
    for refusal in heard.refusals if not verdicts else ():
        findings[Finding("inconclusive", "a call", f"its arguments were not kept: {refusal}")] = (
            None
        )
    return Rule(
        *heard.definition,
        _worst(verdicts),
        heard.count,
        tuple(dict.fromkeys(forms)),
        heard.left_out,
        tuple(findings),
        round(time.monotonic() - start, 3),
    )


def _worst(verdicts: list[Verdict]) -> Verdict:
    """Return "wrong" if any is, else "right" if any is."""
    return "wrong" if "wrong" in verdicts else "right" if "right" in verdicts else "inconclusive"


def _at(rule: Any, call: Call, end: float) -> tuple[Verdict, list[Finding]]:
    form = _described(call)
    left = end - time.monotonic()
    if left <= 0:
        return "inconclusive", [Finding("inconclusive", form, "the time limit has passed")]
    is_wide = any(_is_64_bit(leaf) for leaf in jax.tree.leaves((call.args, call.kwargs)))
    try:
        with jax.enable_x64(True) if is_wide else contextlib.nullcontext():
            args, kwargs = restored(call)
            report = check_rule(rule, args, kwargs=kwargs, time_limit=min(left, FOR_ONE))
    except Exception as error:  # a rule may raise anything at arguments out of its context
        return "inconclusive", [Finding("inconclusive", form, summary(error))]
    if report.failures and all(map(_needs_eager_calls, report.failures)):
        # called with a shape or a choice in an array, which only an untraced call can read
        return "inconclusive", [Finding("inconclusive", form, str(report.failures[0]))]
    return report.verdict, list(_findings(report, form))


def _needs_eager_calls(result: CheckResult) -> bool:
    return result.name == "jit" and (result.message or "").startswith("works only outside jit")


def _findings(report: RuleReport, form: str) -> Iterator[Finding]:
    for result in dict.fromkeys((*report.failures, *report.findings)):
        severity = "wrong" if result.status == "failed" else "note"
        yield Finding(severity, form, str(result), result.call or report.call)
    if report.verdict == "inconclusive":
        yield Finding("inconclusive", form, "; ".join(report.doubts))


def _is_64_bit(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray) and leaf.dtype.itemsize == 8 * (
        2 if leaf.dtype.kind == "c" else 1
    )


def _described(call: Call) -> str:
    leaves = jax.tree.leaves((call.args, call.kwargs))
    drawn = ", with random numbers" if call.are_drawn else ""
    return ", ".join(map(_short, leaves)) + drawn


def _of(form: Form) -> str:
    return ", ".join(map(_short, form.types))


def _short(leaf: Any) -> str:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return f"{leaf.dtype}{list(leaf.shape)}"
    text = described(leaf)
    return text if len(text) <= 40 else f"{text[:37]}..."
