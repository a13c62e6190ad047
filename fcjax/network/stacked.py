"""One rule for L stacked layers, `A_l = g(A_{l−1} W_l + b_l)`, under `lax.scan`.

The derivation. One layer's differential is `Ȧ_l = g'(Z_l) ⊙ Ż_l`, with
`Ż_l = Ȧ_{l−1} W_l + A_{l−1} Ẇ_l + 1 ḃ_lᵀ`. Dots are derivatives along one direction, and
⟨A, B⟩ = Σ A ⊙ B. Substitute into ⟨dA_l, Ȧ_l⟩, and write `dZ_l = dA_l ⊙ g'(Z_l)`:

    ⟨dA_l, Ȧ_l⟩ = ⟨dZ_l, Ż_l⟩
                = ⟨dZ_l W_lᵀ, Ȧ_{l−1}⟩ + ⟨A_{l−1}ᵀ dZ_l, Ẇ_l⟩ + ⟨dZ_lᵀ 1, ḃ_l⟩

The first term is again of the form ⟨dA_{l−1}, Ȧ_{l−1}⟩, with `dA_{l−1} = dZ_l W_lᵀ`. From l = L
down to 1, where `A_0 = X`, the sum unrolls to

    ⟨dA_L, Ȧ_L⟩ = ⟨dA_0, Ẋ⟩ + Σ_l ⟨A_{l−1}ᵀ dZ_l, Ẇ_l⟩ + Σ_l ⟨dZ_lᵀ 1, ḃ_l⟩

and the factors of Ẋ, Ẇ_l and ḃ_l are dX, dW_l and db_l. If g is a closure over
learned values θ, `Ȧ_l` has one more term, linear in θ̇, and dθ is the sum of the layers' terms.

The residuals. One array is saved for each layer, `S_l`: the output `A_l` if g' is a function of it,
else `Z_l`. Layer l reads g' from `S_l`, and its input `A_{l−1}` from `S_{l−1}`. If that is Z, g is
evaluated once more, but no matrix product is computed twice. With `remat_every=k`, the layers form
blocks of k. Only the input of a block is saved, and its S are recomputed, so the S of at most k
layers exist at a time.

Dropout. Layer l + 1 takes `X_l = m_l ⊙ A_l` for its input, so X_{l−1} stands for A_{l−1} in Ż_l
and dW_l. The differential is `Ẋ_l = m_l ⊙ Ȧ_l`, hence ⟨dX_l, Ẋ_l⟩ = ⟨m_l ⊙ dX_l, Ȧ_l⟩, and the
factor of Ȧ_l is `dA_l = m_l ⊙ dX_l`. The masks follow from the key and the number of the layer.
They are drawn again, so S is as without dropout.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._arguments import describe, floating
from .._cotangent import cotangent_of
from .._jax import make_varying, output_type, varying_axes
from .._products import ComputeDtype, compute_dtype_of, narrowed
from .._types import Tree
from ..activations import is_fixed, rule_of
from ..dense import dense_bwd, dense_fwd
from ..dropout import masked
from .layers import Layer

R = TypeVar("R")


def apply_stacked(
    layers: Layer,
    x: Array,
    g: Callable[[Array], Array],
    *,
    compute_dtype: ComputeDtype = None,
    remat_every: int | None = None,
    rate: float = 0.0,
    key: Array | None = None,
    number: int = 0,
) -> Array:
    """Apply stacked layers with `w (L, n, n)` and `b (L, n)` to `x (..., n)`.

    `rate` and `key` are those of dropout, and `number` is that of the first of these layers.
    """
    layers = Layer(floating("w", layers.w), None if layers.b is None else floating("b", layers.b))
    compute_dtype = compute_dtype_of(compute_dtype)
    if not is_fixed(g):
        g = _anew(g)
    x = as_layer_output(layers, x, g, compute_dtype)
    g, theta = _hoist_closure(g, x)
    static = _Static(g, compute_dtype, remat_every or layers.w.shape[0], rate, number)
    return _stacked(static, layers, _Shared(theta, key), x)


def _anew(g: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return a new function, for which JAX has no program that an earlier call has left."""
    return lambda Z: g(Z)


class _Static(NamedTuple):
    """Static arguments: g, the dtype of the products, and the number of layers in a block.

    `rate` is that of dropout, and `number` is that of the first layer, for the masks.
    """

    g: Callable[..., Array]
    compute_dtype: ComputeDtype
    block: int
    rate: float
    number: int


class _Shared(NamedTuple):
    """What all layers share: the values that g closes over, and the key of dropout or None."""

    theta: tuple[Array, ...]
    key: Array | None


class _Residuals(NamedTuple):
    """The residuals: the parameters, which take no extra memory, and saved values.

    The layers form blocks. For the last block, `S` and its input `x` are saved. For the other
    blocks, only their inputs are saved, `starts (blocks − 1, ...)`.
    """

    layers: Layer
    shared: _Shared
    starts: Array | None
    x: Array
    S: Array


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _stacked(static: _Static, layers: Layer, shared: _Shared, x: Array) -> Array:
    return _value(static, layers, shared, x)


def _compiled_if_fixed(f: Callable[..., R]) -> Callable[..., R]:
    """Let calls outside of jit share one program, if the activation is the same in every call."""
    compiled = jax.jit(f, static_argnums=0)

    def run(static: _Static, *args: Tree) -> R:
        return (compiled if is_fixed(static.g) else f)(static, *args)

    return run


@_compiled_if_fixed
def _value(static: _Static, layers: Layer, shared: _Shared, x: Array) -> Array:
    return _scan_forward(static, layers, shared, x, jnp.arange(layers.w.shape[0]))[0]


@_compiled_if_fixed
def _stacked_fwd(
    static: _Static, layers: Layer, shared: _Shared, x: Array
) -> tuple[Array, _Residuals]:
    starts, first, last = None, *_blocks(static, layers)
    if len(first):

        def block(A: Array, l: Array) -> tuple[Array, Array]:
            return _scan_forward(static, layers, shared, A, l + jnp.arange(static.block))[0], A

        x, starts = lax.scan(block, x, first)
    A, S = _scan_forward(static, layers, shared, x, last)
    return A, _Residuals(layers, shared, starts, x, S)


@_compiled_if_fixed
def _stacked_bwd(static: _Static, kept: _Residuals, dA: Array) -> tuple[Layer, _Shared, Array]:
    layers, shared, starts, x, S = kept
    first, last = _blocks(static, layers)
    carry = dA, *jax.tree.map(jnp.zeros_like, (layers, shared.theta))
    carry = _scan_backward(static, layers, shared, x, S, carry, last)
    if starts is not None:

        def block(carry: _Gradients, at: tuple[Array, Array]) -> tuple[_Gradients, None]:
            l, x = at
            numbers = l + jnp.arange(static.block)
            _, S = _scan_forward(static, layers, shared, x, numbers)
            return _scan_backward(static, layers, shared, x, S, carry, numbers), None

        carry, _ = lax.scan(block, carry, (first, starts), reverse=True)
    dX, dlayers, dtheta = carry
    return dlayers, _Shared(dtheta, None), dX


_stacked.defvjp(_stacked_fwd, _stacked_bwd)


def _blocks(static: _Static, layers: Layer) -> tuple[Array, Array]:
    """Return the first layer of each block except the last, and all layers of the last block."""
    depth = layers.w.shape[0]
    last = (depth - 1) // static.block * static.block
    return jnp.arange(0, last, static.block), jnp.arange(last, depth)


def _scan_forward(
    static: _Static, layers: Layer, shared: _Shared, x: Array, numbers: Array
) -> tuple[Array, Array]:
    """Apply the layers with the given numbers; return the last A, and S of each layer."""
    theta = shared.theta

    def step(A: Array, l: Array) -> tuple[Array, Array]:
        Z, _ = dense_fwd(static.compute_dtype, A, *_at(layers, l))
        Z = narrowed(static.compute_dtype, Z)
        A, _ = _activation(static, theta, Z)
        return _dropped(static, shared, l, A), A if _keeps_output(static, theta) else Z

    return lax.scan(step, x, numbers)


_Gradients = tuple[Array, Layer, tuple[Array, ...]]


def _scan_backward(
    static: _Static,
    layers: Layer,
    shared: _Shared,
    x: Array,
    S: Array,
    gradients: _Gradients,
    numbers: Array,
) -> _Gradients:
    """Go back through the same layers, from the last dA to dx, and fill in dW_l and db_l."""
    theta = shared.theta

    def step(carry: _Gradients, at: tuple[Array, Array, Array]) -> tuple[_Gradients, None]:
        (dA, dlayers, dtheta), (i, l, S_l) = carry, at
        dZ, dtheta_l = _pull(static, theta, S_l, _dropped(static, shared, l, dA))
        # The input of layer l is A of the previous layer. Layer 1 has no predecessor: evaluate g at
        # S_1 and discard the result. g is evaluated there anyway, so no new NaN appears.
        before = _output(static, theta, _at(S, jnp.maximum(i - 1, 0)))
        X = jnp.where(i == 0, x, _dropped(static, shared, l - 1, before))
        # Only the residuals are used; XLA removes the product.
        _, of_layer = dense_fwd(static.compute_dtype, X, *_at(layers, l))
        dA, dW, db = dense_bwd(static.compute_dtype, of_layer, dZ)
        dlayers = jax.tree.map(partial(_set_layer, l), dlayers, Layer(dW, db))
        return (dA, dlayers, jax.tree.map(jnp.add, dtheta, dtheta_l)), None

    at = jnp.arange(len(numbers)), numbers, S
    return lax.scan(step, gradients, at, reverse=True)[0]


def _dropped(static: _Static, shared: _Shared, l: Array, V: Array) -> Array:
    """Apply the dropout of layer `l`, which is linear and its own transpose."""
    if shared.key is None:
        return V
    return masked(static.rate, V, jax.random.fold_in(shared.key, static.number + l))


def _at(V: Tree, l: Array) -> Tree:
    """Return the slice of each array that belongs to layer `l`."""
    return jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, l, keepdims=False), V)


def _set_layer(l: Array, dV: Array, dV_l: Array) -> Array:
    return lax.dynamic_update_index_in_dim(dV, dV_l, l, 0)


def _activation(static: _Static, theta: tuple[Array, ...], Z: Array) -> tuple[Array, Tree]:
    """Return A, and the residual of the activation or its pullback."""
    return jax.vjp(static.g, Z, *theta) if theta else rule_of(static.g).fwd(Z)


def _keeps_output(static: _Static, theta: tuple[Array, ...]) -> bool:
    """Whether g' is a function of A, so that A is the only array saved for a layer."""
    return not theta and rule_of(static.g).keeps == "output"


def _output(static: _Static, theta: tuple[Array, ...], S: Array) -> Array:
    return S if _keeps_output(static, theta) else _activation(static, theta, S)[0]


def _pull(
    static: _Static, theta: tuple[Array, ...], S: Array, dA: Array
) -> tuple[Array, tuple[Array, ...]]:
    """Return `dZ = dA ⊙ g'(Z)`, and the layer's term of dθ."""
    if theta:
        dZ, *dtheta = _activation(static, theta, S)[1](dA)
        return dZ, tuple(map(cotangent_of, theta, dtheta))
    fwd, bwd, keeps = rule_of(static.g)
    kept = fwd(S)[1] if keeps == "pullback" else S
    return bwd(kept, dA), ()


def _hoist_closure(
    g: Callable[[Array], Array], Z: Array
) -> tuple[Callable[..., Array], tuple[Array, ...]]:
    """Return `g(Z, *θ)` and θ, the differentiable values that `g` closes over."""
    converted, theta = jax.closure_convert(g, Z)
    return (converted, tuple(theta)) if theta else (g, ())


def as_layer_output(
    layers: Layer, x: Array, g: Callable[[Array], Array], compute_dtype: ComputeDtype
) -> Array:
    """Return `x` with the type of the layers' outputs, so that `lax.scan` can carry it.

    Compared with the input, the outputs may have a wider dtype, or be sharded, or vary between the
    devices of a `shard_map`.
    """

    def one_layer(x: Array) -> Array:
        Z, _ = dense_fwd(compute_dtype, x, *_at(layers, jnp.int32(0)))
        return g(narrowed(compute_dtype, Z))

    A = output_type(one_layer, x)
    if A.shape != x.shape:
        raise ValueError(
            "activations of stacked layers must keep the shape of their argument, got "
            f"{describe(A)} from {describe(x)}"
        )
    x = narrowed(compute_dtype, x)
    if jnp.promote_types(x.dtype, A.dtype) != A.dtype:
        raise TypeError(
            "activations of stacked layers must not narrow the dtype of their argument, got "
            f"{describe(A)} from {describe(x)}; use unstack(params) for layers of different dtypes"
        )
    x = x.astype(A.dtype)
    new_axes = varying_axes(A) - varying_axes(x)
    if new_axes:
        x = make_varying(x, new_axes)
    if A.sharding.spec != jax.typeof(x).sharding.spec:
        x = jax.sharding.reshard(x, A.sharding)
    return x
