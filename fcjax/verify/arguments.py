"""Validation of the arguments of `check_rule`; each error names the argument."""

import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._arguments import brief, check_tree, describe
from .._jax import has_dtype, is_tracing
from .._types import Tree
from .budget import Budget
from .checks import CHECKS
from .checks._check import Check
from .complex_parts import whole
from .expected import Expected
from .point import described
from .precision import Precision
from .program import Refused, user_code
from .rounding import Accuracy
from .sample import Cotangent, Kinks as Kinks, Sample
from .subject import Subject

K = TypeVar("K")
V = TypeVar("V")


def call_of(fun: object, args: object, kwargs: object) -> None:
    """Raise TypeError unless `fun` is a function that takes `args` and `kwargs`."""
    if is_tracing():
        raise TypeError("check_rule must be called outside of jit, grad and vmap")
    if not callable(fun):
        raise TypeError(f"fun must be a function, got {type(fun).__name__}")
    if not isinstance(args, tuple | list):
        raise TypeError(
            f"args must be a tuple of the positional arguments, got {type(args).__name__}; "
            "write (x,) for a single one"
        )
    if not isinstance(kwargs, Mapping | None):
        raise TypeError(f"kwargs must map names to arguments, got {type(kwargs).__name__}")
    check_tree("args", args)
    check_tree("kwargs", kwargs)
    signature = _signature(fun)
    if signature is None:
        return
    try:
        signature.bind(*args, **(kwargs or {}))
    except TypeError as error:
        name = getattr(fun, "__name__", type(fun).__name__)
        # the annotations are omitted: they can fill a screen
        form = ", ".join(signature.parameters)
        raise TypeError(f"args must fit {name}({form}): {error}") from error


def _signature(fun: Callable[..., object]) -> inspect.Signature | None:
    try:
        return inspect.signature(fun)
    except (TypeError, ValueError):  # some built-in functions have no signature
        return None


def points_of(
    fun: object, points: Iterable[Sequence[Tree]], kwargs: object
) -> list[Sequence[Tree]]:
    """Return the points: the positional arguments of several calls."""
    if not _is_sequence(points):
        raise TypeError(f"points must be a sequence of tuples, got {type(points).__name__}")
    points = list(points)
    if not points:
        raise ValueError("points must contain at least one tuple of arguments, got none")
    for number, args in enumerate(points):
        try:
            call_of(fun, args, kwargs)
        except TypeError as error:
            raise TypeError(f"points[{number}]: {error}") from error
    return points


def _is_sequence(points: object) -> bool:
    return isinstance(points, Iterable) and not isinstance(points, Mapping | str)


def checks_of(names: Sequence[str] | None) -> list[Check]:
    """Return the chosen checks, and `structure`, on which all others depend."""
    if names is None:
        return list(CHECKS.values())
    try:
        chosen = [names] if isinstance(names, str) else list(names)
    except (TypeError, ValueError, RuntimeError) as error:  # no iterable, or a deleted array
        raise TypeError(f"checks must be names of checks, got {describe(names)}") from error
    require_known_checks("checks", chosen)
    return [check for check in CHECKS.values() if check.name in (*chosen, "structure")]


def require_known_checks(option: str, names: Iterable[object]) -> None:
    """Raise ValueError for a name that is not the name of a check."""
    for name in names:
        if not isinstance(name, str) or name not in CHECKS:
            raise ValueError(f"{option}: {brief(name)} is unknown; accepted: {', '.join(CHECKS)}")


def seed_of(key: Array | None) -> tuple[int, ...]:
    """Return the integers of a PRNG key, typed or raw."""
    key = jax.random.key(0) if key is None else key
    dtype = getattr(key, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    elif dtype != np.uint32 or np.shape(key) != (2,):
        raise TypeError(f"key must be a PRNG key such as jax.random.key(0), got {describe(key)}")
    return tuple(int(word) for word in np.ravel(key))


def accuracy_of(rtol: object, atol: object) -> Accuracy:
    """Return the accuracy of the function that the caller declared."""
    return Accuracy(_size("rtol", rtol) or 0.0, _size("atol", atol) or 0.0)


def seconds_of(time_limit: object, name: str = "time_limit") -> float | None:
    """Return a time in seconds."""
    return _size(name, time_limit)


def budget_of(search: object) -> Budget:
    """Return the budget of the search."""
    if isinstance(search, Budget):
        if isinstance(search.points, bool) or not hasattr(search.points, "__index__"):
            raise TypeError(f"search.points must be an integer, got {describe(search.points)}")
        for name, value in search._asdict().items():
            if _size(f"search.{name}", value) is None:
                raise TypeError(f"search.{name} must be a number, got None")
        return search
    if not isinstance(search, bool | np.bool_):
        raise TypeError(
            f"search must be True, False or a Budget(points, seconds), got {describe(search)}"
        )
    return Budget()


def combinations_of(options: Mapping[str, Sequence[Tree]] | None) -> list[dict[str, Tree]]:
    """Return the combinations of the values of keyword arguments."""
    given = mapping_of("options", options, "a keyword argument to a list of values")
    for name, values in given.items():
        if not isinstance(values, list | tuple) or not values:
            raise TypeError(
                f"options[{brief(name)}] must be a list of values, got {describe(values)}"
            )
    combinations = itertools.product(*given.values())
    return [dict(zip(given, values, strict=True)) for values in combinations] if given else []


def cotangent_of(sample: Sample, cotangent: Tree) -> Cotangent:
    """Return the cotangent of each floating-point output as real numbers."""
    if cotangent is None:
        return Cotangent()
    check_tree("cotangent", cotangent)
    args, kwargs = sample.point.call
    with user_code():
        want, tree = jax.tree.flatten(jax.eval_shape(partial(sample.fun, **kwargs), *args))
    got, given = jax.tree.flatten(cotangent)
    if tree != given:
        raise ValueError(f"cotangent must have the tree of the output, {tree}, got {given}")
    pairs = [(dy, y) for dy, y in zip(got, want, strict=True) if _is_inexact(y)]
    for dy, y in pairs:
        kind = jnp.complexfloating if jnp.issubdtype(y.dtype, jnp.complexfloating) else jnp.floating
        if np.shape(dy) != y.shape or not (has_dtype(dy, kind) or has_dtype(dy, jnp.floating)):
            raise ValueError(
                f"cotangent must have a {y.dtype}{list(y.shape)} for this output, got "
                f"{described(dy)}"
            )
    if not any(np.any(np.asarray(dy)) for dy, _ in pairs):
        raise ValueError("cotangent must not be zero everywhere: any rule gives zero for it")
    parts = (_real_parts(np.asarray(dy), y.dtype) for dy, y in pairs)
    return Cotangent(cotangent, tuple(part for two in parts for part in two))


def _is_inexact(y: jax.ShapeDtypeStruct) -> bool:
    return jnp.issubdtype(y.dtype, jnp.inexact)


def _real_parts(dy: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Return the cotangents of the parts of an output: of u + iv, ∂/∂u − i ∂/∂v is given."""
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return np.real(dy), -np.imag(dy)
    return (dy,)


def mapping_of(option: str, value: Mapping[K, V] | None, of: str) -> Mapping[K, V]:
    """Return an option that must be a mapping; `of` describes its keys and values."""
    if value is None:
        return {}
    _require_mapping(option, value, of)
    return value


def _require_mapping(option: str, value: object, of: str) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{option} must map {of}, got {type(value).__name__}")


def kinks_of(
    kinks: Mapping[str, Mapping[float, float] | None] | None,
) -> dict[str, dict[float, float]]:
    """Return the declared derivatives at kinks as floats."""
    form = "an argument to {point: derivative}"
    found: dict[str, dict[float, float]] = {}
    for name, points in mapping_of("kinks", kinks, form).items():
        of_name = mapping_of(f"kinks[{brief(name)}]", {} if points is None else points, "points")
        if points is None or not all(map(_is_finite, [*of_name, *of_name.values()])):
            raise ValueError(
                f"kinks[{brief(name)}] must map finite numbers to finite numbers, "
                f"got {brief(points)}"
            )
        found[name] = {float(point): float(slope) for point, slope in of_name.items()}
    return found


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float | np.number) and bool(np.isfinite(value))


def _size(option: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{option} must be a number, got {describe(value)}")
    if not 0 <= value <= sys.float_info.max:
        raise ValueError(f"{option} must be finite and not negative, got {brief(value)}")
    return float(value)


def require_known_arguments(
    sample: Sample, differentiable: Mapping[str, Iterable[str]], expected: Expected
) -> None:
    """Raise ValueError if `kinks` or `expected_failures` names an unknown argument."""
    names = sample.subject.names
    for option, given in differentiable.items():
        _require_all_in(option, given, names)
    for expectation in expected.values():
        every = (*sample.point.names, *sample.point.captured.names)
        every += tuple(name for name in map(whole, every) if name not in every)
        _require_all_in("expected_failures", expectation.arguments or (), every)


def _require_all_in(option: str, names: Iterable[str], accepted: Sequence[str]) -> None:
    for name in names:
        if name not in accepted:
            known = ", ".join(accepted)
            raise ValueError(f"{option}: {brief(name)} is not an argument; accepted: {known}")


def require_floating_output(sample: Sample) -> None:
    """Raise TypeError for a function that returns no floating-point array."""
    if sample.subject.refusal is None and not sample.subject.ys(Precision.OWN):
        raise TypeError("fun must return at least one floating-point array, got none")


def require_matching_reference(subject: Subject) -> None:
    """Raise unless the reference takes the arguments of `fun` and returns its shapes."""
    if not subject.has_reference or subject.refusal is not None:
        return
    own = Precision.OWN
    types = subject.point.types(own)
    try:
        ys = jax.tree.leaves(subject.plain.value.shapes(own, *types)[0])
    except Refused as refusal:
        raise TypeError(
            f"reference must take the arguments of fun; it raised {refusal}"
        ) from refusal
    got, want = [y.shape for y in ys], [y.shape for y in subject.ys(own)]
    if got != want:
        raise ValueError(f"reference must return the shapes {want} of fun, got {got}")
