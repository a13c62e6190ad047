"""One function at one point: its pullback and the reference's, in any dtype, compiled once."""

import contextlib
import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from .computing import (
    OWN,
    WIDE,
    as_float64,
    cast,
    first_line,
    largest,
    mode,
    quickly_compiled,
    same_bits,
)
from .hints import Scene
from .plain import rules_in, without_rules
from .point import Point, described
from .tolerance import allowed, dtypes_on_the_way, eps_of, roundings as count_roundings

LEAK = (
    "the rule closes over a value that is differentiated outside of it, which then gets no "
    "gradient; make it an argument of the rule"
)


class Skip(Exception):  # noqa: N818 - no error: a way out
    """Raised by a check that cannot be done here; the text is the reason."""


class Pulled(NamedTuple):
    """Values and gradients: outputs y, the outputs without a gradient, and dx of each argument."""

    ys: tuple[Array, ...]
    others: tuple[Any, ...]
    dxs: tuple[Array, ...]


class Trial:
    """A rule and its reference at a point, with everything that several checks need.

    Each pullback is compiled once for a dtype and then called with other inputs.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        reference: Callable[..., Any] | None,
        seed: Sequence[int],
        kinks: Mapping[str, Mapping[float, float]] | None = None,
        checks_all: bool = False,
    ):
        self.fun, self.args, self.kwargs = fun, tuple(args), dict(kwargs)
        self.reference = reference
        self.point = Point(fun, args, kwargs)
        self.seed = list(seed)
        self.checks_all = checks_all  # rather than what somebody has chosen
        self.kinks = {name: dict(points) for name, points in (kinks or {}).items()}
        of_rule = self.point.on(fun)
        self.functions = {
            "rule": of_rule,
            "plain": without_rules(of_rule) if reference is None else self.point.on(reference),
        }
        self._programs: dict[Any, Any] = {}  # what depends on the shapes of the point
        self._values: dict[Any, Any] = {}  # what depends on the point itself

    # --- the function --------------------------------------------------------------------------

    @functools.cached_property
    def has_rules(self) -> bool:
        """Whether there is a hand-written rule in the function that is not one of JAX's own."""
        with mode(OWN):
            return bool(rules_in(self.functions["rule"], *self.xs(OWN)))

    def with_rule(self, of_leaves: Callable[..., Any]) -> "Trial":
        """Return the trial of another function of the same leaves."""
        other = copy.copy(self)
        other.functions = self.functions | {"rule": of_leaves}
        other._programs, other._values = {}, {}
        return other

    def at(self, args: Sequence[Any], seed: Sequence[int]) -> "Trial":
        """Return the trial of the same function at another point of the same form.

        Programs that were compiled are used again. What is not differentiated by stays as it is.
        """
        other = copy.copy(self)
        other.point = self.point.moved_to(args)
        other.seed, other._values = list(seed), {}
        return other

    @functools.cached_property
    def broken(self) -> bool:
        """Whether JAX refuses to differentiate through the rule."""
        try:
            self.traced("rule", OWN)
        except Exception:
            return True
        return False

    def refuse_other_reference(self) -> None:
        """Raise TypeError or ValueError unless the reference can stand for the function."""
        if self.reference is None or self.broken:
            return
        try:
            with mode(OWN):
                ys, _ = jax.eval_shape(self.functions["plain"], *self.xs(OWN))
        except Exception as error:
            raise TypeError(
                f"reference must take the arguments of the function; it raised {first_line(error)}"
            ) from error
        got, want = [y.shape for y in ys], [y.shape for y in self.ys(OWN)]
        if got != want:
            raise ValueError(f"reference must return shapes {want} as the function, got {got}")

    def described(self) -> str:
        """Return the arguments in words: names, dtypes and shapes."""
        leaves = zip(self.point.names, self.point.leaves, strict=True)
        return ", ".join(f"{name}: {described(leaf)}" for name, leaf in leaves)

    # --- points --------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many leaves are differentiated by."""
        return len(self.point.wrt)

    def name(self, k: int) -> str:
        """Name of the k-th of them."""
        return self.point.name(k)

    def random(self, shape: tuple[int, ...], stream: int) -> np.ndarray:
        """Return normal numbers, the same for the same stream of this trial."""
        return np.random.default_rng([*self.seed, stream]).standard_normal(shape)

    def xs(self, dtype: str) -> tuple[Array, ...]:
        """Return the differentiable leaves, cast to a dtype unless it is OWN."""
        return _once(self._values, ("xs", dtype), lambda: cast(self.point.xs, dtype))

    def dys(self, dtype: str) -> tuple[Array, ...]:
        """Return random cotangents that differ everywhere: uniform ones hide a wrong sum."""
        return _once(self._values, ("dys", dtype), lambda: self._cotangents(dtype))

    def _cotangents(self, dtype: str) -> tuple[Array, ...]:
        return self.as_cotangents(
            [self.random(y.shape, 7 + i) for i, y in enumerate(self.ys(OWN))], dtype
        )

    def as_cotangents(self, values: Sequence[Any], dtype: str) -> tuple[Array, ...]:
        """Return arrays with the dtypes of the outputs."""
        with mode(dtype):
            pairs = zip(values, self.ys(dtype), strict=True)
            return tuple(jnp.asarray(np.asarray(v).astype(y.dtype)) for v, y in pairs)

    def ys(self, dtype: str) -> tuple[Any, ...]:
        """Return shapes and dtypes of the floating-point outputs."""
        return self._once(("ys", dtype), lambda: self._shapes(dtype))

    def _shapes(self, dtype: str) -> tuple[Any, ...]:
        with mode(dtype):
            return jax.eval_shape(self.functions["rule"], *self.xs(dtype))[0]

    # --- programs ------------------------------------------------------------------------------

    def rule(self, dtype: str, xs: Any = None, dys: Any = None) -> Pulled:
        """Values and gradients by the rule in question."""
        return self._pull("rule", dtype, xs, dys)

    def by_autodiff(self, dtype: str, xs: Any = None, dys: Any = None) -> Pulled:
        """Values and gradients by JAX's autodiff of the reference."""
        return self._pull("plain", dtype, xs, dys)

    def _pull(self, which: str, dtype: str, xs: Any, dys: Any) -> Pulled:
        xs = self.xs(dtype) if xs is None else xs
        dys = self.dys(dtype) if dys is None else dys
        program = pullback(self.functions[which])
        return self.run((which, dtype), program, dtype, xs, dys)

    def traced_differently(self) -> bool:
        """Whether tracing the rule a second time gives another program or other constants."""
        first, second = self.traced("rule", OWN), self.traced("rule", OWN, again=True)
        if str(first) != str(second):
            return True
        return not all(map(same_bits, first.consts, second.consts))

    def pulled_anew(self) -> Pulled:
        """Values and gradients by the rule, traced again."""
        with mode(OWN):
            program = pullback(self.functions["rule"])
            inputs = self.xs(OWN), self.dys(OWN)
            return quickly_compiled(lambda *inputs: program(*inputs), *inputs)(*inputs)

    def eagerly(self) -> Pulled:
        """Values and gradients by the rule, operation by operation, in the arguments' dtypes."""

        def pull() -> Pulled:
            with mode(OWN):
                return pullback(self.functions["rule"])(self.xs(OWN), self.dys(OWN))

        return _once(self._values, "eager", pull)

    def run(self, key: Any, program: Callable[..., Any], dtype: str, *inputs: Any) -> Any:
        """Run a program, compiled the first time that `key` is seen; a failure is remembered."""
        with mode(dtype):
            compiled = self._once(key, lambda: quickly_compiled(program, *inputs))
            try:
                return jax.block_until_ready(compiled(*inputs))
            except jax.errors.JaxRuntimeError as error:
                # some products of narrow dtypes run only after XLA has rewritten them
                if "UNIMPLEMENTED" not in str(error):
                    raise
                self._programs[key] = jax.jit(program)
                return jax.block_until_ready(self._programs[key](*inputs))

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        return _once(self._programs, key, make)

    # --- what the checks compute in ------------------------------------------------------------

    @functools.cached_property
    def wide(self) -> str:
        """Float64 wherever the machine and the function have it, else the arguments' own dtypes."""
        if jax.default_backend() == "tpu":
            return OWN
        try:
            self.ys(WIDE)
        except Exception:
            return OWN
        try:
            self.traced("rule", WIDE)
        except Exception:
            # in its own dtype the rule may well work: it is then checked there
            return OWN
        return WIDE

    @property
    def narrow(self) -> str:
        """Float32, in which autodiff of the reference shows what it loses."""
        own = {str(x.dtype) for x in self.point.xs}
        return OWN if own == {"float32"} else "float32"

    @functools.cached_property
    def own_eps(self) -> float:
        """Spacing at 1 of the coarsest dtype among the differentiable leaves."""
        return max(eps_of(x.dtype) for x in self.point.xs)

    def eps(self, dtype: str) -> float:
        """Spacing at 1 of the coarsest dtype that a computation in `dtype` passes through.

        The reference says which these are. The rule itself may also compute in the dtypes that
        the arguments had: in nothing coarser.
        """
        return self._once(("eps", dtype), lambda: self._eps(dtype))

    def _eps(self, dtype: str) -> float:
        used = [eps_of(x.dtype) for x in self.xs(dtype)]
        with mode(dtype):
            primal = jax.make_jaxpr(self.functions["plain"])(*self.xs(dtype)).jaxpr
        used += [eps_of(d) for d in dtypes_on_the_way(primal)]
        of_rule = dtypes_on_the_way(self.traced("rule", dtype).jaxpr)
        used += [eps for eps in map(eps_of, of_rule) if eps <= self.own_eps]
        return max(used)

    def traced(self, which: str, dtype: str, again: bool = False) -> Any:
        """Return the program of a pullback, as a closed jaxpr."""

        def trace() -> Any:
            with mode(dtype):
                program = pullback(self.functions[which])
                closed = jax.make_jaxpr(program)(self.xs(dtype), self.dys(dtype))
                if any(isinstance(const, Tracer) for const in closed.consts):
                    raise TypeError(LEAK)
                return closed

        return self._once((which, dtype, "jaxpr", again), trace)

    # --- tolerances ----------------------------------------------------------------------------

    def allowed(self, k: int, want: Any, dtype: str) -> float:
        """Return the difference that rounding explains in the k-th gradient."""
        loss = self.loss(k)
        if dtype == WIDE:
            # a cancellation may happen to lose little; that both do is less likely
            loss = max(loss, self._lost(self.rule, k))
        return allowed(self.eps(dtype), self.roundings(k), largest(want), loss)

    def allowed_value(self, i: int, want: Any, dtype: str) -> float:
        """Return the difference that rounding explains in the i-th output."""
        return allowed(self.eps(dtype), self.roundings(i, value=True), largest(want), 0)

    def roundings(self, k: int, value: bool = False) -> float:
        """How often the k-th gradient, or output, is rounded on its way."""
        return self._once(("roundings", k, value), lambda: self._count(k, value))

    def _count(self, k: int, value: bool) -> float:
        try:
            jaxpr = self.traced("plain", self.wide).jaxpr
        except Exception:  # no autodiff of the reference: the rule's own program then counts
            jaxpr = self.traced("rule", self.wide).jaxpr
        outputs = jaxpr.outvars[: len(self.ys(OWN))] if value else jaxpr.outvars[-self.count :]
        return count_roundings(jaxpr, [outputs[k]])

    def loss(self, k: int) -> float:
        """What autodiff of the reference loses in float32, in units of the float32 eps."""
        return self._lost(self.by_autodiff, k)

    def _lost(self, way: Callable[[str], Pulled], k: int) -> float:
        if not self.is_the_same_in(self.narrow):
            return 0.0
        try:
            exact, lossy = way(WIDE), way(self.narrow)
        except Exception:
            return 0.0
        loss = np.abs(as_float64(exact.dxs[k]) - as_float64(lossy.dxs[k]))
        worst = float(np.max(loss, initial=0.0))
        return worst / eps_of("float32") if np.isfinite(worst) else 0.0

    def is_the_same_in(self, dtype: str) -> bool:
        """Whether the reference computes the same in `dtype` as in float64, but for rounding.

        A dropout mask, for one, may be drawn in the dtype of what it masks, and differ.
        """
        if self.wide != WIDE:
            return False
        try:
            exact, rounded = self.by_autodiff(WIDE).ys, self.by_autodiff(dtype).ys
        except Exception:
            return False
        return all(
            np.all(np.abs(as_float64(r) - as_float64(e)) <= 0.1 * max(1e-3, largest(e)))
            for r, e in zip(rounded, exact, strict=True)
        )

    # --- hints ---------------------------------------------------------------------------------

    def scene(self, k: int, dtype: str, dys: Any = None) -> Scene:
        """Return what a wrong k-th gradient may resemble."""
        dys = self.dys(dtype) if dys is None else dys
        others: dict[str, Any] = {}
        with contextlib.suppress(Exception):
            right = self.by_autodiff(dtype).dxs
            others = {self.name(j): as_float64(dx) for j, dx in enumerate(right) if j != k}
        narrow = [n for n in ("float32", "float16", "bfloat16") if eps_of(n) > self.eps(dtype)]
        cotangents = [as_float64(dy) for dy in dys]
        return Scene(self._sizes(), cotangents, others, narrow if dtype == WIDE else ())

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


def _once(made: dict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    """Return what `make` made the first time; a failure is remembered and raised again."""
    if key not in made:
        try:
            made[key] = make()
        except Exception as error:
            made[key] = error
    if isinstance(made[key], Exception):
        raise made[key]
    return made[key]


def pullback(f: Callable[..., tuple[tuple, tuple]]) -> Callable[[Any, Any], Pulled]:
    """Return the program that maps (xs, dys) to values and gradients."""

    def program(xs: tuple[Array, ...], dys: tuple[Array, ...]) -> Pulled:
        ys, pull, others = jax.vjp(f, *xs, has_aux=True)
        return Pulled(ys, others, pull(tuple(dys)))

    return program
