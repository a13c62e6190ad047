"""Arrays as the bytes of a safetensors file, and back.

The format is a header in JSON, after its length in 8 bytes, and then the numbers. Nothing in it is
executed.
"""

import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._types import AnyArray

# Names of safetensors, for the floating-point dtypes that JAX computes with.
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
# ... and for what else the state of an optimizer may hold.
_DTYPES |= {"I64": "int64", "I32": "int32", "U64": "uint64", "U32": "uint32", "BOOL": "bool"}


class PrecisionError(ValueError):
    """Parameters need a precision that JAX does not have enabled."""


def to_safetensors(arrays: Mapping[str, AnyArray], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a file with these arrays, and metadata under one key at most.

    With several keys, their order in the file would be a random one.
    """
    import safetensors.numpy

    # safetensors 0.8 writes an array that is not in C order as if it were
    in_order = {name: np.asarray(V, order="C") for name, V in arrays.items()}
    return safetensors.numpy.save(in_order, dict(metadata) or None)


def from_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of a file; raise ValueError unless it is one, of dtypes that JAX has."""
    import safetensors

    try:
        entries = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise ValueError(f"it is not of the format safetensors: {error}") from None
    return {name: _array(name, entry) for name, entry in entries}


def metadata_of(data: bytes) -> Mapping[str, str]:
    """Return the metadata of a file that `from_safetensors` has read."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]).get("__metadata__", {})


def _array(name: str, entry: Mapping[str, Any]) -> np.ndarray:
    """Return an array of safetensors, whose own reader for NumPy has no bfloat16."""
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"{name} has the dtype {entry['dtype']}, which is none of {[*_DTYPES]}")
    return np.frombuffer(entry["data"], jnp.dtype(_DTYPES[entry["dtype"]])).reshape(entry["shape"])


def check_precision(what: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise PrecisionError if JAX would round an array of `what`."""
    wide = [name for name, V in arrays.items() if V.dtype == np.float64]
    if wide and not jax.config.read("jax_enable_x64"):
        raise PrecisionError(
            f"{what} has parameters in float64, which JAX would round to float32; call "
            'jax.config.update("jax_enable_x64", True) first'
        )


def as_parameters(arrays: Mapping[str, AnyArray]) -> dict[str, Array]:
    """Return arrays of a folder as parameters; raise PrecisionError if JAX would round them."""
    check_precision("the model", {name: np.asarray(V) for name, V in arrays.items()})
    return {name: jnp.asarray(V) for name, V in arrays.items()}
