"""The form of the cotangents: tree, shapes, dtypes, those of integers, and equal bits."""

import inspect
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..._jax import (
    Halves,
    ShapedArray,
    as_function,
    halves_of,
    is_array,
    opened,
    output_path,
    says_closed_over,
    says_no_reverse_mode,
    type_of,
    wrong_cotangent,
)
from ..._types import AnyArray, Tree
from ..precision import Precision, same_bits
from ..program import LEAK, Refused, Skip, call, user_code
from ..report import CheckResult
from ..sample import Sample

UNSUMMED = "the sum over the examples that share this argument is missing"


def structure(sample: Sample) -> Iterator[CheckResult]:
    """The backward rule returns one cotangent for each argument, with its tree and shape."""
    refusal = sample.subject.refusal
    if refusal is not None:
        yield _explained(sample, refusal)
        return
    for k, (x, got) in enumerate(_cotangent_types(sample)):
        if x.shape != got.shape:
            message = (
                f"a cotangent of shape {list(got.shape)} for an argument of shape {list(x.shape)}"
            )
            yield CheckResult("structure", "failed", sample.name(k), message=message)
    yield CheckResult("structure", "passed")


def _cotangent_types(sample: Sample) -> list[tuple[jax.Array, ShapedArray]]:
    outputs = opened(sample.subject.traced(sample.subject.rule, Precision.OWN)).outvars
    types = [type_of(v) for v in outputs[len(outputs) - sample.count :]]
    return list(zip(sample.point.xs, types, strict=True))


def _explained(sample: Sample, refusal: Refused) -> CheckResult:
    """Return the result for a function that cannot be differentiated, with the reason."""
    if says_no_reverse_mode(refusal.text):  # not the fault of a rule
        message = f"the function has no gradient in reverse mode: {refusal}"
        return CheckResult("structure", "skipped", message=message)
    try:
        sample.eagerly()
    except Refused:
        if not _can_be_called(sample):
            message = f"the function cannot be called: {refusal}"
            return CheckResult("structure", "skipped", message=message)
    else:
        return CheckResult("jit", "failed", message=f"works only outside jit: {refusal}")
    name = argument_in(sample, refusal.text)
    if says_closed_over(refusal.text):
        return CheckResult("structure", "failed", name, message=LEAK)
    wrong = wrong_cotangent(refusal.text)
    if wrong is None:
        return CheckResult("structure", "failed", name, message=str(refusal))
    message = f"a cotangent {wrong.got} for an argument {wrong.want}"
    is_longer = wrong.got_shape != wrong.want_shape and wrong.got_shape.endswith(wrong.want_shape)
    hint = UNSUMMED if is_longer else None
    return CheckResult("structure", "failed", name, message=message, hint=hint)


def _can_be_called(sample: Sample) -> bool:
    """Whether the function can be called without being differentiated."""
    try:
        sample.subject.rule.value.eagerly(Precision.OWN, *sample.xs(Precision.OWN))
    except Refused:
        return False
    return True


def argument_in(sample: Sample, message: str) -> str | None:
    """Return the argument that an error message of JAX mentions, or None."""
    place, bare = output_path(message), bare_rule(sample)
    if place is None or bare is None or place[0] >= len(bare.names):
        return None
    return bare.names[place[0]] + place[1]


def dtype(sample: Sample) -> Iterator[CheckResult]:
    """Each cotangent has the dtype of its primal. JAX accepts others and fails later."""
    for k, (x, got) in enumerate(_cotangent_types(sample)):
        same = x.dtype == got.dtype
        message = None if same else f"a {got.dtype} cotangent for a {x.dtype} argument"
        yield CheckResult("dtype", "passed" if same else "failed", sample.name(k), message=message)


class BareRule(NamedTuple):
    """A function that is itself a `jax.custom_vjp`, and its arguments.

    Attributes:
        halves: its forward and backward functions.
        arguments: all arguments, defaults included.
        names: the names of the arguments that have a cotangent.
    """

    halves: Halves
    arguments: tuple[Tree, ...]
    names: tuple[str, ...]


def bare_rule(sample: Sample) -> BareRule | None:
    """Return the rule if the function itself is a `jax.custom_vjp`, else None."""
    halves = halves_of(sample.fun)
    if halves is None:
        return None
    args, kwargs = sample.point.call
    bound = inspect.signature(halves.primal).bind(*args, **kwargs)
    bound.apply_defaults()
    names = tuple(f"args[{i}]" for i in range(len(bound.args)))
    if len(bound.arguments) == len(bound.args):
        names = tuple(bound.arguments)
    differentiable = tuple(name for i, name in enumerate(names) if i not in halves.static)
    return BareRule(halves, bound.args, differentiable)


def integers(sample: Sample) -> Iterator[CheckResult]:
    """The cotangent of an integer, a boolean or a key is None, float0 or zeros."""
    bare = bare_rule(sample)
    if bare is None:
        raise Skip("the function itself is not a jax.custom_vjp; JAX drops such cotangents")
    if bare.halves.sees_zeros:
        raise Skip("only JAX can call a rule with symbolic zeros")
    static = bare.halves.static
    primals = [arg for i, arg in enumerate(bare.arguments) if i not in static]
    nondifferentiable = [i for i, primal in enumerate(primals) if _is_nondifferentiable(primal)]
    if not nondifferentiable:
        raise Skip("no argument is an integer, a boolean or a key")
    cotangents = _raw_cotangents(bare, sample)
    for i in nondifferentiable:
        nonzero = any(map(_is_nonzero, jax.tree.leaves(cotangents[i])))
        message = "a nonzero cotangent, which JAX drops: there is no gradient" if nonzero else None
        status = "failed" if nonzero else "passed"
        yield CheckResult("integers", status, bare.names[i], message=message)


def _is_nondifferentiable(primal: Tree) -> bool:
    """Whether an argument contains arrays, none of which is differentiable."""
    leaves = [leaf for leaf in jax.tree.leaves(primal) if is_array(leaf)]
    return bool(leaves) and not any(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves)


def _is_nonzero(cotangent: Tree) -> bool:
    array = np.asarray(cotangent)
    return array.dtype != jax.dtypes.float0 and bool(np.any(array))


def _raw_cotangents(bare: BareRule, sample: Sample) -> tuple[Tree, ...]:
    """Call the forward and the backward function of a rule directly, without JAX."""
    halves = bare.halves
    static = [bare.arguments[i] for i in halves.static]
    with user_code(), Precision.OWN.context():
        y, residuals = call(halves.forward, *bare.arguments)
        leaves, tree = jax.tree.flatten(y)
        cotangents = tree.unflatten(_random_cotangents(sample, leaves))
        return tuple(call(halves.backward, *static, residuals, cotangents))


def _random_cotangents(sample: Sample, outputs: list[Tree]) -> Iterator[AnyArray]:
    """Yield a cotangent for each output; a complex one is built from two real ones."""
    dys = iter(sample.dys(Precision.OWN))
    for y in outputs:
        dtype = jnp.asarray(y).dtype
        if jnp.issubdtype(dtype, jnp.complexfloating):
            yield next(dys) - 1j * next(dys)
        elif jnp.issubdtype(dtype, jnp.floating):
            yield next(dys)
        else:
            yield np.zeros(np.shape(y), jax.dtypes.float0)


def determinism(sample: Sample) -> Iterator[CheckResult]:
    """Two calls return equal bits, and two traces the same program or equal bits."""
    own = Precision.OWN
    inputs = sample.xs(own), sample.dys(own)
    one = sample.rule(own).dxs
    two = sample.rule(own, *inputs).dxs
    retraced = _gradients_of_two_traces(sample)
    for k in range(sample.count):
        message = None
        if not same_bits(one[k], two[k]):
            message = "two calls of the compiled program differ"
        elif retraced and not all(same_bits(one[k], dxs[k]) for dxs in retraced):
            message = "traced again, the rule gives another program: it depends on outside state"
        status = "failed" if message else "passed"
        yield CheckResult("determinism", status, sample.name(k), message=message)


def _gradients_of_two_traces(sample: Sample) -> list[list[Tree]]:
    """Return the gradients of the first trace and of a new one if their programs differ."""
    own, subject = Precision.OWN, sample.subject
    first, second = subject.traced(subject.rule, own), subject.retraced()
    same = str(first) == str(second) and len(first.consts) == len(second.consts)
    if same and all(map(same_bits, first.consts, second.consts)):
        return []
    inputs = (*sample.xs(own), *sample.dys(own))
    programs = {"first trace": first, "second trace": second}
    outputs = [subject.program(n, as_function(p))(own, *inputs) for n, p in programs.items()]
    return [found[len(found) - sample.count :] for found in outputs]
