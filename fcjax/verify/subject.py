"""The function that is checked and the one that it is checked against, with what holds of both."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.dtypes import float0

from .._jax import (
    MESH_PRIMITIVES,
    equations_in,
    is_batched_by_hand,
    may_not_end,
    name_of,
    opened,
    rule_in,
    stops_gradient,
)
from .point import Leaves, Point
from .precision import Precision, eps_of
from .program import Deadline, Program, Refused
from .rounding import Accuracy, coarsest, dtypes_in, roundings
from .rules import RuleCall, calls_in, without_rules

OfLeaves = Callable[..., tuple[Leaves, Leaves]]


class Pulled(NamedTuple):
    """Values and gradients: outputs y, the outputs without a gradient, and dx of each leaf."""

    ys: Leaves
    others: Leaves
    dxs: Leaves


class Side:
    """A function of leaves, and the programs that are made from it."""

    def __init__(self, function: OfLeaves, deadline: Deadline):
        self.function = function
        self.value: Program[tuple[Leaves, Leaves]] = Program(function, deadline)
        self.pullback: Program[Pulled] = Program(pullback_of(function), deadline)


class Subject:
    """A rule, its reference, and a point that gives both their form.

    What is found out here depends on the form alone: shapes, dtypes, and what is held. It serves
    every point of that form.
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
        self._programs: dict[str, Program[Any]] = {}
        self._ys: dict[Precision, tuple[Any, ...]] = {}

    @classmethod
    def of(cls, fun: Any, reference: Any, point: Point, **options: Any) -> "Subject":
        """Return the subject for a function; without a reference, its rules are taken out."""
        rule = point.on(fun)
        plain = without_rules(rule) if reference is None else point.on(reference)
        return cls(rule, plain, point, has_reference=reference is not None, **options)

    def with_rules_kept(self, keep: Callable[[RuleCall], bool]) -> "Subject":
        """Return the subject in which all rules but some are taken out of the function."""
        rule = without_rules(self.rule.function, keep=keep)
        return Subject(
            rule,
            self.plain.function,
            self.point,
            has_reference=self.has_reference,
            accuracy=self.accuracy,
            deadline=self.deadline,
        )

    def program(self, name: str, function: Callable[..., Any]) -> Program[Any]:
        """Return the program of this name, made from `function` the first time."""
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
        """How many leaves are differentiated by."""
        return len(self.names)

    def ys(self, precision: Precision) -> tuple[Any, ...]:
        """Return shapes and dtypes of the floating-point outputs."""
        if precision not in self._ys:
            self._ys[precision] = self.rule.value.shapes(precision, *self.point.types(precision))[0]
        return self._ys[precision]

    def traced(self, side: Side, precision: Precision) -> Any:
        """Return the program of a pullback, as a closed jaxpr."""
        return side.pullback.trace(precision, *self._form_of_pullback(precision))

    def retraced(self) -> Any:
        """Return the program of the rule's pullback, from a trace that is made now."""
        inputs = self._form_of_pullback(Precision.OWN)
        return self.rule.pullback.trace_again(Precision.OWN, *inputs)

    def _form_of_pullback(self, precision: Precision) -> tuple[Leaves, Leaves]:
        dys = tuple(jax.ShapeDtypeStruct(y.shape, y.dtype) for y in self.ys(precision))
        return self.point.types(precision), dys

    # --- what is in the function ---------------------------------------------------------------

    @functools.cached_property
    def refusal(self) -> Refused | None:
        """Why JAX refuses to differentiate through the rule, if it does."""
        try:
            self.traced(self.rule, Precision.OWN)
        except Refused as refusal:
            return refusal
        return None

    @functools.cached_property
    def value_program(self) -> Any:
        """The program of the function as it is called, not differentiated."""
        return self.rule.value.trace(Precision.OWN, *self.point.types(Precision.OWN))

    @functools.cached_property
    def calls(self) -> tuple[RuleCall, ...]:
        """The calls of hand-written rules in the function."""
        return calls_in(self.value_program)

    @property
    def has_oracle(self) -> bool:
        """Whether there is another derivative than the one in question."""
        return self.has_reference or bool(self.calls)

    @functools.cached_property
    def _equations(self) -> list[Any]:
        programs = (self.value_program, self.traced(self.rule, Precision.OWN))
        return [equation for program in programs for equation in equations_in(program)]

    @property
    def size(self) -> int:
        """How many operations the function and its pullback consist of, those in loops too."""
        return len(self._equations)

    @functools.cached_property
    def uses_mesh(self) -> bool:
        """Whether it communicates between devices, or says where arrays are."""
        return any(name_of(equation) in MESH_PRIMITIVES for equation in self._equations)

    @functools.cached_property
    def is_batched_by_hand(self) -> bool:
        """Whether something in it comes with a batching rule of its own."""
        return any(map(is_batched_by_hand, self._equations))

    @functools.cached_property
    def stops_gradients(self) -> bool:
        """Whether the function says of some of its values that they have no derivative."""
        return any(map(stops_gradient, equations_in(self.value_program)))

    @functools.cached_property
    def may_not_end(self) -> bool:
        """Whether it loops until something is true, which elsewhere it may never be."""
        return any(map(may_not_end, self._equations))

    @functools.cached_property
    def sees_zeros(self) -> bool:
        """Whether a rule in it is told which arguments and outputs are not used."""
        rules = map(rule_in, equations_in(self.value_program))
        return any(rule is not None and rule.sees_zeros for rule in rules)

    # --- in which dtypes -----------------------------------------------------------------------

    @functools.cached_property
    def wide(self) -> Precision:
        """Float64 wherever the machine and the function have it, else the arguments' own dtypes."""
        if jax.default_backend() == "tpu":
            return Precision.OWN
        try:
            self.traced(self.rule, Precision.FLOAT64)
        except Refused:
            # in its own dtype the rule may well work: it is then checked there
            return Precision.OWN
        return Precision.FLOAT64

    @property
    def narrow(self) -> Precision:
        """Float32, in which autodiff of the reference shows what it loses."""
        own = {str(x.dtype) for x in self.point.xs}
        return Precision.OWN if own == {"float32"} else Precision.FLOAT32

    @functools.cached_property
    def own_eps(self) -> float:
        """Spacing at 1 of the coarsest dtype among the differentiable leaves."""
        return max(eps_of(x.dtype) for x in self.point.xs)

    def computed_eps(self, precision: Precision) -> float:
        """Spacing at 1 of the coarsest dtype that a computation passes through.

        The reference says which these are. The rule itself may also compute in the dtypes that
        the arguments had: in nothing coarser.
        """
        return self._eps[precision][0]

    def eps(self, precision: Precision, k: int | None = None) -> float:
        """Return the same, that of the constants in it, or that of the k-th leaf: the coarsest."""
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
        """How often the k-th gradient, or output, is rounded on its way."""
        return self._roundings[k, value]

    @functools.cached_property
    def _roundings(self) -> dict[tuple[int, bool], float]:
        return _Memo(lambda key: self._count(*key))

    def _count(self, k: int, value: bool) -> float:
        try:
            program = opened(self.traced(self.plain, self.wide))
        except Refused:  # no autodiff of the reference: the rule's own program then counts
            program = opened(self.traced(self.rule, self.wide))
        outputs = program.outvars
        chosen = outputs[: len(self.ys(Precision.OWN))] if value else outputs[-self.count :]
        return roundings(program, [chosen[k]])


class _Memo(dict[Any, Any]):
    """A dict that makes what is missing."""

    def __init__(self, make: Callable[[Any], Any]):
        super().__init__()
        self._make = make

    def __missing__(self, key: Any) -> Any:
        self[key] = self._make(key)
        return self[key]


def pullback_of(function: OfLeaves) -> Callable[[Leaves, Leaves], Pulled]:
    """Return the program that maps (xs, dys) to values and gradients."""

    def pullback(xs: tuple[Array, ...], dys: tuple[Array, ...]) -> Pulled:
        ys, pull, others = jax.vjp(function, *xs, has_aux=True)
        dxs = pull(tuple(dys))
        # a float0 cotangent of a floating-point argument says that there is no gradient: zeros
        dxs = [
            jnp.zeros_like(x) if dx.dtype == float0 else dx for x, dx in zip(xs, dxs, strict=True)
        ]
        return Pulled(ys, others, tuple(dxs))

    return pullback
