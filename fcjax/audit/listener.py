"""Notice each call of a hand-written rule, and keep the arguments of a few.

A call in a traced program has no numbers yet. A callback in the program takes them out when it
runs. A callback may be refused: inside a kernel, or where a program is exported. Then, and where a
program is traced and never run, there is only the form of the arguments.
"""

import functools
import random
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from .._jax import RULE_CLASSES, Definition, Tracer, definition_of, is_array, is_key
from ..verify.point import nondifferentiable
from .closures import Closure, closure_of

# Forms of the arguments (tree, shapes, dtypes, other values) that are kept of a function.
FORMS = 4
# Functions that are kept of each rule, if it has several, and forms of each but the first.
FUNCTIONS = 32
FORMS_OF_FURTHER = 1
# Calls that are kept of each form: a search finds what other numbers would show.
CALLS = 1
# Calls with more numbers than these are not kept: they take too long to check. Nor are further
# functions of a rule, once all that they close over has more.
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
    """Calls of a function whose arguments differ in numbers alone."""

    def __init__(self, leaves: Sequence[Any], tree: Any):
        self.tree = tree
        self.types = [_type_of(leaf) for leaf in leaves]
        self.count = 0
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


class Function:
    """One of the functions of a rule, which a factory or a class may have made many times.

    Attributes:
        rule: the function.
        arrays: the address of each array that it closes over, and how many numbers are in it.
        forms: some of the forms of its arguments.
    """

    def __init__(self, rule: Any, arrays: dict[int, int], most: int):
        self.rule = rule
        self.arrays = arrays
        self.forms: dict[Any, Form] = {}
        self._most = most

    def form(self, leaves: Sequence[Any], tree: Any) -> Form | None:
        """Return the form of some arguments, or None if there are too many forms."""
        key = tree, *map(_key_of, leaves)
        if key not in self.forms and len(self.forms) >= self._most:
            return None
        return self.forms.setdefault(key, Form(leaves, tree))


class Known:
    """What is remembered of a function for as long as it lives, whether or not it is kept."""

    def __init__(self, definition: Definition, closure: Closure):
        self.definition = definition
        self.closure = closure
        self.is_counted = False


class Heard:
    """What was noticed of a rule.

    Attributes:
        definition: where it was defined.
        count: how often it was called; a call in a compiled program counts once for each trace.
        distinct: how many functions of this rule were called that differ in what they close over.
        functions: some of them, spread over all.
        refusals: why calls could not be kept.
    """

    def __init__(self, definition: Definition):
        self.definition = definition
        self.count = self.distinct = 0
        self.functions: dict[Any, Function] = {}
        self.refusals: dict[str, None] = {}
        self._met: set[int] = set()
        self._random = random.Random(0)

    def function(self, rule: Any, known: Known) -> Function | None:
        """Return what is kept of a function, or None if it is not kept."""
        kept = self.functions.get(known.closure.key)
        if kept is None and self._is_new(known):
            kept = self._admitted(rule, known.closure)
        known.is_counted = True
        return kept

    def _is_new(self, known: Known) -> bool:
        """Count a function that differs from all before."""
        mark = hash(known.closure.key)
        if known.is_counted or mark in self._met:
            return False
        if not known.closure.names_objects:  # an address may be that of another object later
            self._met.add(mark)
        self.distinct += 1
        return True

    def _admitted(self, rule: Any, closure: Closure) -> Function | None:
        """Keep a new function, in the place of another if there are many, all equally likely."""
        place = self._random.randrange(self.distinct) if len(self.functions) >= FUNCTIONS else None
        if place == 0 or (place is not None and place >= FUNCTIONS):
            return None
        former = None if place is None else list(self.functions)[place]
        if self.functions and not self._has_room(closure, former):
            return None
        most = FORMS_OF_FURTHER if self.functions else FORMS
        self.functions.pop(former, None)
        new = self.functions[closure.key] = Function(rule, closure.arrays, most)
        return new

    def _has_room(self, closure: Closure, former: Any) -> bool:
        """Whether a function can be kept in the place of another; the first needs no room."""
        arrays = dict(closure.arrays)
        for key, function in list(self.functions.items())[1:]:
            if key != former:
                arrays.update(function.arrays)
        return sum(arrays.values()) <= ENTRIES


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
        # weak: a program that makes a rule for each call must not keep them all
        self._known: weakref.WeakKeyDictionary[Any, Known] = weakref.WeakKeyDictionary()
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
        with self._lock:
            known = self._known.get(rule) or self._learn(rule)
            if known is None:
                return
            definition = known.definition
            heard = self._heard.setdefault(definition[:2], Heard(definition))
            heard.count += 1
            function = heard.function(rule, known)
            if function is None:
                return
            try:
                self._keep(function, *_as_arrays(rule, args, kwargs))
            except Exception as error:  # the audited program must go on, whatever this meets
                heard.refusals[f"{type(error).__name__}: {error}".splitlines()[0]] = None

    def _learn(self, rule: Any) -> Known | None:
        """Remember a function that is called for the first time, if its rule is defined."""
        definition = definition_of(rule)
        if definition is None:
            return None
        known = self._known[rule] = Known(definition, closure_of(rule))
        return known

    def _keep(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        leaves, tree = jax.tree.flatten((args, kwargs))
        form = function.form(leaves, tree)
        if form is None:
            return
        form.count += 1
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
    static = nondifferentiable(rule)
    whole = tuple(a if i in static else jax.tree.map(_as_array, a) for i, a in enumerate(args))
    named = {n: a if n in static else jax.tree.map(_as_array, a) for n, a in kwargs.items()}
    return whole, named


def _as_array(leaf: Any) -> Any:
    is_number = isinstance(leaf, float | complex)
    return np.asarray(leaf, jax.numpy.result_type(leaf)) if is_number else leaf


def _take_out(form: Form, fixed: list[Any], traced: dict[int, Any]) -> None:
    """Add a callback to the program that keeps the numbers of traced arguments."""
    # the callback outlives the trace, so it must hold no tracer
    are_keys = {i: is_key(leaf) for i, leaf in traced.items()}

    def keep(*values: Any) -> None:
        filled = list(fixed)
        for (i, is_a_key), value in zip(are_keys.items(), values, strict=True):
            filled[i] = _Key(np.array(value)) if is_a_key else np.array(value)
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
