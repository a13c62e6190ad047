"""A function of arrays that is compiled once for each form of its inputs, and its errors."""

import contextlib
import time
import traceback
from collections.abc import Callable, Generator, Hashable
from pathlib import Path
from typing import Generic, TypeVar

import jax

from .._jax import (
    ClosedJaxpr,
    Tracer,
    compiled,
    says_constants_are_lost,
    says_unimplemented,
    unfiltered_tracebacks,
)
from .._types import Tree
from .precision import Precision

R = TypeVar("R")
Form = tuple[Hashable, ...]

LEAK = (
    "the rule closes over a value that is differentiated outside the rule and so gets no gradient; "
    "make it an argument of the rule"
)
_HERE = str(Path(__file__).parent)


class Skip(Exception):  # noqa: N818 - control flow, not an error
    """Raised by a check that does not apply; the text is the reason."""


class TimeUp(Exception):  # noqa: N818 - control flow, not an error
    """Raised when the time limit has passed."""


class Refused(Exception):  # noqa: N818 - wraps an error of the user's code
    """Raised in place of an error of the user's function, of a rule in it, or of JAX."""

    def __init__(self, error: BaseException):
        super().__init__(summary(error))
        self.error = error

    @property
    def text(self) -> str:
        """The full text of the error."""
        return str(self.error)


@contextlib.contextmanager
def user_code() -> Generator[None]:
    """Turn an error raised by the user's code or by JAX into `Refused`.

    This is the only place in the checker that catches every exception. An error whose innermost
    frame lies in the checker is a bug of the checker and propagates.
    """
    try:
        with unfiltered_tracebacks():
            yield
    except (Refused, Skip, TimeUp):
        raise
    except Exception as error:
        if _was_raised_here(error):
            raise
        raise Refused(error) from error


def call(fun: Callable[..., R], /, *args: Tree, **kwargs: Tree) -> R:
    """Call a user's function; an error of the call itself counts as raised by the user's code."""
    return fun(*args, **kwargs)


def _was_raised_here(error: Exception) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not str(Path(frames[-1].filename).parent).startswith(_HERE):
        return False
    return frames[-1].name != call.__name__


def summary(error: BaseException) -> str:
    """Return the type and first line of an error, and the second line if the first ends in ':'."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    count = 2 if lines[0].endswith(":") else 1
    return f"{type(error).__name__}: {' '.join(lines[:count])}"


class Deadline:
    """The time at which checking stops, if any.

    Attributes:
        compiling: the CPU time, in seconds, that programs have taken to be traced and compiled.
        is_thorough: whether programs are compiled with all optimizations of XLA.
    """

    def __init__(self, seconds: float | None = None):
        self._end = None if seconds is None else time.monotonic() + seconds
        self.compiling = 0.0
        self.is_thorough = False

    def check(self) -> None:
        """Raise TimeUp once the time has passed."""
        if self._end is not None and time.monotonic() > self._end:
            raise TimeUp


class Program(Generic[R]):
    """A function of pytrees of arrays, with a cache of compiled programs.

    It is compiled at the first call for each precision and form of the inputs (tree, shapes,
    dtypes). An error of tracing or compiling is cached too, and raised again at each later call. An
    error of the compiled program is not cached: it may depend on the values of the inputs.
    """

    def __init__(self, function: Callable[..., R], deadline: Deadline):
        self.function = function
        self._deadline = deadline
        self._compiled: dict[Form, Callable[..., R]] = {}
        self._traced: dict[Form, ClosedJaxpr] = {}
        self._refusals: dict[Form, BaseException] = {}

    def __call__(self, precision: Precision, *inputs: Tree) -> R:
        """Return the results at `inputs`, computed by the compiled program."""
        thorough = self._deadline.is_thorough
        form = ("call", thorough, *_form(precision, inputs))
        if form not in self._compiled:
            with self._cached_refusal(form), precision.context():
                self._deadline.check()
                start = time.process_time()
                self._compiled[form] = compiled(self.function, *inputs, quickly=not thorough)
                self._deadline.compiling += time.process_time() - start
        with user_code(), precision.context():
            try:
                return jax.block_until_ready(self._compiled[form](*inputs))
            except (jax.errors.JaxRuntimeError, TypeError) as error:
                # some products of narrow dtypes need the optimizations of XLA
                if not (says_unimplemented(str(error)) or says_constants_are_lost(str(error))):
                    raise
            self._compiled[form] = jax.jit(self.function)
            return jax.block_until_ready(self._compiled[form](*inputs))

    def trace(self, precision: Precision, *inputs: Tree) -> ClosedJaxpr:
        """Return the closed jaxpr of the function at `inputs`."""
        form = ("trace", *_form(precision, inputs))
        with self._cached_refusal(form):
            if form not in self._traced:
                self._traced[form] = self.trace_again(precision, *inputs)
        return self._traced[form]

    def trace_again(self, precision: Precision, *inputs: Tree) -> ClosedJaxpr:
        """Trace the function without the cache, and return its closed jaxpr."""
        with user_code(), precision.context():
            # a new function object: JAX caches the trace of one that it has seen
            closed = jax.make_jaxpr(lambda *inputs: self.function(*inputs))(*inputs)
            leak = any(isinstance(const, Tracer) for const in closed.consts)
        if leak:
            raise Refused(TypeError(LEAK))
        return closed

    def shapes(self, precision: Precision, *inputs: Tree) -> Tree:
        """Return the tree, shapes and dtypes of the results."""
        with user_code(), precision.context():
            return jax.eval_shape(self.function, *inputs)

    def eagerly(self, precision: Precision, *inputs: Tree) -> R:
        """Return the results, computed operation by operation."""
        with user_code(), precision.context():
            return jax.block_until_ready(self.function(*inputs))

    @contextlib.contextmanager
    def _cached_refusal(self, form: Form) -> Generator[None]:
        """Cache a `Refused` of the body; raise it at once if the form has been refused before."""
        if form in self._refusals:
            error = self._refusals[form]
            raise Refused(error) from error
        try:
            with user_code():
                yield
        except Refused as refusal:
            self._refusals[form] = refusal.error
            raise


def _form(precision: Precision, inputs: Tree) -> Form:
    leaves, tree = jax.tree.flatten(inputs)
    return (precision, tree, *((leaf.shape, leaf.dtype) for leaf in leaves))
