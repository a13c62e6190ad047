"""Shared by both forms of softmax cross-entropy: the options, the loss and its gradients."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from .._arguments import as_array, describe, floating, is_number


class Options(NamedTuple):
    """The smoothing ε, and the integer label that is ignored."""

    smoothing: float
    ignored: int | None


def is_integer(labels: Array) -> bool:
    return bool(jnp.issubdtype(labels.dtype, jnp.integer))


def checked_labels(labels: object, shape: tuple[int, ...], other: str) -> Array:
    """Return the labels as an array, or raise unless they match logits of `shape`.

    The error names `other`, the arguments that determine that shape.
    """
    labels = as_array("labels", labels, "integer classes or floating-point distributions")
    message = (
        f"labels must be integer classes of shape {list(shape[:-1])} or floating-point "
        f"distributions of shape {list(shape)}, to match {other}, got {describe(labels)}"
    )
    if not (is_integer(labels) or jnp.issubdtype(labels.dtype, jnp.floating)):
        raise TypeError(message)
    if labels.shape != (shape[:-1] if is_integer(labels) else shape):
        raise ValueError(message)
    if is_integer(labels):
        # A narrower dtype could not represent every class, or ignore_index.
        is_narrow = labels.dtype.itemsize == 1  # JAX does not promote integers of 4 bits
        wide = jnp.int32 if is_narrow else jnp.promote_types(labels.dtype, jnp.int32)
        labels = labels.astype(wide)
    return labels


def label_options(labels: Array, smoothing: object, ignored: object) -> Options:
    """Return label_smoothing and ignore_index, or raise unless they are valid."""
    if not is_number(smoothing) or not 0 <= smoothing < 1:
        raise ValueError(
            f"label_smoothing must be a number with 0 <= label_smoothing < 1, "
            f"got {describe(smoothing)}"
        )
    if ignored is not None and (not isinstance(ignored, int) or isinstance(ignored, bool)):
        raise TypeError(f"ignore_index must be an integer or None, got {describe(ignored)}")
    if ignored is not None and not is_integer(labels):
        raise ValueError(
            "ignore_index needs integer labels, got distributions; use weights instead"
        )
    return Options(float(smoothing), ignored)


def checked_class_weights(class_weights: object, classes: int) -> Array | None:
    """Return the class weights as an array, or raise unless there is one per class."""
    if class_weights is None:
        return None
    class_weights = floating("class_weights", class_weights)
    if class_weights.shape != (classes,):
        raise ValueError(
            f"class_weights must have one number per class, shape {[classes]}, "
            f"got {describe(class_weights)}"
        )
    return class_weights


def counts_are_equal(options: Options, labels: Array, class_weights: Array | None) -> bool:
    """Whether the mean counts every example as 1, apart from its weight."""
    return options.ignored is None and (class_weights is None or not is_integer(labels))


class _Terms(NamedTuple):
    """The terms of the loss and of its gradients, for labels of either kind.

    `onehot` is the label before smoothing, and Q the label after smoothing. c and `nll` = −log P
    have the shape of Z, or broadcast to it. `counts` is 0 for ignored examples, NaN for labels that
    are not a class, and 1 otherwise.
    """

    onehot: Array
    Q: Array
    c: Array
    nll: Array
    counts: Array


def _terms(options: Options, Z: Array, labels: Array, c: Array | None) -> _Terms:
    dtype = jnp.promote_types(Z.dtype, jnp.float32)
    Z = Z.astype(dtype)
    K = Z.shape[-1]
    nll = _minus_log_softmax(Z)
    if is_integer(labels):
        onehot, counts = _classes_and_counts(options, labels, K, dtype)
    else:
        onehot, counts = labels.astype(dtype), jnp.ones_like(nll[..., 0])
    Q = (1 - options.smoothing) * onehot + options.smoothing / K
    return _Terms(onehot, Q, jnp.ones(K, dtype) if c is None else c.astype(dtype), nll, counts)


def _minus_log_softmax(Z: Array) -> Array:
    """Return −log P, whose digits do not depend on the size of a term that all logits share."""
    # With the largest logit m, −log P = log Σ eᶻ⁻ᵐ − (z − m). log Σ eᶻ − z would be rounded to
    # the precision of z, which may be large where P is not. The barrier keeps XLA from storing
    # z − m, an array of the size of Z, for its two uses. m cancels, and so does its gradient.
    m = lax.stop_gradient(jnp.max(Z, axis=-1, keepdims=True))
    log_sum = jnp.log(jnp.sum(jnp.exp(Z - m), axis=-1, keepdims=True))
    return log_sum - (Z - lax.optimization_barrier(m))


def _classes_and_counts(
    options: Options, labels: Array, classes: int, dtype: DTypeLike
) -> tuple[Array, Array]:
    onehot = (labels[..., None] == jnp.arange(classes)).astype(dtype)
    counts = jnp.where((labels >= 0) & (labels < classes), 1, jnp.nan).astype(dtype)
    if options.ignored is not None:
        counts = jnp.where(labels == options.ignored, 0, counts)
    return onehot, counts


def losses_and_counts(
    options: Options, Z: Array, labels: Array, c: Array | None
) -> tuple[Array, Array]:
    """Return the loss ℓ of each example, and its count n in the mean."""
    onehot, Q, c, nll, counts = _terms(options, Z, labels, c)
    s = c * Q
    # A class of probability 0 contributes 0, even if its logit is −∞.
    losses = jnp.sum(jnp.where(s == 0, 0, s * nll), -1)
    counted = jnp.sum(c * onehot, -1) if is_integer(labels) else 1
    return jnp.where(counts == 0, 0, counts * losses), jnp.where(counts == 0, 0, counts * counted)


def loss_gradients(
    options: Options, Z: Array, labels: Array, c: Array | None, dl: Array
) -> tuple[Array, Array | None, Array | None]:
    """Return dZ, dlabels and dc of `Σᵢ ℓᵢ dℓᵢ`, in float32 or wider."""
    # Per example, with λ = log Σ eᶻ, nllₖ = λ − zₖ = −log pₖ and s = c ⊙ q:
    #   ℓ = Σₖ sₖ nllₖ,   λ̇ = Σ p ż,   so   ℓ̇ = Σ s (λ̇ − ż) + Σ ṡ nll
    #     = Σ ((Σs) p − s) ż + Σ c nll q̇ + Σ q nll ċ.
    # Read off dz, dq and dc; smoothing gives q̇ = (1 − ε) ẏ for the label y.
    _, Q, C, nll, counts = _terms(options, Z, labels, c)
    # An ignored example may hold anything, even NaN: use 0 instead of 0 · NaN.
    ignored = (counts == 0)[..., None]
    nll = jnp.where(ignored, 0, nll)
    dl = jnp.where(ignored, 0, (counts * dl)[..., None])
    # Where C is tiny, so is (Σs) p − s, and dℓ is large: take the scale of C out of the one, and
    # multiply the other by it, so that neither underflows nor overflows.
    scale = 1 if c is None else _scale_of(C)
    s = C / scale * Q
    dZ = dl * scale * (jnp.sum(s, -1, keepdims=True) * jnp.exp(-nll) - s)
    dlabels = None if is_integer(labels) else dl * (1 - options.smoothing) * C * nll
    if c is None:
        return dZ, dlabels, None
    dc = jnp.where(Q == 0, 0, Q * nll) * dl
    return dZ, dlabels, jnp.sum(dc, axis=tuple(range(dc.ndim - 1)))


def _scale_of(c: Array) -> Array:
    """Return the largest magnitude, or 1 if nothing can be divided by it."""
    largest = jnp.max(jnp.abs(c))
    return jnp.where((largest > 0) & (largest < jnp.inf), largest, 1)


def count_gradient(options: Options, labels: Array, c: Array, dn: Array) -> Array:
    """Return dc of `Σᵢ nᵢ dnᵢ` for integer labels, whose count is n = Σ c ⊙ y, so ṅ = Σ y ċ."""
    onehot, counts = _classes_and_counts(options, labels, c.shape[0], dn.dtype)
    dn = jnp.where(counts == 0, 0, counts * dn)[..., None]
    return jnp.sum(onehot * dn, axis=tuple(range(labels.ndim)))
