"""The function that is checked, its reference, and the facts that hold for both."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.dtypes import float0

from .._jax import (
    MESH_PRIMITIVES,
    ClosedJaxpr,
    JaxprEqn,
    differentiates,
    equations_in,
    has_any_period,
    is_batched_by_hand,
    may_not_end,
    name_of,
    opened,
    rule_in,
    stops_gradient,
    takes_bits,
)
from .._types import Function, Tree
from .point import Leaves, Point, Types
from .precision import Precision, eps_of
from .program import Deadline, Program, Refused
from .rounding import Accuracy, coarsest, dtypes_in, roundings
from .rules import RuleCall, calls_in, without_rules

K = TypeVar("K")
V = TypeVar("V")
OfLeaves = Callable[..., tuple[Leaves, Leaves]]


class ValuesAndGrads(NamedTuple):
    """Values and gradients of a function of leaves.

    Attributes:
        ys: the floating-point outputs.
        others: the other outputs, which have no gradient.
        dxs: the gradient of each differentiable leaf.
    """

    ys: Leaves
    others: Leaves
    dxs: Leaves


class Side:
    """A function of leaves, and the compiled programs of its value and its pullback."""

    def __init__(self, function: OfLeaves, deadline: Deadline):
        self.function = function
        self.value: Program[tuple[Leaves, Leaves]] = Program(function, deadline)
        self.pullback: Program[ValuesAndGrads] = Program(pullback_of(function), deadline)


class Subject:
    """A rule, its reference, and a point that gives the form of their arguments.

    All facts here depend only on that form (shapes, dtypes and constant leaves), so they hold for
    every point of the same form.
    """

    def __init__(
        self,
        rule: OfLeaves,
        plain: OfLeaves,
        point: Point,
        *,
        has_reference: bool = False,
        accuracy: Accuracy = Accuracy(),  # noqa: B008 - immutable
        deadline: Deadline | None = None,
    ):
        self.deadline = deadline or Deadline()
        self.rule, self.plain = Side(rule, self.deadline), Side(plain, self.deadline)
        self.point, self.has_reference, self.accuracy = point, has_reference, accuracy
        self.reference: Function | None = None
        self._programs: dict[str, Program[Tree]] = {}
        self._ys: dict[Precision, Types] = {}

    @classmethod
    def of(
        cls, fun: Function, reference: Function | None, point: Point, **options: Any
    ) -> "Subject":
        """Return the subject for a function; the default reference is `fun` without its rules."""
        rule = point.on(fun)
        plain = without_rules(rule) if reference is None else point.on(reference)
        subject = cls(rule, plain, point, has_reference=reference is not None, **options)
        subject.reference = reference
        return subject

    @property
    def sides(self) -> tuple["Side", "Side"]:
        """The function with its rules, and that which autodiff differentiates."""
        return self.rule, self.plain

    def of_form(self, fun: Function, point: Point) -> "Subject":
        """Return the subject for the same function and reference at arguments of another form."""
        return Subject.of(
            fun, self.reference, point, accuracy=self.accuracy, deadline=self.deadline
        )

    def with_rules_kept(self, keep: Callable[[RuleCall], bool]) -> "Subject":
        """Return the subject whose function keeps only the rules that `keep` selects."""
        rule = without_rules(self.rule.function, keep=keep)
        return Subject(
            rule,
            self.plain.function,
            self.point,
            has_reference=self.has_reference,
            accuracy=self.accuracy,
            deadline=self.deadline,
        )

    def program(self, name: str, function: Function) -> Program[Tree]:
        """Return the program with this name; the first call makes it from `function`."""
        if name not in self._programs:
            self._programs[name] = Program(function, self.deadline)
        return self._programs[name]

    # --- leaves -------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the differentiable leaves."""
        return self.point.differentiable

    @property
    def count(self) -> int:
        """The number of differentiable leaves."""
        return len(self.names)

    def ys(self, precision: Precision) -> Types:
        """Return the shapes and dtypes of the floating-point outputs."""
        if precision not in self._ys:
            self._ys[precision] = self.rule.value.shapes(precision, *self.point.types(precision))[0]
        return self._ys[precision]

    def traced(self, side: Side, precision: Precision) -> ClosedJaxpr:
        """Return the program of a pullback, as a closed jaxpr."""
        return side.pullback.trace(precision, *self._form_of_pullback(precision))

    def retraced(self) -> ClosedJaxpr:
        """Trace the pullback of the rule again, without the cache, as a closed jaxpr."""
        inputs = self._form_of_pullback(Precision.OWN)
        return self.rule.pullback.trace_again(Precision.OWN, *inputs)

    def _form_of_pullback(self, precision: Precision) -> tuple[Types, Types]:
        dys = tuple(jax.ShapeDtypeStruct(y.shape, y.dtype) for y in self.ys(precision))
        return self.point.types(precision), dys

    # --- contents of the function --------------------------------------------------------------

    @functools.cached_property
    def refusal(self) -> Refused | None:
        """The error of JAX or of the user's code on differentiating the function, or None."""
        try:
            self.traced(self.rule, Precision.OWN)
        except Refused as refusal:
            return refusal
        return None

    @functools.cached_property
    def value_program(self) -> ClosedJaxpr:
        """The program of the function without differentiation."""
        return self.rule.value.trace(Precision.OWN, *self.point.types(Precision.OWN))

    @functools.cached_property
    def calls(self) -> tuple[RuleCall, ...]:
        """The calls of hand-written rules in the function."""
        return calls_in(self.value_program)

    @functools.cached_property
    def differentiates(self) -> bool:
        """Whether the function itself calls `jax.grad` or the like, which hides rules."""
        return differentiates(self.value_program)

    @property
    def has_oracle(self) -> bool:
        """Whether there is a gradient that does not depend on the rule."""
        return self.has_reference or bool(self.calls)

    @functools.cached_property
    def _equations(self) -> list[JaxprEqn]:
        programs = (self.value_program, self.traced(self.rule, Precision.OWN))
        return [equation for program in programs for equation in equations_in(program)]

    @property
    def size(self) -> int:
        """The number of operations in the function and its pullback, those in loops included."""
        return len(self._equations)

    @functools.cached_property
    def uses_mesh(self) -> bool:
        """Whether the function communicates between devices, or places arrays on them."""
        return any(name_of(equation) in MESH_PRIMITIVES for equation in self._equations)

    @functools.cached_property
    def is_batched_by_hand(self) -> bool:
        """Whether an operation in the function has a batching rule that is not JAX's."""
        return any(map(is_batched_by_hand, self._equations))

    @functools.cached_property
    def stops_gradients(self) -> bool:
        """Whether the function contains `stop_gradient`."""
        return any(map(stops_gradient, equations_in(self.value_program)))

    @functools.cached_property
    def has_any_period(self) -> bool:
        """Whether the function is periodic with a period that may be short at other points."""
        return any(map(has_any_period, equations_in(self.value_program)))

    @functools.cached_property
    def takes_bits(self) -> bool:
        """Whether the function takes numbers apart into bits."""
        return any(map(takes_bits, equations_in(self.value_program)))

    @functools.cached_property
    def may_not_end(self) -> bool:
        """Whether the function has a `while_loop`, which may not terminate at other points."""
        return any(map(may_not_end, self._equations))

    @functools.cached_property
    def sees_zeros(self) -> bool:
        """Whether a rule in the function receives symbolic zeros."""
        rules = map(rule_in, equations_in(self.value_program))
        return any(rule is not None and rule.sees_zeros for rule in rules)

    # --- dtypes --------------------------------------------------------------------------------

    @functools.cached_property
    def wide(self) -> Precision:
        """Float64 if the backend and the function support it, else the dtypes of the arguments."""
        if jax.default_backend() == "tpu":
            return Precision.OWN
        try:
            self.traced(self.rule, Precision.FLOAT64)
        except Refused:
            # the rule may still work in the dtypes of the arguments
            return Precision.OWN
        return Precision.FLOAT64

    @property
    def narrow(self) -> Precision:
        """Float32, the precision in which the precision loss of a gradient is measured."""
        own = {str(x.dtype) for x in self.point.xs}
        return Precision.OWN if own == {"float32"} else Precision.FLOAT32

    @functools.cached_property
    def own_eps(self) -> float:
        """The spacing at 1 of the coarsest dtype among the differentiable leaves."""
        return max(eps_of(x.dtype) for x in self.point.xs)

    def computed_eps(self, precision: Precision) -> float:
        """Return the spacing at 1 of the coarsest dtype in the computation.

        The dtypes are those of the reference. Dtypes that occur only in the rule count as well,
        unless they are coarser than those of the arguments: then they are a mistake of the rule.
        """
        return self._eps[precision][0]

    def eps(self, precision: Precision, k: int | None = None) -> float:
        """Return the coarsest of `computed_eps`, the eps of constants and that of the k-th leaf."""
        of_leaf = 0.0 if k is None else eps_of(self.point.types(precision)[k].dtype)
        return max(*self._eps[precision], of_leaf)

    @functools.cached_property
    def _eps(self) -> dict[Precision, tuple[float, float]]:
        return _Memo(self._find_eps)

    def _find_eps(self, precision: Precision) -> tuple[float, float]:
        xs = self.point.types(precision)
        of_plain = dtypes_in(self.plain.value.trace(precision, *xs))
        of_rule = dtypes_in(self.traced(self.rule, precision))
        count = len(self.point.wrt)
        own = max([eps_of(x.dtype) for x in xs[:count]] or [eps_of(xs[0].dtype)])
        finer = [{d for d in found if eps_of(d) <= self.own_eps} for found in of_rule]
        computed = max(own, coarsest(of_plain.computed), coarsest(frozenset(finer[0])))
        return computed, max(coarsest(of_plain.constants), coarsest(frozenset(finer[1])))

    def roundings(self, k: int, value: bool = False) -> float:
        """Return the number of roundings in the k-th gradient, or in the k-th output."""
        return self._roundings[k, value]

    @functools.cached_property
    def _roundings(self) -> dict[tuple[int, bool], float]:
        return _Memo(lambda key: self._count(*key))

    def _count(self, k: int, value: bool) -> float:
        try:
            program = opened(self.traced(self.plain, self.wide))
        except Refused:  # without autodiff of the reference, count the roundings of the rule
            program = opened(self.traced(self.rule, self.wide))
        outputs = program.outvars
        chosen = outputs[: len(self.ys(Precision.OWN))] if value else outputs[-self.count :]
        return roundings(program, [chosen[k]])


class _Memo(dict[K, V]):
    """A dict that computes missing values."""

    def __init__(self, make: Callable[[K], V]):
        super().__init__()
        self._make = make

    def __missing__(self, key: K) -> V:
        self[key] = self._make(key)
        return self[key]


def pullback_of(function: OfLeaves) -> Callable[[Leaves, Leaves], ValuesAndGrads]:
    """Return the function that maps (xs, dys) to values and gradients."""

    def pullback(xs: tuple[Array, ...], dys: tuple[Array, ...]) -> ValuesAndGrads:
        ys, pull, others = jax.vjp(function, *xs, has_aux=True)
        dxs = pull(tuple(dys))
        # a float0 cotangent of a floating-point argument means no gradient: replace it by zeros
        dxs = [
            jnp.zeros_like(x) if dx.dtype == float0 else dx for x, dx in zip(xs, dxs, strict=True)
        ]
        return ValuesAndGrads(ys, others, tuple(dxs))

    return pullback
