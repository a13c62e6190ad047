"""Decide whether a rule is right at a point, and who is at fault if it is not."""

import functools
import itertools
from collections.abc import Sequence

import numpy as np

from ..arbiter import autodiff_is_refuted
from ..precision import as_float64, eps_of
from ..program import Refused
from ..rounding import PER_LOSS, Accuracy
from ..sample import Sample
from ..slopes import is_elementwise
from .arithmetic import CLOSE, NOTHING, differs, first, size_of
from .digits import Digits, is_declared
from .flaw import Flaw
from .neighbours import Limits, Sums, directions, limits_at, moved_by, near_in_norm
from .outcome import Outcome, Values, cast, outcome_at, rounded, value_at
from .slope import AGREE, OFFSETS, SMOOTH, STEP, Quotient, along, quotient_of

# A result is not compared where its own noise is larger than this fraction of the difference.
NOISE = 1 / 50
# So many rounding errors of the coarsest dtype make no difference.
ROUNDINGS = 64
# With a coarser tolerance than this, finite numbers are not compared.
COARSE = 1e-2
# Values that change by more than this, relative to their size, if arguments are rounded, are noise.
STABLE = 1e-3
# So many entries of a gradient that is not finite are compared with slopes.
SLOPES = 3
# So many entries are looked at to find one whose slope is another.
ENTRIES = 64
# So many points show how the rounding errors of a gradient vary; at some it takes a larger step.
BESIDE = 3
FURTHER = 1e-4
# An error is rounding if it is at most so many times its change between these points.
VARIES = 4
# Slopes are not judged at numbers that are larger than those given by this factor.
FAR = 1e4


class Judge:
    """The judgement of one sample, first at the given point, then at any number of others.

    Leaves with a mistake at the given point, or for which autodiff is no oracle there, are left out
    afterwards.

    Attributes:
        sizes: the size of each gradient at the given point.
        usual: the size of each output there.
        terms: Σ |dy y| there.
        idle: the entries of each leaf whose gradient is 0 there.
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
        self.idle: list[np.ndarray] = []
        # a function may round to a coarser dtype, and its rule at other places
        self.rtol = tolerance_of(sample)
        self.skipped: set[int] = set()
        self.digits = Digits(sample, self.sizes)
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
        self.sizes, self.usual = self._sizes(plain)
        self.idle = [dx == 0 for dx in plain.dxs]
        # what is small may be the difference of numbers of this size
        pairs = zip(by_rule.dys, by_rule.ys, strict=True)
        self.terms = sum(float(np.sum(np.abs(dy * y)[np.isfinite(y)])) for dy, y in pairs)
        self.compares_slopes = not brief and self._slopes_are_known()
        self.digits = Digits(self.sample, self.sizes)
        self.compares_digits = not brief and self.digits.apply(self.base, by_rule)
        self.skipped |= {k for k in self._differing(found) if autodiff_is_refuted(self.sample, k)}
        flaws: list[Flaw] = []
        while (flaw := self.flaw(self.base)) is not None:
            flaws.append(flaw)
            if flaw.leaf is None:
                break  # gradients are compared where the values agree
            self.skipped.add(flaw.leaf)
        self.skipped |= self._differing(found)
        return flaws

    def _slopes_are_known(self) -> bool:
        """Whether differences are accurate, and not the mean over many periods."""
        subject = self.sample.subject
        return subject.accuracy == Accuracy() and not subject.has_any_period

    def _differing(self, found: tuple[Outcome, Outcome]) -> set[int]:
        """Return the leaves whose gradient is not that of autodiff, or for which there is none."""
        by_rule, plain = found
        return {
            k
            for k, (got, want) in enumerate(zip(by_rule.dxs, plain.dxs, strict=True))
            if not np.isfinite(want).all()
            or differs(got, want, self.sizes[k], rtol=self.rtol).any()
        }

    def _sizes(self, plain: Outcome) -> tuple[list[float], list[float]]:
        """Return the sizes of gradients and outputs; those at normal random numbers where 0."""
        sizes = [size_of(dx) for dx in plain.dxs]
        usual = [size_of(y) for y in plain.ys]
        if not all((*sizes, *usual)):
            normal = (self.sample.random(x.shape, 930 + k) for k, x in enumerate(self.base))
            point = rounded(self.sample, tuple(normal))
            side, wide = self.sample.subject.plain, self.sample.wide
            other = outcome_at(self.sample, side, wide, point)
            if other is not None:
                sizes = [a or size_of(dx) for a, dx in zip(sizes, other.dxs, strict=True)]
                usual = [a or size_of(y) for a, y in zip(usual, other.ys, strict=True)]
        return sizes, usual

    def flaw(self, values: Values) -> Flaw | None:
        """Return the first mistake at a point, or None."""
        found = self._gradients(values)
        if found is None:
            return self._raises(values)
        by_rule, plain = found
        flaw = self._value(values, by_rule, plain)
        if flaw or not any(np.isfinite(y).any() for y in by_rule.ys):
            return flaw
        if _is_undefined(plain, by_rule):
            return None
        flaw = (
            self._gradient(values, by_rule, plain)
            or (self.compares_slopes and self._slope(values, by_rule))
            or (self.compares_digits and self.digits.flaw(values, by_rule, self.skipped))
        )
        return flaw if flaw and self._is_stable(values, by_rule) else None

    def _is_stable(self, values: Values, by_rule: Outcome) -> bool:
        """Whether the values of the function are more than rounding errors.

        The logarithm of a determinant is not, where a matrix is singular but for rounding. A point
        beside this one may be outside of the domain, but not all.
        """
        eps = self._eps()
        inside = 0
        for stream, distance in itertools.product((921, 922, 923), (16 * eps, -16 * eps)):
            near = near_in_norm(self.sample, values, distance, stream)
            ys = value_at(self.sample, self.sample.wide, near)
            if ys is None:
                return False
            pairs = list(zip(by_rule.ys, ys, strict=True))
            if any((np.isfinite(y) & np.isnan(beside)).any() for y, beside in pairs):
                continue
            inside += 1
            for (y, beside), usual in zip(pairs, self.usual, strict=True):
                with np.errstate(invalid="ignore"):
                    change = size_of(np.where(np.isfinite(y), beside - y, 0))
                if change > STABLE * (size_of(y) + usual):
                    return False
        return inside > 0

    def _eps(self) -> float:
        """Return the spacing at 1 of the coarsest dtype: of the arguments, or inside."""
        wide = self.sample.wide
        inside = self.sample.subject.computed_eps(wide)
        return max(inside, *(eps_of(x.dtype) for x in self.sample.xs(wide)))

    def _gradients(self, values: Values) -> tuple[Outcome, Outcome] | None:
        """Return what the rule and what autodiff gives, in the widest precision."""
        subject, wide = self.sample.subject, self.sample.wide
        by_rule = outcome_at(self.sample, subject.rule, wide, values)
        if by_rule is None or not self.has_oracle:
            return None if by_rule is None else (by_rule, by_rule)
        plain = outcome_at(self.sample, subject.plain, wide, values)
        return None if plain is None else (self._at_kinks(values, by_rule, plain), plain)

    def _at_kinks(self, values: Values, by_rule: Outcome, plain: Outcome) -> Outcome:
        """Return what the rule gives, with the gradients of autodiff at declared kinks."""
        dxs = list(by_rule.dxs)
        for k in range(self.sample.count):
            declared = is_declared(self.sample, k, values[k]) & np.isfinite(dxs[k])
            dxs[k] = np.where(declared, plain.dxs[k], dxs[k])
        return by_rule._replace(dxs=tuple(dxs))

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
            if bad.any() and not (
                self._is_noise_of_value(values, i, got, want, bad)
                or self._depends_on_compiling(values, i, bad)
            ):
                index = first(bad)
                return Flaw("value", "wrong", i, index, float(got[index]), float(want[index]))
        return None

    def _is_noise_of_value(
        self, values: Values, i: int, got: np.ndarray, want: np.ndarray, bad: np.ndarray
    ) -> bool:
        """Whether rounding of the arguments changes the value as much as the rule does."""
        if not np.isfinite(got[bad]).all():
            return False
        eps = self._eps()
        noise = 0.0
        for stream in (901, 902, 903):
            us = directions(self.sample, values, stream)
            near = moved_by(values, self.base, us, 16 * eps)
            nearby = value_at(self.sample, self.sample.wide, near)
            if nearby is not None:
                with np.errstate(invalid="ignore"):
                    noise = max(noise, size_of(nearby[i] - want))
        return bool(np.all(np.abs(got - want)[bad] <= noise / NOISE))

    def _depends_on_compiling(self, values: Values, i: int, bad: np.ndarray) -> bool:
        """Whether the function itself has other values if it runs operation by operation.

        Fused operations keep more digits than others: where x² + 1e-40 is 0 or not, for one.
        """
        wide = self.sample.wide
        leaves = cast(values, self.sample.point.types(wide))
        try:
            eager = self.sample.subject.rule.value.eagerly(wide, *leaves)[0]
            compiled = self.sample.value(wide, leaves)[0]
        except Refused:
            return False
        pair = as_float64(eager[i])[bad], as_float64(compiled[i])[bad]
        return bool(differs(*pair, size_of(pair[0]), rtol=self.rtol).all())

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
                    and differs(got, want, size_of(want), self.nothing(k), self.rtol).any()
                )
            )
        ]
        if not suspicious:
            return None
        limits = self._limits(values, plain)
        flaws = (
            self._against(values, k, by_rule, plain.dxs[k], limits[k] if limits else None)
            for k in suspicious
        )
        flaw = next((flaw for flaw in flaws if flaw), None)
        return flaw or (self._sum(values, suspicious, by_rule, plain, limits) if limits else None)

    def _limits(self, values: Values, outcome: Outcome) -> list[Limits] | None:
        return limits_at(
            self.sample, values, self.base, outcome, self.usual, self.sizes, self._elementwise
        )

    @functools.cached_property
    def _elementwise(self) -> set[int]:
        return {k for k in range(self.sample.count) if is_elementwise(self.sample, k)}

    def _sum(
        self,
        values: Values,
        suspicious: list[int],
        by_rule: Outcome,
        plain: Outcome,
        limits: list[Limits],
    ) -> Flaw | None:
        """Judge the sums over the entries of a leaf, and over all leaves."""
        everything = range(self.sample.count)
        for chosen in dict.fromkeys([*((k,) for k in suspicious), tuple(everything)]):
            sums = [limits[k].sums for k in chosen]
            nearby = functools.reduce(Sums.plus, sums)
            got, want = (
                sum(float(np.sum(outcome.dxs[k])) for k in chosen) for outcome in (by_rule, plain)
            )
            is_known = self.rtol < COARSE and np.isfinite([got, want]).all()
            is_known &= all(limits[k].exist.all() for k in chosen)
            if is_known and nearby.admit(want) and not nearby.admit(got):
                # the entry that is farthest from what it is nearby
                middles = {k: np.where(limits[k].exist, limits[k].middle, 0) for k in chosen}
                errors = {k: np.abs(by_rule.dxs[k] - middles[k]) for k in chosen}
                k = max(chosen, key=lambda k: size_of(errors[k]))
                at = first(errors[k] == errors[k].max())
                if self._is_slope(values, k, at, by_rule):
                    return None  # autodiff is wrong here
                if self._is_rounding(values, k, at, by_rule, plain.dxs[k]):
                    return None
                numbers = float(by_rule.dxs[k][at]), float(middles[k][at])
                return Flaw("gradient", "wrong", k, at, *numbers)
        return None

    def _against(
        self, values: Values, k: int, by_rule: Outcome, want: np.ndarray, limits: Limits | None
    ) -> Flaw | None:
        got = by_rule.dxs[k]
        lost = ~np.isfinite(got)
        known = np.isfinite(want) & (np.abs(want) < self._pole(k))
        # where an output is +∞ or not a number, so may be a gradient
        is_meant = all((np.isfinite(y) | np.isneginf(y)).all() for y in by_rule.ys)
        if self.has_oracle and is_meant and (lost & known).any():
            # whatever the gradient is, autodiff has one
            index = first(lost & known)
            if not self._is_at_pole(values, k, index, by_rule):
                return Flaw("not finite", "wrong", k, index, float(got[index]), float(want[index]))
        is_defined = all(np.isfinite(y).all() for y in by_rule.ys)
        is_inside = all(np.isfinite(v).all() for v in values)
        if lost.any() and is_defined and is_inside and not self.has_oracle:
            flaw = self._with_slope(values, k, by_rule)
            if flaw:
                return flaw
        if limits is None or (lost.any() and not is_defined):
            return None
        if size_of(limits.middle) > self._pole(k):
            return None
        limits = limits.widened(self.nothing(k) + self.rtol * size_of(want))
        bad = ~limits.admit(got) & np.isfinite(values[k])
        if self.rtol >= COARSE:
            bad &= lost
        if not bad.any():
            return None
        index = first(bad)
        is_finite = bool(np.isfinite(got[index]))
        if is_finite and self._is_slope(values, k, index, by_rule):
            return None  # autodiff is wrong here
        if is_finite and self._is_rounding(values, k, index, by_rule, want):
            return None
        is_jaxs = self.has_oracle and not limits.admit(want)[index]
        return Flaw(
            "gradient" if is_finite else "not finite",
            "note" if is_jaxs else "wrong",
            k,
            index,
            float(got[index]),
            float(limits.middle[index]),
            limits.slack,
        )

    def _is_at_pole(self, values: Values, k: int, index: tuple[int, ...], by_rule: Outcome) -> bool:
        """Whether an output is infinite here, and finite beside this entry.

        A masked output is infinite there too. At a pole, the cotangent of 0 is multiplied by ∞.
        """
        us = _along_entry(values, k, index)
        for h in (FURTHER, -FURTHER):
            ys = value_at(self.sample, self.sample.wide, moved_by(values, self.base, us, h))
            for y, beside in zip(by_rule.ys, ys or by_rule.ys, strict=True):
                if (np.isinf(y) & np.isfinite(beside)).any():
                    return True
        return False

    def nothing(self, k: int) -> float:
        """Return a size of a gradient that is as good as none, or no more than rounding inside."""
        computed = self.sample.subject.computed_eps(self.sample.wide)
        return max(NOTHING, ROUNDINGS * computed) * self.sizes[k]

    def _is_rounding(
        self, values: Values, k: int, index: tuple[int, ...], by_rule: Outcome, want: np.ndarray
    ) -> bool:
        """Whether a rule that rounds to a coarser dtype has other errors at points beside this."""
        eps, wide = self._eps(), self.sample.wide
        if eps == max(eps_of(x.dtype) for x in self.sample.xs(wide)):
            return False
        error = by_rule.dxs[k][index] - want[index]
        change = 0.0
        for i, distance in enumerate((16 * eps, FURTHER) * BESIDE):
            us = directions(self.sample, values, 911 + i)
            near = moved_by(values, self.base, us, distance)
            sides = self.sample.subject.sides
            found = [outcome_at(self.sample, side, wide, near, by_rule.dys) for side in sides]
            if None not in found:
                got, plain = (float(outcome.dxs[k][index]) for outcome in found if outcome)
                change = max(change, abs(got - plain - error))
        return bool(abs(error) <= VARIES * change)

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
        us = directions(self.sample, values, 800)
        quotient = self._quotient(values, us, by_rule.dys)
        if quotient is None or self.agrees(by_rule.dxs, self.steps(values, us), quotient):
            return None
        limits = self._limits(values, by_rule)
        for k in range(self.sample.count):
            if limits is None or k in self.skipped or size_of(limits[k].middle) > self._pole(k):
                continue
            bad = ~limits[k].widened(self.nothing(k)).admit(by_rule.dxs[k])
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
            us = _only(values, k, directions(self.sample, values, 820)[k])
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
            index, want = self._worst_slope(values, k, by_rule) or _longest(
                by_rule.dxs[k], steps[k], quotient.slope - got
            )
            return self._jaxs(k, index, float(by_rule.dxs[k][index]), want)
        return None

    def _worst_slope(
        self, values: Values, k: int, by_rule: Outcome
    ) -> tuple[tuple[int, ...], float] | None:
        """Return the entry of a gradient that is farthest from its slope, and the slope."""
        worst: tuple[float, tuple[int, ...], float] | None = None
        for index in itertools.islice(np.ndindex(values[k].shape), ENTRIES):
            us = _along_entry(values, k, index)
            steps = self.steps(values, us)
            quotient, step = self._quotient(values, us, by_rule.dys), float(steps[k][index])
            if quotient and step and not self.agrees(by_rule.dxs, steps, quotient):
                want = quotient.slope / step
                found = abs(want - float(by_rule.dxs[k][index])), index, want
                worst = max(worst or found, found)
        return worst and worst[1:]

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
        us = _along_entry(values, k, index)
        quotient = self._quotient(values, us, by_rule.dys)
        return quotient is not None and self.agrees(by_rule.dxs, self.steps(values, us), quotient)

    def _with_slope(self, values: Values, k: int, by_rule: Outcome) -> Flaw | None:
        """Return an entry of a gradient that is not finite, though the function has a slope."""
        for place in np.argwhere(~np.isfinite(by_rule.dxs[k]))[:SLOPES]:
            index = tuple(int(i) for i in place)
            us = _along_entry(values, k, index)
            quotient = self._quotient(values, us, by_rule.dys)
            step = float(self.steps(values, us)[k][index])
            # an odd root has equal slopes on both sides, which grow as the step shrinks
            is_slope = quotient and quotient.uncertainty <= SMOOTH * (abs(quotient.slope) + 1e-3)
            if quotient and is_slope and step and abs(quotient.slope / step) < self._pole(k):
                got = float(by_rule.dxs[k][index])
                return Flaw("not finite", "wrong", k, index, got, quotient.slope / step)
        return None

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


def tolerance_of(sample: Sample) -> float:
    """Return how much two results of a function may differ, relative to the largest entry."""
    subject = sample.subject
    return max(CLOSE, ROUNDINGS * subject.eps(sample.wide), PER_LOSS * subject.accuracy.of(1.0))


def _is_undefined(plain: Outcome, by_rule: Outcome) -> bool:
    """Whether the plain function has no value where the rule has one: 0 · ∞ by a mask, or in sums.

    Their gradients are then of different outputs.
    """
    pairs = zip(plain.ys, by_rule.ys, strict=True)
    return any((np.isnan(want) & np.isfinite(got)).any() for want, got in pairs)


def _longest(dx: np.ndarray, step: np.ndarray, change: float) -> tuple[tuple[int, ...], float]:
    """Return the entry with the longest step, and what it would be if it alone were at fault."""
    index = first(np.abs(step) == np.max(np.abs(step)))
    return index, float(dx[index]) + change / float(step[index])


def _only(values: Values, k: int, u: np.ndarray) -> Values:
    """Return directions that move the k-th leaf alone."""
    return tuple(u if i == k else np.zeros_like(v) for i, v in enumerate(values))


def _along_entry(values: Values, k: int, index: tuple[int, ...]) -> Values:
    """Return directions that move one entry of the k-th leaf alone."""
    u = np.zeros(values[k].shape)
    u[index] = 1
    return _only(values, k, u)
