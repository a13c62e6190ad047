"""The network as a composition of rules."""

from collections.abc import Callable, Sequence

import jax
from jax import Array
from jaxtyping import ArrayLike, Float

from .._arguments import check_key
from .._products import ComputeDtype, compute_dtype_of, narrowed
from ..activations import relu
from ..dense import dense
from ..dropout import checked_rate, dropout as drop, relu_dropout
from .arguments import Activation, checked_remat, prepare
from .layers import Params, depth, is_stacked
from .stacked import apply_stacked


def mlp(
    params: Params,
    x: Float[ArrayLike, "*batch n_in"],
    *,
    activations: Activation | Sequence[Activation] = "relu",
    output_activation: Activation = "identity",
    compute_dtype: ComputeDtype = None,
    remat_every: int | None = None,
    dropout: float = 0.0,
    key: Array | None = None,
) -> Float[Array, "*batch n_out"]:
    """Apply the network: `A_0 = x`, `Z_l = A_{l−1} W_l + b_l`, `A_l = g_l(Z_l)`; return `A_L`.

    This is a composition of `dense` and the activations, so `jax.grad`, `jax.hessian`, `jax.vmap`
    and `jax.jit` apply the hand-written rules of both. Stacked layers, as from `stack`, share one
    rule, which saves one array per layer.

    Args:
        params: the layers, as from `init` or `stack`.
        x: inputs, shape `(..., n_in)`, any number of leading batch dimensions.
        activations: activation of the hidden layers: a name, a function, or a sequence of these
            with one entry per hidden layer. The sequence counts layers before stacking. Stacked
            layers must have the same activation.
        output_activation: activation of the last layer.
        compute_dtype: dtype of the matrix products' operands, as in `dense`. If it is narrower, the
            values of hidden layers are rounded to it, which saves memory; the output is not.
        remat_every: k saves the input of every k-th stacked layer only, and recomputes the k − 1
            inputs between in the backward pass. This stores L/k + k arrays instead of L, fewest for
            k = √L, and costs a second forward pass. None saves the input of every layer.
        dropout: probability of zeroing each value of a hidden layer, as in `fcjax.dropout`, if
            there is a key.
        key: PRNG key of dropout. None leaves dropout out, as in validation and prediction. Stacked
            layers draw the same masks as others.

    Raises:
        TypeError: `x` or a parameter is not floating-point, an activation is neither a name nor a
            function, the activation of stacked layers narrows the dtype, `remat_every` is not an
            integer, or `key` is not a single PRNG key.
        ValueError: shapes do not match, the batch is empty, the name of an activation is unknown,
            the number of activations is not that of the hidden layers, stacked layers have
            different activations, `remat_every` is not positive, or it is given without stacked
            layers, or `dropout` is not a number with 0 ≤ dropout < 1.

    Source: Goodfellow, Bengio & Courville, Deep Learning (2016), algorithm 6.3.

    >>> import jax
    >>> from fcjax import init
    >>> params = init(jax.random.key(0), (4, 8, 3))
    >>> mlp(params, jax.numpy.ones((5, 4)), activations="tanh").shape
    (5, 3)
    """
    A, functions = prepare(params, x, activations, output_activation)
    remat_every = checked_remat(remat_every, params)
    compute_dtype = compute_dtype_of(compute_dtype)
    rate, key = _checked_dropout(dropout, key)
    *hidden, (last, output) = zip(params, functions, strict=True)
    number = 0
    for layer, g in hidden:
        if is_stacked(layer):
            A = apply_stacked(
                layer, A, g, compute_dtype=compute_dtype, remat_every=remat_every,
                rate=rate, key=key, number=number,
            )  # fmt: skip
        else:
            Z = dense(A, layer.w, layer.b, compute_dtype=compute_dtype)
            own = None if key is None else jax.random.fold_in(key, number)
            A = _activated(g, narrowed(compute_dtype, Z), rate, own)
        number += depth(layer)
    return output(dense(A, last.w, last.b, compute_dtype=compute_dtype))


def _activated(g: Callable[[Array], Array], Z: Array, rate: float, key: Array | None) -> Array:
    """Return the activations, and drop some if there is a key."""
    if key is None:
        return g(Z)
    return relu_dropout(Z, rate, key) if g is relu else drop(g(Z), rate, key)


def _checked_dropout(rate: object, key: Array | None) -> tuple[float, Array | None]:
    """Return the rate, and the key if there is something to drop."""
    rate = checked_rate("dropout", rate)
    if key is not None:
        check_key("key", key)
    return rate, key if rate else None
