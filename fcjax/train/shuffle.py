"""A random order of the examples."""

import math

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._arguments import describe


def random_order(key: Array, examples: int) -> Array:
    """Return the numbers 0 … examples − 1 in a random order.

    This sorts the examples by random bits, as `jax.random.permutation` does, in a fifth of its
    time. XLA sorts pairs with a comparison function, but single integers natively, so the random
    bits and the position of an example share a word: b = ⌈log₂ n⌉ bits for the position, and 32 − b
    random bits. The position breaks ties, so each sort is stable, and several sorts by a few bits
    each are equivalent to one sort by all bits. The sorts are repeated until 3 log₂ n random bits
    are used. Two examples have equal bits, and hence keep their order, with probability n⁻³. The
    probability that this happens to any of the n²/2 pairs is below 1/n.

    Args:
        key: a PRNG key of `jax.random`.
        examples: number of examples, below 2³¹.

    Returns:
        uint32 (examples,).

    Raises:
        ValueError: `examples` is not between 1 and 2³¹ − 1.

    Source: Knuth, The Art of Computer Programming 3 (1998), section 5.2.5, least significant digit
    first.

    >>> order = random_order(jax.random.key(0), 5)
    >>> jnp.sort(order)
    Array([0, 1, 2, 3, 4], dtype=uint32)
    """
    if not 0 < examples < 2**31:
        raise ValueError(f"examples must be between 1 and 2³¹ − 1, got {describe(examples)}")
    place_bits = (examples - 1).bit_length()
    rounds = math.ceil(3 * place_bits / (32 - place_bits)) or 1
    places = jnp.arange(examples, dtype=jnp.uint32)

    def sorted_again(order: Array, key: Array) -> tuple[Array, None]:
        bits = jax.random.bits(key, (examples,), jnp.uint32)
        words = jnp.sort((bits << place_bits) | places)
        return order[words & (2**place_bits - 1)], None

    # A loop, since XLA would hold the bits of all rounds at once. Within `shard_map`, the order
    # that it begins with must vary with the key, as those of its rounds do.
    keys = jax.random.split(key, rounds)
    begin = places + 0 * jax.random.bits(key, (), jnp.uint32)
    return lax.scan(sorted_again, begin, keys)[0]
