"""Decide whether a rule is right at a point, and who is at fault if it is not."""

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from ..precision import Precision, eps_of
from ..sample import Sample
from .arithmetic import CLOSE, NOTHING, differs, first, has_lost, is_subnormal, size_of
from .neighbours import Limits, limits_at, moved_by
from .outcome import Outcome, Values, outcome_at, value_at
from .slope import AGREE, OFFSETS, STEP, Quotient, along, quotient_of

Kind = Literal["value", "gradient", "not finite", "lost digits", "raises"]
# "wrong": the rule is. "note": autodiff of the plain function is as wrong.
Severity = Literal["wrong", "note"]

# A result is not compared where its own noise is larger than this fraction of the difference.
NOISE = 1 / 50
# So many rounding errors of the coarsest dtype make no difference.
ROUNDINGS = 64
# With a coarser tolerance than this, finite numbers are not compared.
COARSE = 1e-2
# An error is due to rounding if it is at most this multiple of what rounding the arguments causes.
CONDITIONING = 100
# Values that change by more than this, relative to their size, if arguments are rounded, are noise.
STABLE = 1e-3
# Slopes are not judged at numbers that are larger than those given by this factor.
FAR = 1e4


class Flaw(NamedTuple):
    """A mistake at a point.

    Attributes:
        kind: what is wrong.
        severity: "wrong" if the rule is at fault, "note" if JAX's own derivative is as wrong.
        k: the leaf whose gradient is wrong, or the output whose value is.
        place: the index of an entry at which it is.
        got: what the rule returns there.
        want: what is right there, or the middle of what may be.
        tolerance: how far the two may differ.
    """

    kind: Kind
    severity: Severity
    k: int
    place: tuple[int, ...]
    got: float
    want: float
    tolerance: float = 0.0

    @property
    def same(self) -> tuple[str, str, int]:
        """What is the same for flaws that are shown once."""
        return self.kind, self.severity, self.k


class Judge:
    """The judgement of one sample, first at the given point, then at any number of others.

    Leaves with a mistake at the given point, or for which autodiff is no oracle there, are left out
    afterwards.

    Attributes:
        sizes: the size of each gradient at the given point.
        usual: the size of each output there.
        terms: Σ |dy y| there.
        rtol: how much two results may differ, relative to the largest entry.
        skipped: the leaves that are left out.
        compares_digits: whether gradients in the dtypes of the arguments are judged.
    """

    def __init__(self, sample: Sample, base: Values):
        self.sample, self.base = sample, base
        self.has_oracle = sample.subject.has_oracle
        self.sizes = [0.0] * sample.count
        self.usual = [0.0] * len(sample.subject.ys(sample.wide))
        self.terms = 0.0
        # a function may round to a coarser dtype, and its rule at other places
        self.rtol = max(CLOSE, ROUNDINGS * sample.subject.eps(sample.wide))
        self.skipped: set[int] = set()
        self.compares_digits = False
        self.compares_slopes = True

    def at_base(self, *, brief: bool = False) -> list[Flaw]:
        """Return the mistakes at the given point.

        If `brief`, only the rule and autodiff are compared, which takes fewer programs.
        """
        found = self._gradients(self.base)
        if found is None:
            return []
        by_rule, plain = found
        self.sizes = [size_of(dx) for dx in plain.dxs]
        self.usual = [size_of(y) for y in plain.ys]
        # what is small may be the difference of numbers of this size
        pairs = zip(by_rule.dys, by_rule.ys, strict=True)
        self.terms = sum(float(np.sum(np.abs(dy * y)[np.isfinite(y)])) for dy, y in pairs)
        self.compares_slopes = not brief
        self.compares_digits = not brief and self._has_digits(by_rule)
        flaws: list[Flaw] = []
        while (flaw := self.flaw(self.base)) is not None and flaw.k not in self.skipped:
            flaws.append(flaw)
            self.skipped.add(flaw.k)
        for k, (got, want) in enumerate(zip(by_rule.dxs, plain.dxs, strict=True)):
            if (
                not np.isfinite(want).all()
                or differs(got, want, self.sizes[k], rtol=self.rtol).any()
            ):
                self.skipped.add(k)
        return flaws

    def _has_digits(self, exact: Outcome) -> bool:
        """Whether the function is the same in the dtypes of the arguments as in float64."""
        if self.sample.wide is not Precision.FLOAT64:
            return False
        if all(x.dtype == np.float64 for x in self.sample.point.xs):
            return False
        own = outcome_at(self.sample, self.sample.subject.rule, Precision.OWN, self.base)
        return own is not None and not self._values_are_lost(own, exact)

    def flaw(self, values: Values) -> Flaw | None:
        """Return the first mistake at a point, or None."""
        found = self._gradients(values)
        if found is None:
            return self._raises(values)
        by_rule, plain = found
        flaw = self._value(values, by_rule, plain)
        if flaw or not any(np.isfinite(y).any() for y in by_rule.ys):
            return flaw
        flaw = (
            self._gradient(values, by_rule, plain)
            or (self.compares_slopes and self._slope(values, by_rule))
            or (self.compares_digits and self._digits(values, by_rule))
        )
        return flaw if flaw and self._is_stable(values, by_rule) else None

    def _is_stable(self, values: Values, by_rule: Outcome) -> bool:
        """Whether the values of the function are more than rounding errors.

        The logarithm of a determinant is not, where a matrix is singular but for rounding.
        """
        eps = max(eps_of(x.dtype) for x in self.sample.xs(self.sample.wide))
        for stream in (921, 922):
            near = self._near_in_norm(values, 16 * eps, stream)
            ys = value_at(self.sample, self.sample.wide, near)
            if ys is None:
                return False
            for y, beside, usual in zip(by_rule.ys, ys, self.usual, strict=True):
                with np.errstate(invalid="ignore"):
                    change = size_of(np.where(np.isfinite(y), beside - y, 0))
                is_lost = (np.isfinite(y) & np.isnan(beside)).any()
                if is_lost or change > STABLE * (size_of(y) + usual):
                    return False
        return True

    def _gradients(self, values: Values) -> tuple[Outcome, Outcome] | None:
        """Return what the rule and what autodiff gives, in the widest precision."""
        subject, wide = self.sample.subject, self.sample.wide
        by_rule = outcome_at(self.sample, subject.rule, wide, values)
        if by_rule is None or not self.has_oracle:
            return None if by_rule is None else (by_rule, by_rule)
        plain = outcome_at(self.sample, subject.plain, wide, values)
        return None if plain is None else (by_rule, plain)

    def _raises(self, values: Values) -> Flaw | None:
        """Return a flaw if the rule raises where its function does not."""
        subject, wide = self.sample.subject, self.sample.wide
        if outcome_at(self.sample, subject.rule, wide, values) is not None:
            return None
        if not self.has_oracle or value_at(self.sample, wide, values) is None:
            return None
        plain = outcome_at(self.sample, subject.plain, wide, values)
        if plain is None or not all(np.isfinite(a).all() for a in (*plain.ys, *plain.dxs)):
            return None
        return Flaw("raises", "wrong", 0, (), np.nan, np.nan)

    # --- values -------------------------------------------------------------------------------

    def _value(self, values: Values, by_rule: Outcome, plain: Outcome) -> Flaw | None:
        if not self.has_oracle:
            return None
        wanted = plain.ys
        if self.sample.subject.has_reference:  # it may return other values far away
            wanted = value_at(self.sample, self.sample.wide, values) or by_rule.ys
        for i, (got, want) in enumerate(zip(by_rule.ys, wanted, strict=True)):
            bad = np.isfinite(want) & differs(got, want, size_of(want), rtol=self.rtol)
            if bad.any() and not self._is_noise_of_value(values, i, got, want, bad):
                index = first(bad)
                return Flaw("value", "wrong", i, index, float(got[index]), float(want[index]))
        return None

    def _is_noise_of_value(
        self, values: Values, i: int, got: np.ndarray, want: np.ndarray, bad: np.ndarray
    ) -> bool:
        """Whether rounding of the arguments changes the value as much as the rule does."""
        if not np.isfinite(got[bad]).all():
            return False
        eps = max(eps_of(x.dtype) for x in self.sample.xs(self.sample.wide))
        noise = 0.0
        for stream in (901, 902, 903):
            us = self.directions(values, stream)
            near = moved_by(values, self.base, us, 16 * eps)
            nearby = value_at(self.sample, self.sample.wide, near)
            if nearby is not None:
                with np.errstate(invalid="ignore"):
                    noise = max(noise, size_of(nearby[i] - want))
        return bool(np.all(np.abs(got - want)[bad] <= noise / NOISE))

    # --- gradients ----------------------------------------------------------------------------

    def _gradient(self, values: Values, by_rule: Outcome, plain: Outcome) -> Flaw | None:
        """Judge gradients that are not finite or differ from autodiff."""
        pairs = list(zip(by_rule.dxs, plain.dxs, strict=True))
        suspicious = [
            k
            for k, (got, want) in enumerate(pairs)
            if k not in self.skipped
            and (
                not np.isfinite(got).all()
                or (
                    self.rtol < COARSE
                    and differs(got, want, size_of(want), NOTHING * self.sizes[k], self.rtol).any()
                )
            )
        ]
        if not suspicious:
            return None
        limits = limits_at(self.sample, values, self.base, by_rule, self.usual, self.sizes)
        flaws = (
            self._against(values, k, by_rule, plain.dxs[k], limits[k] if limits else None)
            for k in suspicious
        )
        return next((flaw for flaw in flaws if flaw), None)

    def _against(
        self, values: Values, k: int, by_rule: Outcome, want: np.ndarray, limits: Limits | None
    ) -> Flaw | None:
        got = by_rule.dxs[k]
        lost = ~np.isfinite(got)
        known = np.isfinite(want) & (np.abs(want) < self._pole(k))
        if self.has_oracle and (lost & known).any():
            # whatever the gradient is, autodiff has one
            index = first(lost & known)
            return Flaw("not finite", "wrong", k, index, float(got[index]), float(want[index]))
        is_defined = all(np.isfinite(y).all() for y in by_rule.ys)
        if limits is None or (lost.any() and not is_defined):
            return None
        if size_of(limits.middle) > self._pole(k):
            return None
        limits = limits.widened(NOTHING * self.sizes[k] + self.rtol * size_of(want))
        bad = ~limits.admit(got) & np.isfinite(values[k])
        if self.rtol >= COARSE:
            bad &= lost
        if bad.any():
            index = first(bad)
            as_bad = not limits.admit(want)[index]
        elif self.rtol < COARSE and not limits.admit_sum(got) and limits.admit_sum(want):
            error = np.abs(got - limits.middle)
            index, as_bad = first(error == error.max()), False
        else:
            return None
        is_finite = bool(np.isfinite(got[index]))
        if bad.any() and is_finite and self._is_slope(values, k, index, by_rule):
            return None  # autodiff is wrong here
        return Flaw(
            "gradient" if is_finite else "not finite",
            "note" if as_bad and self.has_oracle else "wrong",
            k,
            index,
            float(got[index]),
            float(limits.middle[index]),
            limits.slack,
        )

    def _pole(self, k: int) -> float:
        """Return a size beyond which a gradient is taken to be infinite."""
        return (1 + self.sizes[k]) / NOTHING

    # --- slopes ---------------------------------------------------------------------------------

    def _slope(self, values: Values, by_rule: Outcome) -> Flaw | None:
        """Compare with difference quotients along a random direction, an oracle without autodiff.

        They count where the function is smooth at the scale of the step: where the gradients at
        both ends of it agree with one another.
        """
        if not all(np.isfinite(dx).all() for dx in by_rule.dxs) or self.is_far(values):
            return None
        us = self.directions(values, 800)
        quotient = self._quotient(values, us, by_rule.dys)
        if quotient is None or self.agrees(by_rule.dxs, self.steps(values, us), quotient):
            return None
        limits = limits_at(self.sample, values, self.base, by_rule, self.usual, self.sizes)
        for k in range(self.sample.count):
            if limits is None or k in self.skipped or size_of(limits[k].middle) > self._pole(k):
                continue
            bad = ~limits[k].widened(NOTHING * self.sizes[k]).admit(by_rule.dxs[k])
            if bad.any():  # at this point only
                index = first(bad)
                want = float(limits[k].middle[index])
                return self._jaxs(k, index, float(by_rule.dxs[k][index]), want)
        return self._everywhere(values, by_rule)

    def is_far(self, values: Values) -> bool:
        """Whether the numbers are so large that a function may change between two of them."""
        return any(
            size_of(v) > FAR * (1 + size_of(b)) for v, b in zip(values, self.base, strict=True)
        )

    def _everywhere(self, values: Values, by_rule: Outcome) -> Flaw | None:
        """Return a leaf whose gradient differs from difference quotients, here and nearby."""
        for k in range(self.sample.count):
            us = _only(values, k, self.directions(values, 820)[k])
            quotient = self._quotient(values, us, by_rule.dys)
            steps = self.steps(values, us)
            if k in self.skipped or quotient is None:
                continue
            if self.agrees(by_rule.dxs, steps, quotient):
                continue
            got, size = along(by_rule.dxs, steps)
            ends = [self._autodiff_near(values, us, h, by_rule.dys) for h in (STEP, -STEP)]
            slopes = [np.inf if end is None else along(end.dxs, steps)[0] for end in ends]
            if any(abs(slope - got) > AGREE * size for slope in slopes):
                continue
            step = steps[k]
            index = first(np.abs(step) == np.max(np.abs(step)))
            at = float(by_rule.dxs[k][index])
            return self._jaxs(k, index, at, at + (quotient.slope - got) / float(step[index]))
        return None

    def _autodiff_near(self, values: Values, us: Values, h: float, dys: Values) -> Outcome | None:
        near = moved_by(values, self.base, us, h)
        return outcome_at(self.sample, self.sample.subject.plain, self.sample.wide, near, dys)

    def _jaxs(self, k: int, index: tuple[int, ...], got: float, want: float) -> Flaw:
        """Return a flaw that autodiff of the plain function has too."""
        return Flaw("gradient", "note" if self.has_oracle else "wrong", k, index, got, want)

    def agrees(
        self, dxs: Sequence[np.ndarray], steps: Sequence[np.ndarray], quotient: Quotient
    ) -> bool:
        """Whether gradients agree with a difference quotient."""
        got, size = along(dxs, steps)
        allowed = quotient.uncertainty + AGREE * max(size, abs(quotient.slope))
        usual = (s * float(np.sum(np.abs(u))) for s, u in zip(self.sizes, steps, strict=True))
        return abs(got - quotient.slope) <= allowed + NOTHING * sum(usual)

    def _is_slope(self, values: Values, k: int, index: tuple[int, ...], by_rule: Outcome) -> bool:
        """Whether one entry of a gradient is the slope of the function."""
        u = np.zeros(values[k].shape)
        u[index] = 1
        us = _only(values, k, u)
        quotient = self._quotient(values, us, by_rule.dys)
        return quotient is not None and self.agrees(by_rule.dxs, self.steps(values, us), quotient)

    def directions(self, values: Values, stream: int) -> Values:
        """Return random directions."""
        streams = range(stream, stream + 32 * len(values), 32)
        pairs = zip(values, streams, strict=True)
        return tuple(np.tanh(self.sample.random(v.shape, number)) for v, number in pairs)

    def steps(self, values: Values, us: Values) -> Values:
        """Return the directions, in proportion to the numbers."""
        with np.errstate(invalid="ignore", over="ignore"):
            ends = moved_by(values, self.base, us, STEP)
            steps = [(end - v) / STEP for end, v in zip(ends, values, strict=True)]
        return tuple(np.where(np.isfinite(step), step, 0) for step in steps)

    def _quotient(self, values: Values, us: Values, dys: Values) -> Quotient | None:
        """Return the slope along directions; None if there is none."""
        found: list[float] = []
        terms = self.terms
        for h in OFFSETS:
            near = moved_by(values, self.base, us, h)
            ys = value_at(self.sample, self.sample.wide, near)
            if ys is None:
                return None
            with np.errstate(invalid="ignore", over="ignore"):
                products = [np.where(dy == 0, 0, dy * y) for dy, y in zip(dys, ys, strict=True)]
                found.append(sum(float(np.sum(p)) for p in products))
                terms = max(terms, sum(float(np.sum(np.abs(p))) for p in products))
        return quotient_of(found, terms, self.sample.subject.computed_eps(self.sample.wide))

    # --- the dtypes of the arguments ------------------------------------------------------------

    def _digits(self, values: Values, exact: Outcome) -> Flaw | None:
        """Return a gradient that has no right digit in the dtypes of the arguments."""
        own = Precision.OWN
        pairs = zip(values, self.sample.point.xs, strict=True)
        if any(is_subnormal(v, x.dtype).any() for v, x in pairs):
            return None  # devices count them as zero
        by_rule = outcome_at(self.sample, self.sample.subject.rule, own, values, exact.dys)
        if by_rule is None:
            return None
        is_extreme = any(((v != 0) & (abs(np.log10(abs(v) + (v == 0))) > 10)).any() for v in values)
        # the function itself under- or overflows, or is no more accurate than its rule
        if (is_extreme or self.has_oracle) and self._values_are_lost(by_rule, exact):
            return None
        for k in range(self.sample.count):
            got, want = by_rule.dxs[k], exact.dxs[k]
            bad = self._lost(k, got, want) & np.isfinite(values[k])
            if k in self.skipped or not bad.any():
                continue
            bad &= ~self._is_ill_conditioned(values, k, got, exact)
            if bad.any():
                index = first(bad)
                is_jaxs = self.has_oracle and self._autodiff_loses(values, k, index, got, exact)
                severity: Severity = "note" if is_jaxs else "wrong"
                return Flaw(
                    "lost digits", severity, k, index, float(got[index]), float(want[index])
                )
        return None

    def _lost(self, k: int, got: np.ndarray, want: np.ndarray) -> np.ndarray:
        return has_lost(got, want, size_of(want), self.sizes[k], self.sample.point.xs[k].dtype)

    def _autodiff_loses(
        self, values: Values, k: int, index: tuple[int, ...], got: np.ndarray, exact: Outcome
    ) -> bool:
        """Whether autodiff has an error of comparable size."""
        plain = self.sample.subject.plain
        by_jax = outcome_at(self.sample, plain, Precision.OWN, values, exact.dys)
        if by_jax is None:
            return True
        with np.errstate(invalid="ignore"):
            error, its = (np.abs(dx - exact.dxs[k]) for dx in (got, by_jax.dxs[k]))
        return not its[index] * 8 < np.where(np.isnan(error[index]), np.inf, error[index])

    def _values_are_lost(self, by_rule: Outcome, exact: Outcome) -> bool:
        """Whether the function itself is inaccurate in this dtype, or another one.

        A dropout mask may be drawn in the dtype of the array that it masks.
        """
        allowed = max(float(np.sqrt(eps_of(x.dtype))) for x in self.sample.point.xs)
        for got, want in zip(by_rule.ys, exact.ys, strict=True):
            with np.errstate(invalid="ignore", over="ignore"):
                is_near = np.abs(got - want) <= allowed * size_of(want)
            if (np.isfinite(want) & ~is_near).any():
                return True
        return False

    def _is_ill_conditioned(
        self, values: Values, k: int, got: np.ndarray, exact: Outcome
    ) -> np.ndarray:
        """Return the entries with an error that rounding of the arguments causes in some entry."""
        eps = max(eps_of(x.dtype) for x in self.sample.point.xs)
        want = exact.dxs[k]
        change = np.zeros(want.shape)
        subject, wide = self.sample.subject, self.sample.wide
        # in opposite directions, so that one of them crosses a kink
        for stream, distance in itertools.product((911, 912), (4 * eps, -4 * eps)):
            near = self._near_in_norm(values, distance, stream)
            nearby = outcome_at(self.sample, subject.plain, wide, near, exact.dys)
            if nearby is None:
                return np.ones(want.shape, bool)
            with np.errstate(invalid="ignore"):
                moved = np.abs(nearby.dxs[k] - want)
            change = np.maximum(change, np.where(np.isfinite(moved), moved, np.inf))
        with np.errstate(invalid="ignore"):
            error = np.where(np.isfinite(got), np.abs(got - want), np.abs(want))
        return error <= CONDITIONING * float(np.max(change, initial=0.0))

    def _near_in_norm(self, values: Values, distance: float, stream: int) -> Values:
        """Return numbers moved in proportion to the largest of their leaf."""
        us = self.directions(values, stream)
        return tuple(
            np.where(np.isfinite(v), v + distance * size_of(v) * u, v)
            for v, u in zip(values, us, strict=True)
        )


def _only(values: Values, k: int, u: np.ndarray) -> Values:
    """Return directions that move the k-th leaf alone."""
    return tuple(u if i == k else np.zeros_like(v) for i, v in enumerate(values))
