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
from .closures import closed_over
from .listener import FUNCTIONS, Call, Form, Function, Heard, Listener, restored
from .report import VERDICTS, Audit, Finding, Rule, Verdict

# Seconds for one rule, after which no further check of it starts.
FOR_ONE = 30.0
# Functions of a rule that are checked before further ones of any rule.
AT_LEAST = 3
INCONCLUSIVE: Verdict = "inconclusive"


def audited(
    listener: Listener, *, time_limit: float = 300.0, expected: Collection[str] = ()
) -> Audit:
    """Check all rules that were called, and name those that were defined and never called.

    Functions of one rule that a factory made are checked each, as far as the time allows. The rules
    of JAX itself come last, in case the time runs out.

    Args:
        listener: what has listened.
        time_limit: seconds after which no further rule is checked.
        expected: the rules whose gradients are wrong on purpose, each as `Rule.fits` takes it.
    """
    end = time.monotonic() + time_limit
    heard = sorted(listener.heard, key=lambda one: one.definition.is_jaxs_own)
    trials = [_Trial(one) for one in heard]
    for trial, function in _in_turn(trials):
        trial.check(function, end)
    rules = [trial.rule() for trial in trials]
    rules += [Rule(*definition, "never called") for definition in _never_called(rules)]
    return Audit.of(rules, expected)


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


class _Trial:
    """The checks of one rule."""

    def __init__(self, heard: Heard):
        self._heard = heard
        self.functions = _spread(list(heard.functions.values()))
        self._verdicts: list[Verdict] = []
        self._findings: dict[Finding, None] = {}
        self._forms: dict[str, None] = {}
        self._calls = 0
        self._is_cut = False
        self._seconds = 0.0

    def check(self, function: Function, end: float) -> None:
        """Check a function at the calls that were kept of it, until the time is over."""
        start = time.monotonic()
        verdicts: list[Verdict] = []
        for form in function.forms.values():
            form.drawn()
            if form.is_too_large:
                self._note(_of(form), "too many numbers to check")
            for call in form.calls:
                if time.monotonic() < end:
                    verdicts.append(self._at(function, call, end))
                    self._calls += form.count
                else:
                    self._cut(function, call)
        if verdicts:
            self._verdicts.append(_worst(verdicts))
        self._seconds += time.monotonic() - start

    def _at(self, function: Function, call: Call, end: float) -> Verdict:
        form = _described(call)
        values = closed_over(function.rule) if self._heard.distinct > 1 else ""
        verdict, found = _at(function.rule, call, end)
        self._forms[form] = None
        self._is_cut |= verdict == "inconclusive" and time.monotonic() >= end
        for finding in found:
            where = f"{finding.form}, with {values}" if values else finding.form
            self._findings[dataclasses.replace(finding, form=where)] = None
        return verdict

    def _cut(self, function: Function, call: Call) -> None:
        """Note that the time is over; of further functions, their number is said."""
        self._is_cut = True
        if function is self.functions[0]:
            self._note(_described(call), "the time limit has passed")

    def _note(self, form: str, text: str) -> None:
        self._findings[Finding("inconclusive", form, text)] = None

    def rule(self) -> Rule:
        """Return the verdict: the worst of those on the functions that were checked."""
        heard = self._heard
        verdicts = self._verdicts or [INCONCLUSIVE]
        for refusal in heard.refusals if not self._verdicts else ():
            self._note("a call", f"its arguments were not kept: {refusal}")
        return Rule(
            *heard.definition,
            min(verdicts, key=VERDICTS.index),
            calls=heard.count,
            forms=tuple(self._forms),
            left_out=heard.count - self._calls,
            functions=heard.distinct,
            unchecked=heard.distinct - len(self._verdicts),
            is_cut=self._is_cut,
            findings=tuple(self._findings),
            seconds=round(self._seconds, 3),
        )


def _spread(functions: list[Function]) -> list[Function]:
    """Return the first, the last and the middle one before the others."""
    picked = dict.fromkeys((0, len(functions) - 1, len(functions) // 2) if functions else ())
    picked |= dict.fromkeys(range(len(functions)))
    return [functions[i] for i in picked]


def _in_turn(trials: Sequence[_Trial]) -> Iterator[tuple[_Trial, Function]]:
    """Yield the first few functions of each rule, then one of each after the other."""
    for trial in trials:
        yield from ((trial, function) for function in trial.functions[:AT_LEAST])
    for i in range(AT_LEAST, FUNCTIONS):
        yield from ((trial, trial.functions[i]) for trial in trials if i < len(trial.functions))


def _worst(verdicts: list[Verdict]) -> Verdict:
    """Return "wrong" if any is, else "right" if any is."""
    return "wrong" if "wrong" in verdicts else "right" if "right" in verdicts else "inconclusive"


def _at(rule: Any, call: Call, end: float) -> tuple[Verdict, list[Finding]]:
    form = _described(call)
    left = max(end - time.monotonic(), 1e-3)
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
