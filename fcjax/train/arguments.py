"""Checks of the arguments of `fit`, made before anything is computed."""

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax

from .._arguments import describe, is_number

Metrics = Mapping[str, Callable[[Any, Any], Any]]

_RESERVED = ("loss", "val_loss")


def check_count(name: str, count: Any) -> None:
    """Raise unless `count` is a positive integer."""
    if not isinstance(count, int) or isinstance(count, bool):
        raise TypeError(f"{name} must be an integer, got {describe(count)}")
    if count < 1:
        raise ValueError(f"{name} must be positive, got {count}")


def check_seed(seed: Any) -> None:
    """Raise unless `seed` is a Python or NumPy integer."""
    try:
        operator.index(seed)
    except TypeError:
        raise TypeError(f"seed must be an integer, got {describe(seed)}") from None


def checked_metrics(metrics: Any) -> Metrics:
    """Return the metrics by name, or raise unless they are functions with unreserved names."""
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping) or not all(map(_is_metric, metrics.items())):
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


def _is_metric(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and callable(item[1])


def check_one_number(name: str, value: Any) -> Any:
    """Return the value of a metric, or raise TypeError unless it is one number."""
    if is_number(value) or getattr(value, "shape", None) == ():
        return value
    raise TypeError(
        f"metrics[{name!r}] must return one number, its mean over the batch, got {describe(value)}"
    )


def check_numbers(metrics: Metrics, params: Any, batch: Any) -> None:
    """Raise TypeError unless each metric returns one number; only shapes are computed."""
    for name, metric in metrics.items():
        jax.eval_shape(lambda p, b, n=name, f=metric: check_one_number(n, f(p, b)), params, batch)


def checked_callbacks(callbacks: Any) -> tuple[Callable[..., Any], ...]:
    """Return one callback or several as a tuple, or raise TypeError."""
    if callable(callbacks):
        return (callbacks,)
    functions = tuple(callbacks) if isinstance(callbacks, Iterable) else (callbacks,)
    if not all(map(callable, functions)):
        raise TypeError(
            "callbacks must be functions of an EpochEnd, or one such function, "
            f"got {describe(callbacks)}"
        )
    return functions
