"""The explicit textbook passes: forward with a cache, backward, and the deltas."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
from jax import Array, lax
from jaxtyping import ArrayLike, Float

from .._arguments import describe, floating
from .._products import ComputeDtype, compute_dtype_of, narrowed
from .._types import Tree
from ..activations import rule_of
from ..dense import dense_bwd, dense_fwd, dense_residuals
from .arguments import Activation, check_layers, check_sizes, prepare
from .layers import Layer, Params, is_stacked
from .stacked import as_layer_output


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["X", "Z", "kept"],
    meta_fields=["activation", "compute_dtype"],
)
@dataclass(frozen=True, repr=False)
class LayerCache:
    """The intermediate values of one layer; a pytree, so that `jax.jit` can return it.

    `X` is the layer's input, `Z = X W + b` and `A = g(Z)`. `kept` is the residual of `activation`:
    A if g' is a function of A, else Z, or JAX's pullback if the activation has no hand-written
    rule. The arrays of stacked layers have a leading layer axis.
    """

    X: Array
    Z: Array
    kept: Tree
    activation: Callable[[Array], Array]
    compute_dtype: ComputeDtype

    @property
    def A(self) -> Array:
        """The layer's output `A = g(Z)`: the residual if that is A, else recomputed."""
        rule = rule_of(self.activation)
        return self.kept if rule.keeps == "output" else rule.fwd(self.Z)[0]

    def __repr__(self) -> str:
        name = getattr(self.activation, "__name__", repr(self.activation))
        return f"LayerCache(X={describe(self.X)}, Z={describe(self.Z)}, activation={name})"


Cache = tuple[LayerCache, ...]


def forward(
    params: Params,
    x: Float[ArrayLike, "*batch n_in"],
    *,
    activations: Activation | Sequence[Activation] = "relu",
    output_activation: Activation = "identity",
    compute_dtype: ComputeDtype = None,
) -> tuple[Float[Array, "*batch n_out"], Cache]:
    """Compute the textbook forward pass: like `mlp`, but also return the cache for `backward`.

    Args:
        params: the layers, as from `init` or `stack`.
        x: inputs, shape `(..., n_in)`.
        activations: as in `mlp`.
        output_activation: as in `mlp`.
        compute_dtype: as in `mlp`.

    Returns:
        `(A_L, cache)`, where the cache has one entry per entry of `params`, in the same order.

    Raises:
        TypeError, ValueError: as `mlp`.

    Source: Goodfellow, Bengio & Courville, Deep Learning (2016), algorithm 6.3.

    >>> from fcjax import init
    >>> params = init(jax.random.key(0), (4, 8, 3))
    >>> A, cache = forward(params, jax.numpy.ones((5, 4)))
    >>> cache[0]
    LayerCache(X=float32[5, 4], Z=float32[5, 8], activation=relu)
    >>> A.shape, [layer.A.shape for layer in cache]
    ((5, 3), [(5, 8), (5, 3)])
    """
    A, functions = prepare(params, x, activations, output_activation)
    compute_dtype = compute_dtype_of(compute_dtype)
    cache: list[LayerCache] = []
    *hidden, (last, output) = zip(params, functions, strict=True)
    for layer, g in hidden:
        step = partial(_layer_forward, g=g, compute_dtype=compute_dtype, is_hidden=True)
        if is_stacked(layer):
            A, of_layer = lax.scan(step, as_layer_output(layer, A, g, compute_dtype), layer)
        else:
            A, of_layer = step(A, layer)
        cache.append(of_layer)
    A, of_last = _layer_forward(A, last, output, compute_dtype, is_hidden=False)
    return A, (*cache, of_last)


def _layer_forward(
    X: Array,
    layer: Layer,
    g: Callable[[Array], Array],
    compute_dtype: ComputeDtype,
    is_hidden: bool,
) -> tuple[Array, LayerCache]:
    Z, _ = dense_fwd(compute_dtype, X, layer.w, layer.b)
    if is_hidden:
        Z = narrowed(compute_dtype, Z)
    A, kept = rule_of(g).fwd(Z)
    return A, LayerCache(X, Z, kept, g, compute_dtype)


def backward(params: Params, cache: Cache, dA: Array) -> tuple[Params, Array]:
    """Compute the textbook backward pass: four formulas, from the last layer to the first.

        dZ_l = dA_l ⊙ g_l'(Z_l)        dW_l = A_{l−1}ᵀ dZ_l
        db_l = Σᵢ (dZ_l)ᵢ              dA_{l−1} = dZ_l W_lᵀ

    The recursion starts with `dA_L`, the gradient of the loss with respect to the network's output.
    The formulas are the backward functions of the rules that `jax.grad` applies to `mlp`, called
    one by one. The results are equal bit for bit.

    Args:
        params: the layers that `forward` was called with.
        cache: what `forward` returned.
        dA: dA_L, with the shape of `forward`'s output.

    Returns:
        `(dparams, dX)`: the gradients `(dW_l, db_l)` as a tuple of layers, and that of the input.

    Raises:
        TypeError: `dA` is not floating-point, or `params` or `cache` is of the wrong type.
        ValueError: the number of layers or the shape of `dA` does not match the cache.

    Source: Rumelhart, Hinton & Williams, Learning representations by back-propagating errors,
    Nature 323 (1986); Goodfellow, Bengio & Courville, Deep Learning (2016), algorithm 6.4.

    >>> from fcjax import init
    >>> params = init(jax.random.key(0), (4, 8, 3))
    >>> A, cache = forward(params, jax.numpy.ones((5, 4)))
    >>> dparams, dX = backward(params, cache, jax.numpy.ones_like(A))
    >>> dparams[1].b
    Array([5., 5., 5.], dtype=float32)
    """
    steps = backward_steps(params, cache, dA)
    return tuple(Layer(step.dW, step.db) for step in steps), steps[0].dX


def deltas(params: Params, cache: Cache, dA: Array) -> tuple[Array, ...]:
    """Return δ_l = dZ_l of every layer, from the first to the last.

    The recursion of the textbooks is `δ_l = (δ_{l+1} W_{l+1}ᵀ) ⊙ g_l'(Z_l)`, starting with
    `δ_L = dA_L ⊙ g_L'(Z_L)`. Arguments and errors are those of `backward`. The deltas of stacked
    layers are one array with a leading layer axis.

    Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 2, eqs. BP1 and BP2.

    >>> from fcjax import init
    >>> params = init(jax.random.key(0), (4, 8, 3))
    >>> A, cache = forward(params, jax.numpy.ones((5, 4)))
    >>> [delta.shape for delta in deltas(params, cache, jax.numpy.ones_like(A))]
    [(5, 8), (5, 3)]
    """
    return tuple(step.dZ for step in backward_steps(params, cache, dA))


class BackwardStep(NamedTuple):
    """What the backward pass computes in one layer.

    dX is dA of the layer before it. Of stacked layers, dX is that of the first alone.
    """

    dZ: Array
    dW: Array
    db: Array | None
    dX: Array


def backward_steps(params: Params, cache: Cache, dA: Array) -> tuple[BackwardStep, ...]:
    """Return all that `backward` computes, for each layer, from the first to the last.

    Arguments and errors are those of `backward`.

    >>> from fcjax import init
    >>> params = init(jax.random.key(0), (4, 8, 3))
    >>> A, cache = forward(params, jax.numpy.ones((5, 4)))
    >>> [step.dX.shape for step in backward_steps(params, cache, jax.numpy.ones_like(A))]
    [(5, 4), (5, 8)]
    """
    dA = _checked_output_gradient(params, cache, dA)
    steps: list[BackwardStep] = []
    for layer, kept in zip(reversed(params), reversed(cache), strict=True):
        if is_stacked(layer):
            dA, (dZ, (dW, db)) = lax.scan(_layer_backward, dA, (layer, kept), reverse=True)
        else:
            dA, (dZ, (dW, db)) = _layer_backward(dA, (layer, kept))
        steps.append(BackwardStep(dZ, dW, db, dA))
    return tuple(reversed(steps))


def _layer_backward(dA: Array, at: tuple[Layer, LayerCache]) -> tuple[Array, tuple[Array, Layer]]:
    layer, cache = at
    dZ = rule_of(cache.activation).bwd(cache.kept, dA)
    of_layer = dense_residuals(cache.compute_dtype, cache.X, layer.w, layer.b)
    dA, dW, db = dense_bwd(cache.compute_dtype, of_layer, dZ)
    return dA, (dZ, Layer(dW, db))


def _is_cache(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(kept, LayerCache) for kept in value)


def _checked_output_gradient(params: Params, cache: Cache, dA: object) -> Array:
    """Return dA_L as an array, or raise unless it and the cache match the network."""
    dA = floating("dA", dA)
    check_layers(params)
    check_sizes(params)
    if not _is_cache(cache):
        raise TypeError(f"cache must be the cache returned by forward, got {describe(cache)}")
    if len(params) != len(cache):
        raise ValueError(
            f"cache must have one entry per layer of params, {len(params)}, got {len(cache)}"
        )
    for i, (layer, kept) in enumerate(zip(params, cache, strict=True)):
        before = layer.w.shape[:-2] + cache[-1].Z.shape[:-1]
        n_in, n_out = layer.w.shape[-2:]
        if (*before, n_in) != kept.X.shape or (*before, n_out) != kept.Z.shape:
            raise ValueError(
                f"cache[{i}] must match params[{i}].w {describe(layer.w)}, and hold as many "
                f"examples as cache[{len(cache) - 1}], got {kept!r}"
            )
    output = jax.eval_shape(cache[-1].activation, cache[-1].Z)
    if dA.shape != output.shape:
        raise ValueError(
            f"dA must have the shape of the network's output, {list(output.shape)}, "
            f"got {describe(dA)}"
        )
    return dA
