"""The form of what the backward rule returns: tree, shapes, dtypes, integers, equal bits."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..computing import OWN, first_line, mode, same_bits
from ..plain import is_array
from ..report import CheckResult
from ..trial import LEAK, Skip, Trial


def structure(trial: Trial) -> Iterator[CheckResult]:
    """The backward rule returns one cotangent for each argument, with its tree and shape."""
    try:
        jaxpr = trial.traced("rule", OWN).jaxpr
    except Exception as error:
        if _runs_eagerly(trial):
            yield CheckResult(
                "jit", "failed", message=f"runs outside of jit only: {first_line(error)}"
            )
            return
        said, why = _form_in(str(error))
        if "closed-over" in str(error):
            said = LEAK
        name = argument_in(trial, str(error))
        yield CheckResult("structure", "failed", name, message=said or first_line(error), hint=why)
        return
    outputs = jaxpr.outvars[len(jaxpr.outvars) - trial.count :]
    for k, (x, v) in enumerate(zip(trial.point.xs, outputs, strict=True)):
        if x.shape != v.aval.shape:
            said = f"cotangent of shape {list(v.aval.shape)} for shape {list(x.shape)}"
            yield CheckResult("structure", "failed", trial.name(k), message=said)
    yield CheckResult("structure", "passed")


def _form_in(message: str) -> tuple[str | None, str | None]:
    """Return what an error of JAX says about a cotangent of another shape, and the likely cause."""
    found = re.search(r"an output of type (\S+) corresponding to an input of type (\S+\])", message)
    if not found or "shapes do not match" not in message:
        return None, None
    got, want = (re.search(r"\[(.*)\]", kind) for kind in found.groups())
    said = f"a cotangent {found[1]} for an argument {found[2]}"
    if got and want and got[1] != want[1] and got[1].endswith(want[1]):
        return said, "the sum over the examples that share this argument is missing"
    return said, None


def _runs_eagerly(trial: Trial) -> bool:
    try:
        trial.eagerly()
    except Exception:
        return False
    return True


def argument_in(trial: Trial, message: str) -> str | None:
    """Return the argument that an error of JAX speaks of, as `output[i]`, if any."""
    found = re.search(r"output((?:\[[^\]]+\])+)", message)
    if not found:
        return None
    index, rest = re.match(r"\[(\d+)\](.*)", found[1]).groups()  # pyright: ignore
    names = rule_arguments(trial)
    return names[int(index)] + rest if names and int(index) < len(names) else None


def dtype(trial: Trial) -> Iterator[CheckResult]:
    """Each cotangent has the dtype of its primal; JAX accepts others, and fails later."""
    jaxpr = trial.traced("rule", OWN).jaxpr
    outputs = jaxpr.outvars[len(jaxpr.outvars) - trial.count :]
    for k, (x, v) in enumerate(zip(trial.point.xs, outputs, strict=True)):
        same = x.dtype == v.aval.dtype
        said = None if same else f"a {v.aval.dtype} cotangent for a {x.dtype} argument"
        yield CheckResult("dtype", "passed" if same else "failed", trial.name(k), message=said)


def integers(trial: Trial) -> Iterator[CheckResult]:
    """Integer, boolean and key arguments get no gradient: None, float0 or zeros."""
    rule = custom_vjp_of(trial.fun)
    if rule is None:
        raise Skip("the function itself is no jax.custom_vjp: JAX drops such cotangents unseen")
    if rule.symbolic_zeros:
        raise Skip("rules with symbolic zeros are called by JAX only")
    cotangents = _raw_cotangents(rule, trial)
    seen = False
    for (name, primal), cotangent in zip(*cotangents, strict=True):
        leaves = [leaf for leaf in jax.tree.leaves(primal) if is_array(leaf)]
        if not leaves or any(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves):
            continue
        seen = True
        nonzero = any(_is_nonzero(leaf) for leaf in jax.tree.leaves(cotangent))
        said = "a nonzero cotangent, which JAX drops: no gradient is there" if nonzero else None
        yield CheckResult("integers", "failed" if nonzero else "passed", name, message=said)
    if not seen:
        raise Skip("no argument is an integer, a boolean or a key")


def _is_nonzero(cotangent: Any) -> bool:
    array = np.asarray(cotangent)
    return array.dtype != jax.dtypes.float0 and bool(np.any(array))


def custom_vjp_of(fun: Any) -> Any:
    """Return the jax.custom_vjp that `fun` is, perhaps under jit, or None."""
    while not isinstance(fun, jax.custom_vjp) and hasattr(fun, "__wrapped__"):
        if hasattr(fun, "lower"):  # a jitted function takes what the function takes
            fun = fun.__wrapped__
        else:
            return None
    return fun if isinstance(fun, jax.custom_vjp) else None


def rule_arguments(trial: Trial) -> list[str]:
    """Return the names of the arguments that the rule of a bare custom_vjp has cotangents for."""
    rule = custom_vjp_of(trial.fun)
    if rule is None:
        return []
    names = list(inspect.signature(rule.fun).parameters)
    return [name for i, name in enumerate(names) if i not in rule.nondiff_argnums]


def _raw_cotangents(rule: Any, trial: Trial) -> tuple[list[tuple[str, Any]], tuple]:
    """Call the two halves of a rule by hand; return its differentiable arguments and cotangents."""
    bound = inspect.signature(rule.fun).bind(*trial.args, **trial.kwargs)
    bound.apply_defaults()
    args = list(bound.args)
    fixed = [args[i] for i in rule.nondiff_argnums]
    with mode(OWN):
        y, kept = rule.fwd(*args)
        leaves, tree = jax.tree.flatten(y)
        dys = iter(trial.dys(OWN))
        floating = [jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating) for leaf in leaves]
        cotangent = [
            next(dys) if yes else np.zeros(np.shape(leaf), jax.dtypes.float0)
            for yes, leaf in zip(floating, leaves, strict=True)
        ]
        cotangents = rule.bwd(*fixed, kept, jax.tree.unflatten(tree, cotangent))
    names = rule_arguments(trial) or [f"args[{i}]" for i in range(len(args))]
    differentiable = [arg for i, arg in enumerate(args) if i not in rule.nondiff_argnums]
    return list(zip(names, differentiable, strict=False)), tuple(cotangents)


def determinism(trial: Trial) -> Iterator[CheckResult]:
    """Called twice, the program gives equal bits; traced twice, the rule gives equal programs."""
    one, two = trial.rule(OWN).dxs, trial.rule(OWN).dxs
    retraced = trial.pulled_anew().dxs if trial.traced_differently() else one
    for k in range(trial.count):
        said = None
        if not same_bits(one[k], two[k]):
            said = "two calls of the compiled program differ"
        elif not same_bits(one[k], retraced[k]):
            said = "traced again, the rule is another program: something outside of it has changed"
        yield CheckResult(
            "determinism", "failed" if said else "passed", trial.name(k), message=said
        )
