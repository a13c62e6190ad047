"""Gradients in the dtypes of the arguments: whether any digit of them is right."""

import itertools

import numpy as np

from ..precision import Precision, eps_of
from ..sample import Sample
from .arithmetic import first, has_lost, is_subnormal, size_of
from .flaw import Flaw, Severity
from .neighbours import near_in_norm
from .outcome import Outcome, Values, outcome_at, rounded

# An error is due to rounding if it is at most this multiple of what rounding the arguments causes.
CONDITIONING = 100
# A gradient in a coarse dtype equals an exact one if it differs by less than this fraction.
NEAR = 0.02


def is_declared(sample: Sample, k: int, values: np.ndarray) -> np.ndarray:
    """Return the entries of a leaf that are at a kink whose derivative was declared."""
    return np.isin(values, list(sample.kinks.get(sample.name(k), ())))


class Digits:
    """The judgement of the gradients of one sample in its own dtypes.

    Attributes:
        sizes: the size of each gradient at the given point.
    """

    def __init__(self, sample: Sample, sizes: list[float]):
        self.sample, self.sizes = sample, sizes

    def apply(self, base: Values, exact: Outcome) -> bool:
        """Whether the function is the same in the dtypes of the arguments as in float64.

        It is if the values agree, at the given point or at normal random numbers.
        """
        wide, own, rule = self.sample.wide, Precision.OWN, self.sample.subject.rule
        if wide is not Precision.FLOAT64:
            return False
        if all(x.dtype == np.float64 for x in self.sample.point.xs):
            return False
        normal = tuple(self.sample.random(x.shape, 930 + k) for k, x in enumerate(base))
        for values in (base, rounded(self.sample, normal)):
            here = exact if values is base else outcome_at(self.sample, rule, wide, values)
            narrow = outcome_at(self.sample, rule, own, values)
            if here and narrow and not self._values_are_lost(narrow, here):
                return True
        return False

    def flaw(self, values: Values, exact: Outcome, skipped: set[int]) -> Flaw | None:
        """Return a gradient of which no digit is right, of the leaves that are not skipped."""
        own = Precision.OWN
        pairs = zip(values, self.sample.point.xs, strict=True)
        if any(is_subnormal(v, x.dtype).any() for v, x in pairs):
            return None  # devices count them as zero
        by_rule = outcome_at(self.sample, self.sample.subject.rule, own, values, exact.dys)
        if by_rule is None:
            return None
        is_extreme = any(((v != 0) & (abs(np.log10(abs(v) + (v == 0))) > 10)).any() for v in values)
        # the function itself under- or overflows, or is no more accurate than its rule
        if (is_extreme or self.sample.subject.has_oracle) and self._values_are_lost(by_rule, exact):
            return None
        for k in range(self.sample.count):
            got, want = by_rule.dxs[k], exact.dxs[k]
            bad = self._lost(k, got, want) & np.isfinite(values[k])
            bad &= ~is_declared(self.sample, k, values[k])
            if k in skipped or not bad.any():
                continue
            bad &= ~self._is_ill_conditioned(values, k, got, exact)
            if bad.any():
                bad &= ~self._is_right_nearby(values, k, got, exact)
            if bad.any():
                index = first(bad)
                is_jaxs = self.sample.subject.has_oracle and self._autodiff_loses(
                    values, k, index, got, exact
                )
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

    def _is_right_nearby(
        self, values: Values, k: int, got: np.ndarray, exact: Outcome
    ) -> np.ndarray:
        """Return the entries within the range at numbers that differ by a rounding error of 1.

        Where a function adds 1 to a small number, it cannot tell on which side of a kink it is.
        """
        eps = max(eps_of(x.dtype) for x in self.sample.point.xs)
        subject, wide = self.sample.subject, self.sample.wide
        found: list[np.ndarray] = []
        for stream, sign in itertools.product(range(941, 945), (1, -1)):
            us = (self.sample.random(v.shape, stream + 8 * i) for i, v in enumerate(values))
            near = tuple(v + sign * eps * np.tanh(u) for v, u in zip(values, us, strict=True))
            nearby = outcome_at(self.sample, subject.plain, wide, near, exact.dys)
            if nearby is not None:
                found.append(nearby.dxs[k])
        slack = NEAR * size_of(got)
        low, high = (np.stack(found).min(0), np.stack(found).max(0)) if found else (got, got)
        with np.errstate(invalid="ignore"):
            return np.asarray((low - slack <= got) & (got <= high + slack))

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
            near = near_in_norm(self.sample, values, distance, stream)
            nearby = outcome_at(self.sample, subject.plain, wide, near, exact.dys)
            if nearby is None:
                return np.ones(want.shape, bool)
            with np.errstate(invalid="ignore"):
                moved = np.abs(nearby.dxs[k] - want)
            change = np.maximum(change, np.where(np.isfinite(moved), moved, np.inf))
        with np.errstate(invalid="ignore"):
            error = np.where(np.isfinite(got), np.abs(got - want), np.abs(want))
        return error <= CONDITIONING * float(np.max(change, initial=0.0))
