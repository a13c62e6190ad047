"""How the checks compute: in which dtypes, compiled quickly, compared as float64."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .plain import is_array

WIDE = "float64"
OWN = "own"  # the dtypes that the arguments have
# Several points for checks that want some; all stay inside a domain such as (0, 1), and no
# dtype rounds them.
FACTORS = (1.0, 0.875, 0.75)


# Options of XLA with which it compiles quickly rather than well, where it knows them: without
# LLVM's optimizations, and from LLVM's own language rather than MLIR, in half of the time.
QUICK: Mapping[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
}


def quickly_compiled(program: Callable[..., Any], *inputs: Any) -> Callable[..., Any]:
    """Compile a program that runs a few times only: quickly rather than well."""
    return jax.jit(program).lower(*inputs).compile(quick_options())


@functools.cache
def quick_options() -> dict[str, Any] | None:
    """Return those of `QUICK` that this backend knows: some versions of XLA lack one."""
    if jax.default_backend() != "cpu":
        return None
    return {name: value for name, value in QUICK.items() if _is_known({name: value})}


def _is_known(option: dict[str, Any]) -> bool:
    try:
        jax.jit(lambda: 0).lower().compile(option)
    except jax.errors.JaxRuntimeError:
        return False
    return True


@contextlib.contextmanager
def mode(dtype: str) -> Iterator[None]:
    """Compute as `dtype` asks: with 64-bit types, and with exact products on every device."""
    with jax.default_matmul_precision("highest"):
        if dtype == WIDE:
            with jax.enable_x64(True):
                yield
        else:
            yield


def cast(arrays: Sequence[Any], dtype: str) -> tuple[Array, ...]:
    """Return arrays in `dtype`, as they are for OWN."""
    if dtype == OWN:
        return tuple(arrays)
    with mode(dtype):
        return tuple(jnp.asarray(np.asarray(array).astype(jnp.dtype(dtype))) for array in arrays)


def times(x: Any, factor: float) -> np.ndarray:
    """Multiply on the host: one program fewer to compile."""
    x = np.asarray(x)
    return np.asarray(x * np.asarray(factor, x.dtype), x.dtype)


def as_float64(array: Any) -> np.ndarray:
    """Return the values of an array of any floating dtype."""
    return np.asarray(array).astype(np.float64)


def same_bits(one: Any, two: Any) -> bool:
    """Whether two arrays, or PRNG keys, hold the same bits."""
    if has_dtype(one, jax.dtypes.prng_key):
        one, two = jax.random.key_data(one), jax.random.key_data(two)
    return np.asarray(one).tobytes() == np.asarray(two).tobytes()


def largest(array: Any) -> float:
    """Return the largest finite magnitude in an array, 0 for none."""
    values = np.abs(as_float64(array))
    return float(np.max(values, initial=0.0, where=np.isfinite(values)))


def first_line(error: BaseException) -> str:
    """Return the type and the first line of an error."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def has_dtype(leaf: Any, kind: Any) -> bool:
    """Whether a leaf is an array of a kind of dtype."""
    return is_array(leaf) and jnp.issubdtype(leaf.dtype, kind)
