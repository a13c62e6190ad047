"""Hand-written rules of Flax.

Those for eight bits round, and their rules pass straight through it, on purpose. The gradients
by their scales and histories are the new scales and histories, on purpose too.
"""

import jax.numpy as jnp

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "flax"
CASES: list[Case] = []
case = collector(CASES)

MATRICES = (((1,), (0,)), ((), ()))


@case
def in_qdq():
    from flax.linen import fp8_ops

    scale, history = jnp.ones(1), jnp.full(8, 3.0)

    def fun(x):
        return fp8_ops.in_qdq(jnp.float32, jnp.float8_e4m3fn, x, scale, history)

    return fun, (normal(0, 5, 3),)


@case
def out_qdq():
    from flax.linen import fp8_ops

    # The identity, whose rule rounds the gradient.
    scale, history = jnp.ones(1), jnp.full(8, 3.0)

    def fun(x):
        return fp8_ops.out_qdq(jnp.float32, jnp.float8_e5m2, x, scale, history)

    return fun, (normal(0, 5, 3),)


@case
def in_q():
    from flax.linen import fp8_ops

    scale, history = jnp.ones(1), jnp.full(8, 3.0)

    def fun(x):
        q, scale_of_q = fp8_ops.in_q(jnp.float32, jnp.float8_e4m3fn, x, scale, history)
        return q.astype(jnp.float32) * scale_of_q

    return fun, (normal(0, 5, 3),)


@case
def out_dq():
    from flax.linen import fp8_ops

    # The rule leaves out the scales, which that of `quantized_dot` multiplies by.
    return (
        lambda x: fp8_ops.out_dq(jnp.float32, jnp.full(1, 2.0), jnp.full(1, 3.0), x),
        (normal(0, 5, 3),),
    )


@case
def quantized_dot():
    from flax.linen import fp8_ops

    scale, history = jnp.ones(1), jnp.full(8, 3.0)
    scales = {f"{name}_scale": scale for name in ("lhs", "rhs", "grad")}
    histories = {f"{name}_amax_history": history for name in ("lhs", "rhs", "grad")}

    def fun(x, y):
        return fp8_ops.fp8_scaled_dot_general(
            x, y, MATRICES, preferred_element_type=jnp.float32, **scales, **histories
        )

    return fun, (uniform(0, 0.5, 2, 5, 3), uniform(1, 0.5, 2, 3, 2))


@case
def dot_general_with_precision():
    from flax.linen import fp8_ops

    return (
        lambda x, y: fp8_ops.dot_general_with_precision(x, y, MATRICES),
        (normal(0, 5, 3), normal(1, 3, 2)),
    )
