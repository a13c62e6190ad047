"""Fully connected networks: parameters, the composed rules, and the textbook passes."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike, Float

from ._arguments import describe, floating, is_key, matrix_product
from ._rule import rule_of
from .activations import activation_named
from .dense import compute_dtype_of, dense, dense_bwd, dense_fwd, dense_kept

Activation = str | Callable[[Array], Array]


_HE_NORMAL = jax.nn.initializers.he_normal()


class Layer(NamedTuple):
    """Parameters of one dense layer: weights `w (n_in, n_out)` and bias `b (n_out,)` or None.

    >>> Layer(jnp.ones((2, 3)), None).w.shape
    (2, 3)
    """

    w: Array
    b: Array | None = None


Params = tuple[Layer, ...]


def init(
    key: Array,
    sizes: Sequence[int],
    *,
    bias: bool = True,
    w_init: Callable[..., Array] = _HE_NORMAL,
    b_init: Callable[..., Array] = jax.nn.initializers.zeros,
    dtype: Any = jnp.float32,
) -> Params:
    """Draw the parameters of a network with the given layer sizes.

    Args:
        key: PRNG key; equal keys draw equal parameters.
        sizes: numbers of units `(n_0, n_1, …, n_L)`, the inputs first, at least two.
        bias: False leaves out the biases.
        w_init: an initializer of `jax.nn.initializers`, called as `(key, (n_in, n_out), dtype)`.
        b_init: likewise for `(n_out,)`.
        dtype: floating dtype of the parameters.

    Returns:
        A tuple of L layers.

    Raises:
        TypeError: `key` is not a PRNG key, a size is not an integer, or `dtype` is not floating.
        ValueError: there are fewer than two sizes, or one is not positive.

    Source: He et al., Delving deep into rectifiers, ICCV 2015 (the default initializer).

    >>> params = init(jax.random.key(0), (4, 8, 3))
    >>> [layer.w.shape for layer in params]
    [(4, 8), (8, 3)]
    """
    if not is_key(key):
        raise TypeError(f"key must be one PRNG key, e.g. jax.random.key(0), got {describe(key)}")
    sizes = _checked_sizes(sizes)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"dtype must be a floating-point dtype, got {dtype}")
    layers = []
    for n_in, n_out in itertools.pairwise(sizes):
        key, w_key, b_key = jax.random.split(key, 3)
        b = b_init(b_key, (n_out,), dtype) if bias else None
        layers.append(Layer(w_init(w_key, (n_in, n_out), dtype), b))
    return tuple(layers)


def _checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    try:
        sizes = tuple(sizes)
    except TypeError:
        raise TypeError(f"sizes must be a sequence of integers, got {describe(sizes)}") from None
    for size in sizes:
        if not hasattr(size, "__index__") or isinstance(size, bool):
            raise TypeError(f"sizes must be integers, got {describe(size)} in {sizes}")
        if size < 1:
            raise ValueError(f"sizes must be positive, got {size} in {sizes}")
    if len(sizes) < 2:
        raise ValueError(
            f"sizes must name the inputs and at least one layer, e.g. (4, 8, 3), got {sizes}"
        )
    return sizes


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

    >>> params = init(jax.random.key(0), (4, 8, 3))
    >>> mlp(params, jnp.ones((5, 4)), activations="tanh").shape
    (5, 3)
    """
    A, functions = _prepare(params, x, activations, output_activation)
    for layer, g in zip(params, functions, strict=True):
        A = g(dense(A, layer.w, layer.b, compute_dtype=compute_dtype))
    return A


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["X", "Z", "kept"],
    meta_fields=["activation", "compute_dtype"],
)
@dataclass(frozen=True)
class LayerCache:
    """What the forward pass leaves of one layer; a pytree, so that `jax.jit` can return it.

    `X` is the layer's input and `Z = X W + b`. `kept` is what the rule of `activation` needs: the
    output A where g' is a function of it, else Z, or JAX's pullback for a function without a
    hand-written rule.
    """

    X: Array
    Z: Array
    kept: Any
    activation: Callable[[Array], Array]
    compute_dtype: Any


Cache = tuple[LayerCache, ...]


def forward(
    params: Params,
    x: Float[ArrayLike, "*batch n_in"],
    *,
    activations: Activation | Sequence[Activation] = "relu",
    output_activation: Activation = "identity",
    compute_dtype: Any = None,
) -> tuple[Float[Array, "*batch n_out"], Cache]:
    """Run the textbook forward pass: like `mlp`, and return what `backward` needs.

    Args:
        params: the layers, as from `init`.
        x: inputs, shape `(..., n_in)`.
        activations: as in `mlp`.
        output_activation: as in `mlp`.
        compute_dtype: as in `mlp`.

    Returns:
        `(A_L, cache)`, the cache with one entry per layer, from first to last.

    Raises:
        TypeError, ValueError: as `mlp`.

    Source: Goodfellow, Bengio & Courville, Deep Learning (2016), algorithm 6.3.

    >>> params = init(jax.random.key(0), (4, 8, 3))
    >>> A, cache = forward(params, jnp.ones((5, 4)))
    >>> A.shape, [layer.Z.shape for layer in cache]
    ((5, 3), [(5, 8), (5, 3)])
    """
    A, functions = _prepare(params, x, activations, output_activation)
    compute_dtype = compute_dtype_of(compute_dtype)
    cache = []
    for layer, g in zip(params, functions, strict=True):
        X = A
        Z, _ = dense_fwd(compute_dtype, X, layer.w, layer.b)
        A, kept = rule_of(g).fwd(Z)
        cache.append(LayerCache(X, Z, kept, g, compute_dtype))
    return A, tuple(cache)


def backward(params: Params, cache: Cache, dA: Array) -> tuple[Params, Array]:
    """Run the textbook backward pass: the four formulas, from the last layer to the first.

        dZ_l = dA_l ⊙ g_l'(Z_l)        dW_l = A_{l−1}ᵀ dZ_l
        db_l = Σᵢ (dZ_l)ᵢ              dA_{l−1} = dZ_l W_lᵀ

    The recursion starts with `dA_L`, the gradient of the loss with respect to the network's output.
    These are the backward halves of the same rules that `jax.grad` runs through `mlp`, called one
    by one; the results agree with it to the last bit.

    Args:
        params: the layers that `forward` was called with.
        cache: what `forward` returned.
        dA: dA_L, the shape of `forward`'s output.

    Returns:
        `(dparams, dX)`: the gradients `(dW_l, db_l)` as a tuple of layers, and that of the input.

    Raises:
        TypeError: `dA` is not floating-point.
        ValueError: the number of layers or the shape of `dA` does not match the cache.

    Source: Rumelhart, Hinton & Williams, Learning representations by back-propagating errors,
    Nature 323 (1986); Goodfellow, Bengio & Courville, Deep Learning (2016), algorithm 6.4.

    >>> params = init(jax.random.key(0), (4, 8, 3))
    >>> A, cache = forward(params, jnp.ones((5, 4)))
    >>> dparams, dX = backward(params, cache, jnp.ones_like(A))
    >>> dparams[1].b
    Array([5., 5., 5.], dtype=float32)
    """
    _, dlayers, dAs = zip(*_backward_steps(params, cache, dA), strict=True)
    return tuple(reversed(dlayers)), dAs[-1]


def deltas(params: Params, cache: Cache, dA: Array) -> tuple[Array, ...]:
    """Return δ_l = dZ_l of every layer, from the first to the last.

    The textbooks' recursion `δ_l = (δ_{l+1} W_{l+1}ᵀ) ⊙ g_l'(Z_l)`, started by
    `δ_L = dA_L ⊙ g_L'(Z_L)`. The arguments and errors are those of `backward`.

    Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 2, eqs. BP1 and BP2.

    >>> params = init(jax.random.key(0), (4, 8, 3))
    >>> A, cache = forward(params, jnp.ones((5, 4)))
    >>> [delta.shape for delta in deltas(params, cache, jnp.ones_like(A))]
    [(5, 8), (5, 3)]
    """
    return tuple(reversed([dZ for dZ, _, _ in _backward_steps(params, cache, dA)]))


def _backward_steps(
    params: Params, cache: Cache, dA: Array
) -> Iterator[tuple[Array, Layer, Array]]:
    """Yield (dZ_l, (dW_l, db_l), dA_{l−1}) from the last layer to the first."""
    dA = _checked_start(params, cache, dA)
    for layer, kept in zip(reversed(params), reversed(cache), strict=True):
        dZ = rule_of(kept.activation).bwd(kept.kept, dA)
        of_layer = dense_kept(kept.compute_dtype, kept.X, layer.w, layer.b)
        dA, dW, db = dense_bwd(kept.compute_dtype, of_layer, dZ)
        yield dZ, Layer(dW, db), dA


def _checked_start(params: Params, cache: Cache, dA: Any) -> Array:
    """Check what the backward pass starts from; return dA_L."""
    dA = floating("dA", dA)
    if not isinstance(cache, tuple) or not all(isinstance(kept, LayerCache) for kept in cache):
        raise TypeError(f"cache must be what forward returned, got {describe(cache)}")
    if len(params) != len(cache):
        raise ValueError(
            f"cache must have one entry per layer of params, {len(params)}, got {len(cache)}"
        )
    for i, (layer, kept) in enumerate(zip(params, cache, strict=True)):
        if (kept.X.shape[-1], kept.Z.shape[-1]) != layer.w.shape:
            raise ValueError(
                f"cache[{i}] must be of params[{i}].w {describe(layer.w)}, got a layer from "
                f"{kept.X.shape[-1]} to {kept.Z.shape[-1]} units"
            )
    output = jax.eval_shape(cache[-1].activation, cache[-1].Z)
    if dA.shape != output.shape:
        raise ValueError(
            f"dA must have the shape of the network's output, {list(output.shape)}, "
            f"got {describe(dA)}"
        )
    return dA


def _prepare(
    params: Params, x: Any, activations: Any, output_activation: Any
) -> tuple[Array, tuple[Callable[[Array], Array], ...]]:
    """Check what a network is applied to; return x and one function per layer."""
    x = floating("x", x)
    if not params or not all(isinstance(layer, Layer) for layer in params):
        raise TypeError(
            f"params must be a tuple of one or more Layers, as from init, got {describe(params)}"
        )
    n_in = x.shape[-1:]
    for i, layer in enumerate(params):
        if i and layer.w.shape[:1] != n_in:
            raise ValueError(
                f"params[{i}].w must have {n_in[0]} rows, the units of the layer before, "
                f"got {describe(layer.w)}"
            )
        n_in = layer.w.shape[1:]
    matrix_product(x, params[0].w, params[0].b)
    return x, (*_hidden(activations, len(params) - 1), _output(output_activation))


def _hidden(activations: Any, layers: int) -> tuple[Callable[[Array], Array], ...]:
    if isinstance(activations, str) or callable(activations):
        return (activation_named("activations", activations),) * layers
    if not isinstance(activations, Sequence):
        raise TypeError(
            "activations must be a name, a function, or a sequence of these, "
            f"got {describe(activations)}"
        )
    if len(activations) != layers:
        raise ValueError(
            f"activations must name one for each of the {layers} hidden layers, "
            f"got {len(activations)}: {activations!r}"
        )
    return tuple(activation_named(f"activations[{i}]", a) for i, a in enumerate(activations))


def _output(activation: Any) -> Callable[[Array], Array]:
    return activation_named("output_activation", activation)
