"""A function of arrays, compiled once for each form of its inputs, and what it may raise."""

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax

from .._jax import Tracer, quickly_compiled, says_unimplemented, unfiltered_tracebacks
from .precision import Precision

R = TypeVar("R")
Form = tuple[Any, ...]

LEAK = (
    "the rule closes over a value that is differentiated outside of it, which then gets no "
    "gradient; make it an argument of the rule"
)
_HERE = str(Path(__file__).parent)


class Skip(Exception):  # noqa: N818 - not an error: a way out
    """Raised by a check that cannot be done here; the text is the reason."""


class TimeUp(Exception):  # noqa: N818 - not an error either
    """Raised when the time limit has passed."""


class Refused(Exception):  # noqa: N818 - somebody else's error
    """The user's function, a rule in it, or JAX at either's call raised `error`."""

    def __init__(self, error: BaseException):
        super().__init__(summary(error))
        self.error = error

    @property
    def text(self) -> str:
        """All that the error says."""
        return str(self.error)


@contextlib.contextmanager
def user_code() -> Iterator[None]:
    """Turn what the user's code raises into `Refused`; an error of this package stays what it is.

    The only place in the checker where any exception is caught. The frame that raised tells whose
    it is.
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


def call(fun: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function of the user's. What Python raises at the call itself is theirs too."""
    return fun(*args, **kwargs)


def _was_raised_here(error: Exception) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not str(Path(frames[-1].filename).parent).startswith(_HERE):
        return False
    return frames[-1].name != call.__name__


def summary(error: BaseException) -> str:
    """Return the type and first line of an error, the second too where the first ends in ':'."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    count = 2 if lines[0].endswith(":") else 1
    return f"{type(error).__name__}: {' '.join(lines[:count])}"


class Deadline:
    """When a check has to end, if ever."""

    def __init__(self, seconds: float | None = None):
        self._end = None if seconds is None else time.monotonic() + seconds

    def check(self) -> None:
        """Raise TimeUp once the time has passed."""
        if self._end is not None and time.monotonic() > self._end:
            raise TimeUp


class Program(Generic[R]):
    """A function of pytrees of arrays.

    It is compiled at its first call with inputs of one form (tree, shapes, dtypes) and precision,
    and kept. So is a refusal to be compiled, which is then raised anew at each call. What is raised
    while the program runs may be for the numbers of that call alone, and is not kept.
    """

    def __init__(self, function: Callable[..., R], deadline: Deadline):
        self.function = function
        self._deadline = deadline
        self._compiled: dict[Form, Callable[..., R]] = {}
        self._traced: dict[Form, Any] = {}
        self._refusals: dict[Form, BaseException] = {}

    def __call__(self, precision: Precision, *inputs: Any) -> R:
        """Return the results at `inputs`, computed by the compiled program."""
        form = ("run", *_form(precision, inputs))
        if form not in self._compiled:
            with self._remembered(form), precision.context():
                self._deadline.check()
                self._compiled[form] = quickly_compiled(self.function, *inputs)
        with user_code(), precision.context():
            try:
                return jax.block_until_ready(self._compiled[form](*inputs))
            except jax.errors.JaxRuntimeError as error:
                # some products of narrow dtypes run only after XLA has rewritten them
                if not says_unimplemented(str(error)):
                    raise
            self._compiled[form] = jax.jit(self.function)
            return jax.block_until_ready(self._compiled[form](*inputs))

    def trace(self, precision: Precision, *inputs: Any) -> Any:
        """Return the closed jaxpr of the function at `inputs`."""
        form = ("trace", *_form(precision, inputs))
        with self._remembered(form):
            if form not in self._traced:
                self._traced[form] = self.trace_again(precision, *inputs)
        return self._traced[form]

    def trace_again(self, precision: Precision, *inputs: Any) -> Any:
        """Return the closed jaxpr, from a call of the function that is made now."""
        with user_code(), precision.context():
            # a function of its own: JAX would remember the trace of one that it has seen
            closed = jax.make_jaxpr(lambda *inputs: self.function(*inputs))(*inputs)
            leak = any(isinstance(const, Tracer) for const in closed.consts)
        if leak:
            raise Refused(TypeError(LEAK))
        return closed

    def shapes(self, precision: Precision, *inputs: Any) -> Any:
        """Return shapes and dtypes of the results, in their tree."""
        with user_code(), precision.context():
            return jax.eval_shape(self.function, *inputs)

    def eagerly(self, precision: Precision, *inputs: Any) -> R:
        """Return the results, computed operation by operation."""
        with user_code(), precision.context():
            return jax.block_until_ready(self.function(*inputs))

    @contextlib.contextmanager
    def _remembered(self, form: Form) -> Iterator[None]:
        """Keep what the body is refused with, and raise it before the body runs again."""
        if form in self._refusals:
            error = self._refusals[form]
            raise Refused(error) from error
        try:
            with user_code():
                yield
        except Refused as refusal:
            self._refusals[form] = refusal.error
            raise


def _form(precision: Precision, inputs: Any) -> Form:
    leaves, tree = jax.tree.flatten(inputs)
    return (precision, tree, *((leaf.shape, leaf.dtype) for leaf in leaves))
