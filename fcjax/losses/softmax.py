"""Softmax cross-entropy, with smoothing, class weights and ignored labels."""

import jax
from jax import Array
from jaxtyping import ArrayLike, Float, Shaped

from .._arguments import check_not_empty, describe, floating
from .._cotangent import cotangent_of
from .._placement import beside
from .._ranges import class_range, report_range
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
from ._reduction import Reduction, reduce


def softmax_cross_entropy(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Shaped[ArrayLike, "..."],
    *,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    class_weights: Float[ArrayLike, " classes"] | None = None,
    weights: Float[ArrayLike, "*batch"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy of `p = softmax(z)`: `ℓ = −Σₖ cₖ qₖ log pₖ` per example.

    q is the label as a distribution: the one-hot vector of an integer label, or the given
    distribution. Smoothing with ε replaces q by `(1 − ε) q + ε/K`, for K classes. c are the class
    weights, 1 unless given. With `s = c ⊙ q`, the gradients are

        dz = (p Σs − s) dℓ        dq = −(1 − ε) c log p dℓ        dc = Σᵢ −q log p dℓ

    For an integer label without options, this is the well-known `dz = p − y`.

    "mean" divides by the number of examples, as every loss here does. With weights, class weights
    or `ignore_index`, it divides by the sum of the examples' counts, as PyTorch does. The count of
    an example is its weight, times the class weight of an integer label, or 0 if its label is
    ignored. dc includes the derivative of this divisor. If all counts are 0, the mean is NaN.

    Args:
        logits: z, shape `(..., K)`.
        labels: integer classes from 0 to K − 1, shape `(...)`, or distributions, the shape of
            `logits`. Distributions are a differentiable argument. For an integer that is not a
            class, the loss of the example and its row of dz are NaN; it is never clipped.
        label_smoothing: ε, a number with 0 ≤ ε < 1.
        ignore_index: integer label whose examples are ignored: their loss and count are 0. It need
            not be a class.
        class_weights: c, shape `(K,)`.
        weights: one weight per example, shape `(...)`.
        reduction: "mean", "sum" or "none".

    Returns:
        The loss, in float32 or wider; each gradient has the dtype of its argument.

    Raises:
        TypeError: an argument has the wrong kind of dtype.
        ValueError: shapes do not match, the batch is empty, or an option is out of its range.

    Source: Bishop, Pattern Recognition and Machine Learning (2006), eqs. 4.108 and 4.109; label
    smoothing: Szegedy et al., Rethinking the Inception architecture, CVPR 2016, section 7.

    >>> import jax.numpy as jnp
    >>> logits = jnp.array([[2.0, 0.0], [0.0, 0.0], [1e4, 0.0]])
    >>> softmax_cross_entropy(logits, jnp.array([0, 1, 0]), reduction="none").round(4)
    Array([0.1269, 0.6931, 0.    ], dtype=float32)
    """
    Z = floating("logits", logits)
    if Z.ndim == 0:
        raise ValueError(f"logits must have shape (..., classes), got {describe(Z)}")
    check_not_empty("logits", Z)
    report_range(labels, class_range("softmax_cross_entropy", Z.shape[-1], ignore_index))
    labels = checked_labels(labels, Z.shape, f"logits {describe(Z)}")
    options = label_options(labels, label_smoothing, ignore_index)
    class_weights = checked_class_weights(class_weights, Z.shape[-1])
    c = None if class_weights is None else beside(class_weights, Z)
    losses, counts = _cross_entropy(options, Z, labels, c)
    equal = counts_are_equal(options, labels, class_weights)
    return reduce(losses, weights, reduction, counts=None if equal else counts)


_cross_entropy = jax.custom_vjp(losses_and_counts, nondiff_argnums=(0,))


def _cross_entropy_fwd(
    options: Options, Z: Array, labels: Array, c: Array | None
) -> tuple[tuple[Array, Array], tuple[Array, Array, Array | None]]:
    # The residuals are Z, labels and c. The backward pass recomputes −log P and Q from them, which
    # costs one more pass over Z, but saves storing arrays of its size.
    return losses_and_counts(options, Z, labels, c), (Z, labels, c)


def _cross_entropy_bwd(
    options: Options, kept: tuple[Array, Array, Array | None], cotangents: tuple[Array, Array]
) -> tuple[Array, Array | None, Array | None]:
    (Z, labels, c), (dl, dn) = kept, cotangents
    dZ, dlabels, dc = loss_gradients(options, Z, labels, c, dl)
    if c is not None and dc is not None and is_integer(labels):
        dc = dc + count_gradient(options, labels, c, dn)
    return (
        cotangent_of(Z, dZ),
        None if dlabels is None else cotangent_of(labels, dlabels),
        None if c is None or dc is None else cotangent_of(c, dc),
    )


_cross_entropy.defvjp(_cross_entropy_fwd, _cross_entropy_bwd)
