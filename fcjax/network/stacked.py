"""One rule for L stacked layers, `A_l = g(A_{l−1} W_l + b_l)`, under `lax.scan`.

The derivation. One layer's differential is `Ȧ_l = g'(Z_l) ⊙ Ż_l`, with
`Ż_l = Ȧ_{l−1} W_l + A_{l−1} Ẇ_l + 1 ḃ_lᵀ`. Dots are derivatives along one direction, and
⟨A, B⟩ = Σ A ⊙ B. Substitute into ⟨dA_l, Ȧ_l⟩, and write `dZ_l = dA_l ⊙ g'(Z_l)`:

    ⟨dA_l, Ȧ_l⟩ = ⟨dZ_l, Ż_l⟩
                = ⟨dZ_l W_lᵀ, Ȧ_{l−1}⟩ + ⟨A_{l−1}ᵀ dZ_l, Ẇ_l⟩ + ⟨dZ_lᵀ 1, ḃ_l⟩

The first term is again of the form ⟨dA_{l−1}, Ȧ_{l−1}⟩, with `dA_{l−1} = dZ_l W_lᵀ`. From l = L
down to 1, where `A_0 = X`, the sum unrolls to

    ⟨dA_L, Ȧ_L⟩ = ⟨dA_0, Ẋ⟩ + Σ_l ⟨A_{l−1}ᵀ dZ_l, Ẇ_l⟩ + Σ_l ⟨dZ_lᵀ 1, ḃ_l⟩

and the factors of Ẋ, Ẇ_l and ḃ_l are dX, dW_l and db_l. Where g uses learned values θ from around
it, `Ȧ_l` has one more term, linear in θ̇, and dθ is the sum of what the layers send back.

What is saved. One array for each layer, `S_l`: the output `A_l` where g' is a function of it, else
`Z_l`. Layer l reads g' from `S_l`, and its input `A_{l−1}` from `S_{l−1}`, at the price of g once
more where that is Z; no product is computed twice. With `remat_every=k` the S of at most k layers
exist at a time: of each k layers only the input is kept, and S is computed from it again.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._arguments import describe, floating
from .._cotangent import cotangent_of
from .._jax import make_varying, output_type, varying_axes
from .._products import compute_dtype_of, narrowed
from ..activations import rule_of
from ..dense import dense_bwd, dense_fwd
from .layers import Layer


def apply_stacked(
    layers: Layer,
    x: Array,
    g: Callable[[Array], Array],
    *,
    compute_dtype: Any = None,
    remat_every: int | None = None,
) -> Array:
    """Apply stacked layers with `w (L, n, n)` and `b (L, n)` to `x (..., n)`."""
    layers = Layer(floating("w", layers.w), None if layers.b is None else floating("b", layers.b))
    compute_dtype = compute_dtype_of(compute_dtype)
    x = as_output(layers, x, g, compute_dtype)
    g, theta = _hoisted(g, x)
    return _stacked(_Static(g, compute_dtype, remat_every or layers.w.shape[0]), layers, theta, x)


class _Static(NamedTuple):
    """What is fixed when the rule is traced: g, and how many layers make a block."""

    g: Callable[..., Array]
    compute_dtype: Any
    block: int


class _Kept(NamedTuple):
    """What the backward pass needs, besides the parameters, which take no memory of their own.

    The layers form blocks. Of the last one `S` is saved, and its input `x`; of the others only
    their inputs, `starts (blocks − 1, ...)`.
    """

    layers: Layer
    theta: tuple[Array, ...]
    starts: Array | None
    x: Array
    S: Array


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _stacked(static: _Static, layers: Layer, theta: tuple[Array, ...], x: Array) -> Array:
    return _value(static, layers, theta, x)


# Compiled, so that outside of jit too one program serves every call.
@partial(jax.jit, static_argnums=0)
def _value(static: _Static, layers: Layer, theta: tuple[Array, ...], x: Array) -> Array:
    return _ascend(static, layers, theta, x, jnp.arange(layers.w.shape[0]))[0]


@partial(jax.jit, static_argnums=0)
def _stacked_fwd(
    static: _Static, layers: Layer, theta: tuple[Array, ...], x: Array
) -> tuple[Array, _Kept]:
    starts, first, last = None, *_blocks(static, layers)
    if len(first):

        def block(A: Array, l: Array) -> tuple[Array, Array]:
            return _ascend(static, layers, theta, A, l + jnp.arange(static.block))[0], A

        x, starts = lax.scan(block, x, first)
    A, S = _ascend(static, layers, theta, x, last)
    return A, _Kept(layers, theta, starts, x, S)


@partial(jax.jit, static_argnums=0)
def _stacked_bwd(static: _Static, kept: _Kept, dA: Array) -> tuple[Layer, tuple[Array, ...], Array]:
    layers, theta, starts, x, S = kept
    first, last = _blocks(static, layers)
    carry = dA, *jax.tree.map(jnp.zeros_like, (layers, theta))
    carry = _descend(static, layers, theta, x, S, carry, last)
    if starts is not None:

        def block(carry: _Gradients, at: tuple[Array, Array]) -> tuple[_Gradients, None]:
            l, x = at
            numbers = l + jnp.arange(static.block)
            _, S = _ascend(static, layers, theta, x, numbers)
            return _descend(static, layers, theta, x, S, carry, numbers), None

        carry, _ = lax.scan(block, carry, (first, starts), reverse=True)
    dX, dlayers, dtheta = carry
    return dlayers, dtheta, dX


_stacked.defvjp(_stacked_fwd, _stacked_bwd)


def _blocks(static: _Static, layers: Layer) -> tuple[Array, Array]:
    """Return the first layer of every block but the last, and all layers of the last block."""
    depth = layers.w.shape[0]
    last = (depth - 1) // static.block * static.block
    return jnp.arange(0, last, static.block), jnp.arange(last, depth)


def _ascend(
    static: _Static, layers: Layer, theta: tuple[Array, ...], x: Array, numbers: Array
) -> tuple[Array, Array]:
    """Apply the layers of the given numbers; return the last A, and S of each."""

    def step(A: Array, l: Array) -> tuple[Array, Array]:
        Z, _ = dense_fwd(static.compute_dtype, A, *_at(layers, l))
        Z = narrowed(static.compute_dtype, Z)
        A, _ = _activation(static, theta, Z)
        return A, A if _keeps_output(static, theta) else Z

    return lax.scan(step, x, numbers)


_Gradients = tuple[Array, Layer, tuple[Array, ...]]


def _descend(
    static: _Static,
    layers: Layer,
    theta: tuple[Array, ...],
    x: Array,
    S: Array,
    gradients: _Gradients,
    numbers: Array,
) -> _Gradients:
    """Go back through the same layers, from dA of the last to that of x; fill in dW_l and db_l."""

    def step(carry: _Gradients, at: tuple[Array, Array, Array]) -> tuple[_Gradients, None]:
        (dA, dlayers, dtheta), (i, l, S_l) = carry, at
        dZ, dtheta_l = _pull(static, theta, S_l, dA)
        # The input of layer l is A of the layer before. Layer 1 has no predecessor: g is evaluated
        # at S_1 and the result discarded. g is evaluated there anyway, so no new NaN appears.
        before = _output(static, theta, _at(S, jnp.maximum(i - 1, 0)))
        X = jnp.where(i == 0, x, before)
        # Only what it keeps is used; the product is compiled away.
        _, of_layer = dense_fwd(static.compute_dtype, X, *_at(layers, l))
        dA, dW, db = dense_bwd(static.compute_dtype, of_layer, dZ)
        dlayers = jax.tree.map(partial(_written, l), dlayers, Layer(dW, db))
        return (dA, dlayers, jax.tree.map(jnp.add, dtheta, dtheta_l)), None

    at = jnp.arange(len(numbers)), numbers, S
    return lax.scan(step, gradients, at, reverse=True)[0]


def _at(V: Any, l: Array) -> Any:
    """Return the slice of layer `l` of each array."""
    return jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, l, keepdims=False), V)


def _written(l: Array, dV: Array, dV_l: Array) -> Array:
    return lax.dynamic_update_index_in_dim(dV, dV_l, l, 0)


def _activation(static: _Static, theta: tuple[Array, ...], Z: Array) -> tuple[Array, Any]:
    """Return A, and what the backward half needs."""
    return jax.vjp(static.g, Z, *theta) if theta else rule_of(static.g).fwd(Z)


def _keeps_output(static: _Static, theta: tuple[Array, ...]) -> bool:
    """Whether g' is a function of A, so that A is all that is saved of a layer."""
    return not theta and rule_of(static.g).keeps == "output"


def _output(static: _Static, theta: tuple[Array, ...], S: Array) -> Array:
    return S if _keeps_output(static, theta) else _activation(static, theta, S)[0]


def _pull(
    static: _Static, theta: tuple[Array, ...], S: Array, dA: Array
) -> tuple[Array, tuple[Array, ...]]:
    """Return `dZ = dA ⊙ g'(Z)` and the layer's part of dθ."""
    if theta:
        dZ, *dtheta = _activation(static, theta, S)[1](dA)
        return dZ, tuple(map(cotangent_of, theta, dtheta))
    fwd, bwd, keeps = rule_of(static.g)
    kept = fwd(S)[1] if keeps == "pullback" else S
    return bwd(kept, dA), ()


def _hoisted(g: Callable[[Array], Array], Z: Any) -> tuple[Callable[..., Array], tuple]:
    """Return `g(Z, *θ)` and θ, the traced values around `g` that may be differentiated."""
    converted, theta = jax.closure_convert(g, Z)
    return (converted, tuple(theta)) if theta else (g, ())


def as_output(layers: Layer, x: Array, g: Callable[[Array], Array], compute_dtype: Any) -> Array:
    """Return `x` with the type of the layers' outputs, so that the loop can carry it.

    Outputs may be of a wider dtype than the input, lie on a mesh on which the input does not, or
    differ between the devices of a `shard_map` while the input does not.
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
            f"{describe(A)} from {describe(x)}; unstack(params) has layers of any dtypes"
        )
    x = x.astype(A.dtype)
    new_axes = varying_axes(A) - varying_axes(x)
    if new_axes:
        x = make_varying(x, new_axes)
    if A.sharding.spec != jax.typeof(x).sharding.spec:
        x = jax.sharding.reshard(x, A.sharding)
    return x
