"""Hand-written rules of Tokamax.

An operation's rule is called `f`. Those with kernels for a GPU or a TPU are not listed.
"""

import jax.numpy as jnp

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "tokamax"
CASES: list[Case] = []
case = collector(CASES)


@case
def f__layer_norm():
    from tokamax._src.ops.normalization import base

    norm = base.Normalization(vjp=base.NormalizationVjp())
    args = normal(0, 5, 3), uniform(1, 0.5, 2, 3), normal(2, 3)
    return lambda x, scale, offset: norm(x, scale, offset), args


@case
def f__rms_norm():
    from tokamax._src.ops.normalization import base

    norm = base.Normalization(vjp=base.NormalizationVjp())

    def fun(x, scale):
        return norm(x, scale, None, scale_offset=1.0, subtract_mean=False)

    return fun, (normal(0, 5, 3), uniform(1, 0.5, 2, 3))


@case
def f__layer_norm_of_columns():
    from tokamax._src.ops.normalization import base

    norm = base.Normalization(vjp=base.NormalizationVjp())
    args = normal(0, 5, 3), uniform(1, 0.5, 2, 5), normal(2, 5)
    return lambda x, scale, offset: norm(x, scale, offset, axis=0), args


@case
def f__linear_softmax_cross_entropy_loss():
    import tokamax

    labels = jnp.array([1, 6, 0, 3, 3])

    def fun(x, w):
        return tokamax.linear_softmax_cross_entropy_loss(
            x, labels, w, reduction="mean", implementation="chunked_xla"
        )

    return fun, (normal(0, 5, 3), normal(1, 3, 7))


@case
def f__linear_softmax_cross_entropy_loss_of_each():
    import tokamax

    labels = jnp.array([1, 6, 0, 3, 3])

    def fun(x, w):
        return tokamax.linear_softmax_cross_entropy_loss(
            x, labels, w, reduction="none", implementation="xla"
        )

    return fun, (normal(0, 5, 3), normal(1, 3, 7))


@case
def f__gated_linear_unit():
    import jax
    from tokamax._src.ops.gated_linear_unit import base

    unit = base.GatedLinearUnit(vjp=base.GatedLinearUnitVjp())
    return (
        lambda x, w: unit(x, w, activation=jax.nn.silu),
        (normal(0, 5, 3), normal(1, 3, 2, 7)),
    )


@case
def f__attention():
    from tokamax._src.ops.attention import base

    attention = base.DotProductAttention(vjp=base.DotProductAttentionVjp())

    def fun(q, k, v, bias):
        return attention(q, k, v, bias=bias, is_causal=True, logits_soft_cap=2.0)

    return fun, (
        normal(0, 1, 5, 2, 3),
        normal(1, 1, 5, 1, 3),
        normal(2, 1, 5, 1, 3),
        normal(3, 1, 2, 5, 5),
    )


@case
def f__ragged_dot():
    from tokamax._src.ops.ragged_dot import base

    dot = base.RaggedDot(vjp=base.vjp)
    sizes = jnp.array([3, 2])
    return (
        lambda x, y: dot(x, y, group_sizes=sizes, activation=jnp.tanh),
        (normal(0, 5, 3), normal(1, 2, 3, 7)),
    )


@case
def f__kimi_delta_attention():
    from tokamax._src.ops.kda.api import kimi_delta_attention

    # The program divides a sequence into chunks of 64.
    def fun(q, k, v, gate, beta, a_log):
        return kimi_delta_attention(
            q,
            k,
            v,
            gate,
            beta,
            a_log=a_log,
            use_qk_l2norm=True,
            use_gate_in_kernel=True,
            lower_bound=-5.0,
            implementation="xla_chunked",
        )[0]

    return fun, (
        normal(0, 1, 1, 64, 3),
        normal(1, 1, 1, 64, 3),
        normal(2, 1, 1, 64, 2),
        normal(3, 1, 1, 64, 3),
        uniform(4, 0.2, 0.8, 1, 1, 64),
        normal(5, 1),
    )


@case
def _softmax():
    import tokamax

    def fun(q, k, v):
        return tokamax.dot_product_attention(q, k, v, implementation="xla")

    return fun, (normal(0, 1, 5, 2, 3), normal(1, 1, 5, 2, 3), normal(2, 1, 5, 2, 3))


@case
def _softmax__not_normalized():
    from tokamax._src.ops.attention import base

    # The rule is for the first result.
    return lambda x: base._softmax(x, False)[0], (normal(0, 5, 3),)
