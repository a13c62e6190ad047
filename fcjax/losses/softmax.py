"""Softmax cross-entropy, with smoothing, class weights and ignored labels."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike, Float, Shaped

from .._arguments import as_array, describe, floating, is_number, not_empty
from .._cotangent import cotangent_of
from .._ranges import classes, tell
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
    not_empty("logits", Z)
    tell(labels, classes("softmax_cross_entropy", Z.shape[-1], ignore_index))
    labels = checked_labels(labels, Z.shape, f"logits {describe(Z)}")
    options = label_options(labels, label_smoothing, ignore_index)
    class_weights = checked_class_weights(class_weights, Z.shape[-1])
    losses, counts = _cross_entropy(options, Z, labels, class_weights)
    equal = count_equally(options, labels, class_weights)
    return reduce(losses, weights, reduction, counts=None if equal else counts)


class Options(NamedTuple):
    """ε, and the integer label that counts for nothing."""

    smoothing: float
    ignored: int | None


def is_integer(labels: Array) -> bool:
    return bool(jnp.issubdtype(labels.dtype, jnp.integer))


def checked_labels(labels: Any, shape: tuple[int, ...], other: str) -> Array:
    """Return the labels of logits of `shape`, or raise and name `other`, which they must match."""
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
        # a narrow type could not hold every class, or ignore_index
        labels = labels.astype(jnp.promote_types(labels.dtype, jnp.int32))
    return labels


def label_options(labels: Array, smoothing: Any, ignored: Any) -> Options:
    """Return label_smoothing and ignore_index, or raise unless they are in their range."""
    if not is_number(smoothing) or not 0 <= smoothing < 1:
        raise ValueError(
            f"label_smoothing must be a number with 0 <= label_smoothing < 1, "
            f"got {describe(smoothing)}"
        )
    if ignored is not None and not isinstance(ignored, int):
        raise TypeError(f"ignore_index must be an integer or None, got {describe(ignored)}")
    if ignored is not None and not is_integer(labels):
        raise ValueError("ignore_index needs integer labels, got distributions; use weights")
    return Options(float(smoothing), ignored)


def checked_class_weights(class_weights: Any, classes: int) -> Array | None:
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


def count_equally(options: Options, labels: Array, class_weights: Array | None) -> bool:
    """Whether each example counts 1 in a mean, but for its weight."""
    return options.ignored is None and (class_weights is None or not is_integer(labels))


class _Terms(NamedTuple):
    """What loss and gradients are made of, for labels of either kind.

    `onehot` is the label before smoothing and Q after it, c and `nll` = −log P have the shape of Z
    too (or broadcast), and `counts` is 0 for ignored examples, NaN for labels outside the classes,
    and otherwise 1.
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
    nll = jax.nn.logsumexp(Z, axis=-1, keepdims=True) - Z
    if is_integer(labels):
        onehot, counts = _classes_and_counts(options, labels, K, dtype)
    else:
        onehot, counts = labels.astype(dtype), jnp.ones_like(nll[..., 0])
    Q = (1 - options.smoothing) * onehot + options.smoothing / K
    return _Terms(onehot, Q, jnp.ones(K, dtype) if c is None else c.astype(dtype), nll, counts)


def _classes_and_counts(
    options: Options, labels: Array, classes: int, dtype: Any
) -> tuple[Array, Array]:
    onehot = (labels[..., None] == jnp.arange(classes)).astype(dtype)
    counts = jnp.where((labels >= 0) & (labels < classes), 1, jnp.nan).astype(dtype)
    if options.ignored is not None:
        counts = jnp.where(labels == options.ignored, 0, counts)
    return onehot, counts


def losses_and_counts(
    options: Options, Z: Array, labels: Array, c: Array | None
) -> tuple[Array, Array]:
    """The loss ℓ of each example, and how much it counts in a mean."""
    onehot, Q, c, nll, counts = _terms(options, Z, labels, c)
    s = c * Q
    # a class of mass 0 costs 0, also where its logit is −∞
    losses = jnp.sum(jnp.where(s == 0, 0, s * nll), -1)
    counted = jnp.sum(c * onehot, -1) if is_integer(labels) else 1
    return jnp.where(counts == 0, 0, counts * losses), jnp.where(counts == 0, 0, counts * counted)


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


def loss_gradients(
    options: Options, Z: Array, labels: Array, c: Array | None, dl: Array
) -> tuple[Array, Array | None, Any]:
    """Return dZ, dlabels and dc of `Σᵢ ℓᵢ dℓᵢ`, in float32 at least."""
    # Per example, with λ = log Σ eᶻ, nllₖ = λ − zₖ = −log pₖ and s = c ⊙ q:
    #   ℓ = Σₖ sₖ nllₖ,   λ̇ = Σ p ż,   so   ℓ̇ = Σ s (λ̇ − ż) + Σ ṡ nll
    #     = Σ ((Σs) p − s) ż + Σ c nll q̇ + Σ q nll ċ.
    # Read off dz, dq and dc; smoothing gives q̇ = (1 − ε) ẏ for the label y.
    _, Q, C, nll, counts = _terms(options, Z, labels, c)
    # an ignored example may hold anything, NaN too: 0 takes the place of 0 · NaN
    ignored = (counts == 0)[..., None]
    nll = jnp.where(ignored, 0, nll)
    dl = jnp.where(ignored, 0, (counts * dl)[..., None])
    s = C * Q
    dZ = dl * (jnp.sum(s, -1, keepdims=True) * jnp.exp(-nll) - s)
    dlabels = None if is_integer(labels) else dl * (1 - options.smoothing) * C * nll
    if c is None:
        return dZ, dlabels, None
    dc = jnp.where(Q == 0, 0, Q * nll) * dl
    return dZ, dlabels, jnp.sum(dc, axis=tuple(range(dc.ndim - 1)))


def count_gradient(options: Options, labels: Array, c: Array, dn: Array) -> Array:
    """Return dc of `Σᵢ nᵢ dnᵢ` for integer labels, whose count is n = Σ c ⊙ y, so ṅ = Σ y ċ."""
    onehot, counts = _classes_and_counts(options, labels, c.shape[0], dn.dtype)
    dn = jnp.where(counts == 0, 0, counts * dn)[..., None]
    return jnp.sum(onehot * dn, axis=tuple(range(labels.ndim)))


_cross_entropy.defvjp(_cross_entropy_fwd, _cross_entropy_bwd)
