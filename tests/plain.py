"""Plain JAX for every rule of the library, written by the tests: autodiff of it is an oracle.

Nothing here has a custom_vjp, and fcjax is not imported.
"""

import jax
import jax.numpy as jnp


def dense(x, w, b=None):
    z = jnp.einsum("...i,ij->...j", x, w)
    return z if b is None else z + b


def mlp(layers, x, functions):
    a = x
    for (w, b), g in zip(layers, functions, strict=True):
        a = g(dense(a, w, b))
    return a


# --- losses ---------------------------------------------------------------------------------


def _sum_features(values):
    return values if values.ndim == 1 else jnp.sum(values, axis=-1)


def squared_error(p, t):
    return _sum_features((p - t) ** 2)


def half_squared_error(p, t):
    return 0.5 * squared_error(p, t)


def mean_squared_error(p, t):
    return (p - t) ** 2 if p.ndim == 1 else jnp.mean((p - t) ** 2, axis=-1)


def absolute_error(p, t):
    return _sum_features(jnp.abs(p - t))


def huber(p, t, delta=1.0):
    e = jnp.abs(p - t)
    return _sum_features(jnp.where(e <= delta, 0.5 * e**2, delta * e - 0.5 * delta**2))


def poisson(r, t):
    return _sum_features(jnp.exp(r) - t * r)


def hinge(p, t):
    return _sum_features(jax.nn.relu(1 - p * t))


def binary_cross_entropy(p, t):
    return _sum_features(-t * jnp.log(p) - (1 - t) * jnp.log1p(-p))


def sigmoid_binary_cross_entropy(z, t):
    return _sum_features(-t * jax.nn.log_sigmoid(z) - (1 - t) * jax.nn.log_sigmoid(-z))


def softmax_cross_entropy(z, labels, smoothing=0.0, ignored=None, class_weights=None):
    """The losses of the examples, and how much each counts in a mean."""
    classes = z.shape[-1]
    c = jnp.ones(classes, z.dtype) if class_weights is None else class_weights
    logp = jax.nn.log_softmax(z)
    integer = jnp.issubdtype(labels.dtype, jnp.integer)
    y = jax.nn.one_hot(labels, classes, dtype=z.dtype) if integer else labels
    losses = -jnp.sum(c * ((1 - smoothing) * y + smoothing / classes) * logp, axis=-1)
    counts = jnp.sum(c * y, axis=-1) if integer else jnp.ones_like(losses)
    if ignored is None:
        return losses, counts
    return losses * (labels != ignored), counts * (labels != ignored)


def reduce(losses, weights=None, reduction="mean", counts=None):
    weights = jnp.ones_like(losses) if weights is None else weights
    counts = jnp.ones_like(losses) if counts is None else counts
    if reduction == "none":
        return weights * losses
    total = jnp.sum(weights * losses)
    return total if reduction == "sum" else total / jnp.sum(weights * counts)


# --- normalization --------------------------------------------------------------------------


def layer_norm(x, scale, bias, eps=1e-5):
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred**2, axis=-1, keepdims=True)
    return centred / jnp.sqrt(variance + eps) * scale + bias


def rms_norm(x, scale, eps=1e-5):
    return x / jnp.sqrt(jnp.mean(x**2, axis=-1, keepdims=True) + eps) * scale


# --- rules of networks for tables -----------------------------------------------------------------


def survivors(rate, key, shape):
    """Which elements dropout leaves: the lower, then the upper 16 bits of a row's words decide."""
    words = jax.random.bits(key, (*shape[:-1], (shape[-1] + 1) // 2), jnp.uint32)
    bits = jnp.concatenate([words % 2**16, words // 2**16], axis=-1)[..., : shape[-1]]
    return bits < round((1 - rate) * 2**16)


def scale(x, s):
    return x * s


def ensemble_dense(x, w, r, s, b=None):
    """Each member by itself, with the weights that it sees."""
    weights = jnp.einsum("ki,ij,kj->kij", r, w, s)
    y = jnp.einsum("...ki,kij->...kj", jnp.broadcast_to(x, (*x.shape[:-2], *r.shape)), weights)
    return y if b is None else y + b


def grouped_dense(x, w, b=None):
    z = jnp.einsum("...gi,gio->...go", x, w)
    return z if b is None else z + b


def parametric(z, alpha, g):
    return (1 - alpha) * z + alpha * g(z)


def piecewise_linear_encoding(x, edges):
    """Clipped bin by bin; for its derivative, away from the edges."""
    exists = jnp.isfinite(edges[:, 1:])
    last = exists & ~jnp.pad(exists[:, 1:], ((0, 0), (0, 1)))
    low = jnp.where(jnp.arange(exists.shape[1]) == 0, -jnp.inf, 0)
    lower, width = (jnp.where(exists, V, 1) for V in (edges[:, :-1], jnp.diff(edges)))
    z = (x[..., None] - lower) / width
    return jnp.where(exists, jnp.clip(z, low, jnp.where(last, jnp.inf, 1)), 0)
