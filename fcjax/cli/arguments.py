"""Parse the arguments at which a function is checked from the command line."""

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._arguments import brief, describe
from .._types import Tree
from .rules import Draw, integers, normal, uniform
from .user_code import call, import_function

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
ARRAY = re.compile(
    r"(?P<shape>\d+(?:x\d+)*|scalar)"
    rf"(?:@(?P<low>{NUMBER}):(?P<high>{NUMBER})|:(?:(?P<first>-?\d+):)?(?P<below>-?\d+))?"
)
ACCEPTED = "5x3, 5x3@0:1, 5:4, 5:-2:4, scalar, 0.5, =3, =name"
INT32 = np.iinfo(np.int32)
# What one array may hold, as a bound on the memory that a mistyped size asks for: 2 GiB.
MOST_NUMBERS = 2**28
# Longer texts, such as a file pasted by mistake, are no descriptions of an array or a number.
LONGEST = 100

Call = tuple[Sequence[Tree], Mapping[str, Tree]]


def parse_shape(text: str) -> Tree:
    """Return the value or the `Draw` that a description on the command line stands for."""
    if text.startswith("=") and text != "=":
        return _literal(text[1:])
    array = ARRAY.fullmatch(text) if len(text) <= LONGEST else None
    if array:
        return _array(text, **array.groupdict())
    if len(text) <= LONGEST and re.fullmatch(NUMBER, text) and not re.fullmatch(r"[-+]?\d+", text):
        return float(text)
    raise ValueError(f"shapes: got {brief(text)}; accepted: {ACCEPTED}")


def _array(
    text: str, shape: str, low: str | None, high: str | None, first: str | None, below: str | None
) -> Draw:
    sizes = () if shape == "scalar" else tuple(map(int, shape.split("x")))
    if math.prod(sizes) > MOST_NUMBERS:
        raise ValueError(
            f"shapes: got {text!r}, an array of {math.prod(sizes)} numbers; "
            f"accepted: at most {MOST_NUMBERS}"
        )
    if low is not None and high is not None:
        _check_bounds(text, float(low), float(high), float(np.finfo(np.float32).max))
        return uniform(float(low), float(high), *sizes)
    if below is not None:
        _check_bounds(text, int(first or 0), int(below), INT32.max)
        return integers(int(below), *sizes, low=int(first or 0))
    return normal(*sizes)


def _check_bounds(text: str, low: float, high: float, most: float) -> None:
    if not -most <= low < high <= most:
        raise ValueError(
            f"shapes: got {text!r}, the interval from {low:g} to {high:g}; "
            f"accepted: a lower end below the upper end, both within ±{most:g}"
        )


def _literal(text: str) -> object:
    """Return the value of a Python literal, or the text itself if it is not a literal."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text  # MemoryError and RecursionError are raised for too many brackets


def load_args(source: str, dtypes: Sequence[str]) -> Call:
    """Return the arguments listed in a JSON file, or returned by a function of the user."""
    if source.endswith(".json"):
        return _from_file(Path(source)), {}
    if ":" not in source:
        raise ValueError(f"args: got {source!r}; accepted: FILE.json, package.module:function")
    return jax.tree.map(partial(_to_jax, is_cast=bool(dtypes)), _from_function(source))


def _from_function(name: str) -> Call:
    returned = call("args", name, import_function("args", name))
    if not isinstance(returned, tuple | list):
        raise TypeError(
            f"args: {name} must return a tuple of arguments, or (args, kwargs), "
            f"got {type(returned).__name__}"
        )
    match returned:
        case (tuple() as args, dict() as kwargs) if all(isinstance(name, str) for name in kwargs):
            return args, kwargs
        case _:
            return tuple(returned), {}


def _to_jax(leaf: object, is_cast: bool) -> object:
    """Return a NumPy or JAX array as a JAX array; return any other value unchanged.

    With `is_cast`, return floating-point arrays as a `Draw`, which casts them to the chosen dtype.
    """
    if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
        return leaf
    if is_cast and jnp.issubdtype(leaf.dtype, jnp.floating):
        array = np.asarray(leaf, np.float64)
        return Draw(lambda rng: array)
    return jnp.asarray(leaf) if jnp.issubdtype(leaf.dtype, jnp.number) else leaf


def _from_file(path: Path) -> tuple[Tree, ...]:
    try:
        listed = json.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"args: {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"args: {path} is not JSON: {error}") from error
    if not isinstance(listed, list):
        raise TypeError(f"args: {path} must hold a list of the arguments, got {describe(listed)}")
    try:
        return tuple(map(_from_json, listed))
    except RecursionError:
        raise ValueError(f"args: {path} must not nest lists so deeply") from None


def _from_json(value: object) -> object:
    if isinstance(value, dict):
        return {name: _from_json(item) for name, item in value.items()}
    if not isinstance(value, list):
        return value
    return [_from_json(item) for item in value] if _shape(value) is None else _numbers(value)


def _shape(value: object) -> tuple[int, ...] | None:
    """Return the shape of nested lists of numbers; None if they do not form an array."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return ()
    if not isinstance(value, list) or not value:
        return None
    inner = {_shape(item) for item in value}
    shape = inner.pop()
    return None if inner or shape is None else (len(value), *shape)


def _numbers(value: list[object]) -> Draw | Array:
    array = np.asarray(value)
    if array.dtype == np.float64:
        return Draw(lambda rng: array)
    if array.dtype != np.int64 or array.min() < INT32.min or array.max() > INT32.max:
        raise ValueError(f"args: integers must fit into int32, got {brief(int(array.max()))}")
    return jnp.asarray(array, jnp.int32)
