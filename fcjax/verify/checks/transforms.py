"""The rule under transformations of JAX: `jit`, `checkpoint`, `scan`, and several calls."""

import warnings
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..._jax import equations_in, says_checkpoint_lacks_complex
from ..._types import Function, Tree
from ..compare import compare
from ..point import Leaves
from ..precision import FACTORS, Precision, as_float64, eps_of, largest, scaled
from ..program import Refused, Skip, user_code
from ..report import CheckResult
from ..sample import Sample
from ..subject import OfLeaves, pullback_of

# Evaluated one by one, each operation is a program to compile, which takes 30 ms or more.
MAX_EAGER_OPERATIONS = 32


def jit(sample: Sample) -> Iterator[CheckResult]:
    """The compiled rule equals the rule evaluated operation by operation."""
    own = Precision.OWN
    program = sample.subject.traced(sample.subject.rule, own)
    operations = sum(1 for _ in equations_in(program))
    if operations > MAX_EAGER_OPERATIONS and not sample.explicit_checks:
        raise Skip(
            f"{operations} operations to compile one by one; checks=['jit'] checks it anyway"
        )
    eager = sample.eagerly()
    compiled = {"": sample.rule(own).dxs, ", with donated arguments": _donated(sample)}
    for k, want in enumerate(eager.dxs):
        tolerance = 2 * sample.allowed(k, want, own)
        for how, dxs in compiled.items():
            message = f"the compiled rule and the rule operation by operation differ{how}"
            yield compare("jit", sample.name(k), dxs[k], want, tolerance, message=message)


def _donated(sample: Sample) -> Leaves:
    """Return the gradients of a compiled call whose arguments are donated."""
    own = Precision.OWN
    inputs = jax.tree.map(jnp.copy, (sample.xs(own), sample.dys(own)))
    program = jax.jit(sample.subject.rule.pullback.function, donate_argnums=(0, 1))
    with user_code(), own.context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Some donated buffers were not usable")
        return program(*inputs).dxs


# From keeping nothing to keeping everything. Long functions get the first alone.
POLICIES = (
    "nothing_saveable",
    "dots_saveable",
    "dots_with_no_batch_dims_saveable",
    "everything_saveable",
)
MAX_OPERATIONS = 200


def checkpoint(sample: Sample) -> Iterator[CheckResult]:
    """Under `jax.checkpoint`, the rule gives the same gradients, whatever is kept."""
    subject, wide = sample.subject, sample.wide
    is_long = subject.size > MAX_OPERATIONS and not sample.explicit_checks
    policies = POLICIES[:1] if is_long else POLICIES
    program = _checkpointed(subject.rule.function, policies)
    try:
        found = subject.program("checkpoint", program)(wide, sample.xs(wide), sample.dys(wide))
    except Refused as refusal:
        if says_checkpoint_lacks_complex(refusal.text):
            raise Skip("jax.checkpoint cannot keep complex numbers") from refusal
        if isinstance(refusal.error, NotImplementedError):
            raise Skip(f"jax.checkpoint cannot take the function: {refusal}") from refusal
        yield CheckResult("checkpoint", "failed", message=str(refusal))
        return
    for name, dxs in zip(policies, found, strict=True):
        for k, want in enumerate(sample.rule(wide).dxs):
            tolerance = 2 * sample.allowed(k, want, wide)
            message = f"with the policy {name}"
            yield compare("checkpoint", sample.name(k), dxs[k], want, tolerance, message=message)


def _checkpointed(f: OfLeaves, policies: Sequence[str]) -> Function:
    """Return the function that gives the gradients with each policy."""

    def program(xs: Leaves, dys: Leaves) -> list[Leaves]:
        functions = [
            jax.checkpoint(f, policy=getattr(jax.checkpoint_policies, name)) for name in policies
        ]
        return [pullback_of(function)(xs, dys).dxs for function in functions]

    return program


def repeated(sample: Sample) -> Iterator[CheckResult]:
    """Several calls in one program: each gets the gradient of its own arguments."""
    own, f = Precision.OWN, sample.subject.rule.function
    xs, dys = sample.xs(own), sample.dys(own)
    factors = FACTORS[:2]

    def calls(*xs: Array) -> list[Leaves]:
        return [f(*(x * np.asarray(factor, x.dtype) for x in xs))[0] for factor in factors]

    def program(xs: Leaves, dys: Leaves) -> Leaves:
        return jax.vjp(calls, *xs)[1]([dys] * len(factors))

    try:
        found = sample.subject.program("repeated", program)(own, xs, dys)
    except Refused as refusal:
        yield CheckResult("repeated", "failed", message=str(refusal))
        return
    points = [tuple(jnp.asarray(scaled(x, factor)) for x in xs) for factor in factors]
    singles = [sample.rule(own, point, dys).dxs for point in points]
    for k, got in enumerate(found):
        terms = [w * as_float64(dxs[k]) for w, dxs in zip(factors, singles, strict=True)]
        size = max(map(largest, terms))
        tolerance = 3 * sample.allowed(k, size, own) + 8 * eps_of(xs[k].dtype) * size
        message = "two calls in one program"
        yield compare("repeated", sample.name(k), got, sum(terms), tolerance, message=message)


def scan(sample: Sample) -> Iterator[CheckResult]:
    """Gradients inside `lax.scan`, where dtypes must not change, and of a `lax.scan`."""
    own = Precision.OWN
    xs, dys = sample.xs(own), sample.dys(own)
    program = sample.subject.program("scan", _scanned(sample.subject.rule.function))
    try:
        found = program(own, xs, dys, jnp.asarray(FACTORS, jnp.float32))
    except Refused as refusal:
        yield CheckResult("scan", "failed", message=str(refusal))
        return
    points = [tuple(jnp.asarray(scaled(x, factor)) for x in xs) for factor in FACTORS]
    singles = [sample.rule(own, point, dys).dxs for point in points]
    weights = {"inside scan": (1.0, 1.0, 1.0), "of scan": FACTORS}
    for (mode, weight), got in zip(weights.items(), found, strict=True):
        for k in range(sample.count):
            terms = [w * as_float64(dxs[k]) for w, dxs in zip(weight, singles, strict=True)]
            size = max(map(largest, terms))
            tolerance = 3 * sample.allowed(k, size, own) + 8 * eps_of(xs[k].dtype) * size
            yield compare(
                "scan",
                sample.name(k),
                got[k],
                sum(terms),
                tolerance,
                context=sample.hint_context(k, own),
                message=f"gradient {mode}",
            )


def _scanned(f: OfLeaves) -> Function:
    """Return the function of both: Σ of gradients at scaled points, and the gradient of Σ."""

    def at(xs: tuple[Array, ...], factor: Array) -> tuple[Array, ...]:
        return tuple(x * factor.astype(x.dtype) for x in xs)

    def program(xs: tuple[Array, ...], dys: tuple[Array, ...], factors: Array) -> tuple[Tree, Tree]:
        def add_gradients(total: Tree, factor: Array) -> tuple[Tree, None]:
            return jax.tree.map(jnp.add, total, pullback_of(f)(at(xs, factor), dys).dxs), None

        def add_values(*xs: Array) -> Tree:
            def step(total: Tree, factor: Array) -> tuple[Tree, None]:
                return jax.tree.map(jnp.add, total, f(*at(xs, factor))[0]), None

            return lax.scan(step, jax.tree.map(jnp.zeros_like, dys), factors)[0]

        inside = lax.scan(add_gradients, jax.tree.map(jnp.zeros_like, xs), factors)[0]
        return inside, jax.vjp(add_values, *xs)[1](dys)

    return program
