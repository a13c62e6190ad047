"""Checksums of arrays, which depend on the values and the shape, but not on the devices.

Each word u of 32 bits is mixed with a code of its place, and the results are added:

    S = Σ mix(u + c₀[i₀] + c₁[i₁] + …)  mod 2³²

A sum does not depend on the order of its terms, so each device adds up the part that it holds.
`mix` is a bijection, so a change of one word always changes S. Other damage keeps S with a
probability near 2⁻³², because `mix` is not linear. (A sum of the words times odd numbers would miss
the change of any two signs.) S guards against accidents, not against attacks.
"""

from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

_Words = Any  # uint32, of NumPy or JAX


def checksum(array: Array | np.ndarray) -> str:
    """Return the checksum of an array of any dtype as 8 hexadecimal digits.

    >>> checksum(np.arange(3)) == checksum(np.array([0, 1, 2])) != checksum(np.array([0, 2, 1]))
    True
    """
    if isinstance(array, jax.Array) and jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    if isinstance(array, jax.Array) and not _is_small(array):
        return f"{int(_sum_on_device(array)):08x}"
    return f"{int(_sum(np, _words_in_memory(np.asarray(array)))):08x}"


def _is_small(array: Array) -> bool:
    """Whether NumPy is done with an array before XLA has compiled the sum, or only NumPy can be."""
    is_narrow = array.dtype.name.endswith(("int2", "int4", "float4_e2m1fn"))  # less than a byte
    return array.is_fully_addressable and (array.nbytes <= 2**20 or is_narrow)


@jax.jit
def _sum_on_device(array: Array) -> Array:
    return _sum(jnp, _words_on_device(array))


def _sum(xp: ModuleType, words: _Words) -> _Words:
    for axis, size in enumerate(words.shape):
        first = (axis + 1) * 0x9E3779B9 % 2**32  # each axis has codes of its own
        codes = _mix(xp.arange(size, dtype=xp.uint32) + np.uint32(first))
        words = words + codes.reshape(-1, *(1,) * (words.ndim - axis - 1))
    # XLA sums integers along the first axis several times faster than along all at once.
    columns = xp.sum(_mix(words), axis=0, dtype=xp.uint32)
    return xp.sum(columns, dtype=xp.uint32)


def _mix(v: _Words) -> _Words:
    """Mix the bits of each word.

    Source: Appleby, MurmurHash3 (2011), `fmix32`.
    """
    v = (v ^ (v >> 16)) * np.uint32(0x85EBCA6B)
    v = (v ^ (v >> 13)) * np.uint32(0xC2B2AE35)
    return v ^ (v >> 16)


def _words_on_device(array: Array) -> Array:
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        array = jnp.stack([array.real, array.imag], -1)
    if array.dtype == jnp.bool_:
        array = array.astype(jnp.uint8)
    bits = min(8 * array.dtype.itemsize, 32)
    words = lax.bitcast_convert_type(array, f"uint{bits}").astype(jnp.uint32)
    return words if words.ndim else words[None]


def _words_in_memory(array: Any) -> np.ndarray:
    if np.issubdtype(array.dtype, np.complexfloating):
        array = np.stack([array.real, array.imag], -1)
    size = array.dtype.itemsize
    # words of 64 bits become two along a further axis, as they do on a device
    shape = (*array.shape, 2) if size > 4 else array.shape or (1,)
    words = np.ascontiguousarray(array).reshape(-1).view(f"uint{8 * min(size, 4)}")
    return words.reshape(shape).astype(np.uint32)
