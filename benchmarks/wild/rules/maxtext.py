"""Hand-written rules of MaxText.

Those with kernels for a TPU, and those that need several devices, are not listed.
"""

import jax
import jax.numpy as jnp

from ..cases.arrays import normal
from . import Case, collector

PACKAGE = "maxtext"
CASES: list[Case] = []
case = collector(CASES)

# Each of five tokens goes to two of three experts.
EXPERTS = jnp.array([[2, 0], [1, 2], [0, 2], [1, 0], [2, 1]])


@case
def route():
    from maxtext.kernels.sort_activations import route

    return lambda x: route(x, EXPERTS, False), (normal(0, 5, 3),)


@case
def unroute():
    from maxtext.kernels.sort_activations import unroute

    return lambda x: unroute(x, EXPERTS, False), (normal(0, 10, 3),)


@case
def cross_entropy_with_logits():
    from maxtext.utils.max_utils import cross_entropy_with_logits

    # The rule is for the first of two results, and for the logits only.
    targets = jax.nn.one_hot(jnp.array([1, 6, 0, 3, 3]), 7)
    return lambda x: cross_entropy_with_logits(x, targets, 0.1)[0], (normal(0, 5, 7),)


@case
def _attention_reference():
    from maxtext.kernels.attention.splash_attention_kernel import attention_reference_custom

    mask = jnp.tril(jnp.ones((5, 7), bool), 1)

    def fun(q, k, v):
        return attention_reference_custom(mask, q, k, v, None, attn_logits_soft_cap=2.0)

    return fun, (normal(0, 5, 3), normal(1, 7, 3), normal(2, 7, 3))


@case
def _attention_reference__vanilla():
    from maxtext.kernels.attention.splash_attention_kernel import attention_reference_custom

    mask = jnp.tril(jnp.ones((5, 7), bool), 1)

    def fun(q, k, v):
        return attention_reference_custom(mask, q, k, v, None, custom_type="vanilla")

    return fun, (normal(0, 5, 3), normal(1, 7, 3), normal(2, 7, 3))


@case
def csa_streamindex_score():
    from maxtext.kernels.attention.csa_streamindex import csa_streamindex_score

    def fun(q, compressed, weights):
        return csa_streamindex_score(q, compressed, weights, 0.5, interpret=True, head_chunk_size=2)

    return fun, (normal(0, 1, 4, 8, 3), normal(1, 1, 8, 3), normal(2, 1, 8, 4))
