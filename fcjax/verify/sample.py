"""A subject at one point: the numbers that the checks compare, and their tolerances."""

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._types import Function, Tree
from .budget import Budget
from .complex_parts import whole
from .domain import Domain
from .hints import HintContext
from .point import Leaves, Point
from .precision import Precision, as_float64, eps_of, largest
from .program import Refused
from .rounding import PER_LOSS, UNSEEN, rounding_error
from .subject import Side, Subject, ValuesAndGrads

Kinks = Mapping[str, Mapping[float, float]]


class Cotangent(NamedTuple):
    """A cotangent as the caller gave it, and as real numbers; None if none was given."""

    given: Tree = None
    parts: tuple[np.ndarray, ...] | None = None


class Other(NamedTuple):
    """A sample with other options.

    Attributes:
        sample: the sample.
        options: the keyword arguments that are others.
    """

    sample: "Sample"
    options: Mapping[str, Tree]


class Sample:
    """A subject at a point, with random cotangents from a seed.

    Results at the point itself are cached.

    Attributes:
        budget: how long the search goes on.
        explicit_checks: whether the caller named the checks; expensive ones are then done too.
        cotangent: the cotangent that the caller chose.
        others: the same call with other options, which a search tries too.
        searched: the branches that a search has tried, as pairs of a `cond` and its branch.
        too_large: the sizes that a search left out, because they need too much memory.
        refuted: for each leaf that was decided, whether the function contradicts autodiff.
        domain: the arguments at which the rule is meant to be right.
    """

    def __init__(
        self,
        fun: Function,
        subject: Subject,
        point: Point,
        seed: Sequence[int],
        *,
        kinks: Kinks | None = None,
        explicit_checks: bool = False,
        budget: Budget = Budget(),  # noqa: B008 - immutable
    ):
        self.fun, self.subject, self.point, self.seed = fun, subject, point, tuple(seed)
        self.kinks = kinks or {}
        self.explicit_checks, self.budget = explicit_checks, budget
        self.cotangent = Cotangent()
        self.others: tuple[Other, ...] = ()
        self.searched: set[tuple[int, int]] = set()
        self.too_large: list[str] = []
        self._xs: dict[Precision, Leaves] = {}
        self._dys: dict[Precision, Leaves] = {}
        self._results: dict[tuple[Side, Precision], ValuesAndGrads] = {}
        self._eager: ValuesAndGrads | None = None
        self.refuted: dict[int, bool] = {}
        self.domain = Domain()

    @contextlib.contextmanager
    def compiled_thoroughly(self) -> Generator[None]:
        """Compile programs with all optimizations of XLA, and compute all results anew."""
        kept = self._results
        self._results, self.subject.deadline.is_thorough = {}, True
        try:
            yield
        finally:
            self._results, self.subject.deadline.is_thorough = kept, False

    # --- inputs ---------------------------------------------------------------------------------

    @property
    def wide(self) -> Precision:
        """The widest precision in which the function can be computed."""
        return self.subject.wide

    @property
    def count(self) -> int:
        """The number of differentiable leaves."""
        return self.subject.count

    def name(self, k: int) -> str:
        """Return the name of the k-th differentiable leaf."""
        return self.subject.names[k]

    def is_inside(self, values: Sequence[np.ndarray]) -> bool:
        """Whether the arguments with these numbers in their leaves are in the domain."""
        return self.domain.has(lambda: self.point.args_at(values))

    def random(self, shape: tuple[int, ...], stream: int) -> np.ndarray:
        """Return normal random numbers; equal streams of this sample give equal numbers."""
        return np.random.default_rng([*self.seed, stream]).standard_normal(shape)

    def xs(self, precision: Precision) -> Leaves:
        """Return the differentiable leaves in `precision`."""
        if precision not in self._xs:
            self._xs[precision] = self.point.cast(precision)
        return self._xs[precision]

    def dys(self, precision: Precision) -> Leaves:
        """Return the cotangents. They are random: with equal entries, a wrong sum may not show."""
        if precision not in self._dys:
            shapes = [y.shape for y in self.subject.ys(Precision.OWN)]
            drawn = [self.random(shape, 7 + i) for i, shape in enumerate(shapes)]
            values = drawn if self.cotangent.parts is None else self.cotangent.parts
            self._dys[precision] = self.as_cotangents(values, precision)
        return self._dys[precision]

    def as_cotangents(self, values: Sequence[ArrayLike], precision: Precision) -> Leaves:
        """Return `values` as arrays with the dtypes of the outputs."""
        ys = self.subject.ys(precision)
        with precision.context():
            pairs = zip(values, ys, strict=True)
            return tuple(jnp.asarray(np.asarray(v).astype(y.dtype)) for v, y in pairs)

    def moved(self, precision: Precision, k: int, values: ArrayLike) -> Leaves:
        """Return the leaves with `values` in place of the k-th."""
        xs = self.xs(precision)
        with precision.context():
            return (*xs[:k], jnp.asarray(values, xs[k].dtype), *xs[k + 1 :])

    # --- results --------------------------------------------------------------------------------

    def rule(
        self, precision: Precision, xs: Leaves | None = None, dys: Leaves | None = None
    ) -> ValuesAndGrads:
        """Return the values, and the gradients by the rule that is checked."""
        return self._evaluate(self.subject.rule, precision, xs, dys)

    def autodiff(
        self, precision: Precision, xs: Leaves | None = None, dys: Leaves | None = None
    ) -> ValuesAndGrads:
        """Return the values, and the gradients by autodiff of the reference."""
        return self._evaluate(self.subject.plain, precision, xs, dys)

    def _evaluate(
        self, side: Side, precision: Precision, xs: Leaves | None, dys: Leaves | None
    ) -> ValuesAndGrads:
        here = xs is None and dys is None
        if here and (side, precision) in self._results:
            return self._results[side, precision]
        xs = self.xs(precision) if xs is None else xs
        dys = self.dys(precision) if dys is None else dys
        result = side.pullback(precision, xs, dys)
        if here:
            self._results[side, precision] = result
        return result

    def value(self, precision: Precision, xs: Leaves | None = None) -> tuple[Leaves, Leaves]:
        """Return the outputs of the function, evaluated without differentiation."""
        return self.subject.rule.value(precision, *(self.xs(precision) if xs is None else xs))

    def eagerly(self) -> ValuesAndGrads:
        """Return values and gradients by the rule, evaluated operation by operation."""
        if self._eager is None:
            inputs = self.xs(Precision.OWN), self.dys(Precision.OWN)
            self._eager = self.subject.rule.pullback.eagerly(Precision.OWN, *inputs)
        return self._eager

    # --- tolerances -----------------------------------------------------------------------------

    def allowed(self, k: int, want: ArrayLike, precision: Precision) -> float:
        """Return the tolerance for the k-th gradient."""
        loss = self.precision_loss(k)
        if precision is Precision.FLOAT64:
            # one of the two may lose few digits by chance, but rarely both
            loss = max(loss, self._precision_loss(self.rule, k))
        eps = min(eps_of(self.point.xs[k].dtype), eps_of("float32"))
        unseen = UNSEEN * eps * largest(want)
        return max(unseen, self.allowed_for(self.subject.eps(precision, k), k, want, loss))

    def allowed_for(self, eps: float, k: int, want: ArrayLike, loss: float) -> float:
        """Return the tolerance for the k-th gradient at a given eps and precision loss."""
        size = largest(want)
        rounding = rounding_error(eps, self.subject.roundings(k), size, loss)
        return rounding + PER_LOSS * self.subject.accuracy.of(size)

    def allowed_value(self, i: int, want: ArrayLike, precision: Precision) -> float:
        """Return the tolerance for the i-th output."""
        size, roundings = largest(want), self.subject.roundings(i, value=True)
        loss = self._loss_of(self.autodiff, lambda found: found.ys[i])
        if precision is Precision.FLOAT64 and not self.agrees_in(self.subject.narrow):
            loss = self._change_of(i) / eps_of("float64")
        rounding = rounding_error(self.subject.eps(precision), roundings, size, loss)
        return rounding + self.subject.accuracy.of(size)

    def _change_of(self, i: int) -> float:
        """Return how much the i-th output changes in float64 if the arguments are rounded there."""
        wide, xs = self.wide, self.xs(self.wide)
        with wide.context():
            signs = (np.sign(self.random(x.shape, 60 + k)) for k, x in enumerate(xs))
            near = [x * (1 + eps_of(x.dtype) * s) for x, s in zip(xs, signs, strict=True)]
            near = tuple(jnp.asarray(n, x.dtype) for n, x in zip(near, xs, strict=True))
        try:
            pair = self.value(wide)[0][i], self.value(wide, near)[0][i]
        except Refused:
            return 0.0
        with np.errstate(invalid="ignore"):
            return largest(as_float64(pair[0]) - as_float64(pair[1]))

    def precision_loss(self, k: int) -> float:
        """Return the float32 error of autodiff of the reference, in units of the float32 eps."""
        return self._precision_loss(self.autodiff, k)

    def _precision_loss(self, evaluate: Callable[[Precision], ValuesAndGrads], k: int) -> float:
        return self._loss_of(evaluate, lambda found: found.dxs[k])

    def _loss_of(
        self,
        evaluate: Callable[[Precision], ValuesAndGrads],
        part: Callable[[ValuesAndGrads], ArrayLike],
    ) -> float:
        """Return the float32 error of a part of a result, in units of the float32 eps."""
        if not self.agrees_in(self.subject.narrow):
            return 0.0
        try:
            exact, lossy = evaluate(Precision.FLOAT64), evaluate(self.subject.narrow)
        except Refused:
            return 0.0
        with np.errstate(invalid="ignore"):
            loss = np.abs(as_float64(part(exact)) - as_float64(part(lossy)))
        return largest(loss) / eps_of("float32")

    def agrees_in(self, precision: Precision) -> bool:
        """Whether the reference in `precision` equals that in float64 up to rounding.

        It may not: a dropout mask may be drawn in the dtype of the array that it masks, and differ.
        """
        if self.wide is not Precision.FLOAT64:
            return False
        if self.subject.may_not_end and precision is not Precision.OWN:
            return False  # in another dtype, the condition of a while_loop may never become false
        try:
            exact, rounded = self.autodiff(self.wide).ys, self.autodiff(precision).ys
        except Refused:
            return False
        return all(map(nearly_equal, rounded, exact))

    # --- hints ----------------------------------------------------------------------------------

    def hint_context(self, k: int, precision: Precision) -> HintContext:
        """Return the quantities to which a wrong k-th gradient may be related."""
        others: dict[str, np.ndarray] = {}
        with contextlib.suppress(Refused):
            right = self.autodiff(precision).dxs
            others = {self.name(j): as_float64(dx) for j, dx in enumerate(right) if j != k}
        narrow = ("bfloat16", "float16", "float32")
        narrow = [name for name in narrow if eps_of(name) > self.subject.eps(precision)]
        cotangents = [as_float64(dy) for dy in self.dys(precision)]
        is_wide = precision is Precision.FLOAT64
        conjugated = self._conjugated(k, precision)
        ignored = self._ignored(k, precision)
        return HintContext(
            self._sizes(), cotangents, others, narrow if is_wide else (), conjugated, *ignored
        )

    def _ignored(self, k: int, precision: Precision) -> tuple[tuple[int, ...], np.ndarray | None]:
        """Return the outputs whose cotangents the rule ignores, and the gradient without them."""
        dys = [as_float64(dy) for dy in self.dys(precision)]
        if len(dys) == 1:
            return (), None

        def gradient(evaluate: Callable[..., ValuesAndGrads], zero: Sequence[int]) -> np.ndarray:
            chosen = [0 * dy if i in zero else dy for i, dy in enumerate(dys)]
            found = evaluate(precision, dys=self.as_cotangents(chosen, precision))
            return as_float64(found.dxs[k])

        with contextlib.suppress(Refused):
            full = gradient(self.rule, ())
            same = (np.array_equal(gradient(self.rule, (i,)), full) for i in range(len(dys)))
            ignored = tuple(i for i, is_same in enumerate(same) if is_same)
            if ignored:
                return ignored, gradient(self.autodiff, ignored)
        return (), None

    def _conjugated(self, k: int, precision: Precision) -> np.ndarray | None:
        """Return the k-th gradient in PyTorch's convention: conjugate, of conjugate cotangents."""
        if self.name(k) == whole(self.name(k)):
            return None
        try:
            imaginary = self.point.imaginary(self.fun)
            pairs = zip(self.dys(precision), imaginary, strict=True)
            dys = [-as_float64(dy) if flag else as_float64(dy) for dy, flag in pairs]
            found = self.autodiff(precision, dys=self.as_cotangents(dys, precision)).dxs[k]
        except Refused:
            return None
        return as_float64(found) * (-1 if self.name(k).endswith(".imag") else 1)

    def _sizes(self) -> dict[int, str]:
        """Return numbers that may occur as a factor, and what they count, likely ones first."""
        shapes = {self.name(k): x.shape for k, x in enumerate(self.point.xs)}
        sizes: dict[int, str] = {}
        for name, shape in shapes.items():
            for axis, size in enumerate(shape):
                sizes.setdefault(size, f"the size of axis {axis} of {name}")
            if len(shape) > 2:
                sizes.setdefault(int(np.prod(shape[:-1])), f"the number of rows of {name}")
        for name, shape in shapes.items():
            sizes.setdefault(int(np.prod(shape)), f"the number of entries of {name}")
        sizes.setdefault(2, "the factor in the derivative of a square")
        return {size: what for size, what in sizes.items() if size > 1}


def nearly_equal(rounded: ArrayLike, exact: ArrayLike) -> bool:
    """Whether two outputs agree up to rounding in a narrow dtype; NaN equals NaN."""
    one, other = as_float64(rounded), as_float64(exact)
    with np.errstate(invalid="ignore"):
        near = np.abs(one - other) <= 0.1 * max(1e-3, largest(other))
    return bool(np.all(near | (one == other) | (np.isnan(one) & np.isnan(other))))
