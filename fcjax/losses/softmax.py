"""Softmax cross-entropy, with smoothing, class weights and ignored labels."""

import jax
from jax import Array
from jaxtyping import ArrayLike, Float, Shaped

from .._arguments import check_not_empty, describe, floating
from .._cotangent import cotangent_of
from .._ranges import class_range, report_range
from ._cross_entropy import (
    Options,
    checked_class_weights,
    checked_labels,
    count_equally,
    count_gradient,
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

    q is the label: 1 at the class for an integer label, or the given distribution; smoothing with ε
    makes it `(1 − ε) q + ε/K` for K classes. c are the class weights, 1 unless given. With
    `s = c ⊙ q`, the gradients are

        dz = (p Σs − s) dℓ        dq = −(1 − ε) c log p dℓ        dc = Σᵢ −q log p dℓ

    which for an integer label without options is the well-known `dz = p − y`.

    "mean" divides by the number of examples, as for every loss here. Where weights, class weights
    or an ignored label make examples count differently, it divides by the sum of what they count:
    the example's weight, times the class weight of an integer label, and 0 for an ignored one (as
    PyTorch does). dc includes this divisor. If nothing counts, the mean is NaN.

    Args:
        logits: z, shape `(..., K)`.
        labels: integer classes from 0 to K − 1, shape `(...)`, or distributions, the shape of
            `logits`, which are a differentiable argument. An integer outside the classes makes its
            loss, and its row of dz, NaN; no class is put in its place.
        label_smoothing: ε, a number from 0 up to but not including 1.
        ignore_index: integer label whose examples count for nothing; it may lie outside the
            classes.
        class_weights: c, shape `(K,)`.
        weights: one weight per example, shape `(...)`.
        reduction: "mean", "sum" or "none".

    Returns:
        The loss, in float32 at least; each gradient has the dtype of its argument.

    Raises:
        TypeError: an argument has the wrong kind of dtype.
        ValueError: shapes do not match, there is no example, or an option is out of its range.

    Source: Bishop, Pattern Recognition and Machine Learning (2006), eqs. 4.108 and 4.109; label
    smoothing: Szegedy et al., Rethinking the Inception architecture, CVPR 2016, section 7.

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
    losses, counts = _cross_entropy(options, Z, labels, class_weights)
    equal = count_equally(options, labels, class_weights)
    return reduce(losses, weights, reduction, counts=None if equal else counts)


_cross_entropy = jax.custom_vjp(losses_and_counts, nondiff_argnums=(0,))


def _cross_entropy_fwd(
    options: Options, Z: Array, labels: Array, c: Array | None
) -> tuple[tuple[Array, Array], tuple[Array, Array, Array | None]]:
    # Z, labels and c are all there is to keep: −log P and Q are computed from them again, at the
    # price of one more pass, instead of stored at the size of Z.
    return losses_and_counts(options, Z, labels, c), (Z, labels, c)


def _cross_entropy_bwd(
    options: Options, kept: tuple[Array, Array, Array | None], cotangents: tuple[Array, Array]
) -> tuple[Array, Array | None, Array | None]:
    (Z, labels, c), (dl, dn) = kept, cotangents
    dZ, dlabels, dc = loss_gradients(options, Z, labels, c, dl)
    if c is not None and is_integer(labels):
        dc = dc + count_gradient(options, labels, c, dn)
    return (
        cotangent_of(Z, dZ),
        None if dlabels is None else cotangent_of(labels, dlabels),
        None if c is None else cotangent_of(c, dc),
    )


_cross_entropy.defvjp(_cross_entropy_fwd, _cross_entropy_bwd)
