"""Hand-written rules of Levanter.

Those that call CUDA, or Pallas for a TPU, are not listed. Neither are those of its fused cross
entropy, which is imported only with the packages of a cluster.
"""

import jax
import jax.numpy as jnp

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "marin-levanter"
CASES: list[Case] = []
case = collector(CASES)

# Five tokens go to two experts each.
EXPERTS = jnp.array([2, 0, 1, 2, 0, 2, 1, 0, 2, 1])
ORDER = jnp.argsort(EXPERTS)
# The slots of the ten rows, of which there are eight: two rows are dropped.
SLOTS = jnp.array([5, 0, 3, 6, 9, 7, 4, 1, 2, 9])
KEPT = SLOTS < 8
SOURCES = jnp.full(8, 10).at[SLOTS].set(jnp.arange(10), mode="drop")


def attention(**options):
    """Return Levanter's attention in blocks, of one head, and the same in a line."""
    import haliax as hax
    from levanter.layers.attention import AttentionMask
    from levanter.layers.flash_attention import flash_attention

    q_axis, k_axis, key = hax.Axis("q", 6), hax.Axis("k", 6), hax.Axis("key", 3)

    def fun(q, k, v):
        return flash_attention(
            q_axis,
            k_axis,
            key,
            hax.named(q, (q_axis, key)),
            hax.named(k, (k_axis, key)),
            hax.named(v, (k_axis, key)),
            mask=AttentionMask.causal(),
            block_size=2,
            **options,
        ).array

    def in_a_line(q, k, v):
        logits = q @ k.T / jnp.sqrt(3.0)
        if "logits_soft_cap" in options:
            logits = jnp.tanh(logits / options["logits_soft_cap"]) * options["logits_soft_cap"]
        return jax.nn.softmax(jnp.where(jnp.tri(6, dtype=bool), logits, -1e10)) @ v

    return fun, in_a_line


# The rule of `_flash_attention` has the name of the wrapper of Equinox. JAX differentiates no loop
# such as the one inside it, so that a plain function is the reference.
@case
def fn_wrapped():
    fun, in_a_line = attention(inference=True)
    return fun, (normal(0, 6, 3), normal(1, 6, 3), normal(2, 6, 3)), {"reference": in_a_line}


@case
def fn_wrapped__soft_cap():
    fun, in_a_line = attention(inference=True, logits_soft_cap=2.0)
    return fun, (normal(0, 6, 3), normal(1, 6, 3), normal(2, 6, 3)), {"reference": in_a_line}


@case
def fn_wrapped__dropout():
    # The key is the same in every call, so that the function is smooth.
    fun, _ = attention(inference=False, dropout=0.4, key=jax.random.key(0))
    return fun, (normal(0, 6, 3), normal(1, 6, 3), normal(2, 6, 3))


@case
def _mamba3_chunked_forward_xla_batched_default_custom_vjp():
    from levanter.kernels.pallas.mamba3.xla import mamba3_chunked_forward_xla_batched

    args = (
        -uniform(0, 0.1, 0.5, 2, 2, 3).cumsum(-1),
        uniform(1, 0.5, 1, 2, 2, 3),
        uniform(2, 0.1, 0.5, 2, 2, 3),
        normal(3, 2, 2, 3, 2),
        normal(4, 2, 2, 3, 2),
        normal(5, 2, 2, 3, 5),
    )
    # its temporaries at the sizes of the search need more than 22 GB
    return mamba3_chunked_forward_xla_batched, args, {"search": False}


@case
def _interleave_halves():
    from levanter.grug._moe.common import _interleave_halves

    # For 16 bits only, which it puts together as bits, for which JAX has no derivative.
    return (
        lambda x, y: _interleave_halves(x, y).astype(jnp.float32),
        (normal(0, 5, 3).astype(jnp.bfloat16), normal(1, 5, 3).astype(jnp.bfloat16)),
    )


@case
def _dispatch_rows():
    from levanter.grug._moe.ep_ring import _gather_dispatch_combine

    moves = _gather_dispatch_combine(jnp.minimum(SOURCES, 9), SOURCES < 10, 5, 2)
    return moves.dispatch, (normal(0, 5, 3),)


@case
def _combine_rows():
    from levanter.grug._moe.ep_ring import _gather_dispatch_combine

    moves = _gather_dispatch_combine(jnp.minimum(SOURCES, 9), SOURCES < 10, 5, 2)
    return moves.combine, (normal(0, 8, 3), uniform(1, 0.5, 2, 8))


@case
def _dispatch_gather():
    from levanter.grug._moe.ep_fixed_all_to_all import _dispatch_gather

    tokens = jnp.where(SOURCES < 10, SOURCES // 2, 5)
    return lambda x: _dispatch_gather(x, tokens, SLOTS, KEPT), (normal(0, 5, 3),)


@case
def _combine_gather():
    from levanter.grug._moe.ep_fixed_all_to_all import _combine_gather

    slots = jnp.minimum(SLOTS, 7)
    return lambda x: _combine_gather(x, slots, KEPT, SOURCES), (normal(0, 8, 3),)


@case
def _pooled_dispatch_payload():
    from levanter.grug._moe.ep_fixed_pooled_wave_all_to_all import _pooled_dispatch_payload

    # The header holds whole numbers, for which there is no gradient.
    header = jnp.ones((2, 1, 3))
    tokens = jnp.where(SOURCES < 10, SOURCES // 2, 5)
    return (
        lambda x: _pooled_dispatch_payload(x, header, tokens, SLOTS, KEPT),
        (normal(0, 5, 3),),
    )


@case
def _compact_received():
    from levanter.grug._moe.ep_fixed_pooled_wave_all_to_all import _compact_received

    slots = jnp.minimum(SLOTS, 8)
    return lambda x: _compact_received(x, slots, KEPT, 2, 4), (normal(0, 10, 3),)


@case
def _expand_compacted():
    from levanter.grug._moe.ep_fixed_pooled_wave_all_to_all import _expand_compacted

    slots = jnp.minimum(SLOTS, 8)
    return lambda x: _expand_compacted(x, slots, KEPT), (normal(0, 2, 4, 3),)


@case
def _gather_dispatch_rows():
    from levanter.grug._moe.ep_ragged_all_to_all import _gather_dispatch_rows

    accepted = jnp.ones((5, 2))
    return lambda x: _gather_dispatch_rows(x, ORDER, accepted, 2), (normal(0, 5, 3),)


@case
def _combine_gather_sum():
    from levanter.grug._moe.ep_common import _combine_gather_sum

    return (
        lambda x, w: _combine_gather_sum(x, SLOTS, SOURCES, w, jnp.float32),
        (normal(0, 8, 3), uniform(1, 0.5, 2, 5, 2)),
    )


@case
def _sort_activations_custom():
    from levanter.grug._moe.ep_common import _sort_activations

    return lambda x: _sort_activations(x, ORDER), (normal(0, 10, 3),)
