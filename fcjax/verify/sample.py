"""A subject at one point: the numbers that the checks compare, and how far they may lie apart."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from .hints import Scene
from .point import Leaves, Point
from .precision import Precision, as_float64, eps_of, largest
from .program import Refused
from .rounding import PER_LOSS, explained
from .subject import Pulled, Side, Subject

Kinks = Mapping[str, Mapping[float, float]]


class Sample:
    """A subject at a point, with cotangents drawn from a seed.

    Results at the point itself are computed once.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        subject: Subject,
        point: Point,
        seed: Sequence[int],
        *,
        kinks: Kinks | None = None,
        chosen: bool = False,
    ):
        self.fun, self.subject, self.point, self.seed = fun, subject, point, tuple(seed)
        self.kinks = kinks or {}
        self.chosen = chosen  # the checks, by somebody: expensive ones are then done
        self._xs: dict[Precision, Leaves] = {}
        self._dys: dict[Precision, Leaves] = {}
        self._pulled: dict[tuple[Side, Precision], Pulled] = {}
        self._eager: Pulled | None = None
        self.refuted: dict[int, bool] = {}  # leaves at which the function contradicts autodiff

    # --- inputs ---------------------------------------------------------------------------------

    @property
    def wide(self) -> Precision:
        """The widest precision in which the function can be computed."""
        return self.subject.wide

    @property
    def count(self) -> int:
        """How many leaves are differentiated by."""
        return self.subject.count

    def name(self, k: int) -> str:
        """Return the name of the k-th of them."""
        return self.subject.names[k]

    def random(self, shape: tuple[int, ...], stream: int) -> np.ndarray:
        """Return normal numbers, the same for the same stream of this sample."""
        return np.random.default_rng([*self.seed, stream]).standard_normal(shape)

    def xs(self, precision: Precision) -> Leaves:
        """Return the differentiable leaves."""
        if precision not in self._xs:
            self._xs[precision] = self.point.cast(precision)
        return self._xs[precision]

    def dys(self, precision: Precision) -> Leaves:
        """Return random cotangents that differ everywhere: uniform ones hide a wrong sum."""
        if precision not in self._dys:
            shapes = [y.shape for y in self.subject.ys(Precision.OWN)]
            values = [self.random(shape, 7 + i) for i, shape in enumerate(shapes)]
            self._dys[precision] = self.as_cotangents(values, precision)
        return self._dys[precision]

    def as_cotangents(self, values: Sequence[Any], precision: Precision) -> Leaves:
        """Return arrays with the dtypes of the outputs."""
        ys = self.subject.ys(precision)
        with precision.context():
            pairs = zip(values, ys, strict=True)
            return tuple(jnp.asarray(np.asarray(v).astype(y.dtype)) for v, y in pairs)

    def moved(self, precision: Precision, k: int, values: Any) -> Leaves:
        """Return the leaves with other values for the k-th."""
        xs = self.xs(precision)
        with precision.context():
            return (*xs[:k], jnp.asarray(values, xs[k].dtype), *xs[k + 1 :])

    # --- results --------------------------------------------------------------------------------

    def rule(self, precision: Precision, xs: Any = None, dys: Any = None) -> Pulled:
        """Return values and gradients by the rule in question."""
        return self._pull(self.subject.rule, precision, xs, dys)

    def autodiff(self, precision: Precision, xs: Any = None, dys: Any = None) -> Pulled:
        """Return values and gradients by JAX's autodiff of the reference."""
        return self._pull(self.subject.plain, precision, xs, dys)

    def _pull(self, side: Side, precision: Precision, xs: Any, dys: Any) -> Pulled:
        here = xs is None and dys is None
        if here and (side, precision) in self._pulled:
            return self._pulled[side, precision]
        xs = self.xs(precision) if xs is None else xs
        dys = self.dys(precision) if dys is None else dys
        pulled = side.pullback(precision, xs, dys)
        if here:
            self._pulled[side, precision] = pulled
        return pulled

    def value(self, precision: Precision, xs: Leaves | None = None) -> tuple[Leaves, Leaves]:
        """Return the outputs of the function when it is called without being differentiated."""
        return self.subject.rule.value(precision, *(self.xs(precision) if xs is None else xs))

    def eagerly(self) -> Pulled:
        """Return values and gradients by the rule, operation by operation."""
        if self._eager is None:
            inputs = self.xs(Precision.OWN), self.dys(Precision.OWN)
            self._eager = self.subject.rule.pullback.eagerly(Precision.OWN, *inputs)
        return self._eager

    # --- tolerances -----------------------------------------------------------------------------

    def allowed(self, k: int, want: Any, precision: Precision) -> float:
        """Return the difference between two right k-th gradients that is explained."""
        loss = self.loss(k)
        if precision is Precision.FLOAT64:
            # a cancellation may happen to lose little; that both do is less likely
            loss = max(loss, self._lost(self.rule, k))
        return self.explained(self.subject.eps(precision, k), k, want, loss)

    def explained(self, eps: float, k: int, want: Any, loss: float) -> float:
        """Return the same for a dtype's eps: what rounding and the function's accuracy explain."""
        size = largest(want)
        rounding = explained(eps, self.subject.roundings(k), size, loss)
        return rounding + PER_LOSS * self.subject.accuracy.of(size)

    def allowed_value(self, i: int, want: Any, precision: Precision) -> float:
        """Return the difference between two right i-th outputs that is explained."""
        size, roundings = largest(want), self.subject.roundings(i, value=True)
        rounding = explained(self.subject.eps(precision), roundings, size, 0)
        return rounding + self.subject.accuracy.of(size)

    def loss(self, k: int) -> float:
        """Return what autodiff of the reference loses in float32, in units of the float32 eps."""
        return self._lost(self.autodiff, k)

    def _lost(self, way: Callable[[Precision], Pulled], k: int) -> float:
        if not self.is_the_same_in(self.subject.narrow):
            return 0.0
        try:
            exact, lossy = way(Precision.FLOAT64), way(self.subject.narrow)
        except Refused:
            return 0.0
        with np.errstate(invalid="ignore"):
            loss = np.abs(as_float64(exact.dxs[k]) - as_float64(lossy.dxs[k]))
        return largest(loss) / eps_of("float32")

    def is_the_same_in(self, precision: Precision) -> bool:
        """Whether the reference computes the same as in float64, but for rounding.

        A dropout mask, for one, may be drawn in the dtype of what it masks, and differ.
        """
        if self.wide is not Precision.FLOAT64:
            return False
        if self.subject.may_not_end and precision is not Precision.OWN:
            return False  # what a loop waits for may never be true in another dtype
        try:
            exact, rounded = self.autodiff(self.wide).ys, self.autodiff(precision).ys
        except Refused:
            return False
        return all(map(nearly_equal, rounded, exact))

    # --- hints ----------------------------------------------------------------------------------

    def scene(self, k: int, precision: Precision) -> Scene:
        """Return what a wrong k-th gradient may resemble."""
        others: dict[str, Any] = {}
        with contextlib.suppress(Refused):
            right = self.autodiff(precision).dxs
            others = {self.name(j): as_float64(dx) for j, dx in enumerate(right) if j != k}
        narrow = ("bfloat16", "float16", "float32")
        narrow = [name for name in narrow if eps_of(name) > self.subject.eps(precision)]
        cotangents = [as_float64(dy) for dy in self.dys(precision)]
        is_wide = precision is Precision.FLOAT64
        return Scene(self._sizes(), cotangents, others, narrow if is_wide else ())

    def _sizes(self) -> dict[int, str]:
        """Return what each number could count: examples first."""
        shapes = {self.name(k): x.shape for k, x in enumerate(self.point.xs)}
        sizes: dict[int, str] = {}
        for name, shape in shapes.items():
            for axis, size in enumerate(shape):
                sizes.setdefault(size, f"the size of axis {axis} of {name}")
            if len(shape) > 2:
                sizes.setdefault(int(np.prod(shape[:-1])), f"the number of rows of {name}")
        for name, shape in shapes.items():
            sizes.setdefault(int(np.prod(shape)), f"the number of entries of {name}")
        sizes.setdefault(2, "what the derivative of a square brings")
        return {size: what for size, what in sizes.items() if size > 1}


def nearly_equal(rounded: Any, exact: Any) -> bool:
    """Whether two outputs are the same but for rounding in a narrow dtype; NaN where both are."""
    one, other = as_float64(rounded), as_float64(exact)
    with np.errstate(invalid="ignore"):
        near = np.abs(one - other) <= 0.1 * max(1e-3, largest(other))
    return bool(np.all(near | (one == other) | (np.isnan(one) & np.isnan(other))))
