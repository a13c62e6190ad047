"""Notice each call of a hand-written rule, and keep the arguments of a few.

A call in a traced program has no numbers yet. A callback in the program takes them out when it
runs. A callback may be refused: inside a kernel, or where a program is exported. Then, and where a
program is traced and never run, there is only the form of the arguments.
"""

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from .._jax import RULE_CLASSES, Definition, Tracer, definition_of, is_array, is_key

# Forms of the arguments (tree, shapes, dtypes, other values) that are kept of each rule.
FORMS = 4
# Calls that are kept of each form: a search finds what other numbers would show.
CALLS = 1
# Calls with more numbers than these are not kept: they take too long to check.
ENTRIES = 2**20


class Call(NamedTuple):
    """The arguments of one call.

    Attributes:
        args: positional arguments; arrays are NumPy's.
        kwargs: keyword arguments.
        are_drawn: whether the numbers are random, because the program was traced and never run.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    are_drawn: bool = False


class Form:
    """Calls whose arguments differ in numbers alone."""

    def __init__(self, leaves: Sequence[Any], tree: Any):
        self.tree = tree
        self.types = [_type_of(leaf) for leaf in leaves]
        self.calls: list[Call] = []
        self.is_too_large = sum(np.size(leaf) for leaf in leaves if is_array(leaf)) > ENTRIES

    def keep(self, leaves: Sequence[Any], are_drawn: bool = False) -> None:
        """Keep a call."""
        if len(self.calls) < CALLS:
            args, kwargs = jax.tree.unflatten(self.tree, leaves)
            self.calls.append(Call(args, kwargs, are_drawn))

    def drawn(self) -> None:
        """Keep a call with random numbers, if there is no other."""
        if not self.calls and not self.is_too_large:
            rng = np.random.default_rng(0)
            self.keep([_drawn(leaf, rng) for leaf in self.types], are_drawn=True)


class Heard:
    """What was noticed of a rule.

    Attributes:
        definition: where it was defined.
        rule: the function that was called last.
        count: how often it was called; a call in a compiled program counts once for each trace.
        forms: some of the forms of its arguments.
        left_out: calls of other forms.
        refusals: why calls could not be kept.
    """

    def __init__(self, definition: Definition):
        self.definition = definition
        self.rule: Any = None
        self.count = self.left_out = 0
        self.forms: dict[Any, Form] = {}
        self.refusals: dict[str, None] = {}


class Listener:
    """Listens while it is entered, and costs nothing otherwise.

    >>> import jax.numpy as jnp
    >>> import fcjax
    >>> with Listener() as listener:
    ...     _ = fcjax.tanh(jnp.ones(3))
    >>> [(heard.definition.name, heard.count) for heard in listener.heard]
    [('tanh', 1)]
    """

    def __init__(self, *, callbacks: bool = True):
        self._callbacks = callbacks
        self._heard: dict[tuple[str, str], Heard] = {}
        self._originals: dict[type, Callable[..., Any]] = {}
        self._definitions: dict[int, tuple[Any, Definition | None]] = {}
        self._lock = threading.RLock()
        self._is_paused = threading.local()

    def __enter__(self) -> "Listener":
        for kind in RULE_CLASSES:
            self._originals[kind] = kind.__call__
            kind.__call__ = self._listening(kind.__call__)  # pyright: ignore
        return self

    def __exit__(self, *_: object) -> None:
        for kind, original in self._originals.items():
            kind.__call__ = original  # pyright: ignore
        self._originals.clear()
        jax.effects_barrier()  # programs that still run have callbacks of this

    @property
    def heard(self) -> list[Heard]:
        """The rules that were called."""
        return list(self._heard.values())

    def _listening(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(rule: Any, *args: Any, **kwargs: Any) -> Any:
            if not getattr(self._is_paused, "flag", False):
                self._is_paused.flag = True  # what listening itself calls does not count
                try:
                    self._note(rule, args, kwargs)
                finally:
                    self._is_paused.flag = False
            return original(rule, *args, **kwargs)

        return call

    def _note(self, rule: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        definition = self._definition(rule)
        if definition is None:
            return
        with self._lock:
            heard = self._heard.setdefault(definition[:2], Heard(definition))
            heard.rule = rule
            heard.count += 1
            try:
                self._keep(heard, *_as_arrays(rule, args, kwargs))
            except Exception as error:  # the audited program must go on, whatever this meets
                heard.refusals[f"{type(error).__name__}: {error}".splitlines()[0]] = None

    def _definition(self, rule: Any) -> Definition | None:
        known = self._definitions.get(id(rule))
        if known is None or known[0] is not rule or known[1] is None:
            known = rule, definition_of(rule)
            self._definitions[id(rule)] = known
        return known[1]

    def _keep(self, heard: Heard, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        leaves, tree = jax.tree.flatten((args, kwargs))
        key = tree, *map(_key_of, leaves)
        if key not in heard.forms and len(heard.forms) >= FORMS:
            heard.left_out += 1
            return
        form = heard.forms.setdefault(key, Form(leaves, tree))
        if len(form.calls) >= CALLS or form.is_too_large:
            return
        traced = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tracer)]
        fixed = [None if i in traced else _copied(leaf) for i, leaf in enumerate(leaves)]
        if not traced:
            form.keep(fixed)
        elif self._callbacks:
            _take_out(form, fixed, {i: leaves[i] for i in traced})


def _as_arrays(rule: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Return arguments whose Python floats are arrays, as for JAX, unless they are static."""
    static = {i % len(args) for i in rule.nondiff_argnums or ()} if args else set()
    whole = tuple(a if i in static else jax.tree.map(_as_array, a) for i, a in enumerate(args))
    return whole, jax.tree.map(_as_array, kwargs)


def _as_array(leaf: Any) -> Any:
    is_number = isinstance(leaf, float | complex)
    return np.asarray(leaf, jax.numpy.result_type(leaf)) if is_number else leaf


def _take_out(form: Form, fixed: list[Any], traced: dict[int, Any]) -> None:
    """Add a callback to the program that keeps the numbers of traced arguments."""

    def keep(*values: Any) -> None:
        filled = list(fixed)
        for (i, leaf), value in zip(traced.items(), values, strict=True):
            filled[i] = _Key(np.array(value)) if is_key(leaf) else np.array(value)
        form.keep(filled)

    raw = [jax.random.key_data(leaf) if is_key(leaf) else leaf for leaf in traced.values()]
    jax.debug.callback(keep, *raw)


class _Key(NamedTuple):
    """The words of a PRNG key."""

    words: np.ndarray


def _copied(leaf: Any) -> Any:
    """Return a copy of an array, which may be donated or changed later."""
    if not is_array(leaf):
        return leaf
    return _Key(np.array(jax.random.key_data(leaf))) if is_key(leaf) else np.array(leaf)


def restored(call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call as JAX takes them."""

    def restore(leaf: Any) -> Any:
        if isinstance(leaf, _Key):
            return jax.random.wrap_key_data(jax.numpy.asarray(leaf.words))
        return jax.numpy.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf

    return jax.tree.map(
        restore, (call.args, call.kwargs), is_leaf=lambda leaf: isinstance(leaf, _Key)
    )


def _type_of(leaf: Any) -> Any:
    """Return what is known of an argument before it has numbers."""
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if isinstance(leaf, Tracer) else leaf


def _key_of(leaf: Any) -> Any:
    if is_array(leaf):
        return np.shape(leaf), str(leaf.dtype)
    return leaf if isinstance(leaf, int | float | complex | str | bool) else type(leaf)


def _drawn(leaf: Any, rng: np.random.Generator) -> Any:
    if not isinstance(leaf, jax.ShapeDtypeStruct):
        return _copied(leaf)
    if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return _Key(np.array(jax.random.key_data(jax.random.split(jax.random.key(0), leaf.shape))))
    if jax.numpy.issubdtype(leaf.dtype, np.inexact):
        return rng.standard_normal(leaf.shape).astype(leaf.dtype)
    return np.zeros(leaf.shape, leaf.dtype)
