"""Judge one call: it gives what is expected, or an error that names an argument."""

import contextlib
import inspect
import re
import signal
import threading
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import reference
from support import assert_close, normal

from .spec import Invalid, Want, allowed, is_odd

LONGEST = 400
SECONDS = 60
# What finite differences of numbers near 1 resolve; sums of the largest fills are coarser.
DIFFERENCES = 1e-6
# What rounding errors make of differences of zero.
ROUNDING = 1e-10


class Call(NamedTuple):
    """A call `function(**arguments)`, and the spec that says what it must give.

    `differentiable` names the arguments by which the gradient is compared with differences, and
    `wrong` those that were drawn to be wrong: an error may name any of them. An uncertain call may
    be refused though the spec expects a result.
    """

    function: Callable
    arguments: dict[str, Any]
    spec: Callable
    differentiable: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    uncertain: bool = False

    def __repr__(self):
        given = ", ".join(f"{name}={shown(value)}" for name, value in self.arguments.items())
        return f"{getattr(self.function, '__name__', self.function)}({given})"


class Finding(AssertionError):  # noqa: N818 - the word of the reports
    """A call that is answered neither with the right result nor with a good error."""

    def __init__(self, kind, call, detail):
        super().__init__(f"{kind}: {call}\n    {detail}")
        self.kind, self.detail = kind, detail


class Hang(BaseException):
    """A call that took too long; not an Exception, which the call itself might catch."""


def shown(value):
    """Return a short description of an argument, with the values of small arrays."""
    if isinstance(value, jax.Array | np.ndarray):
        try:
            values = f" {np.asarray(value).tolist()}" if value.size <= 6 else ""
        except Exception:  # keys, and arrays that are deleted, show no values
            values = ""
        where = "jax" if isinstance(value, jax.Array) else "numpy"
        return f"{where} {value.dtype}{list(value.shape)}{values}"
    if type(value) in (tuple, list):
        return f"{type(value).__name__}({', '.join(map(shown, value[:6]))})"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"{type(value).__name__}({', '.join(map(shown, value))})"
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__} whose repr raises"
    return text if len(text) < 200 else text[:200] + " ..."


def judge(call):
    """Return "valid" or "refused"; raise Finding if the call is answered in another way."""
    want, blamed = expected(call)
    try:
        got = answered(call)
    except (TypeError, ValueError, NotADirectoryError) as error:
        return judge_refusal(call, error, want, blamed)
    except (Exception, Hang) as error:
        raise Finding(f"another exception, {type(error).__name__}", call, error) from error
    if want is None:
        raise Finding("accepts what is invalid", call, f"{shown(got)}, blame {blamed}")
    compare(call, got, want)
    if call.differentiable and np.isfinite(want.leaves[0][0]).all():
        compare_gradients(call, want)
    return "valid"


def expected(call):
    """Return what is expected, or None and the arguments that an error may name."""
    try:
        with np.errstate(all="ignore"):
            return call.spec(**call.arguments), (*call.arguments, *call.wrong)
    except Invalid as invalid:
        return None, (*invalid.names, *call.wrong) or tuple(call.arguments)
    except Exception as error:  # what no spec foresaw must not end the run
        raise Finding(f"the spec raises {type(error).__name__}", call, error) from error


def answered(call):
    with warnings.catch_warnings(), time_limit(SECONDS):
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        # NumPy says so of a number that float32 cannot hold, and is right
        warnings.filterwarnings("ignore", "overflow encountered in cast")
        return jax.block_until_ready(call.function(**call.arguments))


def judge_refusal(call, error, want, blamed):
    if want is not None and not (call.uncertain or any(map(is_odd, call.arguments.values()))):
        raise Finding("refuses what is valid", call, error) from error
    message = str(error)
    if len(message) >= LONGEST:
        raise Finding(f"a message of {LONGEST} characters or more", call, error) from error
    if not any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message) for name in blamed):
        raise Finding(
            "a message that names no argument", call, f"{error!r}, blame {blamed}"
        ) from error
    return "refused"


def compare(call, got, want):
    """Raise Finding unless the result has the expected shapes, dtypes and values."""
    if not isinstance(want, Want) or want.leaves is None:
        if callable(want):
            problem = want(got)
            if problem:
                raise Finding("a wrong result", call, problem)
        return
    leaves = jax.tree.leaves(got)
    if len(leaves) != len(want.leaves):
        raise Finding("a wrong result", call, f"{len(leaves)} arrays, want {len(want.leaves)}")
    for i, (leaf, (values, dtype)) in enumerate(zip(leaves, want.leaves, strict=True)):
        if leaf.dtype != dtype:
            raise Finding("a wrong result", call, f"[{i}] has dtype {leaf.dtype}, want {dtype}")
        with np.errstate(all="ignore"):
            rounded = np.asarray(values).astype(dtype)
        try:
            assert_close(leaf, rounded, want.allowed, f"[{i}]")
        except AssertionError as error:
            text = f"got {shown(np.asarray(leaf))}, want {shown(np.asarray(values))}"
            raise Finding("a wrong result", call, text) from error


def compare_gradients(call, want):
    """Raise Finding unless each gradient agrees with finite differences of the spec."""
    (values, dtype), *others = want.leaves
    assert not others
    names = call.differentiable
    arrays = [jnp.asarray(call.arguments[name]) for name in names]
    dy = normal(1, *np.shape(values))

    def at(function, point):
        return function(**{**call.arguments, **dict(zip(names, point, strict=True))})

    def program(*point):
        return at(call.spec, point).leaves[0][0]

    _, pull = jax.vjp(lambda *point: at(call.function, point), *arrays)
    dy = np.asarray(jnp.asarray(dy, dtype), np.float64)
    gradients = pull(jnp.asarray(dy, dtype))
    exact = [np.asarray(array, np.float64) for array in arrays]
    with np.errstate(all="ignore"):
        differences = reference.numerical_vjp(program, exact, dy)
    coarsest = max(want.allowed, *(allowed(array.dtype) for array in arrays), DIFFERENCES)
    for name, array, got, near in zip(names, arrays, gradients, differences, strict=True):
        near = np.where(np.abs(near) < ROUNDING, 0, near)
        if got.dtype != array.dtype:
            raise Finding("a wrong gradient", call, f"d{name} has dtype {got.dtype}")
        try:
            # sums of 16 bits round terms of the size of dy, which may cancel
            terms = coarsest * np.abs(dy).max(initial=0) if dtype.itemsize == 2 else 0.0
            assert_close(got, near, max(coarsest, ratio(terms, near)), f"d{name}")
        except AssertionError as error:
            text = f"d{name}: got {shown(np.asarray(got))}, want {shown(near)}"
            raise Finding("a wrong gradient", call, text) from error


def ratio(error, values):
    """Return an error in units of the largest value."""
    largest = np.max(np.abs(values), initial=0.0, where=np.isfinite(values))
    return error / largest if largest else error


@contextlib.contextmanager
def time_limit(seconds):
    """Raise Hang after some seconds, where the system has alarms."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_):
        raise Hang(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def parameters_of(function):
    return tuple(inspect.signature(function).parameters)
