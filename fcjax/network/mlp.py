"""The network as a composition of the rules."""

from collections.abc import Sequence
from typing import Any

from jax import Array
from jaxtyping import ArrayLike, Float

from .._products import compute_dtype_of, narrowed
from ..dense import dense
from .arguments import Activation, check_remat, prepare
from .layers import Params, is_stacked
from .stacked import apply_stacked


def mlp(
    params: Params,
    x: Float[ArrayLike, "*batch n_in"],
    *,
    activations: Activation | Sequence[Activation] = "relu",
    output_activation: Activation = "identity",
    compute_dtype: Any = None,
    remat_every: int | None = None,
) -> Float[Array, "*batch n_out"]:
    """Apply the network: `A_0 = x`, `Z_l = A_{l−1} W_l + b_l`, `A_l = g_l(Z_l)`; returns `A_L`.

    A composition of `dense` and the activations, so that `jax.grad`, `jax.hessian`, `jax.vmap` and
    `jax.jit` run the hand-written rules of both. Stacked layers, as from `stack`, have one rule for
    all of them, which saves one array per layer.

    Args:
        params: the layers, as from `init` or `stack`.
        x: inputs, shape `(..., n_in)`, any number of leading batch dimensions.
        activations: of the hidden layers: a name, a function, or one of these per hidden layer,
            counted before stacking; stacked layers must have the same one.
        output_activation: of the last layer.
        compute_dtype: dtype of the matrix products' operands, as in `dense`. The hidden layers'
            values are rounded to it where it is narrower, and take less memory; the output is not.
        remat_every: k saves the input of every k-th stacked layer only, and computes the k − 1
            between again in the backward pass: L/k + k arrays instead of L, least for k = √L, at
            the price of a second forward pass. None saves every layer's.

    Raises:
        TypeError: `x` or a parameter is not floating-point, an activation is neither a name nor a
            function or narrows the dtype of stacked layers, or `remat_every` is not an integer.
        ValueError: shapes do not match, the batch is empty, an activation's name is unknown, their
            number is not that of the hidden layers, they differ among stacked layers, or
            `remat_every` is not positive or no layers are stacked.

    Source: Goodfellow, Bengio & Courville, Deep Learning (2016), algorithm 6.3.

    >>> import jax
    >>> from fcjax import init
    >>> params = init(jax.random.key(0), (4, 8, 3))
    >>> mlp(params, jax.numpy.ones((5, 4)), activations="tanh").shape
    (5, 3)
    """
    A, functions = prepare(params, x, activations, output_activation)
    check_remat(remat_every, params)
    compute_dtype = compute_dtype_of(compute_dtype)
    *hidden, (last, output) = zip(params, functions, strict=True)
    for layer, g in hidden:
        if is_stacked(layer):
            A = apply_stacked(layer, A, g, compute_dtype=compute_dtype, remat_every=remat_every)
        else:
            Z = dense(A, layer.w, layer.b, compute_dtype=compute_dtype)
            A = g(narrowed(compute_dtype, Z))
    return output(dense(A, last.w, last.b, compute_dtype=compute_dtype))
