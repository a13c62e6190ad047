"""One rule for a run of L equal layers, `A_l = g(A_{l−1} W_l + b_l)`, under `lax.scan`.

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
from .._jax import make_varying, varying_axes
from .._products import compute_dtype_of, narrowed
from .._rule import rule_of
from ..dense import dense_bwd, dense_fwd
from .layers import Layer


def apply_run(
    layers: Layer,
    x: Array,
    g: Callable[[Array], Array],
    *,
    compute_dtype: Any = None,
    remat_every: int | None = None,
) -> Array:
    """Apply the run `layers` with `w (L, n, n)` and `b (L, n)` to `x (..., n)`."""
    layers = Layer(floating("w", layers.w), None if layers.b is None else floating("b", layers.b))
    compute_dtype = compute_dtype_of(compute_dtype)
    g = _hashable(g)
    x = as_output(layers, x, g, compute_dtype)
    g, theta = _hoisted(g, x)
    keeps_output = not theta and _keeps_output(g, x)
    rule = _Rule(g, keeps_output, compute_dtype, remat_every or layers.w.shape[0])
    return _run(rule, layers, theta, x)


class _Rule(NamedTuple):
    """What is static: g, whether g' is read from A, and how many layers make a block."""

    g: Callable[..., Array]
    keeps_output: bool
    compute_dtype: Any
    block: int


class _Kept(NamedTuple):
    """What the backward pass needs, besides the parameters, which live on in any case.

    The layers lie in blocks. Of the last one `S` is saved, and its input `x`; of the others only
    their inputs, `starts (blocks − 1, ...)`.
    """

    layers: Layer
    theta: tuple[Array, ...]
    starts: Array | None
    x: Array
    S: Array


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(rule: _Rule, layers: Layer, theta: tuple[Array, ...], x: Array) -> Array:
    return _value(rule, layers, theta, x)


# Compiled, so that outside of jit too one program serves every call.
@partial(jax.jit, static_argnums=0)
def _value(rule: _Rule, layers: Layer, theta: tuple[Array, ...], x: Array) -> Array:
    return _ascend(rule, layers, theta, x, jnp.arange(layers.w.shape[0]))[0]


@partial(jax.jit, static_argnums=0)
def _run_fwd(rule: _Rule, layers: Layer, theta: tuple[Array, ...], x: Array) -> tuple[Array, _Kept]:
    starts, first, last = None, *_blocks(rule, layers)
    if len(first):

        def block(A: Array, l: Array) -> tuple[Array, Array]:
            return _ascend(rule, layers, theta, A, l + jnp.arange(rule.block))[0], A

        x, starts = lax.scan(block, x, first)
    A, S = _ascend(rule, layers, theta, x, last)
    return A, _Kept(layers, theta, starts, x, S)


@partial(jax.jit, static_argnums=0)
def _run_bwd(rule: _Rule, kept: _Kept, dA: Array) -> tuple[Layer, tuple[Array, ...], Array]:
    layers, theta, starts, x, S = kept
    first, last = _blocks(rule, layers)
    carry = dA, *jax.tree.map(jnp.zeros_like, (layers, theta))
    carry = _descend(rule, layers, theta, x, S, carry, last)
    if starts is not None:

        def block(carry: _Gradients, at: tuple[Array, Array]) -> tuple[_Gradients, None]:
            l, x = at
            numbers = l + jnp.arange(rule.block)
            _, S = _ascend(rule, layers, theta, x, numbers)
            return _descend(rule, layers, theta, x, S, carry, numbers), None

        carry, _ = lax.scan(block, carry, (first, starts), reverse=True)
    dX, dlayers, dtheta = carry
    return dlayers, dtheta, dX


_run.defvjp(_run_fwd, _run_bwd)


def _blocks(rule: _Rule, layers: Layer) -> tuple[Array, Array]:
    """Return the first layer of every block but the last, and all layers of the last block."""
    depth = layers.w.shape[0]
    last = (depth - 1) // rule.block * rule.block
    return jnp.arange(0, last, rule.block), jnp.arange(last, depth)


def _ascend(
    rule: _Rule, layers: Layer, theta: tuple[Array, ...], x: Array, numbers: Array
) -> tuple[Array, Array]:
    """Run the layers of the given numbers; return the last A, and S of each."""

    def step(A: Array, l: Array) -> tuple[Array, Array]:
        Z, _ = dense_fwd(rule.compute_dtype, A, *_at(layers, l))
        Z = narrowed(rule.compute_dtype, Z)
        A, _ = _activation(rule, theta, Z)
        return A, A if rule.keeps_output else Z

    return lax.scan(step, x, numbers)


_Gradients = tuple[Array, Layer, tuple[Array, ...]]


def _descend(
    rule: _Rule,
    layers: Layer,
    theta: tuple[Array, ...],
    x: Array,
    S: Array,
    gradients: _Gradients,
    numbers: Array,
) -> _Gradients:
    """Run the same layers backwards: from dA of the last to that of x, filling in dW_l and db_l."""

    def step(carry: _Gradients, at: tuple[Array, Array, Array]) -> tuple[_Gradients, None]:
        (dA, dlayers, dtheta), (i, l, S_l) = carry, at
        dZ, dtheta_l = _pull(rule, theta, S_l, dA)
        # A of the layer before. Before the first there is none: its input is x, and S_1 stands in,
        # on which g is used in any case, so that no new NaN enters second derivatives.
        before = _output(rule, theta, _at(S, jnp.maximum(i - 1, 0)))
        X = jnp.where(i == 0, x, before)
        # for what it keeps: the product is not used, and compiled away
        _, of_layer = dense_fwd(rule.compute_dtype, X, *_at(layers, l))
        dA, dW, db = dense_bwd(rule.compute_dtype, of_layer, dZ)
        dlayers = jax.tree.map(partial(_written, l), dlayers, Layer(dW, db))
        return (dA, dlayers, jax.tree.map(jnp.add, dtheta, dtheta_l)), None

    at = jnp.arange(len(numbers)), numbers, S
    return lax.scan(step, gradients, at, reverse=True)[0]


def _at(V: Any, l: Array) -> Any:
    """Return the slice of layer `l` of each array."""
    return jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, l, keepdims=False), V)


def _written(l: Array, dV: Array, dV_l: Array) -> Array:
    return lax.dynamic_update_index_in_dim(dV, dV_l, l, 0)


def _activation(rule: _Rule, theta: tuple[Array, ...], Z: Array) -> tuple[Array, Any]:
    """Return A, and what the backward half needs."""
    return jax.vjp(rule.g, Z, *theta) if theta else rule_of(rule.g).fwd(Z)


def _output(rule: _Rule, theta: tuple[Array, ...], S: Array) -> Array:
    return S if rule.keeps_output else _activation(rule, theta, S)[0]


def _pull(
    rule: _Rule, theta: tuple[Array, ...], S: Array, dA: Array
) -> tuple[Array, tuple[Array, ...]]:
    """Return `dZ = dA ⊙ g'(Z)` and the layer's part of dθ."""
    if theta:
        dZ, *dtheta = _activation(rule, theta, S)[1](dA)
        return dZ, tuple(map(cotangent_of, theta, dtheta))
    fwd, bwd = rule_of(rule.g)
    if rule.keeps_output:
        kept = jax.tree.map(lambda _: S, jax.eval_shape(fwd, S)[1])
    else:
        _, kept = fwd(S)
    return bwd(kept, dA), ()


def _keeps_output(g: Callable[[Array], Array], Z: Any) -> bool:
    """Whether all that the rule of `g` keeps is its output."""
    answer = []

    def look(Z: Array) -> None:
        A, kept = rule_of(g).fwd(Z)
        answer.append(all(leaf is A for leaf in jax.tree.leaves(kept)))

    jax.eval_shape(look, Z)
    return answer[0]


def _hashable(g: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return `g`, or a function that calls it if it is an object that cannot be a static value."""
    try:
        hash(g)
    except TypeError:
        return lambda Z: g(Z)
    return g


def _hoisted(g: Callable[[Array], Array], Z: Any) -> tuple[Callable[..., Array], tuple]:
    """Return `g(Z, *θ)` and θ, the traced values around `g` that may be differentiated."""
    converted, theta = jax.closure_convert(g, Z)
    return (converted, tuple(theta)) if theta else (g, ())


def as_output(layers: Layer, x: Array, g: Callable[[Array], Array], compute_dtype: Any) -> Array:
    """Return `x` with the type of the run's outputs, as which it goes round the loop.

    Outputs may be of a wider dtype than the input, lie on a mesh on which the input does not, or
    differ between the devices of a `shard_map` while the input does not.
    """
    found = []

    def look(x: Array) -> None:
        Z, _ = dense_fwd(compute_dtype, x, *_at(layers, jnp.int32(0)))
        A = g(narrowed(compute_dtype, Z))
        found.append((jax.typeof(A), varying_axes(A)))

    jax.eval_shape(look, x)
    ((A, axes),) = found
    if A.shape != x.shape:
        raise ValueError(
            "activations of a run must keep the shape of their argument, got "
            f"{describe(A)} from {describe(x)}"
        )
    x = narrowed(compute_dtype, x)
    if jnp.promote_types(x.dtype, A.dtype) != A.dtype:
        raise TypeError(
            "activations of a run must not narrow the dtype of their argument, got "
            f"{describe(A)} from {describe(x)}; unstack(params) has layers of any dtypes"
        )
    x = x.astype(A.dtype)
    if axes - varying_axes(x):
        x = make_varying(x, axes - varying_axes(x))
    if A.sharding.spec != jax.typeof(x).sharding.spec:
        x = jax.sharding.reshard(x, A.sharding)
    return x
