"""The network as a composition of the rules."""

from collections.abc import Sequence
from typing import Any

from jax import Array
from jaxtyping import ArrayLike, Float

from ..dense import dense
from .arguments import Activation, prepare
from .layers import Params


def mlp(
    params: Params,
    x: Float[ArrayLike, "*batch n_in"],
    *,
    activations: Activation | Sequence[Activation] = "relu",
    output_activation: Activation = "identity",
    compute_dtype: Any = None,
) -> Float[Array, "*batch n_out"]:
    """Apply the network: `A_0 = x`, `Z_l = A_{l−1} W_l + b_l`, `A_l = g_l(Z_l)`; returns `A_L`.

    A composition of `dense` and the activations, so that `jax.grad`, `jax.hessian`, `jax.vmap` and
    `jax.jit` run the hand-written rules of both.

    Args:
        params: the layers, as from `init`.
        x: inputs, shape `(..., n_in)`, any number of leading batch dimensions.
        activations: of the hidden layers: a name, a function, or one of these per hidden layer.
        output_activation: of the last layer.
        compute_dtype: dtype of the matrix products' operands, as in `dense`.

    Raises:
        TypeError: `x` or a parameter is not floating-point, or an activation is neither a name nor
            a function.
        ValueError: shapes do not match, the batch is empty, an activation's name is unknown, or
            their number is not that of the hidden layers.

    Source: Goodfellow, Bengio & Courville, Deep Learning (2016), algorithm 6.3.

    >>> import jax
    >>> from fcjax import init
    >>> params = init(jax.random.key(0), (4, 8, 3))
    >>> mlp(params, jax.numpy.ones((5, 4)), activations="tanh").shape
    (5, 3)
    """
    A, functions = prepare(params, x, activations, output_activation)
    for layer, g in zip(params, functions, strict=True):
        A = g(dense(A, layer.w, layer.b, compute_dtype=compute_dtype))
    return A
