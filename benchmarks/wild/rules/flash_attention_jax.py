"""Hand-written rules of flash-attention-jax."""

import jax.numpy as jnp

from ..cases.arrays import normal
from . import Case, collector

PACKAGE = "flash-attention-jax"
CASES: list[Case] = []
case = collector(CASES)

SHAPE = (1, 2, 5, 3)
MASK = jnp.array([[True, True, False, True, True]])


@case
def flash_attention():
    from flash_attention_jax import flash_attention

    args = normal(0, *SHAPE), normal(1, *SHAPE), normal(2, *SHAPE)
    return lambda q, k, v: flash_attention(q, k, v, MASK), args


@case
def causal_flash_attention():
    from flash_attention_jax import causal_flash_attention

    return causal_flash_attention, (normal(0, *SHAPE), normal(1, *SHAPE), normal(2, *SHAPE))


@case
def cosine_sim_flash_attention_after_l2norm():
    from flash_attention_jax import cosine_sim_flash_attention

    # One head of one example.
    args = normal(0, 5, 3), normal(1, 5, 3), normal(2, 5, 3)
    return lambda q, k, v: cosine_sim_flash_attention(q, k, v, MASK[0]), args
