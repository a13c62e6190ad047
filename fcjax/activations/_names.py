"""Activations by name."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from jax import Array

from . import _gated, _normalized, _piecewise, _smooth  # pyright: ignore[reportPrivateUsage]
from ._facts import facts_of


def _named() -> Iterator[tuple[str, Callable[..., Array]]]:
    for module in (_gated, _normalized, _piecewise, _smooth):
        for name, value in vars(module).items():
            if facts_of(value) is not None and not name.startswith("_"):
                yield name, value


ACTIVATIONS: Mapping[str, Callable[..., Array]] = MappingProxyType(dict(sorted(_named())))
"""Every activation of this package, by the name under which networks accept it."""
