"""The settings of a run, as a tracker writes them."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._arguments import describe


def checked_settings(settings: object) -> dict[str, Any]:
    """Return settings as a dict with texts for keys, or raise."""
    if settings is None:
        return {}
    if not isinstance(settings, Mapping):
        raise TypeError(f"settings must be a dict or None, got {describe(settings)}")
    return {str(name): value for name, value in settings.items()}


def plain(value: Any) -> Any:
    """Return a value that JSON can hold; what it cannot, such as a path or an array, is text.

    NaN and infinity are "NaN", "Infinity" and "-Infinity", as in protocol buffers' JSON.

    >>> plain({"lr": 0.1, "sizes": (2, 1), "far": float("inf"), "kind": complex})
    {'lr': 0.1, 'sizes': [2, 1], 'far': 'Infinity', 'kind': "<class 'complex'>"}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
