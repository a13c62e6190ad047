"""The last dense layer and softmax cross-entropy in one rule that never stores all logits."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import ArrayLike, Float, Shaped

from .._arguments import as_integer, check_matrix_product, describe, floating
from .._cotangent import cotangent_of
from .._placement import beside, placement, product_operands
from .._products import ComputeDtype, compute_dtype_of, product, weight_gradient
from .._ranges import class_range, report_range
from .._types import Tree
from ._chunks import Batch, over_chunks
from ._cross_entropy import (
    Options,
    checked_class_weights,
    checked_labels,
    count_gradient,
    counts_are_equal,
    is_integer,
    label_options,
    loss_gradients,
    losses_and_counts,
)
from ._reduction import Reduction, checked_weights, quotient, total, weighted

# Defaults for chunk_size: the memory of one chunk's logits, and the smallest number of examples.
# Each chunk reads W twice and the running sum dW once. In a small chunk, few products share that
# cost, so the logits of a chunk may always take up to a quarter of the memory of W.
CHUNK_BYTES = 2**25
CHUNK_EXAMPLES = 32


def dense_softmax_cross_entropy(
    x: Float[ArrayLike, "*batch n_in"],
    w: Float[ArrayLike, "n_in classes"],
    b: Float[ArrayLike, " classes"] | None,
    labels: Shaped[ArrayLike, "..."],
    *,
    chunk_size: int | None = None,
    weights: Float[ArrayLike, "*batch"] | None = None,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    class_weights: Float[ArrayLike, " classes"] | None = None,
    compute_dtype: ComputeDtype = None,
) -> Float[Array, "..."]:
    """`softmax_cross_entropy(dense(x, w, b), labels)`, with the logits of a few examples in memory.

    The batch is cut into chunks. For each chunk, this computes the logits `Z = X W + b`, the losses
    ℓ of `softmax_cross_entropy`, and the gradients of `S = Σᵢ aᵢ ℓᵢ` for weights a, and then
    discards the logits. With s and p as in `softmax_cross_entropy`:

        dZ = a ((Σs) p − s)      dX = dZ Wᵀ      dW = Σ Xᵀ dZ      db = Σ dZᵀ 1      da = ℓ

    where the sums run over chunks. "sum" returns S, and "mean" returns S divided by a number that
    does not depend on the logits. Both compute all gradients in the forward pass, and the backward
    pass multiplies them by a number, so the logits are computed once. Without differentiation, no
    gradient is computed.

    With "none", the weight of an example is the cotangent of its loss, which is known only in the
    backward pass. The forward pass then computes only the losses, and the backward pass recomputes
    the logits: four matrix products instead of three.

    On a mesh, each chunk takes examples from all devices, provided that the number of examples in
    the chunk is divisible by the number of devices. With explicit axes and a sharded first axis it
    always is; otherwise choose `chunk_size` accordingly. If it is not, each device computes the
    whole batch. dW is summed over devices once per chunk, or only once inside `shard_map`.

    Args:
        x: inputs X of the last layer, shape `(..., n_in)`, any number of batch dimensions.
        w: weights W, shape `(n_in, K)`.
        b: bias, shape `(K,)`, or None.
        labels: integer classes, shape `(...)`, or distributions, shape `(..., K)`.
        chunk_size: number of examples in a chunk (per device, if the first axis is sharded with
            explicit axes). By default the logits of a chunk take 32 MiB, or a quarter of the memory
            of w if that is more, and a chunk has at least 32 examples. One chunk may be smaller.
        weights: one weight per example, shape `(...)`.
        reduction: "mean", "sum" or "none"; the divisors are those of `softmax_cross_entropy`.
        label_smoothing: as in `softmax_cross_entropy`.
        ignore_index: as in `softmax_cross_entropy`.
        class_weights: as in `softmax_cross_entropy`, shape `(K,)`.
        compute_dtype: dtype of the matrix products' operands, as in `dense`.

    Returns:
        The loss, in float32 or wider. The logits are also in float32 or wider, and are never
        rounded to a narrower dtype. Each gradient, including that of distributions and of weights,
        has the dtype of its argument.

    Raises:
        TypeError: an argument has the wrong kind of dtype.
        ValueError: shapes do not match, the batch is empty, or an option is out of its range.

    Source: Wijmans et al., Cut your losses in large-vocabulary language models, ICLR 2025; Hsu et
    al., Liger kernel: efficient Triton kernels for LLM training (2024), section 3.2, where the
    gradient is computed in the forward pass.

    >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> w = jnp.array([[1.0, 0.0, -1.0], [0.0, 2.0, 1.0]])
    >>> labels = jnp.array([0, 1, 2])
    >>> dense_softmax_cross_entropy(x, w, jnp.zeros(3), labels, chunk_size=2).round(4)
    Array(4.7012, dtype=float32)
    """
    X, W = floating("x", x), floating("w", w)
    b = None if b is None else floating("b", b)
    check_matrix_product(X, W, b)
    batch, K = X.shape[:-1], W.shape[1]
    if K == 0:
        raise ValueError(f"w must have columns for at least one class, got {describe(W)}")
    report_range(labels, class_range("dense_softmax_cross_entropy", K, ignore_index))
    labels = checked_labels(labels, (*batch, K), f"x {describe(X)} and w {describe(W)}")
    options = label_options(labels, label_smoothing, ignore_index)
    c = checked_class_weights(class_weights, K)
    a = checked_weights(weights, reduction, batch)
    operand = compute_dtype_of(compute_dtype) or jnp.promote_types(X.dtype, W.dtype)
    wide = _logits_dtype(X, W, b, operand)
    chunk = _chunk_size(chunk_size, X.shape[-1], K * jnp.dtype(wide).itemsize)
    # The chunks share W, b and c where they are used, not where they are stored.
    X, W, _ = product_operands(X, W)
    b, c = (None if V is None else beside(V, X) for V in (b, c))
    static, inputs = _Static(options, operand, wide, chunk), _Inputs(X, W, b, labels, c)
    if reduction == "none":
        losses = _per_example(static, inputs)
        return losses if a is None else weighted(losses, a)
    S, D = _total(static, inputs, a)
    if reduction == "sum":
        return S
    if not counts_are_equal(options, labels, c):
        return quotient(S, D)
    return S / math.prod(batch) if a is None else quotient(S, total(a, None))


class _Static(NamedTuple):
    """Static arguments: options, dtypes of operands (`operand`) and logits (`wide`), chunk size."""

    options: Options
    operand: DTypeLike
    wide: DTypeLike
    chunk: int


class _Inputs(NamedTuple):
    """The differentiable arguments, and integer labels; also the structure of their cotangents."""

    X: Array
    W: Array
    b: Array | None
    labels: Array
    c: Array | None


def _logits_dtype(X: Array, W: Array, b: Array | None, operand: DTypeLike) -> np.dtype:
    return jnp.result_type(*(v for v in (X, W, b) if v is not None), operand, jnp.float32)


def _chunk_size(chunk_size: int | None, n_in: int, bytes_per_example: int) -> int:
    if chunk_size is None:
        return max(CHUNK_EXAMPLES, n_in // 4, CHUNK_BYTES // bytes_per_example)
    size = as_integer(chunk_size)
    if size is None:
        raise TypeError(f"chunk_size must be an integer or None, got {describe(chunk_size)}")
    if size < 1:
        raise ValueError(f"chunk_size must be a positive number of examples, got {size}")
    return size


def _logits(static: _Static, X: Array, W: Array, b: Array | None) -> Array:
    X, W, sharding = product_operands(X, W)
    Z = product(X, W, ((X.ndim - 1,), (0,)), static.operand, sharding).astype(static.wide)
    return Z if b is None else Z + b.astype(static.wide)


def _losses_and_counts(static: _Static, inputs: _Inputs) -> tuple[Array, Array]:
    """Return the loss ℓ of each example, and its count n in the mean."""
    X, W, b, labels, c = inputs

    def one_chunk(X: Array, labels: Array) -> tuple[None, tuple[Array, Array]]:
        return None, losses_and_counts(static.options, _logits(static, X, W, b), labels, c)

    _, each = over_chunks(one_chunk, Batch(X, static.chunk), (X, labels))
    return each


class _Gradients(NamedTuple):
    """`inputs`: the gradients of `S = Σᵢ aᵢ ℓᵢ`; `counts`: the gradient of `D = Σᵢ aᵢ nᵢ` by c.

    All are in float32 or wider.
    """

    inputs: _Inputs
    counts: Array | None


def _gradients(
    static: _Static, inputs: _Inputs, a: Array
) -> tuple[tuple[Array, Array], _Gradients]:
    """Return ℓ and n of each example, and the gradients of S and D for weights a."""
    # Chunk by chunk, with ℓ̇ᵢ = ⟨dzᵢ, żᵢ⟩ + … of `softmax_cross_entropy`, scaled by aᵢ:
    #   S = Σᵢ aᵢ ℓᵢ,   Ż = Ẋ W + X Ẇ + 1 ḃᵀ,   so   Ṡ = ⟨dZ, Ż⟩ + …
    #     = ⟨dZ Wᵀ, Ẋ⟩ + ⟨Xᵀ dZ, Ẇ⟩ + ⟨dZᵀ 1, ḃ⟩ + ⟨dlabels, labels˙⟩ + ⟨dc, ċ⟩.
    # An example belongs to one chunk, and so do its rows of dX and dlabels. All chunks use W, b and
    # c: their gradients are sums over chunks, of which only the running total is in memory.
    X, W, b, labels, c = inputs

    def one_chunk(X: Array, labels: Array, a: Array) -> tuple[Tree, Tree]:
        Z = _logits(static, X, W, b)
        losses, n = losses_and_counts(static.options, Z, labels, c)
        dZ, dlabels, dc = loss_gradients(static.options, Z, labels, c, a)
        dX = product(dZ, W, ((dZ.ndim - 1,), (1,)), static.operand, placement(X, dZ))
        dW = weight_gradient(static.operand, X, dZ, placement(W, dZ))
        db = None if b is None else jnp.sum(dZ, axis=tuple(range(dZ.ndim - 1)))
        dcounts = None
        if c is not None and is_integer(labels):
            dcounts = count_gradient(static.options, labels, c, a)
        return (dW, db, dc, dcounts), (losses, n, dX, dlabels)

    summed, each = over_chunks(one_chunk, Batch(X, static.chunk), (X, labels, a))
    (dW, db, dc, dcounts), (losses, n, dX, dlabels) = summed, each
    return (losses, n), _Gradients(_Inputs(dX, dW, db, dlabels, dc), dcounts)


def _as_cotangents(inputs: tuple[Any, ...], gradients: tuple[Any, ...]) -> _Inputs:
    """Return the gradients as cotangents, with None for absent or integer arguments."""
    pairs = zip(inputs, gradients, strict=True)
    leaving: list[Any] = [None if dV is None else cotangent_of(V, dV) for V, dV in pairs]
    return _Inputs(*leaving)


# --- the mean and the sum: gradients are computed in the forward pass ---------------------------


def _weighted_total(static: _Static, inputs: _Inputs, a: Array | None) -> tuple[Array, Array]:
    """S = Σᵢ aᵢ ℓᵢ and D = Σᵢ aᵢ nᵢ."""
    return _sums(*_losses_and_counts(static, inputs), a)


def _sums(losses: Array, n: Array, a: Array | None) -> tuple[Array, Array]:
    if a is None:
        return jnp.sum(losses), jnp.sum(n)
    return jnp.sum(losses * a), jnp.sum(n * a)


_total = jax.custom_vjp(_weighted_total, nondiff_argnums=(0,))


class _Residuals(NamedTuple):
    """The residuals of `_total`.

    - `inputs` and `a`, only for the types of their gradients.
    - `gradients`, those of S for a cotangent of 1. S is one number, so its cotangent is a factor of
      each gradient, and the backward pass applies it.
    - `losses` and `n`, for da.
    """

    inputs: _Inputs
    a: Array | None
    gradients: _Gradients
    losses: Array
    n: Array


def _total_fwd(
    static: _Static, inputs: _Inputs, a: Array | None
) -> tuple[tuple[Array, Array], _Residuals]:
    ones = jnp.ones_like(jnp.sum(inputs.X, -1), dtype=static.wide)
    A = ones if a is None else a.astype(jnp.promote_types(a.dtype, jnp.float32))
    (losses, n), gradients = _gradients(static, inputs, A)
    return _sums(losses, n, a), _Residuals(inputs, a, gradients, losses, n)


def _total_bwd(
    static: _Static, kept: _Residuals, cotangents: tuple[Array, Array]
) -> tuple[_Inputs, Array | None]:
    # S and D = Σ aᵢ nᵢ: Ṡ dS + Ḋ dD has every gradient of S times dS, that of D times dD, and
    # Σᵢ (ℓᵢ dS + nᵢ dD) ȧᵢ.
    del static
    inputs, a, (of_S, counts), losses, n = kept
    dS, dD = cotangents
    scaled = jax.tree.map(lambda dV: dV * dS, of_S)
    if counts is not None:
        scaled = scaled._replace(c=scaled.c + counts * dD)
    da = None if a is None else cotangent_of(a, losses * dS + n * dD)
    return _as_cotangents(inputs, scaled), da


_total.defvjp(_total_fwd, _total_bwd)


# --- "none": each example has its own cotangent -------------------------------------------------


def _losses(static: _Static, inputs: _Inputs) -> Array:
    return _losses_and_counts(static, inputs)[0]


_per_example = jax.custom_vjp(_losses, nondiff_argnums=(0,))


def _per_example_fwd(static: _Static, inputs: _Inputs) -> tuple[Array, _Inputs]:
    # The residuals are the arguments alone. Each loss has its own cotangent, and dW, a sum over
    # examples, cannot be scaled by these cotangents after it is computed.
    return _losses(static, inputs), inputs


def _per_example_bwd(static: _Static, inputs: _Inputs, dl: Array) -> tuple[_Inputs]:
    # ⟨dℓ, ℓ̇⟩ = Σᵢ dℓᵢ ℓ̇ᵢ is Ṡ for the weights a = dℓ.
    _, of_S = _gradients(static, inputs, dl)
    return (_as_cotangents(inputs, of_S.inputs),)


_per_example.defvjp(_per_example_fwd, _per_example_bwd)
