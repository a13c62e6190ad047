"""Layers of an ensemble: members that share their weights, and members that have their own."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike, Float

from ._arguments import describe, floating
from ._cotangent import cotangent_of
from ._placement import beside, grouped_operands, placement, product_operands
from ._products import (
    ComputeDtype,
    compute_dtype_of,
    grouped_product,
    narrowed,
    product,
    weight_gradient,
)


def ensemble_dense(
    x: Float[ArrayLike, "*batch members_or_1 n_in"],
    w: Float[ArrayLike, "n_in n_out"],
    r: Float[ArrayLike, "members n_in"],
    s: Float[ArrayLike, "members n_out"],
    b: Float[ArrayLike, "members n_out"] | None = None,
    *,
    compute_dtype: ComputeDtype = None,
) -> Float[Array, "*batch members n_out"]:
    r"""Dense layer of k members that share the weights: `Yᵢ = ((Xᵢ ⊙ rᵢ) W) ⊙ sᵢ + bᵢ`.

    Member i sees the weights `diag(rᵢ) W diag(sᵢ)`, so k members take little more memory than one,
    and one matrix product serves them all. With `Uᵢ = Xᵢ ⊙ rᵢ` and `Hᵢ = Uᵢ W`, the gradients are

        dHᵢ = dYᵢ ⊙ sᵢ     dsᵢ = Σ dYᵢ ⊙ Hᵢ     dbᵢ = Σ dYᵢ     dW = Σᵢ Uᵢᵀ dHᵢ
        dUᵢ = dHᵢ Wᵀ       drᵢ = Σ dUᵢ ⊙ Xᵢ     dXᵢ = dUᵢ ⊙ rᵢ

    where the sums without an index are over all leading batch dimensions.

    Args:
        x: inputs, shape `(..., k, n_in)`; `(..., 1, n_in)` gives all members the same, and its
            gradient is the sum over members.
        w: weights that the members share, shape `(n_in, n_out)`.
        r: factors of the inputs, shape `(k, n_in)`.
        s: factors of the outputs, shape `(k, n_out)`.
        b: biases, shape `(k, n_out)`, or None.
        compute_dtype: dtype to which the operands of the three products are rounded, as in `dense`.

    Returns:
        Y, shape `(..., k, n_out)`, in the dtype to which the arguments promote.

    Raises:
        TypeError: an argument is not floating-point.
        ValueError: the shapes do not match, or the batch is empty.

    Source: Wen, Tran & Ba, BatchEnsemble, ICLR 2020, eq. 5; Gorishniy et al., TabM, ICLR 2025,
    section 3.3.

    >>> x = jnp.array([[[1.0, 2.0]], [[3.0, 4.0]]])
    >>> r, s = jnp.array([[1.0, 1.0], [1.0, 0.0]]), jnp.array([[1.0], [10.0]])
    >>> ensemble_dense(x, jnp.ones((2, 1)), r, s)[..., 0]
    Array([[ 3., 10.],
           [ 7., 30.]], dtype=float32)
    """
    x, w, r, s = floating("x", x), floating("w", w), floating("r", r), floating("s", s)
    b = None if b is None else floating("b", b)
    _check_ensemble(x, w, r, s, b)
    return _ensemble_dense(compute_dtype_of(compute_dtype), x, w, r, s, b)


def _check_ensemble(x: Array, w: Array, r: Array, s: Array, b: Array | None) -> None:
    if w.ndim != 2:
        raise ValueError(f"w must have shape (n_in, n_out), got {describe(w)}")
    n_in, n_out = w.shape
    if r.ndim != 2 or r.shape[1] != n_in:
        raise ValueError(
            f"r must have shape (k, {n_in}) to match w {describe(w)}, got {describe(r)}"
        )
    members = len(r)
    for name, V in (("s", s), ("b", b)):
        if V is not None and V.shape != (members, n_out):
            raise ValueError(
                f"{name} must have shape ({members}, {n_out}) to match r {describe(r)} and "
                f"w {describe(w)}, got {describe(V)}"
            )
    if x.ndim < 2 or x.shape[-1] != n_in or x.shape[-2] not in (1, members):
        raise ValueError(
            f"x must have shape (..., {members}, {n_in}) or (..., 1, {n_in}) to match "
            f"r {describe(r)}, got {describe(x)}"
        )
    if x.size == 0:
        raise ValueError(f"x must hold at least one example, got an empty array, {describe(x)}")


class _Kept(NamedTuple):
    """The residuals of the five gradients.

    - `x`, for dr. U is computed again from it: that costs one multiplication per entry, and with
      inputs that members share it is k times as large.
    - `H`, for ds: to compute it again would take the product. It is stored in `compute_dtype` if
      that is narrower.
    - `w`, `r`, `s` and `b` are parameters, which costs no memory.
    """

    x: Array
    H: Array
    w: Array
    r: Array
    s: Array
    b: Array | None


def _ensemble_forward(
    compute_dtype: ComputeDtype, x: Array, w: Array, r: Array, s: Array, b: Array | None
) -> tuple[Array, Array]:
    U, W, sharding = product_operands(x * beside(r, x), narrowed(compute_dtype, w))
    H = product(U, W, ((x.ndim - 1,), (0,)), compute_dtype, sharding)
    Y = H * beside(s, H)
    if b is not None:
        Y = Y + beside(b, H)
    arguments = (v for v in (x, w, r, s, b) if v is not None)
    return Y.astype(jnp.result_type(*arguments)), narrowed(compute_dtype, H)


def _ensemble(
    compute_dtype: ComputeDtype, x: Array, w: Array, r: Array, s: Array, b: Array | None
) -> Array:
    return _ensemble_forward(compute_dtype, x, w, r, s, b)[0]


_ensemble_dense = jax.custom_vjp(_ensemble, nondiff_argnums=(0,))


def _ensemble_dense_fwd(
    compute_dtype: ComputeDtype, x: Array, w: Array, r: Array, s: Array, b: Array | None
) -> tuple[Array, _Kept]:
    Y, H = _ensemble_forward(compute_dtype, x, w, r, s, b)
    return Y, _Kept(x, H, w, r, s, b)


def _ensemble_dense_bwd(
    compute_dtype: ComputeDtype, kept: _Kept, dY: Array
) -> tuple[Array, Array, Array, Array, Array | None]:
    # With U = X ⊙ r and H = U W, per member:
    #   Ẏ = Ḣ ⊙ s + H ⊙ ṡ + ḃ,        Ḣ = U̇ W + U Ẇ,        U̇ = Ẋ ⊙ r + X ⊙ ṙ.
    # ⟨dY, Ẏ⟩ = ⟨dY ⊙ s, Ḣ⟩ + ⟨dY ⊙ H, ṡ⟩ + ⟨dY, ḃ⟩ gives dH, ds and db;
    # ⟨dH, Ḣ⟩ = ⟨dH Wᵀ, U̇⟩ + ⟨Uᵀ dH, Ẇ⟩ gives dU and dW, whose W is that of all members;
    # ⟨dU, U̇⟩ = ⟨dU ⊙ r, Ẋ⟩ + ⟨dU ⊙ X, ṙ⟩ gives dX and dr.
    # What an example, or a member, shares with others sums over them.
    x, H, w, r, s, b = kept
    R, S = beside(r, x), beside(s, dY)
    U, W, _ = product_operands(x * R, narrowed(compute_dtype, w))
    dH = dY * S
    dU = product(dH, W, ((dH.ndim - 1,), (1,)), compute_dtype, placement(U, dH))
    dX = _sum_like(x, dU * R)
    dW = weight_gradient(compute_dtype, U, dH, placement(w, dH))
    dr, ds = _sum_over_batch(dU * x), _sum_over_batch(dY * H)
    db = None if b is None else cotangent_of(b, _sum_over_batch(dY))
    return (
        cotangent_of(x, dX), cotangent_of(w, dW), cotangent_of(r, dr), cotangent_of(s, ds), db
    )  # fmt: skip


_ensemble_dense.defvjp(_ensemble_dense_fwd, _ensemble_dense_bwd)


def _sum_over_batch(terms: Array) -> Array:
    """Sum over all but the last two dimensions, in float32 or wider."""
    wide = jnp.promote_types(terms.dtype, jnp.float32)
    return jnp.sum(terms, axis=tuple(range(terms.ndim - 2)), dtype=wide)


def _sum_like(x: Array, terms: Array) -> Array:
    """Sum over the members if they share x."""
    return jnp.sum(terms, axis=-2, keepdims=True) if x.shape[-2] < terms.shape[-2] else terms


def grouped_dense(
    x: Float[ArrayLike, "*batch groups n_in"],
    w: Float[ArrayLike, "groups n_in n_out"],
    b: Float[ArrayLike, "groups n_out"] | None = None,
    *,
    compute_dtype: ComputeDtype = None,
) -> Float[Array, "*batch groups n_out"]:
    r"""Dense layer of groups, each with weights of its own: `Zᵢ = Xᵢ Wᵢ + bᵢ`.

    The groups are the members of an ensemble with their output layers, or features with an
    embedding each. The gradients are those of `dense` for each group:

        dXᵢ = dZᵢ Wᵢᵀ        dWᵢ = Xᵢᵀ dZᵢ        dbᵢ = Σ dZᵢ

    where `Xᵢᵀ dZᵢ` and `Σ` sum over all leading batch dimensions.

    Args:
        x: inputs, shape `(..., groups, n_in)`.
        w: weights, shape `(groups, n_in, n_out)`.
        b: biases, shape `(groups, n_out)`, or None.
        compute_dtype: dtype to which the operands of the three products are rounded, as in `dense`.

    Returns:
        Z, shape `(..., groups, n_out)`, in the dtype to which the arguments promote.

    Raises:
        TypeError: an argument is not floating-point.
        ValueError: the shapes do not match, or the batch is empty.

    Source: Gorishniy et al., TabM, ICLR 2025, section 3.3 (the output heads).

    >>> x, w = jnp.ones((3, 2, 4)), jnp.stack([jnp.ones((4, 1)), 2 * jnp.ones((4, 1))])
    >>> grouped_dense(x, w)[0, :, 0]
    Array([4., 8.], dtype=float32)
    """
    x, w = floating("x", x), floating("w", w)
    b = None if b is None else floating("b", b)
    _check_groups(x, w, b)
    return _grouped_dense(compute_dtype_of(compute_dtype), x, w, b)


def _check_groups(x: Array, w: Array, b: Array | None) -> None:
    if w.ndim != 3:
        raise ValueError(f"w must have shape (groups, n_in, n_out), got {describe(w)}")
    groups, n_in, n_out = w.shape
    if x.ndim < 2 or x.shape[-2:] != (groups, n_in):
        raise ValueError(
            f"x must have shape (..., {groups}, {n_in}) to match w {describe(w)}, got {describe(x)}"
        )
    if b is not None and b.shape != (groups, n_out):
        raise ValueError(
            f"b must have shape ({groups}, {n_out}) to match w {describe(w)}, got {describe(b)}"
        )
    if x.size == 0:
        raise ValueError(f"x must hold at least one example, got an empty array, {describe(x)}")


def _grouped(compute_dtype: ComputeDtype, x: Array, w: Array, b: Array | None) -> Array:
    X, W, sharding = grouped_operands(x, narrowed(compute_dtype, w))
    group = x.ndim - 2
    axes = ((group + 1,), (1,)), ((group,), (0,))
    Z = jnp.moveaxis(grouped_product(X, W, axes, compute_dtype, sharding), 0, group)
    if b is not None:
        Z = Z + beside(b, Z)
    return Z.astype(jnp.result_type(*(v for v in (x, w, b) if v is not None)))


_grouped_dense = jax.custom_vjp(_grouped, nondiff_argnums=(0,))


class _GroupsKept(NamedTuple):
    """The residuals: X for dW, W for dX, and b for the type of db."""

    x: Array
    w: Array
    b: Array | None


def _grouped_dense_fwd(
    compute_dtype: ComputeDtype, x: Array, w: Array, b: Array | None
) -> tuple[Array, _GroupsKept]:
    return _grouped(compute_dtype, x, w, b), _GroupsKept(x, w, b)


def _grouped_dense_bwd(
    compute_dtype: ComputeDtype, kept: _GroupsKept, dZ: Array
) -> tuple[Array, Array, Array | None]:
    # Group by group this is `dense`: Ż = Ẋ W + X Ẇ + ḃ, hence ⟨dZ, Ż⟩ = ⟨dZ Wᵀ, Ẋ⟩ + ⟨Xᵀ dZ, Ẇ⟩
    # + ⟨Σ dZ, ḃ⟩. No group's arguments meet another group, so no sum runs over groups.
    x, w, b = kept
    X, W, sharding = grouped_operands(x, narrowed(compute_dtype, w))
    group, batch = x.ndim - 2, tuple(range(x.ndim - 2))
    by_outputs = ((group + 1,), (2,)), ((group,), (0,))
    dX = jnp.moveaxis(grouped_product(dZ, W, by_outputs, compute_dtype, sharding), 0, group)
    over_batch = (batch, batch), ((group,), (group,))
    dW = grouped_product(X, dZ, over_batch, compute_dtype, placement(w, dZ))
    db = None if b is None else cotangent_of(b, _sum_over_batch(dZ))
    return cotangent_of(x, dX), cotangent_of(w, dW), db


_grouped_dense.defvjp(_grouped_dense_fwd, _grouped_dense_bwd)
