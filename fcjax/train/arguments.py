"""Checks of the arguments of `fit`, made before anything is computed."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, SupportsIndex, TypeGuard

import jax
import numpy as np
from jax.typing import ArrayLike

from .._arguments import as_integer, brief, check_bool as check_bool, describe, is_number
from .._types import Tree
from ..distributed import texts_of_all_processes

Metric = Callable[[Tree, Tree], ArrayLike]
Metrics = Mapping[str, Metric]

Callback = Callable[..., object]

_RESERVED = ("loss", "val_loss")


def check_same_in_all_processes(arguments: Mapping[str, object]) -> None:
    """Raise ValueError, in every process, unless all pass the same arguments."""
    if jax.process_count() == 1:
        return
    texts = texts_of_all_processes(json.dumps(dict(arguments), default=str), "the arguments of fit")
    first, *others = map(json.loads, texts)
    for process, other in enumerate(others, 1):
        for name in (name for name in first if first[name] != other[name]):
            here, there = _where_they_differ(first[name], other[name])
            raise ValueError(
                f"{name} must be the same in all processes, got {brief(here)} in process 0 "
                f"and {brief(there)} in process {process}"
            )


def _where_they_differ(here: Any, there: Any) -> tuple[Any, Any]:
    """Return two values without what lists have in common, so that a short text has the rest."""
    if not (isinstance(here, list) and isinstance(there, list) and len(here) == len(there)):
        return here, there
    pairs = [(a, b) for a, b in zip(here, there, strict=True) if a != b]
    return [a for a, _ in pairs], [b for _, b in pairs]


def checked_count(name: str, count: object) -> int:
    """Return a positive integer, of Python or NumPy, as Python's; raise for anything else."""
    number = as_integer(count)
    if number is None:
        raise TypeError(f"{name} must be an integer, got {describe(count)}")
    if number < 1:
        raise ValueError(f"{name} must be positive, got {brief(number)}")
    if number >= 2**31:
        raise ValueError(f"{name} must be less than 2**31, got {brief(number)}")
    return number


def checked_optional_count(name: str, count: object) -> int | None:
    """Return a positive integer or None; raise for anything else."""
    return None if count is None else checked_count(name, count)


def check_seed(seed: SupportsIndex) -> None:
    """Raise unless `seed` is a Python or NumPy integer that `jax.random.key` tells from others."""
    number = as_integer(seed)
    if number is None:
        raise TypeError(f"seed must be an integer, got {describe(seed)}")
    bits = 8 * jax.dtypes.canonicalize_dtype(np.int64).itemsize  # JAX drops the others in silence
    if not -(2 ** (bits - 1)) <= number < 2**bits:
        raise ValueError(f"seed must fit into {bits} bits, got {brief(number)}")


def checked_metrics(metrics: object) -> Metrics:
    """Return the metrics by name, or raise unless they are functions with unreserved names."""
    if metrics is None:
        return {}
    if not _are_metrics(metrics):
        raise TypeError(
            "metrics must map names to functions (params, batch) -> number, "
            f'e.g. {{"accuracy": accuracy}}, got {describe(metrics)}'
        )
    for name in _RESERVED:
        if name in metrics:
            raise ValueError(
                f"metrics must have other names than {' and '.join(map(repr, _RESERVED))}, "
                f"which are reserved, got {name!r}"
            )
    return metrics


def _are_metrics(value: object) -> TypeGuard[Metrics]:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and callable(metric) for name, metric in value.items()
    )


def check_one_number(name: str, value: ArrayLike) -> ArrayLike:
    """Return the value of a metric, or raise TypeError unless it is one number."""
    if is_number(value) or getattr(value, "shape", None) == ():
        return value
    raise TypeError(
        f"metrics[{name!r}] must return one number, its mean over the batch, got {describe(value)}"
    )


def check_numbers(metrics: Metrics, params: Tree, batch: Tree) -> None:
    """Raise TypeError unless each metric returns one number; only shapes are computed."""
    for name, metric in metrics.items():
        jax.eval_shape(lambda p, b, n=name, f=metric: check_one_number(n, f(p, b)), params, batch)


def checked_callbacks(callbacks: object) -> tuple[Callback, ...]:
    """Return one callback or several as a tuple, or raise TypeError."""
    if callable(callbacks) or not isinstance(callbacks, Iterable):
        functions: tuple[Any, ...] = (callbacks,)
    else:
        functions = tuple(callbacks)
    if classes := [f for f in functions if isinstance(f, type)]:
        name = classes[0].__name__
        raise TypeError(
            f"callbacks must be functions of an EpochEnd, got the class {name}; pass an object of "
            f"it, {name}(...)"
        )
    called = tuple(f for f in functions if callable(f))
    if len(called) < len(functions):
        raise TypeError(
            "callbacks must be functions of an EpochEnd, or one such function, "
            f"got {describe(callbacks)}"
        )
    return called
